"""Numbers to minimise, as functions of tensors."""
