"""Errors a person can act on: they name the file or key and say what would be valid."""


class UserError(Exception):
    """Wrong input from outside (a setting, a file, an argument). Commands print it without a traceback and exit 1."""
