"""``python main.py``: the paper's options, whole runs, a kill, and what a person is told."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from msedge.cli import paper
from msedge.data.vectors import load_vectors
from msedge.models.card import read_card
from msedge.models.checkpoint import load_checkpoint
from msedge.training.config import TrainConfig

MAIN = Path(__file__).resolve().parents[2] / "main.py"
FILES = (
    "results.csv",
    "model.safetensors",
    "vectors.safetensors",
    "run.json",
    "retrieval.png",
    "log.jsonl",
)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
Spell = Callable[..., list[str]]


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(MAIN), *arguments]


def run_main(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | ENVIRONMENT,
    )


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """The same, not waited for."""
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | ENVIRONMENT,
    )


@pytest.fixture(scope="module")
def told() -> str:
    """What ``python main.py --help`` prints."""
    done = run_main("--help")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class TestHelp:
    @pytest.mark.parametrize(
        ("option", "default"),
        [
            ("data_root", "data"),
            ("data_name", "sketchy"),
            ("backbone_type", "resnet50"),
            ("proj_dim", "512"),
            ("batch_size", "64"),
            ("epochs", "10"),
            ("warmup", "2"),
            ("save_root", "result"),
        ],
    )
    def test_names_the_paper_s_options_and_defaults(self, told, option, default):
        lines = [line for line in told.splitlines() if re.search(rf"--{option}\s", line)]
        assert len(lines) == 1
        assert f"(default: {default})" in lines[0]

    def test_paper_s_eight_come_first(self, told):
        shown = re.findall(r"^│ --(\w+)", told, re.MULTILINE)
        assert shown[:8] == [
            "data_root",
            "data_name",
            "backbone_type",
            "proj_dim",
            "batch_size",
            "epochs",
            "warmup",
            "save_root",
        ]
        assert len(shown) == len(set(shown)) == len(TrainConfig.model_fields) + 2  # config, help

    def test_names_the_files(self, told):
        words = " ".join(told.replace("│", " ").split())
        assert all(name in words for name in FILES)

    def test_main_py_is_a_few_lines(self):
        assert len(MAIN.read_text().splitlines()) <= 10


class TestDefaults:
    """What reaches the engine when little is typed."""

    @pytest.fixture
    def configured(self, type_in, monkeypatch) -> Callable[..., TrainConfig]:
        caught: list[TrainConfig] = []
        monkeypatch.setattr(
            "msedge.training.trainer.train", lambda config, _: caught.append(config)
        )
        monkeypatch.setattr("msedge.cli.outcome.show_outcome", lambda _: None)
        monkeypatch.setattr("msedge.data.sample.write_sample", lambda *_, **__: None, raising=False)

        def run(*arguments: object) -> TrainConfig:
            answer = type_in(paper.main, *arguments)
            assert answer.code == 0, answer.err
            return caught.pop()

        return run

    def test_nothing_typed(self, configured):
        expected = TrainConfig(data_name="sketchy", backbone="resnet50")
        assert configured() == expected

    def test_tuberlin_as_in_the_paper(self, configured):
        config = configured("--data_name", "tuberlin")
        assert (config.backbone, config.val_photos_needed) == ("resnet50", 400)
        config = configured("--data_name", "tuberlin", "--min_val_photos", 3)
        assert config.val_photos_needed == 3

    def test_sample_needs_no_hub(self, configured, tmp_path):
        own = TrainConfig().backbone
        assert configured("--data_name", "sample").backbone == own == "tf_efficientnet_lite0"
        file = tmp_path / "run.yaml"
        file.write_text("data_name: sample\n")
        assert configured("--config", file).backbone == own

    def test_sample_with_a_chosen_backbone(self, configured):
        assert configured("--data_name", "sample", "--backbone_type", "vgg16").backbone == "vgg16"

    def test_file_wins_over_defaults_and_options_over_the_file(self, configured, tmp_path):
        file = tmp_path / "run.yaml"
        file.write_text("backbone: vgg16\nepochs: 3\nfusion: none\n")
        config = configured("--epochs", 4, "--config", file)
        assert (config.data_name, config.backbone) == ("sketchy", "vgg16")
        assert (config.epochs, config.fusion, config.warmup) == (4, "none", 2)


class TestWholeRuns:
    def check_files(self, folder: Path, prefix: str, out: str) -> None:
        paths = [folder / f"{prefix}_{name}" for name in FILES]
        assert sorted(folder.iterdir()) == sorted(paths)
        assert all(str(path) in out for path in paths)
        results, model, vectors, record, figure, log = paths
        assert json.loads(log.read_text().splitlines()[-1])["kind"] == "epoch"
        header, *rows = results.read_text().splitlines()
        assert header.startswith("epoch,loss,mAP@200,mAP@all,P@100,P@200,")
        assert len(rows) == 1
        card = read_card(model)
        assert card.metrics == json.loads(record.read_text())["epochs"][0]["metrics"]
        assert load_vectors(vectors).embeddings.shape[1] == card.dim
        with Image.open(figure) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert len(picture.convert("RGB").getcolors(maxcolors=2**24)) > 100

    @pytest.mark.parametrize(("backbone", "size"), [("resnet50", 64), ("vgg16", 32)])
    def test_paper_s_backbones(self, backbone, size, type_in, paper_options, tmp_path):
        arguments = paper_options(backbone=backbone, image_size=size, select=None)
        answer = type_in(paper.main, *arguments)
        assert answer.code == 0, answer.err
        self.check_files(tmp_path / "result", f"tiny_{backbone}_16", answer.out)
        assert "checkpoint chosen by: held-out seen classes" in answer.out
        network, card = load_checkpoint(tmp_path / "result" / f"tiny_{backbone}_16_{FILES[1]}")
        assert card.backbone == backbone
        assert network(torch.rand(2, 3, size, size)).shape == (2, 16)

    def test_sample_from_nothing(self, type_in, paper_options, tmp_path, monkeypatch):
        """Drawn by code and trained from weights that need no hub."""
        from msedge.data.sample import write_sample

        few = partial(write_sample, photos=4, sketches=4)
        monkeypatch.setattr("msedge.data.sample.write_sample", few)
        arguments = paper_options(
            data_root=tmp_path / "data",
            data_name="sample",
            backbone=None,
            weights=None,
            select=None,
        )
        answer = type_in(paper.main, *arguments)
        assert answer.code == 0, answer.err
        prefix = "sample_tf_efficientnet_lite0_16"
        self.check_files(tmp_path / "result", prefix, answer.out)

    def test_choosing_on_test_classes_is_told(self, type_in, paper_options, tmp_path):
        answer = type_in(paper.main, *paper_options(select="test"))
        assert "checkpoint chosen by: TEST CLASSES (inflated)" in answer.out
        prefix = tmp_path / "result" / "tiny_test_efficientnet_16"
        assert "TEST CLASSES (inflated)" in Path(f"{prefix}_results.csv").read_text()
        assert read_card(Path(f"{prefix}_model.safetensors")).selected_on_test_classes


class TestKill:
    """SIGKILL, which no program can prepare for."""

    EPOCHS = 8

    @pytest.fixture
    def everything(self, paper_options: Spell, classifier_file: Path) -> Spell:
        return partial(
            paper_options,
            weights=classifier_file,
            epochs=self.EPOCHS,
            warmup=2,
            distillation=0.5,
            edge_views=0.5,
            averaging=0.9,
            schedule="cosine",
            frozen_blocks=1,
            learning_rate=1e-3,
            select="seen",
        )

    def test_killed_and_resumed_is_as_if_never_killed(self, everything, tmp_path):
        prefix = "tiny_test_efficientnet_16"
        state = tmp_path / "killed" / f"{prefix}_state.safetensors"
        whole = start(*everything(save_root=tmp_path / "whole"))  # beside the other, to save time
        process = start(*everything(save_root=state.parent))
        try:
            while not state.exists():
                assert process.poll() is None, "ended without a state"
                time.sleep(0.002)
        finally:
            process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        with safe_open(state, framework="pt") as opened:
            known = len(json.loads(opened.metadata()["rows"]))
        assert 1 <= known < self.EPOCHS

        resumed = run_main(*everything(save_root=state.parent), "--resume")
        assert (resumed.returncode, whole.wait()) == (0, 0), resumed.stderr
        assert f"going on after epoch {known} of the killed run" in resumed.stderr
        assert not state.exists()
        one, other = (
            [folder / f"{prefix}_{name}" for name in FILES]
            for folder in (state.parent, tmp_path / "whole")
        )
        assert one[0].read_bytes() == other[0].read_bytes()
        assert len(one[0].read_text().splitlines()) == 1 + self.EPOCHS
        for path, twin in zip(one[1:3], other[1:3], strict=True):  # weights and vectors
            tensors, twins = load_file(path), load_file(twin)
            assert tensors.keys() == twins.keys()
            assert all(torch.equal(tensors[name], twins[name]) for name in tensors)
        assert read_card(one[1]) == read_card(other[1])
        assert one[4].read_bytes() == other[4].read_bytes()


class TestExceptions:
    """One line a problem on standard error, exit status 2, and no traceback."""

    @staticmethod
    def problems(answer) -> list[str]:
        assert answer.code == 2
        assert "Traceback" not in answer.err
        assert answer.out == ""
        return [line for line in answer.err.splitlines() if line.startswith("msedge: ")]

    def test_missing_data_root_in_a_real_process(self, paper_options, tmp_path):
        gone = tmp_path / "gone"
        done = run_main(*paper_options(data_root=gone))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines() == [
            "loading PyTorch",
            f"msedge: data root {gone} is not a folder: create it with `msedge data prepare`, "
            "or name another",
        ]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("epoch: 3", "no setting is named 'epoch'"),
            ("fusion: hedge", "fusion: 'hedge' cannot be used"),
            ("epochs: many", "epochs: 'many' cannot be used"),
            ("epochs: [3", "is not YAML"),
            ("- epochs", "must be lines of 'name: value'"),
        ],
    )
    def test_yaml_that_cannot_be_used(self, text, problem, type_in, tmp_path):
        file = tmp_path / "run.yaml"
        file.write_text(text)
        answer = type_in(paper.main, "--config", file, "--data_root", tmp_path)
        assert problem in answer.err
        assert answer.err.splitlines() == self.problems(answer)
        assert len(answer.err.splitlines()) == 1

    def test_missing_yaml(self, type_in, tmp_path):
        (line,) = self.problems(type_in(paper.main, "--config", tmp_path / "gone.yaml"))
        assert str(tmp_path / "gone.yaml") in line

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--fusion", "hedge"),
            ("--epochs", "many"),
            ("--no_such_option", "1"),
            ("--batch-size", "8"),
            ("--epochs",),
        ],
    )
    def test_options_that_do_not_exist(self, arguments, type_in):
        answer = type_in(paper.main, *arguments)
        assert answer.code == 2
        assert "Traceback" not in answer.err
        assert arguments[0] in answer.err

    def test_option_out_of_range(self, type_in):
        (line,) = self.problems(type_in(paper.main, "--epochs", "0"))
        assert line.startswith("msedge: epochs: 0 cannot be used: ")

    def test_unreadable_image_is_named(self, type_in, paper_options, tiny_root, tmp_path):
        root = shutil.copytree(tiny_root, tmp_path / "data")
        bad = root / "tiny" / "val" / "photo" / "val 2" / "1.png"
        bad.write_bytes(b"no image")
        (line,) = self.problems(type_in(paper.main, *paper_options(data_root=root)))
        assert str(bad) in line

    def test_skip_unreadable_lists_and_goes_on(self, type_in, paper_options, tiny_root, tmp_path):
        root = shutil.copytree(tiny_root, tmp_path / "data")
        bad = [
            root / "tiny" / "train" / "sketch" / "train 0" / "3.png",
            root / "tiny" / "val" / "photo" / "val 2" / "1.png",
        ]
        for path in bad:
            path.write_bytes(b"no image")
        answer = type_in(paper.main, *paper_options(data_root=root), "--skip_unreadable")
        assert answer.code == 0, answer.err
        skipped = [line for line in answer.err.splitlines() if line.startswith("skipped: ")]
        assert len(skipped) == len(bad)
        assert all(str(path) in line for path, line in zip(bad, skipped, strict=True))

    def test_a_line_for_each_problem(self, type_in, paper_options, tiny_root, tmp_path):
        root = shutil.copytree(tiny_root, tmp_path / "data")
        shutil.rmtree(root / "tiny" / "train" / "photo" / "train 1")
        shutil.rmtree(root / "tiny" / "val" / "sketch")
        lines = self.problems(type_in(paper.main, *paper_options(data_root=root)))
        assert len(lines) == 2
        assert "train 1" in lines[0]
        assert str(root / "tiny" / "val" / "sketch") in lines[1]

    def test_weights_that_cannot_be_read(self, type_in, paper_options, tmp_path):
        file = tmp_path / "weights.pth"
        file.write_bytes(b"no tensors")
        (line,) = self.problems(type_in(paper.main, *paper_options(weights=file)))
        assert str(file) in line

    def test_another_run_stands_there(self, type_in, paper_options, tmp_path):
        assert type_in(paper.main, *paper_options()).code == 0
        before = {path: path.read_bytes() for path in (tmp_path / "result").iterdir()}
        (line,) = self.problems(type_in(paper.main, *paper_options(seed=1)))
        assert "seed: 0 there, 1 here" in line
        assert {path: path.read_bytes() for path in (tmp_path / "result").iterdir()} == before

    def test_save_root_is_a_file(self, type_in, paper_options, tmp_path):
        (tmp_path / "file").write_text("")
        (line,) = self.problems(type_in(paper.main, *paper_options(save_root=tmp_path / "file")))
        assert "cannot write" in line
