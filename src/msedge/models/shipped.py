"""The models that come with the package, and how one is named. Needs no PyTorch.

Each is two files in ``msedge/weights``: ``<name>.safetensors``, float16 tensors with the card, and
``<name>.onnx``, a graph that refers to them. ``msedge models ship`` makes both
(:mod:`msedge.models.shipping`). An edition that a later one took the place of stays, in a folder
that its number names: galleries of it answer until they are made anew. Tested in
``tests/models/test_shipped.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msedge.errors import WeightsError
from msedge.models.bank import SUFFIX as BANK_SUFFIX
from msedge.models.card import Card, read_card
from msedge.models.onnx_file import SUFFIX, read_onnx_card

WEIGHTS = Path(__file__).parent.parent / "weights"
DEFAULT_MODEL = "msedge-lite"
EARLIER_EDITIONS = {  # what they were called, their fingerprints, and what they are called now
    (
        "msedge-lite",
        "aa9acf2a1ee80509b3404c0912a621129d5cdc08b1e1dcd24f5233eec0b3224c",
    ): "msedge-lite-1",
}


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model as it lies on disk.

    Attributes:
        name: a shipped model's name, else the checkpoint's path.
        checkpoint: the ``.safetensors`` file; the ONNX file where that was named, and is all.
        card: what it says of itself.
    """

    name: str
    checkpoint: Path
    card: Card

    @property
    def is_graph_alone(self) -> bool:
        """Whether it is an ONNX file and nothing else."""
        return self.checkpoint.suffix == SUFFIX

    @property
    def onnx(self) -> Path | None:
        """The ONNX file: itself, or the one beside the checkpoint, where there is one."""
        path = self.checkpoint.with_suffix(SUFFIX)
        return path if path.is_file() else None

    @property
    def size(self) -> int:
        """Bytes that the files take together."""
        return sum(path.stat().st_size for path in {self.checkpoint, self.onnx} if path)


def shipped_models() -> tuple[ModelFiles, ...]:
    """The models that come with the package, by name.

    Raises:
        WeightsError: a file among them is damaged.
    """
    return tuple(ModelFiles(name, path, read_card(path)) for name, path in _checkpoints().items())


def find_model(name_or_path: str | Path) -> Path:
    """The file of a model: the checkpoint of a shipped one, or the file that a path names.

    A shipped model's ONNX file lies beside its checkpoint, with the suffix ``.onnx``.

    Args:
        name_or_path: a shipped model's name, or a path, which is not looked into.

    Raises:
        WeightsError: it is neither a model's name nor a file; the message lists the names.
    """
    shipped = _checkpoints()
    if found := shipped.get(str(name_or_path)):
        return found
    path = Path(name_or_path)
    if path.is_file():
        return path
    names = ", ".join(shipped) or "none that comes with this installation"
    raise WeightsError(
        f"no model {str(name_or_path)!r}: expected the path of a checkpoint, or one of: {names}"
    )


def is_shipped(name_or_path: str | Path) -> bool:
    """Whether something is the name of a model that comes with the package."""
    return str(name_or_path) in _checkpoints()


def edition_of(name: str, fingerprint: str) -> str:
    """What a gallery's model is called now: an earlier edition has lost its name to a later one.

    Args:
        name: what the gallery calls its model.
        fingerprint: of that model, see :func:`msedge.models.onnx_file.fingerprint`.
    """
    return EARLIER_EDITIONS.get((name, fingerprint), name)


def describe_model(name_or_path: str | Path) -> ModelFiles:
    """A model's files and card.

    Args:
        name_or_path: a shipped model's name, or the path of a checkpoint or ONNX file of ours.

    Raises:
        WeightsError: there is no such model, or its file cannot be read.
    """
    path = find_model(name_or_path)
    read = read_onnx_card if path.suffix == SUFFIX else read_card
    return ModelFiles(str(name_or_path), path, read(path))


def _checkpoints() -> dict[str, Path]:
    found = {
        path.stem + "".join(f"-{part}" for part in path.relative_to(WEIGHTS).parent.parts): path
        for path in (*WEIGHTS.glob("*.safetensors"), *WEIGHTS.glob("[0-9]/*.safetensors"))
        if not path.name.endswith(BANK_SUFFIX)
    }
    return dict(sorted(found.items()))
