"""Videos, the index of clips and their splits, and the store of enhanced clips."""
