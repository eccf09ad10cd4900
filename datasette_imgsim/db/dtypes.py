"""How the numbers of a stored vector are written."""

DTYPES = {"float16": "<f2", "float32": "<f4"}
"""numpy's codes: little-endian."""
