"""What a run reads, which classes it holds out, and where decoded images go."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from msedge.data.layouts import fingerprint, read_dataset
from msedge.errors import ConfigError, DataError
from msedge.training.config import TrainConfig
from msedge.training.run_data import RunData, cache_folder, open_images, read_run_data


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy of ``tiny`` that a test may change."""
    return Path(shutil.copytree(tiny_root, tmp_path / "data"))


def read(config: TrainConfig) -> tuple[RunData, list[str]]:
    said: list[str] = []
    return read_run_data(config, say=said.append, progress=lambda *_: None), said


class TestReadRunData:
    def test_every_seen_class_is_trained_on(self, tiny_config, tiny_root):
        data, said = read(tiny_config(select="last"))
        dataset = read_dataset(tiny_root, "tiny")
        assert (data.dataset, data.fingerprint) == (dataset, fingerprint(dataset))
        assert (data.train_classes, data.held_out) == (dataset.train.classes, ())
        assert said == []
        assert data.summary() == (
            "tiny: training on 4 classes; judged on 3 unseen ones (12 sketches, 12 photos)"
        )

    def test_some_are_held_out(self, tiny_config):
        data, _ = read(tiny_config(select="seen"))
        assert len(data.held_out) == 2
        assert sorted((*data.train_classes, *data.held_out)) == list(data.dataset.train.classes)
        assert data.summary().startswith(
            "tiny: training on 2 classes, 2 held out to choose the checkpoint; judged on 3 unseen"
        )

    def test_the_same_ones_each_time(self, tiny_config):
        assert read(tiny_config(select="seen"))[0] == read(tiny_config(select="seen", seed=5))[0]

    def test_classes_of_one_domain_are_never_held_out(self, tiny_config, root):
        for kind in ("sketch", "photo"):
            source = root / "tiny" / "train" / kind
            shutil.copytree(source / "train 0", source / f"only {kind}")
        data, _ = read(tiny_config(data_root=root, lone_classes=True, select="seen"))
        assert {"only photo", "only sketch"} < set(data.train_classes)
        assert len(data.held_out) == 2

    @pytest.mark.parametrize("count", [0, 1, 3, 4])
    def test_sketches_of_some_classes(self, tiny_config, count):
        data, _ = read(tiny_config(select="last", sketch_classes=count))
        assert len(data.sketched) == count
        assert len(data.train_classes) == 4
        drawn = f" (sketches of {count})" if count < 4 else ""
        assert data.summary().startswith(f"tiny: training on 4 classes{drawn}; judged on 3 unseen")

    def test_held_out_classes_are_not_drawn(self, tiny_config):
        data, _ = read(tiny_config(select="seen", sketch_classes=2))
        assert data.sketched == data.train_classes
        with pytest.raises(ConfigError, match="sketch_classes: 3 cannot be drawn, 2 classes"):
            read(tiny_config(select="seen", sketch_classes=3))

    def test_files_that_cannot_be_read_are_told_and_left_out(self, tiny_config, root):
        bad = root / "tiny" / "val" / "photo" / "val 1" / "3.png"
        bad.write_bytes(b"no image")
        moves = []
        said: list[str] = []
        data = read_run_data(
            tiny_config(data_root=root, skip_unreadable=True),
            say=said.append,
            progress=lambda *move: moves.append(move),
        )
        (line,) = said
        assert line.startswith("skipped: ")
        assert str(bad) in line
        assert bad not in {record.path for record in data.dataset.val.records}
        assert moves[-1] == ("checking", 56, 56)
        assert data.fingerprint == fingerprint(data.dataset)

    def test_a_class_that_loses_a_domain(self, tiny_config, root):
        for path in (root / "tiny" / "train" / "photo" / "train 2").iterdir():
            path.write_bytes(b"no image")
        with pytest.raises(DataError, match="class 'train 2' has no photo that can be read"):
            read(tiny_config(data_root=root, skip_unreadable=True))


class TestOpenImages:
    @staticmethod
    def open(config: TrainConfig):
        said: list[str] = []
        return open_images(config, read(config)[0], said.append), said

    def test_three_sets(self, tiny_config):
        config = tiny_config(select="seen")
        images, said = self.open(config)
        data, _ = read(config)
        assert images.train.classes == data.train_classes
        assert images.held_out is not None
        assert images.held_out.classes == data.held_out
        assert images.unseen.classes == data.dataset.val.classes
        assert (len(images.train), len(images.held_out), len(images.unseen)) == (16, 16, 24)
        assert said == []

    def test_nothing_held_out(self, tiny_config):
        assert self.open(tiny_config(select="last"))[0].held_out is None

    def test_photos_alone(self, tiny_config):
        images, _ = self.open(tiny_config(train_on="photos", edge_views=1.0))
        assert {record.domain for record in images.train.records} == {"photo"}
        assert {record.domain for record in images.unseen.records} == {"photo", "sketch"}

    def test_sketches_of_some_classes_and_photos_of_all(self, tiny_config):
        config = tiny_config(select="last", sketch_classes=1)
        images, _ = self.open(config)
        (drawn,) = read(config)[0].sketched
        shown = {domain: set() for domain in ("sketch", "photo")}
        for record in images.train.records:
            shown[record.domain].add(record.class_name)
        assert shown["sketch"] == {drawn}
        assert len(shown["photo"]) == len(images.train.classes) == 4
        assert {record.domain for record in images.unseen.records} == {"photo", "sketch"}

    def test_size_and_framing_are_the_configuration_s(self, tiny_config):
        images, _ = self.open(tiny_config(image_size=48, frame_sketches=True))
        for each in (images.train, images.unseen):
            assert each.shown_as == {"size": 48, "frame_sketches": True}

    def test_fewer_images_than_a_batch(self, tiny_config):
        with pytest.raises(ConfigError, match="32 training images do not fill one batch of 33"):
            self.open(tiny_config(batch_size=33))


class TestCache:
    open = staticmethod(TestOpenImages.open)

    def test_beside_the_data_unless_told_otherwise(self, tiny_config, root, tmp_path):
        assert cache_folder(tiny_config(data_root=root)) == root / ".msedge-cache"
        elsewhere = tiny_config(data_root=root, cache_dir=tmp_path / "kept")
        assert cache_folder(elsewhere) == tmp_path / "kept"

    def test_without_it_nothing_is_written(self, tiny_config, root):
        images, _ = self.open(tiny_config(data_root=root, cache=False))
        images.unseen.pixels(torch.arange(24))
        assert sorted(path.name for path in root.iterdir()) == ["tiny"]

    @pytest.mark.parametrize("where", [None, "kept"])
    def test_pixels_are_the_same_and_kept(self, tiny_config, root, tmp_path, where):
        given = None if where is None else tmp_path / where
        plain, _ = self.open(tiny_config(data_root=root, cache=False))
        config = tiny_config(data_root=root, cache=True, cache_dir=given)
        rows = torch.arange(24)
        for _ in range(2):  # filled, and then read
            images, said = self.open(config)
            assert said == []
            assert torch.equal(images.unseen.pixels(rows), plain.unseen.pixels(rows))
        assert cache_folder(config).is_dir()
        assert any(path.stat().st_size > 24 * 3 * 32**2 for path in cache_folder(config).iterdir())

    def test_a_set_that_does_not_fit_is_told(self, tiny_config, root):
        """And is complete all the same."""
        config = tiny_config(data_root=root, cache=True, cache_gb=20 * 3 * 32**2 / 1e9)
        images, (line,) = self.open(config)
        fits, _, rest = line.partition(" of 56 decoded images fit --cache-gb ")
        assert 0 < int(fits) <= 20
        assert rest.endswith("the others are decoded every time")
        plain, _ = self.open(tiny_config(data_root=root))
        rows = torch.arange(24)
        assert torch.equal(images.unseen.pixels(rows), plain.unseen.pixels(rows))

    def test_a_folder_that_cannot_be_written(self, tiny_config, root):
        (root / "file").write_text("")
        config = tiny_config(data_root=root, cache=True, cache_dir=root / "file")
        with pytest.raises(DataError, match=r"--no-cache"):
            self.open(config)

    def test_without_a_place_of_its_own_it_goes_on_without(self, tiny_config, root):
        (root / ".msedge-cache").write_bytes(b"")  # no folder
        plain, _ = self.open(tiny_config(data_root=root, cache=False))
        images, said = self.open(tiny_config(data_root=root, cache=True))
        rows = torch.arange(len(images.unseen))
        assert torch.equal(images.unseen.pixels(rows), plain.unseen.pixels(rows))
        assert (root / ".msedge-cache").read_bytes() == b""
        (line,) = said
        assert line.startswith(f"cannot keep decoded images in {root / '.msedge-cache'}")
        assert line.endswith("; until then every image is decoded every time")
