"""From files to vectors: sources, then decode, then pipeline."""
