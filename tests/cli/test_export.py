"""``msedge export``: one ONNX file in the precision wanted, and how well it agrees."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from cards import CARD
from msedge.cli.app import main, run
from msedge.cli.export import export_command
from msedge.models.bank import Bank, Name, identity_of, save_bank
from msedge.models.checkpoint import save_checkpoint
from msedge.models.network import MSEdge
from msedge.models.onnx_conversion import convert
from msedge.models.onnx_file import read_onnx_card
from msedge.search.encoder import OnnxEncoder
from msedge.search.photo import NewPhoto
from msedge.search.stores import open_or_create
from msedge.search.stores.reports import Model


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 graph, traced once, since tracing takes seconds."""
    folder = tmp_path_factory.mktemp("export")
    torch.manual_seed(0)
    card = CARD.model_copy(update={"fusion": "none"})
    network = MSEdge(card.backbone, dim=card.dim, fusion=card.fusion, image_size=card.image_size)
    network(torch.rand(4, 3, card.image_size, card.image_size))
    save_checkpoint(folder / "run.safetensors", network.eval(), card)
    convert(folder / "run.safetensors", folder / "net.onnx")
    return folder / "net.onnx"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty photos of coarse squares, and a file that is none."""
    rng, folder = np.random.default_rng(0), tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for row in range(40):
        image = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        place = folder / "deep" if row % 2 else folder
        image.resize((40, 30), Image.Resampling.NEAREST).save(place / f"{row}.jpg")
    (folder / "damaged.jpg").write_bytes(b"no photo")
    return folder


@pytest.fixture
def export(type_in: Callable[..., Any]) -> Callable[..., Any]:
    application = typer.Typer(pretty_exceptions_enable=False)
    application.command()(export_command)
    return lambda *arguments: type_in(lambda: run(application), *arguments)


class TestSmoke:
    def test_int8_on_the_photos_of_a_folder(self, export, graph, folder, tmp_path):
        out = tmp_path / "int8.onnx"
        answer = export(graph, "--out", out, "--precision", "int8", "--photos", folder)
        assert answer.code == 0, answer.err
        assert "files that cannot be read, and were passed over: 1\n" in answer.err
        first, second = answer.out.splitlines()
        assert re.fullmatch(
            re.escape(str(out)) + r": \d+\.\d MB, int8, calibrated on 30 photos and their edges",
            first,
        )
        figures = re.fullmatch(
            r"cosine distance from float32 ONNX on 10 other photos and their edges: (\S+) on "
            r"average, (\S+) at worst \(allowed 0\.01 and 0\.1\)",
            second,
        )
        assert 0 < float(figures[1]) <= 0.01
        assert float(figures[1]) <= float(figures[2]) <= 0.1
        assert OnnxEncoder.load(out).card.precision == "int8"

    def test_on_the_photos_of_a_gallery(self, export, graph, folder, tmp_path):
        gallery, out = tmp_path / "photos.msedge", tmp_path / "half.onnx"
        vector = np.zeros(8, np.float16)
        with open_or_create(gallery, Model("any", "0", 8)) as opened:
            opened.change(
                put=[
                    NewPhoto(path, 1, row, f"{row:064x}", 40, 30, 0.0, vector=vector)
                    for row, path in enumerate(sorted(folder.rglob("[0-9]*.jpg")))
                ]
            )
        answer = export(graph, "--out", out, "--precision", "float16", "--gallery", gallery)
        assert (answer.code, answer.err) == (0, "")
        assert "on 10 photos and their edges" in answer.out
        assert read_onnx_card(out).precision == "float16"

    def test_without_photos_on_noise(self, export, graph, tmp_path):
        answer = export(graph, "--out", tmp_path / "net.onnx")
        assert (answer.code, answer.err) == (0, "")
        assert "on 8 random images (--photos DIR: on real ones)" in answer.out

    def test_the_bank_comes_along(self, export, graph, tmp_path):
        source = tmp_path / "net.onnx"
        shutil.copy(graph, source)
        vectors = np.zeros((1, CARD.dim), np.float16)
        vectors[0, 0] = 1
        identity = identity_of(OnnxEncoder.load(graph).card)
        bank = Bank(identity, vectors, (Name(name="cat"),), vectors.copy(), vectors.copy())
        save_bank(tmp_path / "net.bank.safetensors", bank)
        out = tmp_path / "half.onnx"
        answer = export(source, "--out", out, "--precision", "float16")
        assert answer.out.splitlines()[1] == (
            f"{tmp_path / 'half.bank.safetensors'}: the names and hubs of the model"
        )
        assert OnnxEncoder.load(out).bank.fingerprint == bank.fingerprint
        (tmp_path / "net.bank.safetensors").write_bytes(b"damaged")
        out.unlink()
        answer = export(source, "--out", out)
        assert (answer.code, answer.err.count("\n"), out.exists()) == (2, 1, False)

    def test_it_is_the_command_of_models_too(self, type_in, graph, tmp_path):
        answer = type_in(main, "models", "export", graph, "--out", tmp_path / "net.onnx")
        assert (answer.code, answer.err) == (0, "")
        assert read_onnx_card(tmp_path / "net.onnx") == read_onnx_card(graph)

    def test_models_knows_what_was_written(self, export, type_in, graph, tmp_path):
        out = tmp_path / "half.onnx"
        export(graph, "--out", out, "--precision", "float16")
        shown = type_in(main, "models", "show", out)
        assert shown.code in (0, None), shown.err
        rows = (re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in shown.out.splitlines())
        lines = {row[0]: row[-1] for row in rows}
        assert lines["precision"] == "float16"
        assert lines["checkpoint"] == "-"
        assert lines["onnx"] == str(out)
        assert lines["size"].endswith("MB: weights as float16")


class TestExceptions:
    def test_int8_without_photos(self, export, graph, tmp_path):
        answer = export(graph, "--out", tmp_path / "net.onnx", "--precision", "int8")
        assert (answer.code, answer.out) == (2, "")
        assert answer.err == (
            "msedge: int8 needs photos to calibrate on; give --gallery or --photos\n"
        )

    def test_photos_from_two_places(self, export, graph, folder, tmp_path):
        answer = export(
            graph, "--out", tmp_path / "net.onnx", "--photos", folder, "--gallery", "photos.msedge"
        )
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("msedge: photos come from --gallery or from --photos, not fr")

    def test_too_few_photos(self, export, graph, folder, tmp_path):
        answer = export(
            graph, "--out", tmp_path / "n.onnx", "--precision", "int8", "--photos", folder / "deep"
        )
        assert answer.code == 2
        assert "at least 32 photos are needed" in answer.err.splitlines()[-1]
        assert not (tmp_path / "n.onnx").exists()

    def test_no_such_model(self, export, tmp_path):
        answer = export("msedge-absent", "--out", tmp_path / "net.onnx")
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith("msedge: no model 'msedge-absent'")


def test_import_is_light() -> None:
    code = (
        "import sys, msedge.cli.export; "
        "print(sorted({'torch', 'numpy', 'onnx', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout == "[]\n"
