"""Protocols and metrics: how good is any embedder, with intervals."""
