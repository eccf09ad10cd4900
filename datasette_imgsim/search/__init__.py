"""From stored vectors to ranked ids: index, then ranking, then sql."""
