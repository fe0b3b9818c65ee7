"""Where each tensor lies in a ``.safetensors`` file, read from its header alone.

The file is the header's length (8 bytes, little-endian), the header as JSON, and the tensors' raw
little-endian values one after the other. Anything that can read bytes at an offset can therefore
read a tensor in place; an ONNX file does so (:mod:`msedge.models.onnx_weights`). Tested in
``tests/models/test_stored_tensors.py`` and ``tests/artefacts/test_checkpoints.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

from msedge.errors import WeightsError
from msedge.quoting import named, plain

_LENGTH_BYTES = 8
_LONGEST_HEADER = 2**24
"""Bytes: more than 100,000 tensors need, and read within a second."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor's place and form.

    Attributes:
        dtype: as safetensors names it, for example ``F16``.
        shape: lengths of its axes.
        offset: bytes before it, from the start of the file.
        length: bytes that it takes.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int

    @property
    def values(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """The places of a file's tensors, by name, in the order of the file.

    Raises:
        WeightsError: the file cannot be read as safetensors.
    """
    with unreadable(path), path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > _LONGEST_HEADER:
            raise ValueError(f"its header claims {length:,} bytes")
        with safe_open(path, framework="np"):
            pass  # it holds the header against the size of the file
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    start = _LENGTH_BYTES + length
    return {
        name: StoredTensor(
            entry["dtype"],
            tuple(entry["shape"]),
            start + entry["data_offsets"][0],
            entry["data_offsets"][1] - entry["data_offsets"][0],
        )
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    }


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Say in one line that a file cannot be read as safetensors.

    Raises:
        WeightsError: reading it failed within.
    """
    try:
        yield
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{named(path)} cannot be read as safetensors ({plain(error)}); fetch it anew"
        ) from error
