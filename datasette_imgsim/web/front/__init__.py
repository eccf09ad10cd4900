"""Pictures on Datasette's own pages of the instance, of a database and of a row."""
