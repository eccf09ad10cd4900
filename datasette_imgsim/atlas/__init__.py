"""The map of a space: where images lie, and the tiles that show them."""
