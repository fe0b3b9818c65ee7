"""How well embeddings retrieve: rankings, and the numbers that conventions draw from them.

Only arrays come in here, never files or networks, so anyone's features can be judged. Import the
modules themselves (``ranking``, ``conventions``); this package imports nothing heavy on its own.
"""
