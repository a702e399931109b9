"""Plumbing that cannot change a result: settings files, paths, errors, folders. No DVC stage depends on it."""
