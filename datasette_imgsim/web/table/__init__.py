"""What is added to the pages that Datasette has for a source table."""
