"""An image in, faces out: detect, align, embed."""
