"""MSEdge: an image becomes a unit vector.

One network serves both domains. The last three stages of a backbone are fused with the image's
edges at their sizes, pooled by their maximum, joined, projected and normalised. The ablations are
options of this one class: ``fusion`` is ``edge``, ``energy`` or ``none``; ``pooling`` is ``max``
or, by the mean as well, ``both``.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from msedge.errors import ConfigError, ShapeError
from msedge.models.backbones import Backbone, fetch_weights, load_weights
from msedge.models.edges import edge_pyramid
from msedge.models.fusion import create_fusion
from msedge.models.prompts import add_prompts, prompt_count

_POOLINGS = {"max": 1, "both": 2}  # how often each channel is pooled


class FrozenFeatures(NamedTuple):
    """Images on their way through the network, after its frozen blocks.

    Attributes:
        blocks: how many blocks of the backbone are done.
        features: what :meth:`Backbone.first_blocks` gave, each ``(B, C, H, W)``.
        edges: edge maps ``(B, 1, H, W)`` at the three stages' sizes; empty where the fusion uses
            none.
    """

    blocks: int
    features: list[Tensor]
    edges: list[Tensor]


class MSEdge(nn.Module):
    """Images to unit vectors.

    Attributes:
        backbone: the feature pyramid.
        fusion: what is done to its stages before they are pooled.
        projection: the linear layer from the joined stages to the embedding.
        image_size: pixels on a side that it is used with.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        *,
        dim: int = 512,
        fusion: str = "edge",
        image_size: int = 224,
        weights: str = "none",
        prompts: int = 0,
        pooling: str = "max",
    ) -> None:
        """Build the network.

        Args:
            backbone: any name that timm knows.
            dim: width of the embedding.
            fusion: ``edge``, ``energy`` or ``none``.
            image_size: pixels on a side that it is used with.
            weights: start of the backbone: ``imagenet``, ``none``, or a file.
            prompts: learned tokens that a vision transformer reads beside the image.
            pooling: ``max``, or ``both``: the greatest of each channel and its mean.

        Raises:
            ConfigError: an option has a value that cannot be used.
            WeightsError: the weights cannot be fetched.
        """
        super().__init__()
        if dim < 1:
            raise ConfigError(f"the embedding needs at least one dimension, got {dim}")
        self.image_size = image_size
        self.backbone = Backbone(backbone, image_size=image_size)
        tensors = fetch_weights(backbone, weights, image_size=image_size)
        if tensors is not None:
            load_weights(self.backbone.network, tensors, weights)
        if prompts:
            add_prompts(self.backbone.network, prompts)
        self.fusion = create_fusion(fusion, self.backbone.channels)
        self.poolings = _POOLINGS[pooling]
        self.projection = nn.Linear(self.poolings * sum(self.backbone.channels), dim)

    @property
    def prompts(self) -> int:
        """How many prompt tokens the backbone has."""
        return prompt_count(self.backbone.network)

    def stages(self, images: Tensor | FrozenFeatures) -> list[Tensor]:
        """The three fused stages ``(B, C_i, H_i, W_i)`` of images ``(B, 3, H, W)`` in [0, 1]."""
        if isinstance(images, FrozenFeatures):
            stages = self.backbone.remaining_blocks(images.features, images.blocks)
            edges = images.edges
        else:
            stages = self.backbone(images)
            edges = self.edges_of(images, stages)
        return cast("list[Tensor]", self.fusion(stages, edges))

    def edges_of(self, images: Tensor, stages: list[Tensor]) -> list[Tensor]:
        """The edge maps that the fusion asks for, at the sizes of the stages."""
        if not self.fusion.uses_edges:
            return []
        return edge_pyramid(images, [(s.shape[-2], s.shape[-1]) for s in stages])

    def frozen_features(self, images: Tensor, blocks: int) -> FrozenFeatures:
        """Send images ``(B, 3, H, W)`` in [0, 1] through the first blocks; :meth:`forward` goes on.

        Raises:
            ConfigError: the backbone cannot be cut there.
        """
        features = self.backbone.first_blocks(images, blocks)
        edges: list[Tensor] = []
        if self.fusion.uses_edges:
            edges = self.edges_of(images, self.backbone.remaining_blocks(features, blocks))
        return FrozenFeatures(blocks, features, edges)

    def forward(self, images: Tensor | FrozenFeatures) -> Tensor:
        """Embed images.

        Args:
            images: ``(B, 3, H, W)``, RGB, float, range [0, 1]; or what
                :meth:`frozen_features` made of them.

        Returns:
            ``(B, dim)``, each row of length 1.

        Raises:
            ShapeError: ``images`` is not ``(B, 3, H, W)`` of floats.
        """
        if not isinstance(images, FrozenFeatures):
            _check(images)
        return self._embedded(self.stages(images))

    def with_places(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embed images, and each place of them as if there were nothing else.

        Args:
            images: as of :meth:`forward`, with sides that are multiples of the coarsest stride.

        Returns:
            Embeddings ``(B, dim)``, each row of length 1, and those of the places of the last
            stage's grid ``(B, dim, H, W)``, of any length.
        """
        _check(images)
        stages = self.stages(images)
        rows = stages[-1].shape[2]
        on_grid = [functional.max_pool2d(s, s.shape[2] // rows) for s in stages[:-1]]
        joined = torch.cat([*on_grid, stages[-1]], dim=1)
        # One place is its own greatest and its own mean.
        weights = self.projection.weight.chunk(self.poolings, dim=1)
        weight = torch.stack(weights).sum(dim=0)[:, :, None, None]
        return self._embedded(stages), functional.conv2d(joined, weight, self.projection.bias)

    def pooled(self, stages: list[Tensor]) -> Tensor:
        """What is projected: of the stages of :meth:`stages`, ``(B, in_features)``."""
        pooled = [stage.amax(dim=(2, 3)) for stage in stages]
        if self.poolings == 2:
            pooled += [stage.mean(dim=(2, 3)) for stage in stages]
        return torch.cat(pooled, dim=1)

    def _embedded(self, stages: list[Tensor]) -> Tensor:
        return functional.normalize(self.projection(self.pooled(stages)), dim=1)


def _check(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ShapeError(
            f"the network needs float images of shape (B, 3, H, W) in [0, 1], "
            f"got {tuple(images.shape)} of {images.dtype}"
        )
