"""Keeping galleries: copied, checked and mended, counted, made smaller, made quick to search.

Each function names the gallery by its path and serves both kinds, a file of SQLite and a Lance
dataset.
"""
