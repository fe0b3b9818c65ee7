"""The encoder of a gallery: loaded when it is needed, and no other than the gallery's own.

A search for what a photo of the gallery looks like needs none. Tested in
``tests/search/test_own_encoder.py``.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from msedge.search.store import Store

if TYPE_CHECKING:
    from msedge.search.encoder import Encoder


class OwnEncoder:
    """What turns pixels into vectors to compare with a gallery's. Threads may share it."""

    def __init__(self, store: Store, model: str | Path | Encoder | None = None) -> None:
        """Take the gallery, and its model's name or file, or an encoder; None for its own name."""
        self._store = store
        self._model = store.model.name if model is None else model
        self._encoder: Encoder | None = None
        self._lock = Lock()

    def get(self) -> Encoder:
        """The encoder; the first call loads it.

        Raises:
            WeightsError: it cannot be loaded, or the gallery was made with other weights.
        """
        with self._lock:
            if self._encoder is None:
                self._encoder = self._load()
            return self._encoder

    def _load(self) -> Encoder:
        encoder = self._model
        if isinstance(encoder, str | Path):
            from msedge.search.onnx_encoder import OnnxEncoder

            encoder = OnnxEncoder.load(encoder)
        self._store.check_model(encoder)
        return encoder
