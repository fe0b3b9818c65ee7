from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from encoders import ColourEncoder
from galleries import make_gallery
from msedge.errors import WeightsError
from msedge.models.shipped import DEFAULT_MODEL
from msedge.search import onnx_encoder
from msedge.search.gallery_file import GalleryFile, Model
from msedge.search.onnx_encoder import OnnxEncoder
from msedge.search.own_encoder import OwnEncoder


@pytest.fixture
def file(tmp_path):
    with GalleryFile.open(make_gallery(tmp_path, {})) as opened:
        yield opened


def test_an_encoder_is_taken_as_it_is(file):
    encoder = ColourEncoder()
    assert OwnEncoder(file, encoder).get() is encoder


def test_other_weights_are_refused_with_the_way_out(file):
    with pytest.raises(WeightsError, match=r"--model.*--rebuild") as refused:
        OwnEncoder(file, ColourEncoder("colours-2")).get()
    assert "\n" not in str(refused.value)


def test_a_name_that_no_model_has(file):
    with pytest.raises(WeightsError, match="no model 'colours'"):
        OwnEncoder(file).get()


def test_the_gallery_names_its_model(tmp_path):
    shipped = OnnxEncoder.load()
    model = Model(shipped.name, shipped.fingerprint, shipped.dim)
    with GalleryFile.create(tmp_path / "photos.msedge", model) as file:
        assert OwnEncoder(file).get().fingerprint == shipped.fingerprint


def test_it_is_loaded_once_however_many_ask(file, monkeypatch):
    loaded = []

    class Slow:
        @staticmethod
        def load(model):
            loaded.append(model)
            return ColourEncoder()

    monkeypatch.setattr(onnx_encoder, "OnnxEncoder", Slow)
    own = OwnEncoder(file, DEFAULT_MODEL)
    assert loaded == []
    with ThreadPoolExecutor(8) as pool:
        encoders = list(pool.map(lambda _: own.get(), range(40)))
    assert loaded == [DEFAULT_MODEL]
    assert len(set(map(id, encoders))) == 1
