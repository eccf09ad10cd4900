"""Making the bundled network."""
