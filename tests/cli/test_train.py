"""``msedge train``: layers of settings, a whole run, and a run that is stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from msedge.cli import paper
from msedge.cli.app import main
from msedge.cli.train import run_training
from msedge.data.datasets import ImageSet
from msedge.data.images import read_pixels
from msedge.data.layouts import read_dataset
from msedge.errors import ConfigError, DataError
from msedge.models.checkpoint import load_checkpoint
from msedge.search.encoder import OnnxEncoder
from msedge.training.config import TrainConfig
from msedge.training.embedding import embed, in_percent, judge
from msedge.training.learner import Learner, Step


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands in for training and drawing, and notes what they were asked."""
    asked = SimpleNamespace(configs=[], samples=[], shown=[])
    monkeypatch.setattr(
        "msedge.training.trainer.train", lambda config, _: asked.configs.append(config) or "result"
    )
    monkeypatch.setattr("msedge.cli.outcome.show_outcome", asked.shown.append)

    def write_sample(data_root: Path, *, progress) -> None:
        progress(1, 1)
        asked.samples.append(data_root)

    monkeypatch.setattr("msedge.data.sample.write_sample", write_sample, raising=False)
    return asked


class TestLayers:
    def test_options_over_file_over_defaults(self, engine, tmp_path):
        file = tmp_path / "run.yaml"
        file.write_text("epochs: 2\nseed: 2\n")
        run_training({"epochs": 1, "seed": 1, "dim": 1, "data_name": "x"}, {"epochs": 3}, file)
        assert engine.configs == [TrainConfig(epochs=3, seed=2, dim=1, data_name="x")]
        assert engine.shown == ["result"]

    def test_configuration_s_own_defaults_lie_below(self, engine):
        run_training({}, {"data_name": "x"}, None)
        assert engine.configs == [TrainConfig(data_name="x")]

    def test_wrong_settings_start_nothing(self, engine):
        with pytest.raises(ConfigError, match="epochs: 0 cannot be used"):
            run_training({}, {"epochs": 0}, None)
        assert engine == SimpleNamespace(configs=[], samples=[], shown=[])


class TestSample:
    def test_is_drawn_when_it_is_asked_for(self, engine, tmp_path):
        run_training({}, {"data_root": tmp_path}, None)
        assert engine.samples == [tmp_path]
        assert engine.configs[0].data_name == "sample"

    def test_is_not_drawn_again(self, engine, tmp_path):
        (tmp_path / "sample").mkdir()
        run_training({}, {"data_root": tmp_path}, None)
        assert engine.samples == []
        assert len(engine.configs) == 1

    def test_is_not_drawn_for_others(self, engine):
        run_training({}, {"data_name": "sketchy"}, None)
        assert engine.samples == []


class TestCommand:
    def test_same_engine_as_the_paper_s_command_line(self, type_in, tiny_options, tmp_path):
        """Two spellings of one run: the same files, bit for bit."""
        names = {"backbone": "backbone_type", "dim": "proj_dim"}
        told = {}
        for way in ("paper", "msedge"):
            settings = tiny_options | {"save_root": tmp_path / way}
            typed = [] if way == "paper" else ["train"]
            for name, value in settings.items():
                option = names.get(name, name) if way == "paper" else name.replace("_", "-")
                typed += [f"--{option}", value]
            answer = type_in(paper.main if way == "paper" else main, *typed)
            assert answer.code == 0, answer.err
            told[way] = answer.out.replace(str(tmp_path / way), "")
        assert told["paper"] == told["msedge"]
        one, other = (str(tmp_path / way / "tiny_test_efficientnet_16_") for way in told)
        for name in ("results.csv", "retrieval.png"):
            assert Path(one + name).read_bytes() == Path(other + name).read_bytes()
        tensors, twins = (load_file(path + "model.safetensors") for path in (one, other))
        assert tensors.keys() == twins.keys()
        assert all(torch.equal(tensors[name], twins[name]) for name in tensors)

    def test_photos_are_judged_as_they_will_be_searched(self, type_in, paper_options, tmp_path):
        """In their own shape, at two sizes: by training, by the card, and by the exported file."""
        typed = paper_options(fusion="none")
        answer = type_in(paper.main, *typed, "--photo_sizes", "64", "--photo_sizes", "96")
        assert answer.code == 0, answer.err
        run = tmp_path / "result" / "tiny_test_efficientnet_16_model.safetensors"
        network, card = load_checkpoint(run)
        assert card.photo_sizes == (64, 96)
        split = read_dataset(Path(typed[1]), "tiny").val
        images = ImageSet(split.records, split.classes, size=32)
        vectors = embed(network, images, device=torch.device("cpu"), photo_sizes=(64, 96))
        assert card.metrics == pytest.approx(in_percent(judge(vectors)), abs=1e-6)
        exported = type_in(main, "export", run, "--out", tmp_path / "net.onnx")
        assert exported.code == 0, exported.err
        encoder = OnnxEncoder.load(tmp_path / "net.onnx")
        photo = images.records[int(vectors.of("photo")[0])].path
        found = encoder.photos(read_pixels(photo, 96, keep_shape=True)[None])[0]
        expected = vectors.embeddings[vectors.of("photo")[0]]
        assert found == pytest.approx(expected, abs=1e-4)

    def test_news_on_standard_error_and_figures_on_standard_output(self, type_in, paper_options):
        answer = type_in(paper.main, *paper_options())
        first, *_, last = answer.err.splitlines()
        assert first == "loading PyTorch"
        assert last.startswith("epoch 1: loss ")
        assert answer.out.startswith("Unseen classes, in percent (standard convention)")

    def test_stopped_by_a_person(self, type_in, paper_options, monkeypatch):
        def stopped(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("msedge.training.trainer.train", stopped)
        answer = type_in(paper.main, *paper_options())
        assert answer.code == 130
        assert "Traceback" not in answer.err

    def test_told_to_stop(self, type_in, paper_options, monkeypatch):
        """Between two steps, as a cluster does it; what a shell expects is told."""
        step = Learner.epoch

        def epoch(self: Learner, number: int, done: int = 0) -> Iterator[Step]:
            for each in step(self, number, done):
                if each.number == 2:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield each

        monkeypatch.setattr(Learner, "epoch", epoch)
        before = signal.getsignal(signal.SIGTERM)
        answer = type_in(paper.main, *paper_options())
        assert answer.code == 143
        assert answer.out == ""
        assert answer.err.splitlines()[-1] == (
            "msedge: stopped after step 2 of epoch 1; --resume goes on from there"
        )
        assert signal.getsignal(signal.SIGTERM) is before
        monkeypatch.undo()
        resumed = type_in(paper.main, *paper_options(), "--resume")
        assert resumed.code == 0, resumed.err
        assert "going on after epoch 0 and 2 steps of the killed run" in resumed.err.splitlines()


class TestProcesses:
    """The first of several processes speaks; the others are heard when something goes wrong."""

    @pytest.mark.parametrize(("rank", "speaks"), [("0", True), ("1", False)])
    def test_only_the_first_speaks(self, engine, monkeypatch, capsys, rank, speaks):
        monkeypatch.setenv("RANK", rank)
        run_training({}, {"data_name": "x"}, None)
        assert engine.configs == [TrainConfig(data_name="x")]
        assert engine.shown == (["result"] if speaks else [])
        assert (capsys.readouterr().err != "") is speaks

    def test_errors_are_told_by_all(self, monkeypatch):
        def fails(*_: object) -> None:
            raise DataError("no cat")

        monkeypatch.setenv("RANK", "1")
        monkeypatch.setattr("msedge.training.trainer.train", fails)
        with pytest.raises(DataError, match="no cat"):
            run_training({}, {"data_name": "x"}, None)
