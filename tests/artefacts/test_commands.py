"""Every command that reads a stored file, given one from a stranger: status 2 and one line."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hostile_artefacts import TRIED, Mark, of_others
from made_photos import make, photos
from msedge.cli.app import main

FOREIGN = ("text", "deep JSON", "nothing", "protocol 2", "checkpoint of PyTorch", "database")
"""Of other programs; the readers themselves are given many more."""

LONGEST = 2000  # characters of the line, a path among them


class Folder:
    """Whole files that each command also needs, and a place for one that is not."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "photos").mkdir()
        Image.new("RGB", (60, 40), "red").save(root / "photos" / "red.png")
        Image.new("RGB", (60, 60), "white").save(root / "drawing.png")
        np.savez(root / "whole.npz", x=np.eye(4, dtype=np.float32), y=np.arange(4))
        make(root / "whole.msedge", photos(3))

    def __call__(self, name: str) -> str:
        return str(self.root / name)


COMMANDS: dict[str, tuple[str, Callable[[Folder], list[str]]]] = {
    "search a gallery": (
        "bad.msedge",
        lambda at: ["search", at("drawing.png"), "--gallery", at("bad.msedge")],
    ),
    "index into a gallery": (
        "bad.msedge",
        lambda at: ["index", at("photos"), "--gallery", at("bad.msedge")],
    ),
    "serve a gallery": (
        "bad.msedge",
        lambda at: ["serve", "--gallery", at("bad.msedge"), "--port", "0"],
    ),
    "gallery stats": ("bad.msedge", lambda at: ["gallery", "stats", at("bad.msedge")]),
    "gallery copy": (
        "bad.msedge",
        lambda at: ["gallery", "copy", at("bad.msedge"), at("copy.msedge")],
    ),
    "gallery compact": ("bad.msedge", lambda at: ["gallery", "compact", at("bad.msedge")]),
    "gallery approximate": ("bad.msedge", lambda at: ["gallery", "approximate", at("bad.msedge")]),
    "search by an ONNX file": (
        "bad.onnx",
        lambda at: [
            "search", at("drawing.png"), "--gallery", at("whole.msedge"), "--model", at("bad.onnx")
        ],
    ),
    "index by an ONNX file": (
        "bad.onnx",
        lambda at: [
            "index", at("photos"), "--gallery", at("new.msedge"), "--model", at("bad.onnx")
        ],
    ),
    "models show a checkpoint": (
        "bad.safetensors",
        lambda at: ["models", "show", at("bad.safetensors")],
    ),
    "models show an ONNX file": ("bad.onnx", lambda at: ["models", "show", at("bad.onnx")]),
    "export": (
        "bad.safetensors",
        lambda at: ["export", at("bad.safetensors"), "--out", at("made.onnx")],
    ),
    "models ship": (
        "bad.safetensors",
        lambda at: [
            "models", "ship", at("bad.safetensors"), "--name", "x", "--intended-use", "x",
            "--limits", "x", "--data", "a|b|c", "--out", at("shipped"),
        ],
    ),
    "evaluate vectors": (
        "bad.safetensors",
        lambda at: ["evaluate", at("bad.safetensors"), at("whole.npz")],
    ),
    "evaluate an archive": ("bad.npz", lambda at: ["evaluate", at("whole.npz"), at("bad.npz")]),
    "evaluate by labels": (
        "bad.npy",
        lambda at: [
            "evaluate", at("whole.npz"), at("whole.npz"), "--labels", at("bad.npy"), "-"
        ],
    ),
    "train by a configuration": ("bad.yaml", lambda at: ["train", "--config", at("bad.yaml")]),
    "benchmark a plan": ("bad.yaml", lambda at: ["benchmark", at("bad.yaml")]),
    "protocols show": ("bad.toml", lambda at: ["protocols", "show", at("bad.toml")]),
    "protocols overlap": (
        "bad.toml",
        lambda at: ["protocols", "overlap", at("bad.toml"), "sketchy-25"],
    ),
}  # fmt: skip
"""What is bad, and what is typed."""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def digest(root: Path) -> dict[str, str]:
    """What the files in a folder hold, but for the one that SQLite and its readers share."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def content_of(name: str, mark: Mark) -> bytes:
    return next(case.content for case in of_others(mark) if case.name == name)


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_tells_in_one_line_that_a_file_is_none_of_ours(
    folder, monkeypatch, capfd, command, foreign
):
    bad, typed = COMMANDS[command]
    mark = Mark(folder.root / "photos")
    (folder.root / bad).write_bytes(content_of(foreign, mark))
    before = digest(folder.root)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["msedge", *typed(folder)])
    with pytest.raises(SystemExit) as left:
        main()
    said = capfd.readouterr()
    assert left.value.code == 2, said
    (line,) = said.err.splitlines()
    assert line.startswith("msedge: ")
    assert line.isprintable()
    assert len(line) < LONGEST
    assert said.out == ""
    assert not mark.was_left
    assert digest(folder.root) == before
    TRIED["commands in this process", foreign] += 1


@pytest.mark.parametrize("command", ["search a gallery", "evaluate an archive", "export"])
def test_so_does_the_program_itself(folder, command):
    """In a process of its own, with all that libraries print."""
    bad, typed = COMMANDS[command]
    mark = Mark(folder.root / "photos")
    (folder.root / bad).write_bytes(content_of("checkpoint of PyTorch", mark))
    before = digest(folder.root)
    done = subprocess.run(
        [sys.executable, "-m", "msedge", *typed(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == ""
    assert not mark.was_left
    assert digest(folder.root) == before
    TRIED["commands in a process", "checkpoint of PyTorch"] += 1


def test_training_does_not_run_what_its_weights_hold(folder, tiny_root, monkeypatch, capfd):
    """What it does until then, it tells as it goes; the error is the last line."""
    mark = Mark(folder.root)
    for foreign in ("checkpoint of PyTorch", "protocol 2"):
        (folder.root / "bad.pth").write_bytes(content_of(foreign, mark))
        typed = ["train", "--data-root", str(tiny_root), "--data-name", "tiny", "--no-cache"]
        typed += ["--backbone", "test_efficientnet", "--image-size", "32", "--accelerator", "cpu"]
        typed += ["--weights", folder("bad.pth"), "--save-root", folder("run"), "--batch-size", "8"]
        monkeypatch.setattr(sys, "argv", ["msedge", *typed])
        with pytest.raises(SystemExit) as left:
            main()
        said = capfd.readouterr()
        assert left.value.code == 2, said
        assert "never loaded since it can run code" in said.err.splitlines()[-1]
        assert "weights_only" not in said.err
        assert not mark.was_left
        TRIED["commands in this process", foreign] += 1


DAMAGED_DATASETS = """
import random, sys
from pathlib import Path
import numpy as np
from msedge.errors import MSEdgeError
from msedge.search.stores import open_store

path = Path(sys.argv[1])
files = sorted(each for each in path.rglob("*") if each.is_file())
random = random.Random(5)
for number in range(int(sys.argv[2])):
    file = files[number % len(files)]
    whole = file.read_bytes()
    content = bytearray(whole)
    if number % 4 == 0:
        del content[random.randrange(len(content)):]
    else:
        for _ in range(1 + number % 4):
            content[random.randrange(len(content))] = random.randrange(256)
    file.write_bytes(content)
    try:
        with open_store(path) as gallery:
            query = np.ones(8, np.float32) / 8**0.5
            gallery.view().search(query, 5, filters=None, without=(1,), together=True)
            gallery.photos(), gallery.folders(), gallery.count(), list(gallery.blocks(7))
    except MSEdgeError as error:
        assert str(error).isprintable() and len(str(error)) < 2000, error
    finally:
        file.write_bytes(whole)
    print("done", number, flush=True)
"""


def test_a_lance_dataset_that_is_damaged_is_read_or_refused_in_one_line(tmp_path):
    """In a process of its own: what reads it is native, and might end the process."""
    pytest.importorskip("lance")
    from made_photos import make, photos

    cases = 60
    make(tmp_path / "photos.lance", photos(29))
    done = subprocess.run(
        [sys.executable, "-c", DAMAGED_DATASETS, str(tmp_path / "photos.lance"), str(cases)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    told = done.stderr[-2000:]
    assert done.returncode == 0, told
    assert done.stdout.count("done") == cases
    TRIED["Lance dataset", "cut short, or with bytes changed"] += cases
