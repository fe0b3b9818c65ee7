"""What turns pixels into vectors, as the rest of search sees it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Embeddings = npt.NDArray[np.float32]


class Encoder(Protocol):
    """A network with all that it needs to be asked."""

    @property
    def name(self) -> str:
        """What the model is called."""

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides its vectors."""

    @property
    def dim(self) -> int:
        """Width of the vectors."""

    @property
    def image_size(self) -> int:
        """Pixels on a side of what it reads."""

    def photos(self, pixels: Pixels) -> Embeddings:
        """Unit vectors ``(B, dim)`` of photos ``(B, 3, S, S)``, RGB, 0 to 255."""

    def sketches(self, pixels: Pixels) -> Embeddings:
        """Unit vectors ``(B, dim)`` of drawings ``(B, 3, S, S)``, RGB, 0 to 255, framed."""
