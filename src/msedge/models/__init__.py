"""What looks: backbones, edges, their fusion, and the network that turns an image into a vector.

Nothing here knows of folders. Importing this package imports nothing heavy; its modules do.
"""
