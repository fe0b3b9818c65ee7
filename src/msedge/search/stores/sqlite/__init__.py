"""Galleries in one file of SQLite, with a log and caches beside it."""
