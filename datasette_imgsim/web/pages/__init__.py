"""The pages below /-/imgsim of a source table."""
