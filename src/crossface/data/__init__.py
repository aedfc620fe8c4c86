"""Labelled and unlabelled face images, on disk or drawn, as samples and batches."""
