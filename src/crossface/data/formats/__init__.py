"""Readers of the layouts face sets come in."""
