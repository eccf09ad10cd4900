"""From picture files to stored vectors: sources, plan, decode, run."""
