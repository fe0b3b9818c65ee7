"""What turns pixels into vectors: the encoder, as search sees it and as ONNX Runtime runs it.

No PyTorch; the model's file and ONNX Runtime are loaded with the first encoder, as stores import
this for the protocol. How a photo's file becomes pixels is in :mod:`msedge.search.reading`. Tested
in ``tests/search/test_encoder.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import numpy.typing as npt

from msedge.errors import ConfigError, ShapeError, WeightsError
from msedge.memory import as_out_of_memory
from msedge.models.photo_edges import edge_view
from msedge.quoting import named, plain
from msedge.search.ranking import Embeddings as Embeddings
from msedge.search.ranking import Pixels as Pixels
from msedge.system import usable_cpus

if TYPE_CHECKING:
    import onnxruntime

    from msedge.models.bank import Bank
    from msedge.models.card import Card

_TOGETHER = 8  # images that go through the network together, fewer where they are large
_PIXELS = _TOGETHER * 192 * 192
_FLOAT = "tensor(float)"
_NO_GPU = (
    "this ONNX Runtime {}: pip install onnxruntime-gpu in place of onnxruntime, with the CUDA that "
    "it names, or leave the GPU out"
)


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

    @property
    def bank(self) -> Bank | None:
        """What the model knows beside its weights; None where that is nothing."""

    @property
    def photo_sizes(self) -> tuple[int, ...]:
        """Sides of squares with as many pixels as photos of their own shape are read at.

        Where there are none, photos are squashed to the square of ``image_size``.
        """

    def photos(self, pixels: Pixels) -> Embeddings:
        """Unit vectors ``(B, dim)`` of photos of one shape ``(B, 3, H, W)``, RGB, 0 to 255.

        They were read as :func:`photo_side` says.
        """

    def sketches(self, pixels: Pixels) -> Embeddings:
        """Unit vectors ``(B, dim)`` of drawings ``(B, 3, S, S)``, RGB, 0 to 255, framed."""

    def places(self, pixels: Pixels) -> npt.NDArray[np.float32] | None:
        """Unit vectors ``(dim, h, w)`` of the places of a photo ``(3, H, W)``; None if unknown."""


def photo_side(encoder: Encoder) -> tuple[int, bool]:
    """The size that a photo is read at for an encoder, and whether its shape is kept.

    What :func:`msedge.data.images.read_picture` takes as ``size`` and ``keep_shape``.
    """
    sizes = encoder.photo_sizes
    return (max(sizes), True) if sizes else (encoder.image_size, False)


@dataclass(eq=False)
class OnnxEncoder:
    """A network as ONNX Runtime runs it, with its card. Threads may share one."""

    name: str  # a shipped model's, else its file's absolute path: what `load` takes to have it
    fingerprint: str  # SHA-256 over all that decides its vectors, as hexadecimal digits
    card: Card  # what the model says of itself
    _session: onnxruntime.InferenceSession
    bank: Bank | None = None  # that lies beside its file

    @classmethod
    def load(
        cls, model: str | Path | None = None, *, threads: int | None = None, device: str = "cpu"
    ) -> Self:
        """Make a model ready to be asked.

        Args:
            model: a shipped model's name, None for ``msedge-lite``; a ``.safetensors`` checkpoint
                with its ``.onnx`` file beside it; or an ``.onnx`` file of ``msedge export``.
            threads: how many work on an image; None for the CPUs that this process may use.
            device: ``cpu``, or ``cuda`` for the first GPU that this process sees. Vectors of the
                two agree but for rounding.

        Raises:
            WeightsError: there is no such model, or a file of it is missing, damaged, of another
                program, or of another model than the file beside it; so may the bank be.
            ConfigError: ``threads`` is smaller than 1; or this ONNX Runtime, or this machine, knows
                no such device.
        """
        from msedge.models.bank import bank_of
        from msedge.models.onnx_file import check_graph, fingerprint, read_onnx_card
        from msedge.models.shipped import DEFAULT_MODEL, find_model, is_shipped

        model = DEFAULT_MODEL if model is None else model
        if threads is not None and threads < 1:
            raise ConfigError(f"an encoder needs at least 1 thread, got {threads}")
        providers = providers_of(device)
        path = _graph(find_model(model))
        card, decides = read_onnx_card(path), fingerprint(path)  # before anything of it is run
        check_graph(path)
        bank = bank_of(path, card)
        session = _session(path, threads or usable_cpus(), providers)
        _check(path, card, session)
        name = str(model) if is_shipped(model) else str(Path(model).resolve())
        return cls(name, decides, card, session, bank)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.card.dim

    @property
    def image_size(self) -> int:
        """Pixels on a side of what it reads."""
        return self.card.image_size

    @property
    def photo_sizes(self) -> tuple[int, ...]:
        """Sides of squares with as many pixels as photos are read at; see :class:`Encoder`."""
        return self.card.photo_sizes

    def photos(self, pixels: Pixels) -> Embeddings:
        """Unit vectors of photos; of any number, in bounded memory.

        Where the card says so, a photo is read at several sizes, and the vectors are averaged; and
        a share of the vector of the photo's edges is added to its own.

        Args:
            pixels: ``(B, 3, H, W)`` uint8, RGB, 0 to 255, read as :func:`photo_side` says;
                anything else is a :class:`~msedge.errors.ShapeError`.

        Returns:
            ``(B, dim)`` float32, each row of length 1.
        """
        weight = self.card.gallery_edges
        if not self.photo_sizes:
            return self._embed(pixels, weight)
        from msedge.data.images import STEP, resized  # late, with all that reads images

        largest = max(self.photo_sizes)
        if pixels.ndim != 4 or pixels.shape[2] % STEP or pixels.shape[3] % STEP:
            raise ShapeError(
                f"{self.name} reads photos of about {largest} x {largest} pixels in their own "
                f"shape, (B, 3, H, W) in multiples of {STEP}, got {pixels.shape}"
            )
        vectors = np.zeros((len(pixels), self.dim), np.float32)
        for size in self.photo_sizes if len(pixels) else ():
            at_size = pixels
            if size != largest:
                at_size = np.stack([resized(photo, size) for photo in pixels])
            vectors += self._embed(at_size, weight, free=True)
        return vectors if len(self.photo_sizes) == 1 else _unit(vectors)

    def sketches(self, pixels: Pixels) -> Embeddings:
        """Unit vectors of drawings, framed and dark on white.

        They are ``(B, 3, S, S)`` uint8, RGB, 0 to 255, S the ``image_size``; anything else is a
        :class:`~msedge.errors.ShapeError`.
        """
        return self._embed(pixels, 0.0)

    def _embed(self, pixels: Pixels, edge_weight: float, *, free: bool = False) -> Embeddings:
        """Vectors of images of one shape, which is the square of the card unless it is free."""
        size = self.image_size
        shape = (3, *pixels.shape[-2:]) if free else (3, size, size)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != shape:
            raise ShapeError(
                f"{self.name} reads uint8 pixels of shape (B, 3, {size}, {size}), got "
                f"{pixels.dtype} {pixels.shape}"
            )
        vectors = np.empty((len(pixels), self.dim), np.float32)
        together = min(_TOGETHER, max(1, _PIXELS // (shape[1] * shape[2])))
        for start in range(0, len(pixels), together):
            chunk = pixels[start : start + together]
            own = self._run(chunk.astype(np.float32) / np.float32(255))
            if edge_weight:
                own = _unit(own + np.float32(edge_weight) * self._run(edge_view(chunk)))
            vectors[start : start + together] = own
        return vectors

    def places(self, pixels: Pixels) -> npt.NDArray[np.float32] | None:
        """What each place of a photo says, as if there were nothing else in it.

        Args:
            pixels: ``(3, H, W)``, read as for :meth:`photos`.

        Returns:
            ``(dim, h, w)`` float32, unit vectors on a grid over the photo; None where the network
            tells none: those without ``photo_sizes``.
        """
        if not self.photo_sizes:
            return None
        from msedge.models.onnx_file import INPUT, PLACES

        image = pixels[None].astype(np.float32) / np.float32(255)
        with _errors_told(plain(self.name)):
            (places,) = self._session.run([PLACES], {INPUT: image})
        lengths = np.linalg.norm(places[0], axis=0, keepdims=True)
        return places[0] / np.maximum(lengths, np.float32(1e-12))  # type: ignore[no-any-return]

    def _run(self, images: npt.NDArray[np.float32]) -> Embeddings:
        """What the network says of images ``(B, 3, H, W)`` in [0, 1]."""
        from msedge.models.onnx_file import INPUT, OUTPUT

        with _errors_told(plain(self.name)):
            (vectors,) = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(images)})
        if vectors.shape != (len(images), self.dim) or not np.isfinite(vectors).all():
            raise WeightsError(
                f"{plain(self.name)} gives no vectors of {self.dim} finite numbers; its weights "
                "are damaged, or of a run that failed: write it anew with msedge export"
            )
        return vectors  # type: ignore[no-any-return]


def _unit(vectors: Embeddings) -> Embeddings:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, np.float32(1e-12))  # type: ignore[no-any-return]


def providers_of(device: str) -> list[str]:
    """What ONNX Runtime calls a device that it has, and what it falls back to for single steps."""
    import onnxruntime

    if device == "cpu":
        return ["CPUExecutionProvider"]
    if device != "cuda":
        raise ConfigError(f"no device {device!r}: expected cpu or cuda")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise ConfigError(_NO_GPU.format("is the one for CPUs alone"))
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def _graph(path: Path) -> Path:
    """The ONNX file of a model's file; a checkpoint's lies beside it and must be its own."""
    from msedge.models.card import read_card
    from msedge.models.onnx_file import SUFFIX, read_onnx_card

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
    with _errors_told(named(path)):
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    if providers[0] not in session.get_providers():  # it goes on with the CPU without a word
        raise ConfigError(_NO_GPU.format("cannot use the GPU of this machine"))
    return session


def _check(path: Path, card: Card, session: onnxruntime.InferenceSession) -> None:
    """Hold the graph against its card."""
    from msedge.models.onnx_file import FREE, GRID, INPUT, MOST_PIXELS, OUTPUT, PLACES

    size = card.image_size
    if size > MOST_PIXELS:
        raise WeightsError(
            f"{named(path)} reads {size:,} pixels on a side; no model reads more than "
            f"{MOST_PIXELS:,}"
        )
    sides = FREE if card.photo_sizes else (size, size)
    outputs: list[tuple[str, str, list[object]]] = [(OUTPUT, _FLOAT, [card.dim])]
    if card.photo_sizes:
        outputs.append((PLACES, _FLOAT, [card.dim, *GRID]))
    wanted = [(INPUT, _FLOAT, [3, *sides])], outputs
    values = session.get_inputs(), session.get_outputs()
    found = [[(each.name, each.type, each.shape[1:]) for each in some] for some in values]
    if found != list(wanted):
        raise WeightsError(
            f"{named(path)} does not take and give what its card says: expected {wanted}, found "
            f"{plain(found)}"
        )


@contextmanager
def _errors_told(model: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # ONNX Runtime's errors have no class of their own in common
        if (full := as_out_of_memory(error)) is not None:
            raise full from error
        words = plain(" ".join(str(error).split()))
        raise WeightsError(
            f"{model} cannot be run by ONNX Runtime ({words}); write it anew with msedge export"
        ) from error
