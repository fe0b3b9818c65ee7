"""Indexing on many machines: photos of any place become a Lance gallery, by plain actors of Ray."""
