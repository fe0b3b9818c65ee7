"""How it is used: a folder of photos becomes a gallery, and a drawing finds photos in it.

Nothing here needs PyTorch.
"""
