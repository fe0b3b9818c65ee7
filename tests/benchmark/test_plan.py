"""Plans: what is read, and what is told of those that cannot be."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from msedge.benchmark.cells import expand
from msedge.benchmark.plan import Block, entry, read_plan, shown
from msedge.errors import ConfigError

ROOT = Path(__file__).parents[2]
SOUND = {"name": "trial", "datasets": [{"data_name": "tiny"}], "seeds": [0]}


class TestRead:
    def test_the_shortest(self, write_plan):
        plan = read_plan(write_plan(**SOUND))
        assert (plan.name, plan.seeds, plan.baselines) == ("trial", [0], [])
        assert plan.datasets[0].data_root == Path("data")
        assert plan.blocks == [Block()]

    def test_config_lies_beside_the_plan(self, write_plan, tmp_path):
        plan = read_plan(write_plan(**SOUND, config="../base.yaml"))
        assert plan.config == tmp_path / "../base.yaml"

    def test_a_variant_with_nothing_behind_it(self, tmp_path):
        path = tmp_path / "plan.yaml"
        path.write_text("name: a\nseeds: [1]\ndatasets: [{data_name: b}]\nvariants:\n  plain:\n")
        assert read_plan(path).variants == {"plain": {}}

    @pytest.mark.parametrize("path", sorted((ROOT / "configs/plans").glob("*.yaml")), ids=str)
    def test_those_that_come_along(self, path):
        plan = read_plan(path)
        assert plan.name == path.stem
        assert expand(plan, Path("result"))

    def test_the_published_rows(self):
        cells = expand(read_plan(ROOT / "configs/plans/published.yaml"), Path("result"))
        resnet = {("resnet50", dim) for dim in (64, 128, 512, 2048)}
        assert len(cells) == 7 * 2 * 3
        assert {(c.config.backbone, c.config.dim) for c in cells} == resnet | {
            ("vgg16", dim) for dim in (64, 512, 4096)
        }
        page = {"epochs": 10, "warmup": 2, "learning_rate": 1e-5, "weight_decay": 5e-4}
        page |= {"batch_size": 64, "image_size": 224}
        for cell in cells:
            assert cell.config.model_dump(include=set(page)) == page


class TestErrors:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"sedes": [1]}, "no entry is named 'sedes'; there are name, config, settings,"),
            (
                {"blocks": [{}, {"axis": {}}]},
                r"named 'blocks\[1\].axis'; there are settings, ax",
            ),
            (
                {"datasets": [{"root": "x", "data_name": "a"}]},
                r"named 'datasets\[0\].root'; there ",
            ),
            ({"datasets": [{}]}, r"datasets\[0\].data_name is missing; give it a value"),
            ({"datasets": []}, r"datasets: \[\] cannot be used: List should have at least 1 item"),
            ({"seeds": None}, "seeds: None cannot be used: Input should be a valid list"),
            ({"seeds": [0, "x"]}, r"seeds\[1\]: 'x' cannot be used: Input should be a valid int"),
            ({"seeds": [3, 3]}, "seeds: 3 stands there twice; keep one"),
            ({"datasets": SOUND["datasets"] * 2}, "datasets: 'tiny' stands there twice"),
            ({"axes": {"dim": 64}}, "axes.dim: 64 cannot be used: Input should be a valid list"),
            ({"axes": {"dim": []}}, r"axes.dim: \[\] cannot be used"),
            ({"name": "../up"}, "name: '../up' cannot be the name of a folder"),
            (
                {"baselines": ["plain"]},
                "baselines: no variant is named 'plain'; add it to variants",
            ),
            (
                {"baselines": ["x"], "variants": {"a": {}}, "blocks": [{"variants": {"b": {}}}]},
                "baselines: no variant is named 'x'; there are a, b",
            ),
            ({"curve": "dim"}, "curve: no axis is named 'dim' in every part of it; add it"),
            (
                {"curve": "dim", "blocks": [{"axes": {"dim": [8]}}, {}]},
                "curve: no axis is named 'dim' in every part of it; add it",
            ),
            (
                {"curve": "fusion", "axes": {"fusion": ["none"]}},
                "curve: 'none' of axes.fusion is no number; take it out",
            ),
            (
                {"curve": "sketch_classes", "axes": {"sketch_classes": [5, None]}},
                "curve: None of axes.sketch_classes is no number; take it out",
            ),
        ],
    )
    def test_name_the_entry(self, write_plan, changes, message):
        path = write_plan(**(SOUND | changes))
        with pytest.raises(ConfigError, match=message) as raised:
            read_plan(path)
        assert str(raised.value).startswith(f"{path}: ")
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize(
        "name", ["../../b", "/b", "a/b", "a\\b", "..", ".b", "a\0b", "a\nb", ""]
    )
    def test_a_dataset_that_lies_elsewhere(self, write_plan, name):
        path = write_plan(**(SOUND | {"datasets": [{"data_name": name}]}))
        with pytest.raises(ConfigError, match="cannot be the name of a folder") as raised:
            read_plan(path)
        assert str(raised.value).isprintable()

    def test_more_runs_than_a_lifetime_has(self, write_plan):
        values = list(range(1, 300))
        axes = {"dim": values, "epochs": values, "lora_rank": values}
        with pytest.raises(ConfigError, match="it holds 53461798 runs, and more than 10,000 are"):
            read_plan(write_plan(**(SOUND | {"axes": axes, "seeds": [0, 1]})))

    def test_as_many_runs_as_can_be_are_read(self, write_plan):
        axes = {"dim": list(range(1, 101))}
        blocks = [{"axes": {"epochs": list(range(1, 48))}}, {"variants": {"a": {}, "b": {}}}]
        plan = read_plan(write_plan(**(SOUND | {"axes": axes, "blocks": blocks, "seeds": [0, 1]})))
        assert len(expand(plan, Path("out"))) == 2 * (100 * 47 + 100 * 2) == 9_800

    def test_many_seeds_are_held_against_each_other_soon(self, write_plan):
        begun = time.process_time()
        with pytest.raises(ConfigError, match="seeds: 5 stands there twice"):
            read_plan(write_plan(**(SOUND | {"seeds": [*range(9_000), 5]})))
        assert time.process_time() - begun < 10

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"seeds": [10**400]}, r"seeds\[0\]: <a number of 1,329 bits> cannot be used"),
            ({"baselines": ["a" * 9_000]}, r"no variant is named 'a+\.\.\.; add it"),
            ({"baselines": ["a\nb"]}, r"no variant is named 'a\\nb'; add it"),
            ({"a" * 9_000: 1}, r"no entry is named 'a+\.\.\.'; there are name"),
            ({"config": "a\0"}, "config: 'a.x00' cannot be used: .* null character"),
        ],
    )
    def test_what_is_repeated_is_short_and_on_one_line(self, write_plan, changes, message):
        with pytest.raises(ConfigError, match=message) as raised:
            read_plan(write_plan(**(SOUND | changes)))
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 1_000

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot read the configuration"):
            read_plan(tmp_path / "none.yaml")

    def test_places_and_long_values(self):
        assert entry(("datasets", 0, "data_name")) == "datasets[0].data_name"
        assert shown("x" * 500) == "'" + "x" * 56 + "..."
