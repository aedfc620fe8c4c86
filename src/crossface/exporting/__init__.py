"""A trained net to a file that runs elsewhere, with a parity report."""
