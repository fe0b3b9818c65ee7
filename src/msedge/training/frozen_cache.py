"""What the frozen blocks say of every training image, computed once and kept.

Where the first blocks of the backbone stay as they are, they say the same of an image in every
epoch, and they are the slow ones: their maps are the largest. Keeping their output in half
precision leaves only the blocks that learn. Mirroring is done on the kept maps, which differs from
mirrored images by less than one step of the map (strided convolutions pad one side more than the
other). ``benchmarks/frozen_cache.py`` measures what it saves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from msedge.data.datasets import ImageSet
from msedge.data.layouts import DOMAINS
from msedge.data.transforms import to_unit_range
from msedge.errors import ConfigError
from msedge.models.network import Begun, MSEdge

_PHOTO = DOMAINS.index("photo")
View = Callable[[Tensor], Tensor]


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
        batch_size: int = 64,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Send every image through the frozen blocks.

        Args:
            network: on ``device``; its first ``blocks`` blocks must stay as they are from now on.
            images: the training images.
            blocks: how many blocks of the backbone are frozen.
            views: ways of drawing a photo's edges, whose output is kept for every photo.
            limit_gb: how much memory may be used.
            device: where the network is; the maps are kept in main memory.
            batch_size: images at a time.
            progress: called with images done and images in all.

        Raises:
            ConfigError: the backbone cannot be cut there, or the maps need more than ``limit_gb``.
        """
        self._device, self._blocks = device, blocks
        is_photo = images.domains == _PHOTO
        self._photos = int(is_photo.sum())
        count = len(images) + self._photos * len(views)
        # A photo's row points at its first view, behind the images; the others follow set by set.
        self._view_of = torch.where(is_photo, is_photo.cumsum(0) - 1 + len(images), -1)
        self._maps: list[Tensor] = []
        self._features = 0
        training = network.training
        network.eval()
        with torch.no_grad():
            for batch in images.batches(batch_size, shuffle=False):
                pixels = to_unit_range(batch.images.to(device))
                if not self._maps:
                    self._allocate(network.begin(pixels[:1], blocks), count, limit_gb)
                self._keep(batch.rows, network.begin(pixels, blocks))
                shown = torch.nonzero(batch.domains == _PHOTO)[:, 0]
                for kind, view in enumerate(views if len(shown) else ()):
                    drawn = view(pixels[shown]).contiguous(memory_format=torch.channels_last)
                    places = self._place(batch.rows[shown], torch.tensor(kind))
                    self._keep(places, network.begin(drawn, blocks))
                if progress is not None:
                    progress(int(batch.rows[-1]) + 1, len(images))
        network.train(training)

    def begun(self, rows: Tensor, viewed: Tensor, kinds: Tensor, mirrored: Tensor) -> Begun:
        """The images at ``rows``, and after them the edge views of some of these.

        Args:
            rows: ``(B,)`` int64, positions in the set.
            viewed: ``(V,)`` int64, positions in ``rows``; each must be a photo.
            kinds: ``(V,)`` int64, which of the views of each.
            mirrored: ``(B + V,)`` bool, which to turn from left to right.

        Returns:
            ``B + V`` images on the device, float32.
        """
        places = torch.cat([rows, self._place(rows[viewed], kinds)])
        maps = []
        for kept in self._maps:
            chosen = kept[places].float()  # (B + V, H, W, C)
            chosen[mirrored] = chosen[mirrored].flip(2)
            maps.append(chosen.permute(0, 3, 1, 2).to(self._device))
        return Begun(self._blocks, maps[: self._features], maps[self._features :])

    def _place(self, rows: Tensor, kinds: Tensor) -> Tensor:
        return self._view_of[rows] + self._photos * kinds

    def _allocate(self, one: Begun, count: int, limit_gb: float) -> None:
        maps = [*one.features, *one.edges]
        needed = 2 * count * sum(tensor[0].numel() for tensor in maps) / 1e9
        if needed > limit_gb:
            raise ConfigError(
                f"cache_frozen needs {needed:.1f} GB for {count} images, more than cache_gb "
                f"({limit_gb:g}); raise it, freeze more blocks, or drop cache_frozen"
            )
        self._features = len(one.features)
        self._maps = [
            torch.empty((count, *tensor[0].permute(1, 2, 0).shape), dtype=torch.float16)
            for tensor in maps
        ]

    def _keep(self, places: Tensor, begun: Begun) -> None:
        for kept, new in zip(self._maps, [*begun.features, *begun.edges], strict=True):
            kept[places] = new.permute(0, 2, 3, 1).half().cpu()
