"""The server for clients that need not be trusted: checks of requests, and processes that predict."""
