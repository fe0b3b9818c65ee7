"""The data of a plan, before any run: real folders."""

from __future__ import annotations

import json
import shutil

import pytest

from msedge.benchmark.datasets import Fingerprints, check_datasets, draw_sample
from msedge.benchmark.plan import DatasetPlan
from msedge.data.prepare import MARKER
from msedge.data.protocols import load_protocol
from msedge.errors import ConfigError, DataError


@pytest.fixture
def marked(tiny_root, tmp_path):
    """A copy of ``tiny`` that notes a protocol."""

    def mark(**marker: str) -> DatasetPlan:
        root = shutil.copytree(tiny_root, tmp_path / "data")
        (root / "tiny" / MARKER).write_text(json.dumps(marker))
        return DatasetPlan(data_root=root, data_name="tiny", protocol="sketchy-21")

    return mark


class TestProtocol:
    def test_the_plan_s(self, marked):
        check_datasets(
            [marked(protocol="sketchy-21", protocol_hash=load_protocol("sketchy-21").hash)]
        )

    @pytest.mark.parametrize(
        ("marker", "message"),
        [
            (
                {"protocol": "sketchy-25-sake", "protocol_hash": "0"},
                "prepared by sketchy-25-sake; ",
            ),
            (
                {},
                "notes no protocol; prepare it anew with `msedge data prepare --protocol sketchy-",
            ),
            (
                {"protocol": "sketchy-21", "protocol_hash": "0"},
                "by another list of classes of that",
            ),
        ],
    )
    def test_another(self, marked, marker, message):
        with pytest.raises(DataError, match=message) as raised:
            check_datasets([marked(**marker)])
        assert str(raised.value).startswith("datasets[0].protocol: sketchy-21 is expected, but ")
        assert "\n" not in str(raised.value)

    def test_a_file_is_named_as_the_plan_names_it(self, marked, tmp_path):
        own = tmp_path / "own.toml"
        own.write_text('id="o"\ndataset="s"\ntitle="t"\ncitation="c"\nunseen=["val 0"]\n')
        plan = marked(protocol="other").model_copy(update={"protocol": str(own)})
        with pytest.raises(DataError, match=f"o is expected, .* --protocol {own}`"):
            check_datasets([plan])

    def test_none_that_is_known(self, tiny_root):
        dataset = DatasetPlan(data_root=tiny_root, data_name="tiny", protocol="sketchy-99")
        with pytest.raises(ConfigError, match="sketchy-99"):
            check_datasets([dataset])

    def test_any_where_none_is_named(self, tiny_root):
        check_datasets([DatasetPlan(data_root=tiny_root, data_name="tiny")])

    def test_missing_data(self, tmp_path):
        with pytest.raises(DataError, match="is not a folder"):
            check_datasets([DatasetPlan(data_root=tmp_path / "none", data_name="tiny")])


class TestSample:
    def test_is_drawn_where_it_is_missing(self, tmp_path, monkeypatch):
        drawn = []
        monkeypatch.setattr(
            "msedge.benchmark.datasets.write_sample", lambda root, **_: drawn.append(root)
        )
        sample = DatasetPlan(data_root=tmp_path, data_name="sample")
        check_datasets([sample])
        draw_sample([sample, DatasetPlan(data_root=tmp_path, data_name="tiny")])
        assert drawn == [tmp_path]
        (tmp_path / "sample").mkdir()
        draw_sample([sample])
        assert drawn == [tmp_path]


class TestFingerprints:
    def test_follow_the_images(self, cells, tiny_root, tmp_path):
        root = shutil.copytree(tiny_root, tmp_path / "data")
        found = cells(datasets=[{"data_root": str(root), "data_name": "tiny"}])
        before = {Fingerprints().of(cell) for cell in found}
        next((root / "tiny/val/photo").rglob("*.png")).unlink()
        after = {Fingerprints().of(cell) for cell in found}
        assert len(before) == len(after) == 1
        assert before != after

    def test_are_read_once(self, cells, tiny_root, tmp_path):
        root = shutil.copytree(tiny_root, tmp_path / "data")
        one, other, *_ = cells(datasets=[{"data_root": str(root), "data_name": "tiny"}])
        fingerprints = Fingerprints()
        known = fingerprints.of(one)
        shutil.rmtree(root)
        assert fingerprints.of(other) == known

    def test_unknown(self, cells):
        missing, *_ = cells()
        assert Fingerprints().where_there(missing) is None
        with pytest.raises(DataError):
            Fingerprints().of(missing)
        skipping, *_ = cells(settings={"skip_unreadable": True})
        assert Fingerprints().of(skipping) is None
