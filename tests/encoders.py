"""An encoder for tests that is quick and knows colours: no weights, real vectors."""

from __future__ import annotations

import numpy as np

from msedge.search.ranking import Embeddings, Pixels


class ColourEncoder:
    """Coarse pixels through a fixed random projection: like pictures get like vectors."""

    name, dim, image_size = "colours", 32, 32
    photo_sizes: tuple[int, ...] = ()

    def __init__(self, fingerprint: str = "colours-1") -> None:
        self.fingerprint = fingerprint
        self._projection = np.random.default_rng(0).standard_normal((3 * 8 * 8, self.dim))

    def photos(self, pixels: Pixels) -> Embeddings:
        coarse = pixels.reshape(len(pixels), 3, 8, 4, 8, 4).mean(axis=(3, 5)).reshape(-1, 192)
        vectors = (coarse / 255 - 0.5) @ self._projection
        lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return (vectors / lengths).astype(np.float32)

    sketches = photos

    def places(self, pixels: Pixels) -> None:
        """It knows of none."""
