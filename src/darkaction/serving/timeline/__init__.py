"""The action of each moment of a long video."""
