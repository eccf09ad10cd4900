"""Models: neural networks that can be cut at a level. Nothing here uses a database."""
