"""Comparisons: systems as rows of tables, each trained with several seeds, recorded once, compared clip by clip."""
