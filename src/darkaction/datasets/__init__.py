"""Sources of clips: the drawn demo data and the importers of real data."""
