"""The encoder that search uses unless told otherwise: ONNX Runtime, no PyTorch.

Tested in ``tests/search/test_onnx_encoder.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from msedge.errors import ConfigError, ShapeError, WeightsError
from msedge.memory import as_out_of_memory
from msedge.models.card import Card, read_card
from msedge.models.onnx_file import (
    INPUT,
    MOST_PIXELS,
    OUTPUT,
    SUFFIX,
    check_graph,
    fingerprint,
    read_onnx_card,
)
from msedge.models.shipped import DEFAULT_MODEL, find_model, is_shipped
from msedge.quoting import named, plain
from msedge.search.cpus import usable_cpus
from msedge.search.edge_view import edge_view
from msedge.search.encoder import Embeddings, Pixels

if TYPE_CHECKING:
    import onnxruntime

_CHUNK = 8  # images that go through the network together
_FLOAT = "tensor(float)"
_NO_GPU = (
    "this ONNX Runtime {}: pip install onnxruntime-gpu in place of onnxruntime, with the CUDA that "
    "it names, or leave the GPU out"
)


class OnnxEncoder:
    """A network as ONNX Runtime runs it, with its card. Threads may share one."""

    def __init__(
        self, name: str, fingerprint: str, card: Card, session: onnxruntime.InferenceSession
    ) -> None:
        self._name, self._fingerprint, self._card = name, fingerprint, card
        self._session = session

    @classmethod
    def load(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        threads: int | None = None,
        device: str = "cpu",
    ) -> Self:
        """Make a model ready to be asked.

        Args:
            model: a shipped model's name; a ``.safetensors`` checkpoint with its ``.onnx`` file
                beside it; or an ``.onnx`` file that ``msedge export`` wrote.
            threads: how many work on an image; None for the CPUs that this process may use.
            device: ``cpu``, or ``cuda`` for the first GPU that this process sees. Vectors of the
                two agree but for rounding.

        Raises:
            WeightsError: there is no such model, or a file of it is missing, damaged, of another
                program, or of another model than the file beside it.
            ConfigError: ``threads`` is smaller than 1; or this ONNX Runtime, or this machine, knows
                no such device.
        """
        if threads is not None and threads < 1:
            raise ConfigError(f"an encoder needs at least 1 thread, got {threads}")
        providers = providers_of(device)
        path = _graph(find_model(model))
        card, decides = read_onnx_card(path), fingerprint(path)  # before anything of it is run
        check_graph(path)
        session = _session(path, threads or usable_cpus(), providers)
        _check(path, card, session)
        name = str(model) if is_shipped(model) else str(Path(model).resolve())
        return cls(name, decides, card, session)

    @property
    def name(self) -> str:
        """A shipped model's name, else its file's absolute path: what `load` takes to have it."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that decides its vectors, as hexadecimal digits."""
        return self._fingerprint

    @property
    def card(self) -> Card:
        """What the model says of itself."""
        return self._card

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self._card.dim

    @property
    def image_size(self) -> int:
        """Pixels on a side of what it reads."""
        return self._card.image_size

    def photos(self, pixels: Pixels) -> Embeddings:
        """Unit vectors of photos; of any number, in bounded memory.

        Where the card says so, a share of the vector of the photo's edges is added to its own.

        Args:
            pixels: ``(B, 3, S, S)`` uint8, RGB, 0 to 255, S the ``image_size``.

        Returns:
            ``(B, dim)`` float32, each row of length 1.

        Raises:
            ShapeError: ``pixels`` is anything else.
        """
        return self._embed(pixels, self._card.gallery_edges)

    def sketches(self, pixels: Pixels) -> Embeddings:
        """Unit vectors of drawings, framed and dark on white; else as :meth:`photos`.

        Args:
            pixels: ``(B, 3, S, S)`` uint8, RGB, 0 to 255, S the ``image_size``.

        Returns:
            ``(B, dim)`` float32, each row of length 1.

        Raises:
            ShapeError: ``pixels`` is anything else.
        """
        return self._embed(pixels, 0.0)

    def _embed(self, pixels: Pixels, edge_weight: float) -> Embeddings:
        size = self.image_size
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (3, size, size):
            raise ShapeError(
                f"{self._name} reads uint8 pixels of shape (B, 3, {size}, {size}), got "
                f"{pixels.dtype} {pixels.shape}"
            )
        vectors = np.empty((len(pixels), self.dim), np.float32)
        for start in range(0, len(pixels), _CHUNK):
            chunk = pixels[start : start + _CHUNK]
            own = self._run(chunk.astype(np.float32) / np.float32(255))
            if edge_weight:
                own = _unit(own + np.float32(edge_weight) * self._run(edge_view(chunk)))
            vectors[start : start + _CHUNK] = own
        return vectors

    def _run(self, images: npt.NDArray[np.float32]) -> Embeddings:
        """What the network says of images ``(B, 3, S, S)`` in [0, 1]."""
        try:
            (vectors,) = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(images)})
        except Exception as error:  # ONNX Runtime's errors have no class of their own in common
            if (full := as_out_of_memory(error)) is not None:
                raise full from error
            raise WeightsError(
                f"{plain(self._name)} cannot be run by ONNX Runtime ({_words(error)}); write it "
                "anew with msedge export"
            ) from error
        if vectors.shape != (len(images), self.dim) or not np.isfinite(vectors).all():
            raise WeightsError(
                f"{plain(self._name)} gives no vectors of {self.dim} finite numbers; its weights "
                "are damaged, or of a run that failed: write it anew with msedge export"
            )
        return vectors  # type: ignore[no-any-return]


def _graph(path: Path) -> Path:
    """The ONNX file of a model's file; a checkpoint's lies beside it and must be its own."""
    if path.suffix == SUFFIX:
        return path
    card, graph = read_card(path), path.with_suffix(SUFFIX)
    way_out = f"write it with `msedge export {named(path)} --out {named(graph)}`"
    if not graph.is_file():
        raise WeightsError(f"{named(path)} has no ONNX file beside it; {way_out}")
    if read_onnx_card(graph).model_copy(update={"precision": card.precision}) != card:
        raise WeightsError(
            f"{named(graph)} was made from another model than {named(path)}; {way_out}"
        )
    return graph


def _session(path: Path, threads: int, providers: list[str]) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # A thread that spins while it waits takes the core from whatever else the search does.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised as well; no need to print it too
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors have no class of their own in common
        if (full := as_out_of_memory(error)) is not None:
            raise full from error
        raise WeightsError(
            f"{named(path)} cannot be run by ONNX Runtime ({_words(error)}); write it anew with "
            "msedge export"
        ) from error
    if providers[0] not in session.get_providers():  # it goes on with the CPU without a word
        raise ConfigError(_NO_GPU.format("cannot use the GPU of this machine"))
    return session


def providers_of(device: str) -> list[str]:
    """What ONNX Runtime calls a device, with what it falls back to for single steps.

    Raises:
        ConfigError: there is no such device, or this ONNX Runtime knows none.
    """
    import onnxruntime

    if device == "cpu":
        return ["CPUExecutionProvider"]
    if device != "cuda":
        raise ConfigError(f"no device {device!r}: expected cpu or cuda")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise ConfigError(_NO_GPU.format("is the one for CPUs alone"))
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def _check(path: Path, card: Card, session: onnxruntime.InferenceSession) -> None:
    """Hold the graph against its card."""
    size, taken, given = card.image_size, session.get_inputs(), session.get_outputs()
    if size > MOST_PIXELS:
        raise WeightsError(
            f"{named(path)} reads {size:,} pixels on a side; no model reads more than "
            f"{MOST_PIXELS:,}"
        )
    wanted = [(INPUT, _FLOAT, [3, size, size])], [(OUTPUT, _FLOAT, [card.dim])]
    found = [[(x.name, x.type, x.shape[1:]) for x in values] for values in (taken, given)]
    if found != list(wanted):
        raise WeightsError(
            f"{named(path)} does not take and give what its card says: expected {wanted}, found "
            f"{plain(found)}"
        )


def _words(error: Exception) -> str:
    return plain(" ".join(str(error).split()))


def _unit(vectors: Embeddings) -> Embeddings:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, np.float32(1e-12))  # type: ignore[no-any-return]
