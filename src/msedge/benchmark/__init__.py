"""A matrix of training runs: planned in one file, run in processes, and summed up over seeds.

``plan`` is read from YAML, ``cells`` are its runs, ``runner`` starts them, ``outcomes`` says what
their folders hold; ``rows`` and ``differences`` sum that up, ``tables``, ``results`` and ``chart``
write it down. Nothing here needs PyTorch: each run is a process of its own.
"""
