"""The public verbs: wires rooms that may not see each other."""
