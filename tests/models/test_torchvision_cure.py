"""The cure, tried in fresh processes on torchvisions made up for it and on the installed one."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from msedge.models import torchvision_cure

NEEDS_NMS = """
import torch
@torch.library.register_fake("torchvision::nms")  # as torchvision's own import does
def nms(dets, scores, iou_threshold):
    return dets
"""
ASK = """
from msedge.models import torchvision_cure
try:
    torchvision_cure.ensure_torchvision()
    torchvision_cure.ensure_torchvision()
except Exception as error:
    print(type(error).__name__, error)
else:
    import torchvision
    print("imported", torchvision.__name__)
print("declared", len(torchvision_cure._declared))
"""


def ask(package: str | None, folder: Path) -> list[str]:
    """What the cure does where torchvision's ``__init__.py`` reads ``package``."""
    if package is not None:
        (folder / "torchvision").mkdir()
        (folder / "torchvision" / "__init__.py").write_text(package, encoding="utf-8")
    search = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(search)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout.splitlines()


def test_the_installed_torchvision_imports(tmp_path):
    assert ask(None, tmp_path)[0] == "imported torchvision"


def test_missing_operators_are_declared_once(tmp_path):
    assert ask(NEEDS_NMS, tmp_path) == ["imported torchvision", "declared 1"]


def test_a_sound_torchvision_is_left_alone(tmp_path):
    assert ask("", tmp_path) == ["imported torchvision", "declared 0"]


def test_another_failure_passes_through(tmp_path):
    package = "raise RuntimeError('no CUDA driver')"
    assert ask(package, tmp_path) == ["RuntimeError no CUDA driver", "declared 0"]


def test_a_missing_torchvision_stays_missing(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    declared = len(torchvision_cure._declared)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ModuleNotFoundError, match="No module named 'torchvision'"):
        torchvision_cure.ensure_torchvision()
    assert len(torchvision_cure._declared) == declared


def test_an_imported_torchvision_is_not_imported_again(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    torchvision_cure.ensure_torchvision()
