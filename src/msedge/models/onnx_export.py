"""Checkpoints as ONNX files, for ONNX Runtime: embeddings without PyTorch.

The graph takes ``images``, float32 ``(B, 3, S, S)``, RGB in [0, 1], any B, S the card's
``image_size`` (``(B, 3, H, W)``, multiples of 32, where the card has ``photo_sizes``), and gives
``embeddings``, float32 ``(B, dim)``, each row of length 1; mean and deviation are applied inside.
With ``photo_sizes`` it gives ``places`` as well, what each place of the last stage's grid says,
``(B, dim, H / 32, W / 32)``, of any length. The card goes along in the file's metadata, under the
same keys as in a checkpoint. Tested in ``tests/models/test_onnx_export.py``.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from msedge.errors import ConfigError, WeightsError
from msedge.models.card import FORMAT, Card
from msedge.models.checkpoint import load_checkpoint
from msedge.models.network import MSEdge
from msedge.models.onnx_conversion import require_packages
from msedge.models.onnx_file import FREE, GRID, INPUT, OUTPUT, PLACES, other_shapes
from msedge.storage import atomic_path

if TYPE_CHECKING:
    import onnx

TOLERANCE = 2e-3  # of embeddings of length 1; float32 rounding gives about 1e-6
_SMALL = 64  # values of a constant that is worked out at export
_LARGEST = 2**31 - 2**20  # bytes: what one protobuf message can hold, less room for the nodes


def export_onnx(checkpoint: Path, path: Path, *, embed_weights: bool = True) -> float:
    """Write a checkpoint's network as ONNX, and run it beside the network before it is kept.

    Args:
        checkpoint: of float32 or float16 tensors; the latter are used as float32.
        path: where to write, in place of what was there.
        embed_weights: False lets the file refer to the checkpoint's tensors instead of repeating
            them; both must then lie in one folder and stay together, unchanged.

    Returns:
        The largest distance between the file's and the network's embeddings of random images.

    Raises:
        ConfigError: ``path`` does not end in ``.onnx``, or does not lie beside the checkpoint that
            it is to refer to, or the network is too large for one file.
        WeightsError: the checkpoint cannot be read, its backbone cannot be exported, or the file
            does not say the same as the network.
        DataError: the file cannot be written.
        MSEdgeError: a package that this needs is not installed.
    """
    if path.suffix != ".onnx":
        raise ConfigError(f"an ONNX file's name ends in .onnx, got {str(path)!r}")
    if not embed_weights and checkpoint.parent.resolve() != path.parent.resolve():
        raise ConfigError(
            f"{path} cannot refer to weights in another folder; write it beside {checkpoint}"
        )
    require_packages("onnx", "onnxscript", "onnxruntime")
    network, card = load_checkpoint(checkpoint)
    model = trace(network, card)
    if not embed_weights:
        from msedge.models.onnx_weights import refer_to_checkpoint

        refer_to_checkpoint(model, checkpoint)
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
        return _checked(temporary, network, card)


def _checked(path: Path, network: MSEdge, card: Card) -> float:
    from msedge.models.onnx_check import largest_difference

    try:
        difference = largest_difference(path, network, shapes=other_shapes(card))
    except Exception as error:  # ONNX Runtime's errors have no class of their own in common
        raise WeightsError(
            f"{card.backbone} does not run as ONNX ({' '.join(str(error).split())[:160]}); "
            "nothing was written, use PyTorch"
        ) from error
    if not difference <= TOLERANCE:  # NaN is not
        if card.photo_sizes:
            raise WeightsError(
                f"{card.backbone} with the fusion {card.fusion!r} gives other embeddings as ONNX "
                f"than in PyTorch where photos keep their shape (difference {difference:.2g}, "
                f"allowed {TOLERANCE:g}); nothing was written, train it without photo_sizes"
            )
        raise WeightsError(
            f"{card.backbone} gives other embeddings as ONNX than in PyTorch (difference "
            f"{difference:.2g}, allowed {TOLERANCE:g}); nothing was written, use PyTorch"
        )
    return difference


def trace(network: MSEdge, card: Card) -> onnx.ModelProto:
    """The network as a graph that keeps every weight as it is, under its own name.

    Args:
        network: in evaluation mode, on the CPU.
        card: goes into the metadata.

    Returns:
        A graph that holds its weights as float32 (a protobuf message of at most 2 GB). Height and
        width are free where the card has ``photo_sizes``: whether the network bears that shows
        when the file is compared with it.

    Raises:
        ConfigError: the network is too large for one file.
        WeightsError: its backbone cannot be exported.
    """
    from onnx_ir.passes import common as passes
    from onnxscript.optimizer import fold_constants

    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    if size > _LARGEST:
        raise ConfigError(
            f"{card.backbone} is too large for one ONNX file ({size / 1e9:.1f} GB, at most 2); "
            "choose a smaller backbone"
        )
    batch = torch.export.Dim("batch", min=1)
    with_places, traced = bool(card.photo_sizes), network
    if with_places:
        traced = copy.copy(network)
        traced.__class__ = _WithPlaces
    try:
        with _silence():
            program = torch.onnx.export(
                traced,
                (torch.zeros(2, 3, card.image_size, card.image_size),),  # 1 would freeze the batch
                dynamo=True,
                optimize=False,  # it would fold weights into others
                input_names=[INPUT],
                output_names=[OUTPUT, PLACES] if with_places else [OUTPUT],
                dynamic_shapes={"images": {0: batch}},
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise WeightsError(f"{card.backbone} cannot be exported to ONNX ({reason})") from error
    if program is None:
        raise TypeError("the exporter returned no program")
    # Types and sizes are settled here: left to run time, they keep ONNX Runtime from joining
    # normalisations with convolutions. What is made of weights is left to it.
    fold_constants(program.model, output_size_limit=_SMALL, should_fold=_without_weights)
    for tidy in (
        passes.IdentityEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.ClearMetadataAndDocStringPass(),
    ):
        tidy(program.model)
    model = cast("onnx.ModelProto", program.model_proto)
    del model.graph.value_info[:]  # ONNX Runtime infers the shapes itself
    if card.photo_sizes:
        # Padding is the same for all multiples of the coarsest stride, so nothing else depends on
        # the size; exported with free sizes, the graph would work it out anew for each image.
        sides = list(model.graph.input[0].type.tensor_type.shape.dim)[2:]
        for side, name in zip(sides, FREE, strict=True):
            side.dim_param = name
        grid = list(model.graph.output[1].type.tensor_type.shape.dim)[2:]
        for side, name in zip(grid, GRID, strict=True):
            side.dim_param = name
    model.metadata_props.add(key="format", value=FORMAT)
    model.metadata_props.add(key="card", value=card.model_dump_json())
    return model


class _WithPlaces(MSEdge):
    """A network whose answer to images has the places as well; weights keep their names."""

    forward = MSEdge.with_places  # type: ignore[assignment]


def _without_weights(node: Any) -> bool | None:
    """False keeps a node as it is; None leaves the choice to the folding."""
    weights = any(value is not None and value.is_initializer() for value in node.inputs)
    return False if weights else None


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's remarks on its own progress from a person who asked for a file."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
