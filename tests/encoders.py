"""An encoder for tests that is quick and knows colours: no weights, real vectors."""

from __future__ import annotations

from zlib import crc32

import numpy as np

from msedge.models.bank import Bank, choose_drawings
from msedge.search.ranking import Embeddings, Pixels


class ColourEncoder:
    """Coarse pixels through a fixed random projection: like pictures get like vectors."""

    name, dim, image_size = "colours", 32, 32
    photo_sizes: tuple[int, ...] = ()
    bank: Bank | None = None

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


def colour_bank(count: int = 60, seed: int = 0) -> Bank:
    """Of drawings for that encoder; all of them have something in common, as real ones do."""
    vectors = np.random.default_rng(seed).standard_normal((count, ColourEncoder.dim)) + 1.0
    nobody = np.empty((0, ColourEncoder.dim), np.float16)
    drawings = choose_drawings(vectors, ["all"] * count)
    return Bank("colours", drawings, (), nobody, nobody)


def with_hubs(model: str, device: str) -> ColourEncoder:
    """Loads the encoder with a bank; the model's name is its fingerprint."""
    assert device == "cpu"
    encoder = ColourEncoder(model)
    encoder.bank = colour_bank()
    return encoder


class PlacedEncoder(ColourEncoder):
    """Knows colours alone, and where in a photo they are; every drawing is of something red."""

    name, dim, photo_sizes = "placed", 16, (320,)

    def photos(self, pixels: Pixels) -> Embeddings:
        vectors = self._colours(pixels.mean(axis=(2, 3)).T).T
        for photo, vector in zip(pixels, vectors, strict=True):  # so that none are copies
            vector[4:] = np.random.default_rng(crc32(photo.tobytes())).normal(0, 0.2, 12)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def sketches(self, pixels: Pixels) -> Embeddings:
        return self._colours(np.array([[255.0], [0.0], [0.0]])).T.repeat(len(pixels), axis=0)

    def places(self, pixels: Pixels) -> np.ndarray:  # type: ignore[override]
        _, high, wide = pixels.shape
        cells = pixels.reshape(3, high // 32, 32, wide // 32, 32)
        return self._colours(cells.mean(axis=(2, 4)))

    def _colours(self, means: np.ndarray) -> np.ndarray:
        """Unit vectors ``(16, ...)`` of colours ``(3, ...)``, 0 to 255; grey is far from each."""
        vectors = np.zeros((self.dim, *means.shape[1:]), np.float32)
        vectors[:3], vectors[3] = means / 255 - 0.5, 0.1
        return vectors / np.linalg.norm(vectors, axis=0)
