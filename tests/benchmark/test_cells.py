"""The matrix: which runs a plan holds, with which settings, in which folders."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.benchmark.cells import RESERVED, expand
from msedge.benchmark.plan import Plan
from msedge.errors import ConfigError
from msedge.training.config import TrainConfig, read_yaml, resolve

FIELDS = {
    "dim": st.integers(1, 5000),
    "backbone": st.sampled_from(["resnet50", "vgg16", "hf-hub:a/b"]),
    "loss": st.sampled_from(["normalized_softmax", "proxy_anchor"]),
    "image_size": st.integers(32, 512),
    "head_learning_rate": st.none() | st.floats(1e-9, 1.0),
}


@st.composite
def matrices(draw: st.DrawFn) -> Plan:
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), unique=True))
    axes = {n: draw(st.lists(FIELDS[n], min_size=1, max_size=3, unique=True)) for n in names}
    seeds = draw(st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True))
    fusions = draw(st.lists(st.sampled_from(["none", "edge", "energy"]), unique=True))
    return Plan(
        name="drawn",
        datasets=[{"data_name": "one"}, {"data_name": "two"}],
        seeds=seeds,
        axes=axes,
        variants={name: {"fusion": name} for name in fusions},
    )


class TestMatrix:
    @settings(deadline=None, max_examples=30)
    @given(matrices())
    def test_every_combination_once(self, plan):
        found = expand(plan, Path("out"))
        sizes = [len(values) for values in plan.axes.values()]
        assert len(found) == 2 * len(plan.seeds) * max(1, len(plan.variants)) * prod(sizes)
        assert len({cell.folder for cell in found}) == len(found)
        keys = {str((cell.dataset.data_name, cell.config.what_decides())) for cell in found}
        assert len(keys) == len(found)
        assert all(cell.folder.parts[:2] == ("out", cell.config.data_name) for cell in found)

    def test_the_first_seed_of_everything_first(self, cells):
        assert [c.config.seed for c in cells(axes={"dim": [8, 16]}, seeds=[5, 3])] == [5] * 4 + [
            3
        ] * 4

    def test_folders_can_be_read(self, cells, tmp_path):
        folders = [cell.folder for cell in cells(axes={"backbone": ["hf-hub:a/b"]}, seeds=[7])]
        assert folders == [
            tmp_path / f"out/tiny/{variant},backbone=hf-hub-a-b/seed-7"
            for variant in ("plain", "edge")
        ]

    def test_without_variants_and_axes(self, cells):
        (cell,) = cells(variants=None, baselines=None, seeds=[0])
        assert cell.folder.parts[-2:] == ("run", "seed-0")
        assert cell.label == "tiny, as configured, seed 0"

    def test_blocks_hold_axes_of_their_own(self, cells):
        blocks = [
            {"axes": {"backbone": ["resnet50"], "dim": [64, 2048]}},
            {"axes": {"backbone": ["vgg16"], "dim": [4096]}, "settings": {"epochs": 1}},
        ]
        found = cells(blocks=blocks, variants=None, baselines=None, seeds=[0])
        assert [(c.config.backbone, c.config.dim, c.config.epochs) for c in found] == [
            ("resnet50", 64, 2),
            ("resnet50", 2048, 2),
            ("vgg16", 4096, 1),
        ]


class TestLayers:
    def test_later_ones_win(self, cells, tmp_path):
        base = tmp_path / "base.yaml"
        base.write_text("epochs: 9\nwarmup: 9\ndim: 9\nholdout: 0.3\nseed: 9\noverwrite: true\n")
        (cell,) = cells(
            config=base,
            settings={"epochs": 8, "warmup": 8, "dim": 8},
            blocks=[{"settings": {"epochs": 7, "warmup": 7}, "axes": {"dim": [6]}}],
            variants={"only": {"epochs": 5}},
            baselines=None,
            seeds=[1],
        )
        config = cell.config
        assert (config.holdout, config.warmup, config.epochs, config.dim) == (0.3, 7, 5, 6)
        assert (config.seed, config.overwrite) == (1, False)

    def test_the_file_says_the_same(self, cells):
        for cell in cells(axes={"learning_rate": ["1e-5"], "head_learning_rate": [None]}):
            written = cell.write_config()
            assert resolve(read_yaml(written)) == cell.config
            assert yaml.safe_load(written.read_text()).keys() >= TrainConfig.model_fields.keys() - {
                "resume",
                "overwrite",
            }


class TestErrors:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"settings": {"epoch": 1}}, "settings.epoch: no setting is named 'epoch'; there are"),
            ({"settings": {"epochs": 0}}, "settings.epochs: 0 cannot be used: Input should be gre"),
            ({"axes": {"dmi": [1]}}, "axes.dmi: no setting is named 'dmi'"),
            ({"axes": {"dim": [1, "x"]}}, "axes.dim: 'x' cannot be used: Input should be a valid"),
            ({"variants": {"a": {"los": 1}}}, "variants.a.los: no setting is named 'los'"),
            ({"variants": {"a": {"loss": 1}}}, "variants.a.loss: 1 cannot be used"),
            ({"blocks": [{}, {"settings": {"a": 1}}]}, r"blocks\[1\].settings.a: no setting"),
            ({"blocks": [{"axes": {"dim": [-1]}}]}, r"blocks\[0\].axes.dim: -1 cannot be used"),
            (
                {"axes": {"fusion": ["edge"]}},
                "variants.plain.fusion and axes.fusion both say what fusion is; keep one",
            ),
            ({"axes": {"dim": [8, 8]}}, "plan holds 'tiny, plain, dim 8, seed 0' twice; name each"),
            (
                {"blocks": [{"settings": {"dim": 8}}, {"settings": {"dim": 9}}]},
                "twice with different settings; make an axis or a variant of what differs",
            ),
            *(({"axes": {n: [1]}}, f"axes.{n}: not a setting here; ") for n in RESERVED),
        ],
    )
    def test_name_the_place(self, cells, changes, message):
        with pytest.raises(ConfigError, match=message) as raised:
            cells(**changes)
        assert "\n" not in str(raised.value)

    def test_in_the_file_of_settings(self, cells, tmp_path):
        (tmp_path / "base.yaml").write_text("dmi: 3\n")
        with pytest.raises(ConfigError, match=r"config\.dmi: no setting is named 'dmi'"):
            cells(config=tmp_path / "base.yaml")
