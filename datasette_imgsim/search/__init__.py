"""From stored vectors to results: vectors, index, ranking, results and the SQL functions."""
