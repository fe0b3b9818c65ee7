"""The models that come with the package: named, found, in the wheel, and each pair in agreement."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from msedge.errors import WeightsError
from msedge.models import shipped
from msedge.models.checkpoint import load_checkpoint
from msedge.models.onnx_check import largest_difference
from msedge.models.onnx_file import fingerprint
from msedge.models.shipped import (
    EARLIER_EDITIONS,
    WEIGHTS,
    ModelFiles,
    describe_model,
    edition_of,
    find_model,
    shipped_models,
)

SHIPPED = shipped_models()
ALLOWED = 40_000_000  # bytes of weights that a checkout, and an installation, is asked to bear


@pytest.fixture
def folder(tmp_path, monkeypatch, write_run) -> Path:
    """Two shipped models, one of them with its ONNX file, and something else."""
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path / "weights")
    for name in ("msedge-b", "msedge-a"):
        write_run(tmp_path / "weights" / f"{name}.safetensors", name=name)
    (tmp_path / "weights" / "msedge-a.onnx").write_bytes(b"12345")
    (tmp_path / "weights" / "README.md").touch()
    return tmp_path / "weights"


class TestSmoke:
    def test_listed_by_name(self, folder):
        listed = shipped_models()
        assert [each.name for each in listed] == ["msedge-a", "msedge-b"]
        assert [each.card.name for each in listed] == ["msedge-a", "msedge-b"]
        assert [each.onnx for each in listed] == [folder / "msedge-a.onnx", None]
        assert listed[0].size - listed[1].size == 5

    def test_found_by_name_and_by_path(self, folder, tmp_path, write_run):
        own = write_run(tmp_path / "own.safetensors")
        assert find_model("msedge-b") == folder / "msedge-b.safetensors"
        assert find_model(own) == find_model(str(own)) == own
        assert find_model(folder / "msedge-a.onnx") == folder / "msedge-a.onnx"

    def test_a_name_goes_before_a_file_of_that_name(self, folder, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path("msedge-a").touch()
        assert find_model("msedge-a") == folder / "msedge-a.safetensors"
        assert find_model("./msedge-a") == Path("msedge-a")

    def test_described(self, folder, card):
        described = describe_model("msedge-a")
        assert described == ModelFiles(
            "msedge-a",
            folder / "msedge-a.safetensors",
            card.model_copy(update={"name": "msedge-a"}),
        )


class TestExceptions:
    @pytest.mark.usefixtures("folder")
    @pytest.mark.parametrize("name", ["msedge-c", "weights", "."])
    def test_no_such_model(self, name):
        with pytest.raises(WeightsError) as caught:
            find_model(name)
        assert str(caught.value) == (
            f"no model '{name}': expected the path of a checkpoint, or one of: msedge-a, msedge-b"
        )

    def test_nothing_comes_with_the_installation(self, tmp_path, monkeypatch):
        monkeypatch.setattr(shipped, "WEIGHTS", tmp_path / "absent")
        assert shipped_models() == ()
        with pytest.raises(WeightsError, match="one of: none that comes with this installation"):
            find_model("msedge-lite")

    def test_a_damaged_file_among_them(self, folder):
        (folder / "msedge-c.safetensors").write_bytes(b"")
        with pytest.raises(WeightsError, match=r"msedge-c\.safetensors cannot be read"):
            shipped_models()


class TestPackage:
    @pytest.mark.parametrize("model", SHIPPED, ids=lambda each: each.name)
    def test_a_pair_agrees_and_its_card_is_complete(self, model):
        network, card = load_checkpoint(model.checkpoint)
        assert model.onnx is not None
        assert largest_difference(model.onnx, network) < 1e-5
        assert card.name == model.checkpoint.stem
        assert all([card.intended_use, card.limits, card.data])

    def test_earlier_editions_are_known_by_their_fingerprints(self):
        there = [model for model in SHIPPED if model.checkpoint.parent != WEIGHTS]
        known = {(m.checkpoint.stem, fingerprint(m.onnx)): m.name for m in there}
        assert known == EARLIER_EDITIONS
        for (called, mark), name in EARLIER_EDITIONS.items():
            assert edition_of(called, mark) == name
            assert edition_of(str(find_model(name)), mark) == str(find_model(name))

    def test_they_are_not_too_large(self):
        files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) <= ALLOWED

    def test_the_wheel_carries_the_folder(self, tmp_path):
        root = Path(__file__).parents[2]
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
        subprocess.run(build, cwd=root, capture_output=True, check=True, timeout=300)
        (wheel,) = tmp_path.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            carried = {n for n in archive.namelist() if n.startswith("msedge/weights/")}
        assert "msedge/weights/README.md" in carried
        files = (path.relative_to(WEIGHTS) for path in WEIGHTS.rglob("*") if path.is_file())
        assert carried == {f"msedge/weights/{path}" for path in files}

    def test_finding_one_needs_no_learning_library(self, folder):
        code = (
            "import sys; from pathlib import Path; from msedge.models import shipped; "
            f"shipped.WEIGHTS = Path({str(folder)!r}); "
            "print(len(shipped.shipped_models()), shipped.find_model('msedge-a').name, "
            "sorted({'torch', 'timm', 'kornia', 'onnx', 'onnxruntime'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
        )
        assert done.stdout == "2 msedge-a.safetensors []\n"
