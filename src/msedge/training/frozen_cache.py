"""What the frozen blocks say of every image, computed once and kept.

Where the first blocks of the backbone stay as they are, they say the same of an image in every
epoch, and they are the slow ones: their maps are the largest. Keeping their output in half
precision leaves only the blocks that learn. Mirroring is done on the kept maps, which differs from
mirrored images by less than one step of the map (strided convolutions pad one side more than the
other). ``benchmarks/frozen_cache.py`` measures what it saves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from msedge.data.datasets import ImageSet
from msedge.data.layouts import DOMAINS
from msedge.data.transforms import to_unit_range
from msedge.errors import ConfigError
from msedge.models.network import FrozenFeatures, MSEdge
from msedge.training.disk_cache import cached, records_key, weights_key

_PHOTO = DOMAINS.index("photo")
_BATCH = 64
View = Callable[[Tensor], Tensor]
Progress = Callable[[int, int], None]


class FrozenCache:
    """The output of the frozen blocks for all images of a set, and for its photos' edge views."""

    def __init__(
        self,
        network: MSEdge,
        images: ImageSet,
        *,
        blocks: int,
        views: Sequence[View] = (),
        limit_gb: float,
        device: torch.device,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Send every image through the frozen blocks, unless the folder holds what comes of it.

        Args:
            network: on ``device``; its first ``blocks`` blocks must stay as they are from now on.
            images: the images.
            blocks: how many blocks of the backbone are frozen.
            views: ways of drawing a photo's edges, whose output is kept for every photo.
            limit_gb: how much memory may be used.
            device: where the network is; the maps are kept in main memory.
            folder: where to keep the maps for other runs.
            progress: called with images done and images in all.

        Raises:
            ConfigError: the backbone cannot be cut there, or the maps need more than ``limit_gb``.
            DataError: an image cannot be read, or the folder cannot be written.
        """
        self._network, self._images, self._device = network, images, device
        self._blocks, self._progress = blocks, progress
        self._is_photo = images.domains == _PHOTO
        photos, sketches = (torch.nonzero(of)[:, 0] for of in (self._is_photo, ~self._is_photo))
        self._place = torch.empty(len(images), dtype=torch.int64)  # among those of its domain
        for rows in (photos, sketches):
            self._place[rows] = torch.arange(len(rows))
        self._check(len(images) + len(views) * len(photos), limit_gb)
        key = {
            "shown": images.shown_as,
            "weights": weights_key(network.backbone.blocks()[:blocks]) if folder else "",
            "backbone": network.backbone.name,
            "blocks": blocks,
            "edges": network.fusion.uses_edges,
        }

        def maps(what: str, rows: Tensor, view: View | None = None) -> list[Tensor]:
            records = [images.records[row] for row in rows.tolist()] if folder else []
            asked = {**key, "what": what, "images": records_key(records)}
            return cached(folder, asked, partial(self._through, rows, view)) if len(rows) else []

        # Domain by domain: runs on the sketches of other classes find their photos kept.
        self._photos, self._sketches = maps("photos", photos), maps("sketches", sketches)
        self._views = [maps(view.__name__, photos, view) for view in views]

    def features(
        self, rows: Tensor, viewed: Tensor, kinds: Tensor, mirrored: Tensor
    ) -> FrozenFeatures:
        """The images at ``rows``, and after them the edge views of some of these.

        Args:
            rows: ``(B,)`` int64, positions in the set.
            viewed: ``(V,)`` int64, positions in ``rows``; each must be a photo.
            kinds: ``(V,)`` int64, which of the views of each.
            mirrored: ``(B + V,)`` bool, which to turn from left to right.

        Returns:
            ``B + V`` images on the device, float32.
        """
        photos = self._place[rows[viewed]]
        places, is_photo = self._place[rows], self._is_photo[rows]
        maps = []
        for position, some in enumerate(self._photos or self._sketches):
            chosen = some.new_empty((len(rows) + len(viewed), *some.shape[1:]))  # (., H, W, C)
            own = chosen[: len(rows)]
            for of, kept in ((is_photo, self._photos), (~is_photo, self._sketches)):
                if kept:
                    own[of] = kept[position][places[of]]
            drawn = chosen[len(rows) :]
            for kind in set(kinds.tolist()):
                drawn[kinds == kind] = self._views[kind][position][photos[kinds == kind]]
            chosen = chosen.float()
            chosen[mirrored] = chosen[mirrored].flip(2)
            maps.append(chosen.permute(0, 3, 1, 2).to(self._device))
        edges = 3 if self._network.fusion.uses_edges else 0
        return FrozenFeatures(self._blocks, maps[: len(maps) - edges], maps[len(maps) - edges :])

    def _check(self, count: int, limit_gb: float) -> None:
        one = self._computed(self._images.pixels(torch.tensor([0])), None)
        needed = 2 * count * sum(tensor[0].numel() for tensor in one) / 1e9
        if needed > limit_gb:
            raise ConfigError(
                f"cache_frozen needs {needed:.1f} GB for {count} images, more than cache_gb "
                f"({limit_gb:g}); raise it, freeze more blocks, or drop cache_frozen"
            )

    def _through(self, rows: Tensor, view: View | None) -> list[Tensor]:
        maps: list[Tensor] = []
        for start in range(0, len(rows), _BATCH):
            chunk = rows[start : start + _BATCH]
            found = self._computed(self._images.pixels(chunk), view)
            if not maps:
                shapes = [(len(rows), *tensor.shape[1:]) for tensor in found]
                maps = [torch.empty(shape, dtype=torch.float16) for shape in shapes]
            for whole, part in zip(maps, found, strict=True):
                whole[start : start + len(chunk)] = part
            if self._progress is not None:
                self._progress(start + len(chunk), len(rows))
        return maps

    @torch.no_grad()
    def _computed(self, pixels: Tensor, view: View | None) -> list[Tensor]:
        """Maps ``(B, H, W, C)`` in half precision of uint8 pixels ``(B, 3, S, S)``."""
        training = self._network.training
        self._network.eval()
        images = to_unit_range(pixels.to(self._device))
        if view is not None:
            images = view(images).contiguous(memory_format=torch.channels_last)
        found = self._network.frozen_features(images, self._blocks)
        self._network.train(training)
        return [t.permute(0, 2, 3, 1).half().cpu() for t in (*found.features, *found.edges)]
