"""Datasets as they are published: names of ARID and HMDB-51, and the import of folders, archives and lists."""
