"""The teacher's targets against the classifier asked directly; the loss against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from msedge.data.datasets import ImageSet
from msedge.data.images import read_pixels
from msedge.data.layouts import read_dataset
from msedge.errors import ConfigError, WeightsError
from msedge.training.distillation import DistillationLoss, teacher_answers

CPU = torch.device("cpu")
BACKBONE = "test_efficientnet"


@pytest.fixture
def images(tiny_root) -> ImageSet:
    split = read_dataset(tiny_root, "tiny").train
    return ImageSet(split.records, split.classes, size=32)


@pytest.fixture
def targets(images, classifier_file) -> torch.Tensor:
    return ask(images, str(classifier_file))


def ask(images: ImageSet, weights: str, **options) -> torch.Tensor:
    return teacher_answers(images, BACKBONE, weights, image_size=32, device=CPU, **options)


class TestSmoke:
    def test_reports_progress(self, images, classifier_file):
        seen: list[tuple[int, int]] = []
        ask(
            images,
            str(classifier_file),
            batch_size=10,
            progress=lambda *move: seen.append(move),
        )
        assert seen == [(10, 16), (16, 16)]  # photos alone are asked

    def test_batch_size_does_not_matter(self, images, classifier_file, targets):
        torch.testing.assert_close(ask(images, str(classifier_file), batch_size=5), targets)

    def test_a_folder_keeps_the_answers(self, images, classifier_file, targets, tmp_path):
        folder = tmp_path / "kept"
        first = ask(images, str(classifier_file), folder=folder)
        torch.testing.assert_close(first, targets)
        seen: list[tuple[int, int]] = []
        second = ask(
            images,
            str(classifier_file),
            folder=folder,
            progress=lambda *move: seen.append(move),
        )
        assert torch.equal(first, second)
        assert seen == []

    def test_a_class_without_photos_has_no_target(self, images, classifier_file):
        sketches = [r for r in images.records if r.domain == "sketch"]
        photos = [r for r in images.records if r.domain == "photo"]
        left_out = images.classes[0]
        fewer = ImageSet(
            [*sketches, *(r for r in photos if r.class_name != left_out)], images.classes, size=32
        )
        targets = ask(fewer, str(classifier_file))
        lacking = fewer.labels == 0
        assert (targets[lacking] == 0).all()
        torch.testing.assert_close(targets[~lacking].sum(dim=1), torch.ones(int((~lacking).sum())))


class TestExceptions:
    def test_random_weights_have_nothing_to_teach(self, images):
        with pytest.raises(ConfigError, match="needs a pretrained classifier; drop weights: none"):
            ask(images, "none")

    def test_weights_without_a_classifier(self, images, classifier_file, tmp_path):
        tensors = load_file(classifier_file)
        path = tmp_path / "features.safetensors"
        save_file({n: t for n, t in tensors.items() if not n.startswith("classifier")}, path)
        with pytest.raises(WeightsError, match=r"lack 2 of .* \(first: classifier\.weight\)"):
            ask(images, str(path))


class TestCardinality:
    def test_a_distribution_an_image(self, images, targets):
        assert targets.shape == (len(images), 1000)
        assert targets.dtype == torch.float32
        assert targets.min() >= 0
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(len(images)))


class TestNumbers:
    @pytest.fixture
    def answers(self, images, classifier_file) -> np.ndarray:
        """What timm's classifier says of each image, asked without our code."""
        import timm  # after ours, which cures its import where torchvision lacks operators

        classifier = timm.create_model(BACKBONE, pretrained=False).eval()
        classifier.load_state_dict(load_file(classifier_file))
        cfg = classifier.pretrained_cfg
        mean, std = np.array(cfg["mean"])[:, None, None], np.array(cfg["std"])[:, None, None]
        pixels = np.stack([read_pixels(record.path, 32) for record in images.records])
        normalised = torch.from_numpy((pixels / 255 - mean) / std).float()
        with torch.inference_mode():
            logits = classifier(normalised).double().numpy()
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def test_answers_differ_between_images(self, answers):
        """Else the tests below could not tell a right target from a wrong one."""
        assert len(np.unique(answers.round(6), axis=0)) == len(answers)

    def test_targets(self, images, answers, targets):
        """A sketch: the mean of its class's photos. A photo: half that and half itself."""
        for row, record in enumerate(images.records):
            photos = [
                other
                for other, candidate in enumerate(images.records)
                if (candidate.domain, candidate.class_name) == ("photo", record.class_name)
            ]
            of_class = answers[photos].mean(axis=0)
            expected = of_class if record.domain == "sketch" else (answers[row] + of_class) / 2
            assert targets[row].numpy() == pytest.approx(expected, abs=1e-6)

    def test_loss_is_cross_entropy_of_the_rows_asked_for(self):
        rng = np.random.default_rng(0)
        targets = rng.dirichlet(np.ones(6), size=9).astype(np.float32)
        loss = DistillationLoss(4, torch.from_numpy(targets))
        embeddings = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
        weight, bias = (p.detach().numpy() for p in loss.reading.parameters())
        logits = 16 * (embeddings.numpy() @ weight.T + bias)
        log_shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        expected = -(targets[[7, 0, 3]] * log_shares).sum(axis=1).mean()
        value = loss(embeddings, torch.tensor([7, 0, 3]))
        assert value.item() == pytest.approx(expected, rel=1e-5)


class TestGradients:
    def test_reach_embeddings_and_reading(self):
        loss = DistillationLoss(4, torch.full((5, 6), 1 / 6))
        embeddings = torch.randn(3, 4, requires_grad=True)
        loss(embeddings, torch.tensor([0, 1, 2])).backward()
        assert embeddings.grad.abs().sum(dim=1).min() > 0
        assert loss.reading.weight.grad.abs().sum() > 0

    def test_targets_are_not_learnt_nor_saved(self):
        loss = DistillationLoss(4, torch.full((5, 6), 1 / 6))
        assert sorted(loss.state_dict()) == ["reading.bias", "reading.weight"]
