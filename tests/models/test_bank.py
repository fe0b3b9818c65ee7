"""Banks: their files, what is refused, whose they are, and hubness against its plain definition."""

from __future__ import annotations

import errno
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from msedge.errors import ConfigError, ShapeError, WeightsError
from msedge.models.bank import (
    MAX_BYTES,
    NEIGHBOURS,
    Bank,
    Name,
    bank_of,
    bank_path,
    choose_drawings,
    hubness,
    identity_of,
    read_bank,
    save_bank,
)

DIM = 8


def units(count: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture
def bank(card, sources) -> Bank:
    photos = units(2, 2)
    photos[1] = 0  # a name that no photo was seen of
    names = (Name(name="cat", synonyms=("kitten", "Ünze")), Name(name="grand piano"))
    return Bank(identity_of(card), units(40), names, units(2, 1), photos, sources)


class TestSmoke:
    def test_everything_comes_back(self, bank, tmp_path):
        save_bank(tmp_path / "net.bank.safetensors", bank)
        read = read_bank(tmp_path / "net.bank.safetensors")
        assert (read.model, read.names, read.data) == (bank.model, bank.names, bank.data)
        assert read.fingerprint == bank.fingerprint
        for name in ("drawings", "name_drawings", "name_photos"):
            assert np.array_equal(getattr(read, name), getattr(bank, name))

    def test_it_is_found_beside_every_file_of_the_model(self, bank, card, tmp_path):
        save_bank(bank_path(tmp_path / "net.v2.safetensors"), bank)
        for name, precision in (("net.v2.safetensors", "float32"), ("net.v2.onnx", "int8")):
            own = card.model_copy(update={"precision": precision})
            found = bank_of(tmp_path / name, own)
            assert found is not None
            assert found.fingerprint == bank.fingerprint

    def test_a_model_without_one_has_none(self, card, tmp_path):
        assert bank_of(tmp_path / "net.onnx", card) is None

    def test_a_shipped_models_bank_is_no_model(self, bank, monkeypatch, tmp_path):
        from msedge.models import shipped

        save_bank(tmp_path / "net.bank.safetensors", bank)
        monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
        assert shipped.shipped_models() == ()

    def test_reading_needs_no_learning_library(self, bank, tmp_path):
        save_bank(path := tmp_path / "net.bank.safetensors", bank)
        code = (
            "import sys; from pathlib import Path; from msedge.models.bank import read_bank; "
            f"print(read_bank(Path({str(path)!r})).dim, "
            "sorted({'torch', 'timm', 'onnxruntime'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
        )
        assert done.stdout == "8 []\n"


class TestExceptions:
    def test_of_another_model(self, bank, card, tmp_path):
        save_bank(tmp_path / "net.bank.safetensors", bank)
        with pytest.raises(WeightsError, match="is the bank of another model than"):
            bank_of(tmp_path / "net.onnx", card.model_copy(update={"seed": 8}))

    def test_of_another_width(self, bank, card, tmp_path):
        wider = replace(
            bank, drawings=units(3, dim=9), name_drawings=units(2, dim=9),
            name_photos=units(2, dim=9),
        )  # fmt: skip
        save_bank(tmp_path / "net.bank.safetensors", wider)
        with pytest.raises(WeightsError, match="is the bank of another model than"):
            bank_of(tmp_path / "net.onnx", card)

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"drawings": units(4).astype(np.float32)}, "drawings are float32"),
            ({"drawings": units(4)[0]}, "two axes"),
            ({"drawings": units(4) * np.float16(2)}, "not of length 1"),
            ({"drawings": np.zeros((1, DIM), np.float16)}, "not of length 1"),
            ({"drawings": np.full((1, DIM), np.nan, np.float16)}, "not of length 1"),
            ({"name_photos": units(3)}, "name_photos have the shape"),
            ({"name_drawings": units(2, dim=9)}, "name_drawings have the shape"),
            ({"names": (Name(name="cat"), Name(name="Cat"))}, "two things have one name"),
            ({"names": (Name("cat", ("a",) * 100), Name("dog"))}, "'cat' has more than 99 synonym"),
        ],
    )
    def test_parts_that_do_not_fit(self, bank, changes, reason):
        with pytest.raises(ShapeError, match=reason):
            replace(bank, **changes)

    def test_a_newer_format_says_to_update(self, bank, tmp_path):
        save_bank(path := tmp_path / "net.bank.safetensors", bank)
        path.write_bytes(path.read_bytes().replace(b"msedge-bank-1", b"msedge-bank-2"))
        with pytest.raises(WeightsError, match=r"of format msedge-bank-2, .*: update msedge"):
            read_bank(path)

    def test_other_files(self, tmp_path, write_run):
        with pytest.raises(WeightsError, match="no bank at"):
            read_bank(tmp_path / "none.bank.safetensors")
        with pytest.raises(WeightsError, match="is not a bank of MSEdge"):
            read_bank(write_run(tmp_path / "run.safetensors"))
        with (large := tmp_path / "large.bank.safetensors").open("wb") as file:
            file.truncate(MAX_BYTES + 1)
        with pytest.raises(WeightsError, match="33,554,433 bytes, at most"):
            read_bank(large)

    def test_one_that_could_not_be_read_again_is_not_written(self, bank, tmp_path):
        save_bank(path := tmp_path / "net.bank.safetensors", bank)
        many = np.tile(bank.drawings, (MAX_BYTES // bank.drawings.nbytes, 1))
        with pytest.raises(ConfigError, match="leave out drawings for hubs"):
            save_bank(path, replace(bank, drawings=many))
        assert read_bank(path).fingerprint == bank.fingerprint

    def test_one_that_may_not_be_read(self, bank, tmp_path, monkeypatch):
        save_bank(path := tmp_path / "net.bank.safetensors", bank)

        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(WeightsError, match=r"cannot be read \(Permission denied\)"):
            read_bank(path)

    def test_choosing(self):
        with pytest.raises(ConfigError, match="at least 1"):
            choose_drawings(units(2), ["a", "b"], 0)
        with pytest.raises(ShapeError, match="2 vectors of drawings came with 1 classes"):
            choose_drawings(units(2), ["a"])


class TestNumbers:
    @pytest.mark.parametrize("count", [1, 29, 30, 31, 500])
    def test_hubness_is_the_mean_of_the_nearest_cosines(self, count):
        photos, drawings = units(50, 3), units(count, 4)
        wanted = []
        for photo in photos.astype(float):
            cosines = [
                photo @ drawing / np.linalg.norm(photo) / np.linalg.norm(drawing)
                for drawing in drawings.astype(float)
            ]
            wanted.append(np.mean(sorted(cosines, reverse=True)[:NEIGHBOURS]))
        assert hubness(photos, drawings) == pytest.approx(wanted, abs=1e-12)

    @pytest.mark.parametrize("dim", [8, 256, 511])
    def test_it_is_the_same_to_the_last_bit_beside_whichever_others(self, dim):
        photos, drawings = units(1500, 5, dim), units(200, 6, dim)
        whole = hubness(photos, drawings)
        alone = np.concatenate([hubness(each[None], drawings) for each in photos])
        order = np.random.default_rng(0).permutation(len(photos))
        assert whole.tobytes() == alone.tobytes()
        assert whole[order].tobytes() == hubness(photos[order], drawings).tobytes()
        turned = drawings[::-1, ::-1]  # sums in another order
        assert whole.tobytes() == hubness(photos[:, ::-1], turned).tobytes()

    def test_without_drawings_there_is_none(self):
        assert hubness(units(3), units(0)).tolist() == [0, 0, 0]

    def test_a_hub_has_more(self):
        drawings = units(100, 7)
        middle = drawings.astype(float).mean(0)
        photos = np.stack([middle / np.linalg.norm(middle), -middle / np.linalg.norm(middle)])
        high, low = hubness(photos.astype(np.float16), drawings)
        assert high > 0.3 > low

    def test_choosing_is_even_over_classes(self):
        classes = ["many"] * 80 + ["few"] * 3 + ["some"] * 20
        vectors = units(len(classes), 8)
        chosen = choose_drawings(vectors * np.float16(2), classes, 30)
        places = [int((vectors.astype(float) @ each).argmax()) for each in chosen.astype(float)]
        counted = {name: [classes[at] for at in places].count(name) for name in set(classes)}
        assert len(set(places)) == 30
        assert counted["few"] == 3
        assert sorted(counted.values()) in ([3, 13, 14],)
        assert np.linalg.norm(chosen.astype(float), axis=1) == pytest.approx(1, abs=2**-9)
        assert np.array_equal(chosen, choose_drawings(vectors, classes, 30))
        assert not np.array_equal(chosen, choose_drawings(vectors, classes, 30, seed=1))
        assert len(choose_drawings(vectors, classes)) == len(classes)

    def test_fingerprints_tell_what_can_differ(self, bank):
        renamed = replace(bank, names=(Name(name="dog"), bank.names[1]))
        redrawn = replace(bank, drawings=units(40, 9))
        assert len({each.fingerprint for each in (bank, renamed, redrawn)}) == 3
        assert renamed.fingerprint_of_drawings == bank.fingerprint_of_drawings
        assert redrawn.fingerprint_of_drawings != bank.fingerprint_of_drawings
        assert replace(bank, data=()).fingerprint == bank.fingerprint

    def test_identity_is_of_the_model_and_not_its_precision(self, card):
        assert identity_of(card) == identity_of(card.model_copy(update={"precision": "int8"}))
        assert identity_of(card) != identity_of(card.model_copy(update={"dim": 9}))
