"""The base installation searches: nothing of training, and no extra, is needed or imported.

The commands run as processes in which those packages cannot be found, as if they had never been
installed; what does need one says which, and how to have it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from msedge.data.sample import draw_photo, draw_sketch
from msedge.models.shipped import find_model

ABSENT = (
    "faiss", "fastapi", "fsspec", "kornia", "lance", "lightning_fabric", "onnx", "onnxscript",
    "pillow_heif", "prometheus_client", "pyarrow", "pytorch_metric_learning", "ray", "resvg_py",
    "tensorboard", "timm", "torch", "torchvision", "uvicorn",
)  # fmt: skip
HIDING = f"""
import sys
from importlib.machinery import PathFinder


class Hiding:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            return None
        return PathFinder.find_spec(name, path, target)

    invalidate_caches = PathFinder.invalidate_caches
    find_distributions = PathFinder.find_distributions


sys.meta_path[:] = [Hiding if each is PathFinder else each for each in sys.meta_path]
"""
DRAWN = ("bicycle", "fish", "glasses", "umbrella")
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><path d="M1 1L8 8" stroke="black"/></svg>'
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos and sketches of a few things, and what hides the packages."""
    root = tmp_path_factory.mktemp("base")
    (root / "hiding").mkdir()
    (root / "hiding/sitecustomize.py").write_text(HIDING)
    (root / "photos").mkdir()
    for name in DRAWN:
        for number in range(2):
            photo = draw_photo(name, np.random.default_rng(number), 240)
            photo.save(root / f"photos/{name} {number}.jpg", quality=90)
        draw_sketch(name, np.random.default_rng(9), 200).save(root / f"{name}.png")
    (root / "drawing.svg").write_text(SVG)
    return root


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "MSEDGE_DEBUG"}
    environment |= {"PYTHONPATH": str(folder / "hiding"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
        timeout=120,
    )


def msedge(folder: Path, *words: str) -> str:
    """What a command prints that must succeed."""
    done = python(folder, "-m", "msedge", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(folder: Path, *words: str) -> str:
    """The one line that a command says that must be refused."""
    done = python(folder, "-m", "msedge", *words)
    assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (line,) = (each for each in done.stderr.splitlines() if each.startswith("msedge: "))
    return line


@pytest.fixture(scope="module")
def gallery(folder: Path) -> Path:
    """The photos, indexed without the packages."""
    told = msedge(folder, "index", "photos")
    assert f"{2 * len(DRAWN)} new" in told
    return folder / "photos.msedge"


def test_they_are_hidden(folder):
    code = f"import importlib.util; print([n for n in {ABSENT!r} if importlib.util.find_spec(n)])"
    assert python(folder, "-c", code).stdout == "[]\n"
    assert "ModuleNotFoundError" in python(folder, "-c", "import torch").stderr


def test_help(folder):
    told = msedge(folder, "--help")
    for command in ("index", "search", "serve", "models", "train", "export"):
        assert f" {command} " in told


def test_models(folder):
    told = msedge(folder, "models")
    assert "msedge-lite " in told
    assert "intended use" in msedge(folder, "models", "show", "msedge-lite")


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_drawn_is_found(gallery, name):
    (first,) = msedge(gallery.parent, "search", f"{name}.png", "--paths", "-k", "1").splitlines()
    assert Path(first).name.split()[0] == name


def test_python(gallery):
    code = (
        "import msedge, sys; hits = msedge.Gallery.open('photos.msedge').search('fish.png', k=2); "
        f"print(hits[0].photo.path.name.split()[0], {{*{ABSENT!r}}} & {{*sys.modules}})"
    )
    assert python(gallery.parent, "-c", code).stdout == "fish set()\n"


class TestWhatNeedsMore:
    def test_serve(self, gallery):
        line = refusal(gallery.parent, "serve", "--gallery", gallery.name)
        assert "pip install 'msedge[serve]'" in line

    @pytest.mark.parametrize("command", [["export"], ["models", "export"]])
    def test_export(self, folder, command):
        line = refusal(folder, *command, "msedge-lite", "--out", "own.onnx")
        assert "pip install 'msedge[train,export]'" in line
        assert not (folder / "own.onnx").exists()

    def test_a_drawing_as_svg(self, gallery):
        line = refusal(gallery.parent, "search", "drawing.svg")
        assert "pip install 'msedge[svg]'" in line

    def test_a_photo_as_heic(self, gallery, tmp_path):
        (tmp_path / "a.heic").write_bytes(HEIC)
        line = refusal(gallery.parent, "search", "--like", str(tmp_path / "a.heic"))
        assert "pip install 'msedge[heic]'" in line
        told = msedge(gallery.parent, "index", str(tmp_path), "--gallery", str(tmp_path / "g"))
        assert "skipped" in told
        assert "pip install 'msedge[heic]'" in told

    def test_train(self, folder, tiny_root):
        words = ("--data-root", str(tiny_root), "--data-name", "tiny", "--epochs", "1")
        assert "pip install 'msedge[train]'" in refusal(folder, "train", *words)

    def test_ship(self, folder):
        told = ("--name", "a", "--intended-use", "a", "--limits", "a", "--data", "a|b|c")
        run = str(find_model("msedge-lite"))
        line = refusal(folder, "models", "ship", run, *told, "--out", "made")
        assert "pip install 'msedge[train]'" in line
