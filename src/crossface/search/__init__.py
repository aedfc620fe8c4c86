"""Vectors in, people out. No torch."""
