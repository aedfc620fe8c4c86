"""Words every room shares: types, errors, geometry, images, vectors, contracts. No torch."""
