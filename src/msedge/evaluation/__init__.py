"""How well embeddings retrieve: rankings, and the numbers that conventions draw from them.

Only arrays come in here, never files or networks, so anyone's features can be judged. Import the
modules themselves; ``evaluate`` is the one to start with. This package imports nothing on its own.
"""
