"""The report: one self-contained page of figures and tables."""
