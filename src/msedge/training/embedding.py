"""Images to the vectors of a whole set, and vectors to how well they retrieve.

Several processes share the work and all get the whole result, the same to the last bit as one
process has: they take whole batches of those that one would take, and a query's figures depend on
no other query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from msedge.data.datasets import ImageSet
from msedge.data.images import resized
from msedge.data.layouts import DOMAINS
from msedge.data.transforms import to_unit_range
from msedge.data.vectors import Vectors
from msedge.evaluation.evaluate import Evaluation, Metrics, evaluate
from msedge.models.edges import edge_view
from msedge.training.frozen_cache import FrozenCache
from msedge.training.processes import Processes
from msedge.training.transfer import fetched, sent

CUTOFFS = (10, 25, 100, 200)  # the paper's two, and two that small sets can reach
_PHOTO = DOMAINS.index("photo")
_ALONE = Processes()
_GATHERED = 4096
"""Rows that processes tell each other at a time, which bounds what a GPU holds of them."""
Progress = Callable[[int, int], None]


@torch.inference_mode()
def embed(
    network: nn.Module,
    images: ImageSet,
    *,
    device: torch.device,
    batch_size: int = 64,
    edge_weight: float = 0.0,
    photo_sizes: Sequence[int] = (),
    frozen: FrozenCache | None = None,
    processes: Processes = _ALONE,
    progress: Progress | None = None,
) -> Vectors:
    """The unit vectors of a set of images, in its order.

    Reading, transfer and computing overlap, and the device never holds the vectors of more than a
    few batches.

    Args:
        network: maps ``(B, 3, S, S)`` in [0, 1] to ``(B, D)``; left in evaluation mode.
        images: what to embed; the same in each process.
        device: where the network is.
        batch_size: images at a time.
        edge_weight: how much of the vector of its edge view is added to that of a photo; the sum
            is brought back to length 1.
        photo_sizes: photos are read in their own shape, at as many pixels as squares of these
            sides have, and their vectors averaged; none: as the set reads them.
        frozen: what the network's frozen blocks say of these images, and first of their edge
            views where these are asked for; then no image is read, but photos of their own shape.
        processes: who shares the work; each embeds its share of the batches, and no image is
            embedded twice.
        progress: called with images done, in all processes if they are equally fast, and images
            in all.

    Returns:
        Embeddings ``(N, D)`` with labels, domains, class names and paths, in each process.

    Raises:
        DataError: an image cannot be read; the message names it.
    """
    network.eval()
    batches = torch.split(torch.arange(len(images)), batch_size)
    own = batches[processes.rank :: processes.count]
    found = torch.empty(len(own), batch_size, 0)  # the width is known with the first batch
    vectors = _vectors(network, images, own, device, edge_weight, tuple(photo_sizes), frozen)
    for position, part in enumerate(fetched(vectors)):
        if position == 0:
            found = part.new_zeros(len(own), batch_size, part.shape[1])
        found[position, : len(part)] = part
        if progress is not None:
            done = (position + 1) * processes.count * batch_size
            progress(min(done, len(images)), len(images))
    whole = _of_all(found, len(batches), processes).flatten(0, 1)[: len(images)]
    return Vectors(
        embeddings=whole.numpy(),
        labels=images.labels.numpy().astype(np.int64),
        domains=images.domains.numpy().astype(np.int64),
        classes=images.classes,
        paths=tuple(str(record.path) for record in images.records),
    )


def judge(
    vectors: Vectors, *, processes: Processes = _ALONE, progress: Progress | None = None
) -> Metrics:
    """Every sketch asks, all photos are ranked; the ``standard`` metrics.

    Args:
        vectors: embeddings of both domains; the same in each process.
        processes: who shares the queries; each returns the metrics of all.
        progress: called with queries done and queries in all, of this process's share.

    Raises:
        ShapeError: the vectors cannot be ranked; the same error in each process.
    """
    queries, gallery = vectors.of("sketch"), vectors.of("photo")
    rows = processes.share(len(queries)).numpy()
    part = evaluate(
        vectors.embeddings[queries],
        vectors.embeddings[gallery],
        vectors.labels[queries],
        vectors.labels[gallery],
        at=CUTOFFS,
        rows=rows,
        progress=progress,
    )
    shares, parts = zip(*processes.objects((rows, part)), strict=True)
    return Evaluation.joined(parts, shares).metrics()


def in_percent(metrics: Metrics) -> dict[str, float]:
    """The paper's four figures, then P@10 and P@25, in percent."""
    small = {f"P@{k}": 100 * metrics.p_at[k] for k in CUTOFFS if k < 100}
    return {**metrics.headline(), **small}


def _vectors(
    network: nn.Module,
    images: ImageSet,
    batches: Sequence[Tensor],
    device: torch.device,
    edge_weight: float,
    photo_sizes: tuple[int, ...],
    frozen: FrozenCache | None,
) -> Iterator[Tensor]:
    """The vectors of each batch of rows, ``(B, D)`` float32 on the device."""
    if photo_sizes:
        yield from _shaped_vectors(
            network, images, batches, device, edge_weight, photo_sizes, frozen
        )
        return
    pixels: Iterator[Tensor] = iter(())
    if frozen is None:
        pixels = sent(images.stream(batches, pin=device.type == "cuda"), device)
    for rows in batches:
        photos = torch.nonzero(images.domains[rows] == _PHOTO)[:, 0]
        viewed = photos if edge_weight else photos[:0]
        if frozen is None:
            vectors = network(_with_views(next(pixels), _there(viewed, device))).float()
        else:
            first = torch.zeros(len(viewed), dtype=torch.int64)
            unmirrored = torch.zeros(len(rows) + len(viewed), dtype=torch.bool)
            vectors = network(frozen.features(rows, viewed, first, unmirrored)).float()
        vectors, views = vectors.split([len(rows), len(viewed)])
        if len(viewed):
            viewed = _there(viewed, device)
            both = vectors[viewed] + edge_weight * views
            vectors[viewed] = functional.normalize(both, dim=1)
        yield vectors


def _shaped_vectors(
    network: nn.Module,
    images: ImageSet,
    batches: Sequence[Tensor],
    device: torch.device,
    edge_weight: float,
    sizes: tuple[int, ...],
    frozen: FrozenCache | None,
) -> Iterator[Tensor]:
    """As :func:`_vectors`, photos in their own shape: those of one shape are embedded together."""
    for rows in batches:
        is_photo = images.domains[rows] == _PHOTO
        parts = []
        if not is_photo.all():
            squares = _vectors(network, images, [rows[~is_photo]], device, 0.0, (), frozen)
            parts.append(next(squares))
        if is_photo.any():
            read = images.shaped(rows[is_photo], max(sizes))
            at_sizes = [
                _of_photos(network, read, size, max(sizes), device, edge_weight) for size in sizes
            ]
            total = torch.stack(at_sizes).sum(dim=0)
            parts.append(total if len(sizes) == 1 else functional.normalize(total, dim=1))
        order = torch.argsort(is_photo.long(), stable=True)  # sketches come first in the parts
        yield torch.cat(parts)[_there(torch.argsort(order), device)]


def _of_photos(
    network: nn.Module,
    photos: Sequence[npt.NDArray[np.uint8]],
    size: int,
    read_at: int,
    device: torch.device,
    edge_weight: float,
) -> Tensor:
    """Vectors ``(n, D)`` of photos ``(3, H, W)`` at a size."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    sized = photos if size == read_at else [resized(pixels, size) for pixels in photos]
    for place, pixels in enumerate(sized):
        by_shape.setdefault(pixels.shape, []).append(place)
    parts = []
    for places in by_shape.values():
        batch = torch.from_numpy(np.stack([sized[place] for place in places])).to(device)
        viewed = torch.arange(len(places) if edge_weight else 0, device=device)
        own, views = network(_with_views(batch, viewed)).float().split([len(places), len(viewed)])
        if len(viewed):
            own = functional.normalize(own + edge_weight * views, dim=1)
        parts.append(own)
    order = torch.tensor([place for places in by_shape.values() for place in places])
    return torch.cat(parts)[_there(torch.argsort(order), device)]


def _there(rows: Tensor, device: torch.device) -> Tensor:
    """Rows where tensors on the device can be indexed with them, without waiting for a GPU."""
    if device.type != "cuda":
        return rows.to(device)
    return rows.pin_memory().to(device, non_blocking=True)


def _with_views(pixels: Tensor, viewed: Tensor) -> Tensor:
    """Images ``(B + V, 3, S, S)`` in [0, 1] of pixels, and after them some of their edge views."""
    images = to_unit_range(pixels)
    if len(viewed):
        images = torch.cat([images, edge_view(images[viewed])])
    return images.contiguous(memory_format=torch.channels_last)


def _of_all(found: Tensor, batches: int, processes: Processes) -> Tensor:
    """The batches ``(n, B, D)`` that each process found, as ``(batches, B, D)`` in their order."""
    if processes.count == 1:
        return found
    width = max(processes.objects(found.shape[2]))  # a process without a batch does not know it
    size = found.shape[1]
    found = found if len(found) else found.new_empty(0, size, width)
    whole = found.new_empty(batches, size, width)
    rounds = max(1, _GATHERED // size)
    for start in range(0, batches, rounds * processes.count):
        count = min(rounds * processes.count, batches - start)
        first = start // processes.count
        local = found[first : first + len(processes.share(count))].to(processes.device)
        whole[start : start + count] = processes.gather(local, count).cpu()
    return whole
