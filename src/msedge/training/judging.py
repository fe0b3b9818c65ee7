"""How the network in training does: the vectors of its images, and the figures that they get."""

from __future__ import annotations

from collections.abc import Callable

import torch

from msedge.data.datasets import ImageSet
from msedge.data.vectors import Vectors
from msedge.models.edges import edge_view
from msedge.training.config import TrainConfig
from msedge.training.embedding import embed, in_percent, judge
from msedge.training.frozen_cache import FrozenCache
from msedge.training.learner import Learner
from msedge.training.processes import Processes

Progress = Callable[[str, int, int], None]


class Judge:
    """Embeds sets of images with a learner's network as it is now, and ranks them."""

    def __init__(
        self,
        config: TrainConfig,
        learner: Learner,
        *,
        device: torch.device,
        processes: Processes,
        progress: Progress,
    ) -> None:
        """Compute nothing yet.

        Args:
            config: the run.
            learner: whose network is judged.
            device: where it is.
            processes: who shares the work.
            progress: called with what is done, how much of it, and of how much.
        """
        self._config, self._learner, self._device = config, learner, device
        self._processes, self._progress = processes, progress
        self._kept: dict[str, FrozenCache] = {}

    def vectors(self, what: str, images: ImageSet) -> Vectors:
        """The vectors of a set, in every process.

        Args:
            what: its name, which is shown, and under which the output of the frozen blocks is
                kept.
            images: the set.

        Raises:
            DataError: an image cannot be read.
        """

        def tell(done: int, total: int) -> None:
            self._progress(what, done, total)

        config = self._config
        if config.cache_frozen and what not in self._kept:
            with self._processes.after_the_first():
                self._kept[what] = FrozenCache(
                    self._learner.network,
                    images,
                    blocks=config.frozen_blocks,
                    views=(edge_view,) if config.gallery_edges and not config.photo_sizes else (),
                    limit_gb=config.cache_gb,
                    device=self._device,
                    folder=config.keep_dir,
                    progress=tell,
                )
        return embed(
            self._learner.judged(),
            images,
            device=self._device,
            edge_weight=config.gallery_edges,
            photo_sizes=config.photo_sizes,
            frozen=self._kept.get(what),
            processes=self._processes,
            progress=tell,
        )

    def figures(self, vectors: Vectors) -> dict[str, float]:
        """Metrics in percent, by name, in every process."""

        def tell(done: int, total: int) -> None:
            self._progress("ranking", done, total)

        return in_percent(judge(vectors, processes=self._processes, progress=tell))
