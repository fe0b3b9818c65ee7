"""Embedding and judging by several real processes, against one of them alone, bit for bit."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from msedge.data.datasets import ImageSet
from msedge.data.layouts import Split, read_dataset
from msedge.data.vectors import Vectors
from msedge.errors import ShapeError
from msedge.models.edges import edge_view
from msedge.models.network import FrozenFeatures, MSEdge
from msedge.training import embedding
from msedge.training.embedding import embed, judge
from msedge.training.frozen_cache import FrozenCache
from msedge.training.processes import Processes
from process_group import in_processes

CPU = torch.device("cpu")
ROWS = {"all": 24, "one batch": 3, "one image": 1}  # of the last two, some processes get none


class Counting(MSEdge):
    """Remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__("test_efficientnet", dim=8, image_size=32)
        self.shown: list[float] = []

    def forward(self, images: Tensor | FrozenFeatures) -> Tensor:
        first = images.features[0] if isinstance(images, FrozenFeatures) else images
        self.shown += first.double().sum(dim=(1, 2, 3)).tolist()
        return super().forward(images)


def vectors_of_queries(count: int) -> Vectors:
    """Some queries, and 40 photos of 3 classes."""
    rng = np.random.default_rng(count)
    embeddings = rng.normal(size=(count + 40, 6)).astype(np.float32)
    labels, domains = np.arange(count + 40) % 3, np.arange(count + 40) >= count
    return Vectors(
        embeddings, labels, domains.astype(np.int64), ("a", "b", "c"), ("x",) * (count + 40)
    )


def embedded(processes: Processes, folder: Path) -> dict[str, object]:
    """The vectors by all processes together and by this one alone, and what networks were shown."""
    split = read_dataset(folder / "data", "tiny").val
    torch.manual_seed(0)
    network = Counting()
    found: dict[str, object] = {}
    for name, rows in ROWS.items():
        some = Split(split.records[-rows:], split.classes)
        images = ImageSet(some.records, some.classes, size=32)
        options = {"device": CPU, "batch_size": 5}
        frozen = FrozenCache(
            network.eval(), images, blocks=4, views=(edge_view,), limit_gb=1, device=CPU
        )
        for what, more in {
            "plain": {},
            "views": {"edge_weight": 0.5},
            "frozen": {"edge_weight": 0.5, "frozen": frozen},
        }.items():
            network.shown = []
            alone = embed(network, images, **options, **more)
            shown_alone, network.shown, moves = network.shown, [], []
            together = embed(
                network, images, processes=processes, **options, **more,
                progress=lambda *move, to=moves: to.append(move),
            )  # fmt: skip
            found[name, what] = (alone, together, shown_alone, [*network.shown], moves)
    with mock.patch.object(embedding, "_GATHERED", 6):  # vectors travel in several pieces
        found["pieces"] = embed(
            network, images_of(split), device=CPU, batch_size=2, processes=processes
        )
    found["whole"] = embed(network, images_of(split), device=CPU, batch_size=2)
    return found


def images_of(split: Split) -> ImageSet:
    return ImageSet(split.records, split.classes, size=32)


def judged(processes: Processes) -> dict[object, object]:
    """The metrics by all processes together and by this one alone, and an error."""
    found: dict[object, object] = {}
    for count in (50, 7, 1):
        moves: list[tuple[int, int]] = []
        vectors = vectors_of_queries(count)
        together = judge(
            vectors, processes=processes, progress=lambda *move, to=moves: to.append(move)
        )
        found[count] = (judge(vectors), together, moves)
    lone = vectors_of_queries(7)
    lone.labels[4] = 5  # in one share, and no photo is of its class
    with pytest.raises(ShapeError) as refused:
        judge(lone, processes=processes)
    found["refused"] = str(refused.value)
    return found


def embedded_and_judged(processes: Processes, folder: Path) -> tuple[object, object]:
    """Both, by one start of the processes."""
    return embedded(processes, folder), judged(processes)


@pytest.fixture(scope="module", params=[2, 3])
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, make_dataset):
    """What each of several processes found."""
    folder = tmp_path_factory.mktemp("shared")
    make_dataset(folder / "data", unseen=3)
    return in_processes(request.param, embedded_and_judged, folder)


@pytest.mark.parametrize("what", ["plain", "views", "frozen"])
@pytest.mark.parametrize("name", ROWS)
class TestEmbed:
    def test_vectors_are_those_of_one_process_on_each(self, answers, name, what):
        for found, _ in answers:
            alone, together, *_ = found[name, what]
            assert together.embeddings.shape == (ROWS[name], 8)
            np.testing.assert_array_equal(together.embeddings, alone.embeddings)
            np.testing.assert_array_equal(together.labels, alone.labels)
            np.testing.assert_array_equal(together.domains, alone.domains)
            assert (together.paths, together.classes) == (alone.paths, alone.classes)

    def test_every_image_is_embedded_once_in_all(self, answers, name, what):
        (found, _), *_ = answers
        alone = found[name, what][2]
        together = [one for found, _ in answers for one in found[name, what][3]]
        assert len(alone) >= ROWS[name]
        assert sorted(together) == sorted(alone)
        shares = sorted(len(found[name, what][3]) for found, _ in answers)
        if name == "all":
            assert shares[0] > 0
        else:
            assert shares[:-1] == [0] * (len(answers) - 1)

    def test_progress_ends_with_the_whole(self, answers, name, what):
        moves = answers[0][0][name, what][4]
        assert moves[-1] == (ROWS[name], ROWS[name])
        steps = {2: [10, 20, 24], 3: [15, 24]}[len(answers)] if name == "all" else [ROWS[name]]
        assert [done for done, _ in moves] == steps


def test_vectors_travel_in_pieces(answers):
    for found, _ in answers:
        np.testing.assert_array_equal(found["pieces"].embeddings, found["whole"].embeddings)


class TestJudge:
    @pytest.mark.parametrize("queries", [50, 7, 1])
    def test_metrics_are_those_of_one_process_on_each(self, answers, queries):
        for _, found in answers:
            alone, together, _ = found[queries]
            assert together == alone
            assert 0 < together.map_all < 1
            assert (together.queries, together.gallery) == (queries, 40)

    def test_queries_are_shared_out(self, answers):
        shares = [found[50][2][-1] for _, found in answers]
        expected = {2: [25, 25], 3: [17, 17, 16]}[len(answers)]
        assert shares == [(share, share) for share in expected]

    def test_an_error_is_the_same_on_each(self, answers):
        (message,) = {found["refused"] for _, found in answers}
        assert "query_labels row 4: class 5 has no photo" in message
