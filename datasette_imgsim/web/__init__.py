"""The pages that Datasette shows."""
