"""The map of a space: the position of each image, and the tiles that show them."""
