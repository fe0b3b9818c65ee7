"""What the frozen ImageNet classifier says of the training images, kept as targets.

Training on the seen classes alone makes a network forget what tells the unseen ones apart. Asking
it to give the pretrained classifier's answers as well keeps that knowledge (Liu et al., "Semantic-
Aware Knowledge Preservation", ICCV 2019). A sketch is answered for by the photos of its class,
since the classifier cannot read it; a photo half by itself and half by its class.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from msedge.data.datasets import ImageSet
from msedge.data.layouts import DOMAINS
from msedge.data.transforms import to_unit_range
from msedge.errors import ConfigError
from msedge.models.backbones import (
    create_classifier,
    fetch_weights,
    input_statistics,
    load_weights,
)
from msedge.training.disk_cache import cached, records_key, weights_key

_PHOTO = DOMAINS.index("photo")
_OWN_SHARE = 0.5  # of a photo's target that is the answer to itself
_SCALE = 16.0  # logits of unit vectors are small; this is the softmax's inverse temperature


@torch.inference_mode()
def teacher_answers(
    images: ImageSet,
    backbone: str,
    weights: str,
    *,
    image_size: int,
    device: torch.device,
    batch_size: int = 64,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The target of every image: a distribution over the classifier's classes.

    Args:
        images: the training images. A class without photos has no answer: its rows are nought.
        backbone: timm's name of the classifier.
        weights: where its weights come from; they must hold the classifier's layer too.
        image_size: pixels on a side.
        device: what to compute on.
        batch_size: images at a time.
        folder: where to keep the answers for other runs.
        progress: called with images done and images in all.

    Returns:
        ``(N, K)`` float32, rows summing to 1 (or nought), in the order of ``images``.

    Raises:
        ConfigError: the weights are ``none``: a random classifier has nothing to teach.
        WeightsError: the weights cannot be fetched or lack the classifier.
    """
    tensors = fetch_weights(backbone, weights, image_size=image_size)
    if tensors is None:
        raise ConfigError("distillation needs a pretrained classifier; drop weights: none")
    classifier: nn.Module = create_classifier(backbone, image_size=image_size)
    load_weights(classifier, tensors, weights)
    classifier = classifier.eval().to(device)
    photos = torch.nonzero(images.domains == _PHOTO)[:, 0]
    key = {
        "what": "teacher",
        "images": records_key([images.records[row] for row in photos.tolist()]) if folder else "",
        "shown": images.shown_as,
        "weights": weights_key([classifier]) if folder else "",
        "backbone": backbone,
    }
    statistics = input_statistics(classifier, backbone)

    def make() -> list[Tensor]:
        mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in statistics)
        answers = []
        for rows in torch.split(photos, batch_size):
            pixels = to_unit_range(images.pixels(rows).to(device))
            answers.append(classifier((pixels - mean) / std).softmax(dim=1).cpu())
            if progress is not None:
                progress(sum(map(len, answers)), len(photos))
        return [torch.cat(answers)]

    (answers,) = cached(folder, key, make)
    return _targets(answers, images.labels, images.domains, len(images.classes))


def _targets(answers: Tensor, labels: Tensor, domains: Tensor, classes: int) -> Tensor:
    is_photo = domains == _PHOTO
    photo_labels = functional.one_hot(labels[is_photo], classes).float()
    of_class = photo_labels.T @ answers / photo_labels.sum(dim=0)[:, None].clamp_min(1)
    targets = of_class[labels]
    targets[is_photo] = _OWN_SHARE * answers + (1 - _OWN_SHARE) * targets[is_photo]
    return targets


class DistillationLoss(nn.Module):
    """Cross entropy between the targets and a linear reading of the embedding.

    Attributes:
        reading: from the embedding to the classifier's classes; training only, not saved in
            checkpoints.
    """

    def __init__(self, dim: int, targets: Tensor) -> None:
        """Take the targets ``(N, K)`` of the training images."""
        super().__init__()
        self.reading = nn.Linear(dim, targets.shape[1])
        self._targets = targets

    def forward(self, embeddings: Tensor, rows: Tensor) -> Tensor:
        """The loss of embeddings ``(B, dim)`` of the images at ``rows`` ``(B,)``."""
        targets = self._targets[rows.cpu()].to(embeddings.device)
        log_answers = functional.log_softmax(_SCALE * self.reading(embeddings), dim=1)
        return -(targets * log_answers).sum(dim=1).mean()
