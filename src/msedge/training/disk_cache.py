"""Tensors that are slow to compute and the same in every run, kept in a folder.

What the frozen blocks and the teacher say of an image depends on the image and on weights that no
run changes. A matrix of runs asks for it once a run; kept on disk it is computed once in all. A
file's name is a hash of everything that its content depends on, the version of this package
included, so a changed image, weight or setting never finds an old answer. Code that is changed
without a new version does: delete the folder then, as one may at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

import msedge
from msedge.data.layouts import Record
from msedge.storage import atomic_path

Tensors = list[Tensor]


def cached(folder: Path | None, key: Mapping[str, Any], make: Callable[[], Tensors]) -> Tensors:
    """The tensors of a key: from the folder, or made and put there.

    Args:
        folder: where to keep them; None keeps nothing.
        key: everything that they depend on, as plain values.
        make: computes them.

    Raises:
        DataError: the folder cannot be written.
    """
    if folder is None:
        return make()
    text = json.dumps({"version": msedge.__version__, **key}, sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"
    try:
        found = load_file(path)
        return [found[str(number)] for number in range(len(found))]
    except (OSError, SafetensorError, KeyError):
        pass  # not there, or cut short by something other than us: made anew
    made = make()
    with atomic_path(path) as temporary:
        temporary.write_bytes(save({str(n): tensor.contiguous() for n, tensor in enumerate(made)}))
    return made


def records_key(records: Sequence[Record]) -> str:
    """A hash of what images there are, in their order: places, sizes and times of change."""
    digest = hashlib.sha256()
    for record in records:
        found = record.path.stat()
        line = f"{record.path.resolve()}\0{found.st_size}\0{found.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def weights_key(modules: Sequence[nn.Module]) -> str:
    """A hash of the tensors of some modules."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in module.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
