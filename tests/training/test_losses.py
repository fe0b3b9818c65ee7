"""The losses against their formulas, written anew in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from msedge.errors import ConfigError
from msedge.training.losses import create_loss

NAMES = ("normalized_softmax", "proxy_anchor")
LABELS = torch.tensor([0, 2, 2, 1, 0])


def embeddings_of(count: int = 5, dim: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(count, dim, generator=generator, dtype=torch.float32)
    return torch.nn.functional.normalize(drawn, dim=1).requires_grad_()


def cosines(loss: torch.nn.Module, embeddings: torch.Tensor) -> np.ndarray:
    """Cosine of every embedding with every class's proxy, ``(B, C)``."""
    (proxies,) = (p.detach().double().numpy() for p in loss.parameters())
    if proxies.shape[0] == embeddings.shape[1]:  # one column a class
        proxies = proxies.T
    vectors = embeddings.detach().double().numpy()
    proxies = proxies / np.linalg.norm(proxies, axis=1, keepdims=True)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) @ proxies.T


class TestSmoke:
    @pytest.mark.parametrize("name", NAMES)
    def test_one_proxy_a_class(self, name):
        (proxies,) = create_loss(name, classes=3, dim=8).parameters()
        assert sorted(proxies.shape) == [3, 8]

    @pytest.mark.parametrize("name", NAMES)
    def test_seed_decides_the_proxies(self, name):
        drawn = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            drawn.append(next(create_loss(name, classes=3, dim=8).parameters()))
        assert torch.equal(drawn[0], drawn[1])
        assert not torch.equal(drawn[0], drawn[2])


class TestExceptions:
    def test_unknown_name(self):
        with pytest.raises(ConfigError, match="'triplet'; choose normalized_softmax or proxy_anc"):
            create_loss("triplet", classes=3, dim=8)


class TestCardinality:
    @pytest.mark.parametrize("name", NAMES)
    def test_one_number(self, name):
        value = create_loss(name, classes=3, dim=8)(embeddings_of(), LABELS)
        assert value.shape == ()
        assert value.item() > 0


class TestNumbers:
    def test_normalized_softmax(self):
        """Zhai and Wu, BMVC 2019: cross entropy of cosines with the proxies over 0.05."""
        loss, embeddings = create_loss("normalized_softmax", classes=3, dim=8), embeddings_of()
        logits = cosines(loss, embeddings) / 0.05
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        expected = -np.log(shares[np.arange(5), LABELS.numpy()]).mean()
        assert loss(embeddings, LABELS).item() == pytest.approx(expected, rel=1e-5)

    def test_proxy_anchor(self):
        """Kim et al., CVPR 2020, equation 4, with their margin 0.1 and alpha 32."""
        loss, embeddings = create_loss("proxy_anchor", classes=4, dim=8), embeddings_of()
        near = np.exp(-32 * (cosines(loss, embeddings) - 0.1))
        far = np.exp(32 * (cosines(loss, embeddings) + 0.1))
        own = LABELS.numpy()[:, None] == np.arange(4)
        positive = np.log1p((near * own).sum(axis=0)).sum() / 3  # class 3 is not in the batch
        negative = np.log1p((far * ~own).sum(axis=0)).sum() / 4
        assert loss(embeddings, LABELS).item() == pytest.approx(positive + negative, rel=1e-5)


class TestGradients:
    @pytest.mark.parametrize("name", NAMES)
    def test_reach_embeddings_and_proxies(self, name):
        loss, embeddings = create_loss(name, classes=3, dim=8), embeddings_of()
        loss(embeddings, LABELS).backward()
        (proxies,) = loss.parameters()
        assert embeddings.grad.abs().sum(dim=1).min() > 0
        assert proxies.grad.abs().sum() > 0

    @pytest.mark.parametrize("name", NAMES)
    def test_a_step_down_lowers_the_loss(self, name):
        loss, embeddings = create_loss(name, classes=3, dim=8), embeddings_of()
        before = loss(embeddings, LABELS)
        before.backward()
        with torch.no_grad():
            after = loss(embeddings - 1e-3 * embeddings.grad, LABELS)
        assert after.item() < before.item()
