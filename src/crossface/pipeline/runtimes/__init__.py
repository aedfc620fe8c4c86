"""Doors through which a network is run."""
