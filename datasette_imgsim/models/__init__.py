"""Networks that can be cut at a level; nothing here knows of a database."""
