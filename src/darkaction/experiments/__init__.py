"""Comparisons: methods in tables, each trained with several seeds, recorded once, compared clip by clip."""
