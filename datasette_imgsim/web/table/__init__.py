"""Additions to Datasette's own pages of a source table."""
