"""What is looked at: folders of sketches and photos, as records, pixels and tensors.

Nothing here knows of networks. Importing this package imports nothing heavy.
"""
