"""Ways to teach a student; one per file."""
