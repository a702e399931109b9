"""A whole model as one file for other runtimes."""
