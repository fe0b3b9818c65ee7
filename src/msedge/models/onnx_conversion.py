"""Any model as one ONNX file in the precision that is wanted, held against what it was made from.

Where PyTorch is installed, the network is traced and is itself the reference; elsewhere a float32
ONNX file that is there already takes the place of both. Tested in
``tests/models/test_onnx_conversion.py``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from msedge.errors import ConfigError, MSEdgeError, WeightsError
from msedge.models.card import FORMAT, Card, Precision, read_card
from msedge.models.onnx_agreement import BOUNDS, Agreement, agreement
from msedge.models.onnx_file import SUFFIX, other_shapes, read_onnx_card
from msedge.storage import atomic_path

if TYPE_CHECKING:
    import onnx

    from msedge.models.onnx_graph import Embed, Images

_RANDOM_IMAGES = 8


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written.

    Attributes:
        reference: what the file was compared with.
        agreement: how far the two lie apart.
        on_random: whether that was on images of noise, for want of others.
    """

    reference: Literal["PyTorch", "float32 ONNX"]
    agreement: Agreement
    on_random: bool


@dataclass(frozen=True, slots=True)
class _Source:
    graph: onnx.ModelProto
    card: Card
    embed: Embed
    reference: Literal["PyTorch", "float32 ONNX"]


def convert(
    source: Path,
    path: Path,
    *,
    precision: Precision = "float32",
    calibration: Sequence[Images] = (),
    held_out: Sequence[Images] = (),
) -> Conversion:
    """Write a model as one ONNX file that needs no other.

    Args:
        source: a ``.safetensors`` checkpoint or an ONNX file of ours, of floats.
        path: where to write, in place of what was there.
        precision: ``float32``; ``float16``, weights kept in half the bytes and computed with as
            float32, since ONNX Runtime has few products of float16 on CPUs and would convert
            every activation; ``int8``, see :mod:`msedge.models.onnx_int8`.
        calibration: batches ``(B, 3, S, S)`` in [0, 1] like those that it will see; for int8.
        held_out: other such batches, to compare on; without any, images of noise.

    Raises:
        ConfigError: ``path`` does not end in ``.onnx``, is the source, or int8 is asked for
            without images.
        WeightsError: the source cannot be read or converted, or the file's vectors lie further
            from the source's than :data:`~msedge.models.onnx_agreement.BOUNDS` allows.
        DataError: the file cannot be written.
        MSEdgeError: a package that this needs is not installed.
    """
    if path.suffix != SUFFIX:
        raise ConfigError(f"an ONNX file's name ends in .onnx, got {str(path)!r}")
    if precision == "int8" and not (calibration and held_out):
        raise ConfigError("int8 needs photos to calibrate on; name a gallery or a folder of them")
    require_packages("onnx", "onnxruntime")
    origin = _source(source)
    batches = held_out or _noise(origin.card)
    # before the graph is changed, and once
    expected = [origin.embed(batch) for batch in batches]
    graph = _in_precision(origin.graph, precision, calibration)
    _write_card(graph, origin.card.model_copy(update={"precision": precision}))
    with atomic_path(path) as temporary:
        temporary.write_bytes(graph.SerializeToString(deterministic=True))
        found = agreement(zip(expected, _embedded(temporary, batches, precision), strict=True))
        if not BOUNDS[precision].holds(found):
            bound = BOUNDS[precision]
            raise WeightsError(
                f"as {precision}, {source} gives other vectors than in {origin.reference}: cosine "
                f"distance {found.mean:.2g} on average, {found.worst:.2g} at worst (allowed "
                f"{bound.mean:g} and {bound.worst:g}); nothing was written, use another precision"
            )
    return Conversion(origin.reference, found, on_random=not held_out)


def card_of_source(source: Path) -> Card:
    """The card of what :func:`convert` takes.

    Raises:
        WeightsError: the file cannot be read, is not one of ours, or is an ONNX file that is
            rounded already.
    """
    if source.suffix != SUFFIX:
        return read_card(source)
    card = read_onnx_card(source)
    if card.precision != "float32":
        raise WeightsError(
            f"{source} is rounded to {card.precision} already; export the checkpoint itself"
        )
    return card


def require_packages(*names: str) -> None:
    """See that packages are installed.

    Raises:
        MSEdgeError: one is not; the message says what installs it.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise MSEdgeError(
            f"ONNX export needs the package {missing[0]}; pip install 'msedge[train,export]'"
        )


def _source(path: Path) -> _Source:
    card, beside = card_of_source(path), path.with_suffix(SUFFIX)
    if path.suffix != SUFFIX and (_has("torch") or not _is_made_from(beside, card)):
        return _traced(path)
    from msedge.models.onnx_graph import read_float32_graph, runner

    graph = read_float32_graph(beside)
    return _Source(graph, card, runner(graph.SerializeToString()), "float32 ONNX")


def _is_made_from(graph: Path, card: Card) -> bool:
    return graph.is_file() and read_onnx_card(graph) == card


def _traced(checkpoint: Path) -> _Source:
    require_packages("torch", "onnxscript")
    import torch

    from msedge.models.checkpoint import load_checkpoint
    from msedge.models.onnx_export import trace

    network, card = load_checkpoint(checkpoint)

    def embed(images: Images) -> Images:
        with torch.inference_mode():
            return network(torch.from_numpy(images.copy())).numpy()  # type: ignore[no-any-return]

    return _Source(trace(network, card), card, embed, "PyTorch")


def _in_precision(
    graph: onnx.ModelProto, precision: Precision, calibration: Sequence[Images]
) -> onnx.ModelProto:
    if precision == "float16":
        from msedge.models.onnx_graph import keep_as_float16

        keep_as_float16(graph)
    elif precision == "int8":
        from msedge.models.onnx_int8 import quantise

        return quantise(graph, calibration)
    return graph


def _write_card(graph: onnx.ModelProto, card: Card) -> None:
    del graph.metadata_props[:]
    graph.metadata_props.add(key="format", value=FORMAT)
    graph.metadata_props.add(key="card", value=card.model_dump_json())


def _embedded(path: Path, batches: Sequence[Images], precision: str) -> Iterator[Images]:
    from msedge.models.onnx_graph import runner

    try:
        embed = runner(path)
        yield from (embed(batch) for batch in batches)
    except Exception as error:  # ONNX Runtime's errors have no class of their own in common
        raise WeightsError(
            f"the network does not run as {precision} ONNX ({' '.join(str(error).split())[:160]}); "
            "nothing was written, use PyTorch"
        ) from error


def _noise(card: Card) -> list[Images]:
    """Batches of different sizes, and of other shapes: what is free must be."""
    size, rng = card.image_size, np.random.default_rng(0)
    images = rng.random((_RANDOM_IMAGES, 3, size, size), dtype=np.float32)
    shaped = [rng.random((1, 3, *shape), dtype=np.float32) for shape in other_shapes(card)]
    return [images[:1], images[1:], *shaped]


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
