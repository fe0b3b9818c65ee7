"""Whole runs on a tiny dataset: what they write, that they repeat, and that they can be resumed."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import msedge
from msedge.data.images import read_pixels
from msedge.data.layouts import fingerprint, read_dataset
from msedge.data.vectors import load_vectors
from msedge.errors import ConfigError, DataError, WeightsError
from msedge.evaluation.evaluate import Metrics, evaluate
from msedge.models.card import read_card
from msedge.models.checkpoint import load_checkpoint
from msedge.training.config import TrainConfig
from msedge.training.run_card import SELECTION
from msedge.training.trainer import RunResult, train

MakeConfig = Callable[..., TrainConfig]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


class TestSmoke:
    def test_writes_its_files_and_no_others(self, tiny_config, listener):
        result = train(tiny_config(), listener)
        files = result.files
        written = {files.results, files.model, files.vectors, files.record, files.log}
        assert set(files.results.parent.iterdir()) == written
        assert files.results.name == "tiny_test_efficientnet_16_results.csv"

    def test_tells_the_watcher_how_it_goes(self, tiny_config, listener):
        result = train(tiny_config(select="seen"), listener)
        assert listener.said == [
            "tiny: training on 2 classes, 2 held out to choose the checkpoint; judged on 3 unseen "
            "ones (12 sketches, 12 photos)",
            "building test_efficientnet from none weights",
            "how the network does before training",
        ]
        assert tuple(row for row, _ in listener.rows) == result.rows
        assert listener.rows[0][1] is True
        steps = [move[:3] for move in listener.moves if move[0] == "epoch 1"]
        assert steps == [("epoch 1", 1, 2), ("epoch 1", 2, 2)]
        assert {move[0] for move in listener.moves} >= {"unseen classes", "held-out classes"}

    def test_checkpoint_embeds_as_the_vectors_say(self, tiny_config, listener, tiny_root):
        """Weights, card and vectors belong together: embedding anew gives the stored vectors."""
        files = train(tiny_config(averaging=0.5), listener).files
        network, card = load_checkpoint(files.model)
        vectors = load_vectors(files.vectors)
        pixels = [torch.from_numpy(read_pixels(Path(p), card.image_size)) for p in vectors.paths]
        with torch.inference_mode():
            embeddings = network(torch.stack(pixels).float() / 255)
        torch.testing.assert_close(
            embeddings, torch.from_numpy(vectors.embeddings), atol=1e-5, rtol=0
        )
        dataset = read_dataset(tiny_root, "tiny")
        assert vectors.classes == dataset.val.classes
        assert vectors.paths == tuple(str(record.path) for record in dataset.val.records)

    def test_learns_what_it_is_shown(self, tiny_config, listener):
        """The loss of tiny's four classes falls to a fraction within a few epochs."""
        rows = train(tiny_config(epochs=6, warmup=0), listener).rows
        assert rows[-1].loss < rows[0].loss / 2


class TestExceptions:
    def test_missing_data_root(self, tiny_config, listener, tmp_path):
        config = tiny_config(data_root=tmp_path / "gone")
        with pytest.raises(DataError, match="gone is not a folder"):
            train(config, listener)
        assert not config.save_root.exists()

    def test_batch_larger_than_the_set(self, tiny_config, listener):
        with pytest.raises(ConfigError, match="32 training images do not fill one batch of 33"):
            train(tiny_config(batch_size=33), listener)

    def test_too_few_classes_to_hold_any_out(self, tiny_config, listener, make_dataset, tmp_path):
        root = make_dataset(tmp_path, "small", seen=3)
        with pytest.raises(ConfigError, match=r"3 seen classes are too few.*--select last"):
            train(tiny_config(data_root=root, data_name="small", select="seen"), listener)

    def test_distillation_from_random_weights(self, tiny_config, listener):
        with pytest.raises(ConfigError, match="drop weights: none"):
            train(tiny_config(distillation=1.0), listener)

    def test_weights_file_missing(self, tiny_config, listener, tmp_path):
        with pytest.raises(WeightsError, match="no weights at"):
            train(tiny_config(weights=str(tmp_path / "gone.pth")), listener)

    def test_unreadable_image_is_named(self, tiny_config, listener, tiny_root, tmp_path):
        root = shutil.copytree(tiny_root, tmp_path / "data")
        bad = root / "tiny" / "train" / "photo" / "train 1" / "2.png"
        bad.write_bytes(b"no image")
        with pytest.raises(DataError, match=r"train 1/2\.png.*not a JPEG, PNG, WebP"):
            train(tiny_config(data_root=root), listener)

    def test_class_that_loses_its_last_sketch(self, tiny_config, listener, tiny_root, tmp_path):
        root = shutil.copytree(tiny_root, tmp_path / "data")
        for path in (root / "tiny" / "val" / "sketch" / "val 1").iterdir():
            path.write_bytes(b"no image")
        with pytest.raises(DataError, match="class 'val 1' has no sketch that can be read"):
            train(tiny_config(data_root=root, skip_unreadable=True), listener)


class TestFiles:
    """What stands in the files of a finished run."""

    def test_csv_has_a_row_an_epoch_and_marks_one(self, tiny_config, listener):
        result = train(tiny_config(epochs=3), listener)
        rows = read_csv(result.files.results)
        assert [row["epoch"] for row in rows] == ["1", "2", "3"]
        assert [row["selected"] for row in rows] == ["0", "0", "1"]
        for row, told in zip(rows, result.rows, strict=True):
            assert row["loss"] == f"{told.loss:.6f}"
            assert row["mAP@all"] == f"{told.metrics['mAP@all']:.6f}"

    def test_figures_are_those_of_the_stored_vectors(self, tiny_config, listener):
        result = train(tiny_config(), listener)
        vectors = load_vectors(result.files.vectors)
        asked, ranked = vectors.of("sketch"), vectors.of("photo")
        metrics = evaluate(
            vectors.embeddings[asked],
            vectors.embeddings[ranked],
            vectors.labels[asked],
            vectors.labels[ranked],
            at=(10, 100, 200),
        ).metrics()
        assert result.after["mAP@all"] == 100 * metrics.map_all
        assert result.after["P@10"] == 100 * metrics.p_at[10]

    def test_card_says_where_the_weights_come_from(self, tiny_config, listener, tiny_root):
        config = tiny_config(fusion="energy", seed=4)
        result = train(config, listener)
        card = read_card(result.files.model)
        assert (card.backbone, card.dim, card.fusion) == ("test_efficientnet", 16, "energy")
        assert (card.image_size, card.seed, card.epoch) == (32, 4, result.selected)
        assert (card.dataset, card.protocol, card.trained_classes) == ("tiny", None, 4)
        assert card.data_fingerprint == fingerprint(read_dataset(tiny_root, "tiny"))
        assert card.metrics == result.after
        assert card.version == msedge.__version__


class TestSelection:
    @staticmethod
    def run(tiny_config: MakeConfig, listener: Any, select: str) -> tuple[RunResult, list]:
        result = train(tiny_config(select=select, epochs=4, learning_rate=0.02), listener)
        return result, read_csv(result.files.results)

    def test_last_takes_the_last(self, tiny_config, listener):
        result, rows = self.run(tiny_config, listener, "last")
        assert result.selected == 4
        assert {row["selected_by"] for row in rows} == {"last epoch"}
        card = read_card(result.files.model)
        assert (card.epoch, card.trained_classes) == (4, 4)
        assert not card.selected_on_test_classes

    def test_seen_takes_the_best_on_held_out_classes(self, tiny_config, listener):
        result, rows = self.run(tiny_config, listener, "seen")
        values = [float(row["selection_value"]) for row in rows]
        assert result.selected == values.index(max(values)) + 1
        assert {row["selected_by"] for row in rows} == {"held-out seen classes"}
        assert values != [float(row["mAP@all"]) for row in rows]
        card = read_card(result.files.model)
        assert (card.epoch, card.selection) == (result.selected, SELECTION["seen"])
        assert not card.selected_on_test_classes
        assert card.trained_classes == 2
        record = json.loads(result.files.record.read_text())
        held_out = set(record["data"]["held_out_classes"])
        assert len(held_out) == 2
        assert held_out < set(record["data"]["seen_classes"])

    def test_test_takes_the_best_on_test_classes_and_says_so(self, tiny_config, listener):
        result, rows = self.run(tiny_config, listener, "test")
        assert [row["selection_value"] for row in rows] == [row["mAP@all"] for row in rows]
        values = [row.metrics["mAP@all"] for row in result.rows]
        assert result.selected == values.index(max(values)) + 1
        assert {row["selected_by"] for row in rows} == {"TEST CLASSES (inflated)"}
        card = read_card(result.files.model)
        assert card.selected_on_test_classes
        assert card.metrics["mAP@all"] == max(values)

    @pytest.mark.parametrize(("select", "chosen"), [("test", 1), ("seen", 1), ("last", 3)])
    def test_first_of_equal_epochs(self, select, chosen, tiny_config, listener, monkeypatch):
        cut_offs = dict.fromkeys((10, 25, 100, 200), 0.5)
        always = Metrics("standard", 12, 12, 0.5, cut_offs, cut_offs)
        monkeypatch.setattr("msedge.training.judging.judge", lambda *_, **__: always)
        result = train(tiny_config(epochs=3, select=select), listener)
        assert result.selected == chosen
        assert read_card(result.files.model).epoch == chosen

    def test_every_class_trains_unless_held_out(self, tiny_config, listener):
        train(tiny_config(select="last"), listener)
        assert listener.said[0].startswith("tiny: training on 4 classes; judged on 3 unseen")


class TestData:
    def test_skips_what_cannot_be_read(self, tiny_config, listener, tiny_root, tmp_path):
        root = shutil.copytree(tiny_root, tmp_path / "data")
        bad = [
            root / "tiny" / "train" / "photo" / "train 1" / "2.png",
            root / "tiny" / "val" / "sketch" / "val 0" / "0.png",
        ]
        for path in bad:
            path.write_bytes(b"no image")
        result = train(tiny_config(data_root=root, skip_unreadable=True), listener)
        skipped = [line for line in listener.said if line.startswith("skipped: ")]
        assert len(skipped) == 2
        assert all(str(path) in line for path, line in zip(bad, skipped, strict=True))
        assert str(bad[1]) not in load_vectors(result.files.vectors).paths
        assert "(11 sketches, 12 photos)" in listener.said[2]

    def test_classes_of_one_domain_are_trained_on_and_never_held_out(
        self, tiny_config, listener, tiny_root, tmp_path
    ):
        root = shutil.copytree(tiny_root, tmp_path / "data")
        photos = root / "tiny" / "train" / "photo"
        shutil.move(photos / "train 1", photos / "only photos")
        with pytest.raises(DataError, match="sketches but no photos of train 1"):
            train(tiny_config(data_root=root), listener)
        result = train(tiny_config(data_root=root, lone_classes=True, select="last"), listener)
        assert listener.said[0].startswith("tiny: training on 5 classes (sketches of 4); ")
        assert read_card(result.files.model).trained_classes == 5
        with pytest.raises(ConfigError, match="3 seen classes are too few to hold 2 out"):
            train(
                tiny_config(data_root=root, lone_classes=True, select="seen", overwrite=True),
                listener,
            )

    @pytest.mark.parametrize(("count", "views"), [(0, 0.0), (1, 1.0)])
    def test_sketches_of_some_classes(self, tiny_config, listener, count, views):
        changes = {"select": "last", "edge_views": views, "batch_size": 8}
        result = train(tiny_config(sketch_classes=count, **changes), listener)
        assert listener.said[0].startswith(f"tiny: training on 4 classes (sketches of {count}); ")
        card = read_card(result.files.model)
        assert (card.trained_classes, card.sketched_classes) == (4, count)
        record = json.loads(result.files.record.read_text())
        assert record["config"]["sketch_classes"] == count
        assert len(record["data"]["sketched_classes"]) == count

    def test_tuberlin_judges_only_classes_with_enough_photos(
        self, tiny_config, listener, tiny_root, tmp_path
    ):
        shutil.copytree(tiny_root / "tiny", tmp_path / "data" / "tuberlin")
        more = tmp_path / "data" / "tuberlin" / "val" / "photo"
        for name in ("val 0", "val 2"):
            shutil.copy(more / name / "0.png", more / name / "4.png")
        settings = {"data_root": tmp_path / "data", "data_name": "tuberlin"}
        with pytest.raises(DataError, match="no class has 400 photos, the most is 5"):
            train(tiny_config(**settings), listener)
        own = tmp_path / "data" / "tuberlin" / "prepared.json"
        own.write_text('{"protocol": "my-own"}')
        result = train(tiny_config(**settings), listener)
        assert load_vectors(result.files.vectors).classes == ("val 0", "val 1", "val 2")
        own.unlink()
        settings["overwrite"] = True
        result = train(tiny_config(**settings, min_val_photos=5), listener)
        assert load_vectors(result.files.vectors).classes == ("val 0", "val 2")
