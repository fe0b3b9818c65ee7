"""The commands of ``msedge data`` on archives that the tests make."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from msedge.cli.data import data_app
from msedge.data.layouts import read_dataset
from msedge.data.protocols import load_protocol
from msedge.errors import ConfigError, DataError

CLASSES = ("cat", "cow", "hot-air_balloon")


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """Arguments for an archive of three classes and a protocol with one of them unseen."""
    for name in CLASSES:
        for domain, file in (("photo", "n0_1.jpg"), ("sketch", "n0_1-1.png")):
            folder = tmp_path / "archive" / "256x256" / domain / "tx_000000000000" / name
            folder.mkdir(parents=True)
            Image.new("RGB", (4, 4)).save(folder / file)
    protocol = tmp_path / "one.toml"
    protocol.write_text(
        'id = "one"\ndataset = "sketchy"\ntitle = "t"\ncitation = "c"\nunseen = ["cow"]\n'
        "[expected]\nunseen_classes = 1\nqueries = 12345\n"
    )
    archive = str(tmp_path / "archive")
    return ["prepare", "sketchy", "--source", archive, "--protocol", str(protocol)]


# smoke


def test_help_names_the_commands() -> None:
    result = CliRunner().invoke(data_app, ["--help"])
    assert result.exit_code == 0
    for command in ("prepare", "sample", "verify"):
        assert command in result.output


def test_prepare_ends_with_counts_and_the_next_command(asked: list[str], tmp_path: Path) -> None:
    data_root = tmp_path / "my data"
    result = CliRunner().invoke(data_app, [*asked, "--data-root", str(data_root)])
    assert result.exit_code == 0, result.output
    assert read_dataset(data_root, "sketchy").val.classes == ("cow",)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.output.splitlines()]
    assert ["train (seen)", "2", "2", "2"] in rows
    assert ["val (unseen)", "1", "1", "1"] in rows
    assert ["val of the whole set", "1", "12,345", ""] in rows
    last = result.output.splitlines()[-1]
    assert last == f"Next: python main.py --data_name sketchy --data_root '{data_root}'"


def test_name_and_copy(asked: list[str], tmp_path: Path) -> None:
    options = ["--data-root", str(tmp_path), "--name", "mine", "--copy"]
    result = CliRunner().invoke(data_app, [*asked, *options])
    assert result.exit_code == 0, result.output
    assert not read_dataset(tmp_path, "mine").val.records[0].path.is_symlink()
    assert "--data_name mine" in result.output


def test_a_protocol_s_name_is_not_markup(asked: list[str], tmp_path: Path) -> None:
    own = Path(asked[-1])
    own.write_text(own.read_text().replace('id = "one"', 'id = "[red]one"'))
    result = CliRunner().invoke(data_app, [*asked, "--data-root", str(tmp_path)])
    assert "[red]one: counts" in result.output


def test_says_what_was_left_out(asked: list[str], tmp_path: Path) -> None:
    added = tmp_path / "archive" / "EXTEND_image_sketchy" / "cow"
    added.mkdir(parents=True)
    Image.new("RGB", (4, 4), "red").save(added / "n0_1.jpg")
    result = CliRunner().invoke(data_app, [*asked, "--data-root", str(tmp_path)])
    assert "Left out: 1, " in result.output
    assert "cow/n0_1.jpg: repeats the original photo n0_1" in result.output


def test_keep_duplicates(asked: list[str], tmp_path: Path) -> None:
    added = tmp_path / "archive" / "EXTEND_image_sketchy" / "cow"
    added.mkdir(parents=True)
    Image.new("RGB", (4, 4), "red").save(added / "n0_1.jpg")
    options = ["--data-root", str(tmp_path), "--keep-duplicates"]
    result = CliRunner().invoke(data_app, [*asked, *options])
    assert result.exit_code == 0, result.output
    assert "Left out" not in result.output
    photos = read_dataset(tmp_path, "sketchy").val.of("photo")
    assert [photo.path.name for photo in photos] == ["n0_1.jpg", "n0_1_extended.jpg"]


@pytest.mark.parametrize(
    ("lone", "classes", "more"), [("leave-out", 1, ""), ("take", 2, " --lone_classes")]
)
def test_classes_of_one_domain(
    asked: list[str], tmp_path: Path, lone: str, classes: int, more: str
) -> None:
    (tmp_path / "archive/256x256/photo/tx_000000000000/cat/n0_1.jpg").unlink()
    asked = [*asked, "--data-root", str(tmp_path)]
    result = CliRunner().invoke(data_app, asked)
    assert isinstance(result.exception, DataError)
    assert "--lone-classes leave-out" in str(result.exception)
    result = CliRunner().invoke(data_app, [*asked, "--lone-classes", lone])
    assert result.exit_code == 0, result.output
    dataset = read_dataset(tmp_path, "sketchy", lone_classes=lone == "take")
    assert len(dataset.train.classes) == classes
    assert result.output.splitlines()[-1].endswith(f"--data_root {tmp_path}{more}")
    if lone == "leave-out":
        assert "Left out: 1, " in result.output
    assert CliRunner().invoke(data_app, [*asked, "--lone-classes", lone]).exit_code == 0
    result = CliRunner().invoke(data_app, asked)
    assert isinstance(result.exception, DataError)
    assert f"was prepared otherwise (lone_classes {lone})" in str(result.exception)


@pytest.mark.parametrize(
    ("dataset", "sketches", "photos", "protocol", "whole"),
    [
        ("tuberlin", "png_ready", "ImageResized_ready", "tuberlin-30-sake", "27,989"),
        ("quickdraw", "sketches", "images", "quickdraw-30", "54,151"),
    ],
)
def test_default_protocols(
    tmp_path: Path, dataset: str, sketches: str, photos: str, protocol: str, whole: str
) -> None:
    chosen = load_protocol(protocol)
    for folder in (sketches, photos):
        for name in (*chosen.unseen, chosen.seen[0]):
            place = tmp_path / "source" / folder / name
            place.mkdir(parents=True)
            Image.new("RGB", (4, 4)).save(place / "1.png")
    asked = ["prepare", dataset, "--source", str(tmp_path / "source")]
    result = CliRunner().invoke(data_app, [*asked, "--data-root", str(tmp_path / "data")])
    assert result.exit_code == 0, result.output
    assert f"{protocol}: counts" in result.output
    assert whole in result.output
    assert len(read_dataset(tmp_path / "data", dataset).val.classes) == 30


def test_sample_draws_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Path, int]] = []

    def write_sample(data_root: Path, *, seed: int, progress: Callable[[int, int], None]) -> Path:
        calls.append((data_root, seed))
        progress(1, 1)
        return data_root / "sample"

    stand_in = types.ModuleType("msedge.data.sample")
    monkeypatch.setattr(stand_in, "write_sample", write_sample, raising=False)
    monkeypatch.setitem(sys.modules, "msedge.data.sample", stand_in)
    result = CliRunner().invoke(data_app, ["sample", "--data-root", str(tmp_path), "--seed", "3"])
    assert result.exit_code == 0, result.output
    assert calls == [(tmp_path, 3)]
    assert str(tmp_path / "sample") in result.output.replace("\n", "")
    assert "python main.py --data_name sample" in result.output


def test_import_is_light() -> None:
    code = (
        "import sys, msedge.cli.data; "
        "print(sorted({'torch', 'PIL', 'numpy', 'rich.progress'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


# exceptions: the app's main() turns them into one line


def test_unknown_dataset(asked: list[str]) -> None:
    result = CliRunner().invoke(data_app, ["prepare", "coco", *asked[2:]])
    assert isinstance(result.exception, ConfigError)
    expected = "cannot prepare 'coco': expected sketchy, tuberlin, quickdraw"
    assert str(result.exception) == expected


def test_protocol_of_another_dataset(asked: list[str]) -> None:
    result = CliRunner().invoke(data_app, ["prepare", "tuberlin", *asked[2:]])
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == "protocol one is for sketchy: choose one for tuberlin"


def test_unknown_protocol(asked: list[str]) -> None:
    result = CliRunner().invoke(data_app, [*asked[:-1], "sketchy-22"])
    assert isinstance(result.exception, ConfigError)
    assert "sketchy-21" in str(result.exception)


def test_archive_missing(asked: list[str], tmp_path: Path) -> None:
    asked[3] = str(tmp_path / "gone")
    result = CliRunner().invoke(data_app, [*asked, "--data-root", str(tmp_path / "data")])
    assert isinstance(result.exception, DataError)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("missing", [1, 2])
def test_arguments_that_must_be_given(asked: list[str], missing: int) -> None:
    arguments = asked[:1] + asked[2:] if missing == 1 else asked[:2]
    assert CliRunner().invoke(data_app, arguments).exit_code == 2
