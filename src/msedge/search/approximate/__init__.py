"""Approximate search beside a gallery file: a folder that can be deleted at any time."""
