"""Doors for people: no logic worth testing alone."""
