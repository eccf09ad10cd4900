"""Exploring a collection: who is near to whom, and what follows from that."""
