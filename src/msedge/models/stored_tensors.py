"""Where each tensor lies in a ``.safetensors`` file, read from its header alone.

The file is the header's length (8 bytes, little-endian), the header as JSON, and the tensors' raw
little-endian values one after the other. Anything that can read bytes at an offset can therefore
read a tensor in place; an ONNX file does so (:mod:`msedge.models.onnx_weights`). Tested in
``tests/models/test_stored_tensors.py``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

from msedge.errors import WeightsError

_LENGTH_BYTES = 8


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
    try:
        with safe_open(path, framework="np"):
            pass  # it holds the header against the size of the file
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            header = json.loads(file.read(length))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors ({error})") from error
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
