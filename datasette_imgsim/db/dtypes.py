"""The dtypes of the numbers in stored vectors."""

DTYPES = {"float16": "<f2", "float32": "<f4"}
"""numpy's code of each dtype, little-endian."""
