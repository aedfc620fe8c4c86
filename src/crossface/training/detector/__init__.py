"""Training of crossface's own face detector on scenes that it composes."""
