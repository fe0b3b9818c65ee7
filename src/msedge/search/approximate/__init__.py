"""Approximate search beside a gallery file: a folder that can be deleted at any time.

Exact search reads every vector for every query, which beyond a million photos takes longer than
drawing does. Here candidates come from a compressed, memory-mapped index of faiss and are ranked
again, exactly, from the vectors as the gallery holds them; what the index finds of the true answer
is measured when it is built.
"""
