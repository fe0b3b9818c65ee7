"""What decides a run: defaults, layers of settings, and what cannot be used."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msedge.errors import ConfigError
from msedge.training.config import TrainConfig, read_yaml, recorded_settings, resolve


class TestSmoke:
    def test_no_layers_give_the_defaults(self):
        assert resolve() == TrainConfig()

    def test_paper_s_defaults(self):
        config = TrainConfig()
        assert (config.dim, config.batch_size, config.epochs, config.warmup) == (512, 64, 10, 2)
        assert (config.data_root, config.save_root) == (Path("data"), Path("result"))
        assert config.select == "seen"

    def test_every_field_says_what_it_is(self):
        for name, field in TrainConfig.model_fields.items():
            assert field.description, name

    def test_prefix_names_the_run(self):
        config = TrainConfig(data_name="sketchy", backbone="hf-hub:timm/resnet50.a1_in1k", dim=64)
        assert config.prefix == "sketchy_hf-hub-timm-resnet50.a1_in1k_64"

    def test_cannot_be_changed(self):
        with pytest.raises(ValueError, match="frozen"):
            TrainConfig().epochs = 3


class TestLayers:
    def test_later_layers_win(self):
        config = resolve({"dim": 1, "seed": 1, "epochs": 1}, {"dim": 2, "seed": 2}, {"dim": 3})
        assert (config.dim, config.seed, config.epochs) == (3, 2, 1)

    @given(
        st.lists(
            st.dictionaries(st.sampled_from(["dim", "epochs", "seed"]), st.integers(1, 9)),
            max_size=4,
        )
    )
    def test_as_dictionaries_are_joined(self, layers):
        joined = {name: value for layer in layers for name, value in layer.items()}
        assert resolve(*layers) == TrainConfig(**joined)

    def test_values_may_be_text(self):
        config = resolve({"epochs": "3", "save_root": "out", "learning_rate": "1e-4"})
        assert (config.epochs, config.save_root, config.learning_rate) == (3, Path("out"), 1e-4)


class TestExceptions:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("epochs", 0),
            ("batch_size", 1),
            ("dim", "many"),
            ("warmup", -1),
            ("fusion", "hedge"),
            ("loss", "triplet"),
            ("select", "best"),
            ("averaging", 1.0),
            ("holdout", 0.0),
            ("edge_views", float("nan")),
            ("image_size", 31),
            ("learning_rate", 0),
            ("data_root", None),
            ("accumulate", 0),
            ("devices", -1),
            ("nodes", 0),
            ("strategy", "fsdp"),
            ("precision", "64"),
            ("precision", True),
            ("save_minutes", -1),
            ("cache_gb", -1),
            ("compile", "perhaps"),
        ],
    )
    def test_values_that_cannot_be_used(self, name, value):
        with pytest.raises(ConfigError) as caught:
            resolve({name: value})
        assert str(caught.value).startswith(f"{name}: {value!r} cannot be used: ")
        assert "\n" not in str(caught.value)

    def test_unknown_name_lists_the_known_ones(self):
        with pytest.raises(ConfigError, match=r"no setting is named 'epoch'; .*batch_size, epochs"):
            resolve({"epoch": 3})

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("epochs: [1", "is not YAML"),
            ("a: b: c", "is not YAML"),
            ("", "must be lines of 'name: value'"),
            ("- epochs", "must be lines of 'name: value'"),
            ("epochs", "must be lines of 'name: value'"),
        ],
    )
    def test_files_that_are_no_settings(self, text, reason, tmp_path):
        path = tmp_path / "run.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=reason) as caught:
            read_yaml(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_file_in_another_encoding(self, tmp_path):
        path = tmp_path / "run.yaml"
        path.write_bytes("data_name: börse".encode("utf-16"))
        with pytest.raises(ConfigError, match="is not YAML"):
            read_yaml(path)

    def test_yaml_runs_no_code(self, tmp_path):
        path, trap = tmp_path / "run.yaml", tmp_path / "trap"
        path.write_text(f"data_name: !!python/object/apply:os.mkdir ['{trap}']")
        with pytest.raises(ConfigError, match="is not YAML"):
            read_yaml(path)
        assert not trap.exists()

    def test_missing_file(self, tmp_path):
        with pytest.raises(ConfigError, match=r"cannot read .*gone\.yaml \(No such file"):
            read_yaml(tmp_path / "gone.yaml")


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in pairwise("abcdefgh")
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{after}: &{after} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, after in pairwise("abcdefgh")
)


class TestHostileFiles:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            pytest.param("[" * 60_000, "nested too deep", id="brackets"),
            pytest.param("[" * 30_000 + "]" * 30_000, "nested too deep", id="closed brackets"),
            pytest.param('{"a":' * 10_000, "nested too deep", id="braces"),
            pytest.param("- " * 20_000, "nested too deep", id="dashes"),
            pytest.param("dim: " + "9" * 5_000, "is not YAML: Exceeds the limit", id="a number"),
            pytest.param("dim: !!timestamp x", "is not YAML", id="a time that is none"),
            pytest.param("dim: 2020-99-99", "is not YAML: month must be in", id="month 99"),
            pytest.param("dim: !!int ''", "is not YAML: string index", id="an empty number"),
            pytest.param("dim: !!int '1:'", "is not YAML: invalid literal", id="half a time"),
            pytest.param("epochs: !!int 0b", "is not YAML: invalid literal", id="no digits"),
            pytest.param("dim: !!float a", "is not YAML: could not convert", id="no float"),
            pytest.param("dim: !!bool x", "is not YAML: 'x'", id="neither true nor false"),
            pytest.param("&a [*a]", "its aliases make more than 100,000 values", id="itself"),
            pytest.param("dim: &a {b: *a}", "its aliases make more than", id="itself below"),
            pytest.param(LAUGHS + "dim: *h", "its aliases make more than", id="a billion laughs"),
            pytest.param(MERGES, "its aliases make more than", id="a billion merges"),
            pytest.param("a: " + "b" * 70_000, "it has more than 65,536 bytes", id="long"),
            pytest.param("{a\u074c: b: c", r"is not YAML: .*a\\u074c", id="an odd character"),
        ],
    )
    def test_one_short_line_and_soon(self, text, reason, tmp_path):
        path = tmp_path / "run.yaml"
        path.write_text(text)
        begun = time.process_time()
        with pytest.raises(ConfigError, match=reason) as caught:
            read_yaml(path)
        assert time.process_time() - begun < 10
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 600 + len(str(path))

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("dim: 0x" + "f" * 5_000, "dim: <a number of 20,000 bits> cannot be used"),
            ("precision: 0x" + "f" * 5_000, "precision: <a number of 20,000 bits> cannot be used"),
            ("0x" + "f" * 1_000 + ": 1", "no setting is named '<a number of 4,000 bits>'"),
            ("dim: " + "a" * 50_000, "dim: 'aaaaaa.*[.]{3} cannot be used"),
            ('"a\\nb": 1', r"no setting is named 'a\\nb'"),
            ("x" * 1_000 + ": 1", "no setting is named 'xxxx"),
            ("learning_rate: .inf", "learning_rate: inf cannot be used"),
            ('save_root: "a\\0"', "save_root holds a null character"),
            ('data_name: "a\\0"', "data_name holds a null character"),
            ("image_size: 4096", "image_size: 4096 cannot be used"),
            ("dim: 100000", "dim: 100000 cannot be used"),
            ("seed: 9223372036854775808", "seed: 9223372036854775808 cannot be used"),
        ],
    )
    def test_values_that_would_break_what_comes_after(self, text, reason, tmp_path):
        path = tmp_path / "run.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=reason) as caught:
            resolve(read_yaml(path))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 2_000

    def test_aliases_of_a_sensible_size_are_read(self, tmp_path):
        path = tmp_path / "run.yaml"
        path.write_text("a: &a {epochs: 3, dim: 8}\nb: {<<: *a, dim: 9}\nc: [*a, *a]\n")
        a = {"epochs": 3, "dim": 8}
        assert read_yaml(path) == {"a": a, "b": {"epochs": 3, "dim": 9}, "c": [a, a]}

    def test_a_name_with_a_line_break(self, tmp_path):
        with pytest.raises(ConfigError, match=r"cannot read .*go\\nne\.yaml") as caught:
            read_yaml(tmp_path / "go\nne.yaml")
        assert str(caught.value).isprintable()


class TestYaml:
    def test_settings_by_name_unchecked(self, tmp_path):
        path = tmp_path / "run.yaml"
        path.write_text("epochs: 3\nfusion: none\n7: x\n")
        assert read_yaml(path) == {"epochs": 3, "fusion": "none", "7": "x"}


class TestTuBerlin:
    """TU-Berlin is judged on unseen classes with at least 400 photos."""

    def test_four_hundred_by_default(self):
        assert TrainConfig(data_name="tuberlin").val_photos_needed == 400

    @pytest.mark.parametrize(
        ("protocol", "needed"), [("tuberlin-30-sake", 400), ("my-own", 0), (["no", "id"], 0)]
    )
    def test_a_split_of_one_s_own_may_have_small_classes(self, tmp_path, protocol, needed):
        (tmp_path / "tuberlin").mkdir()
        (tmp_path / "tuberlin" / "prepared.json").write_text(json.dumps({"protocol": protocol}))
        config = TrainConfig(data_name="tuberlin", data_root=tmp_path)
        assert config.val_photos_needed == needed

    @pytest.mark.parametrize("needed", [0, 1, 500])
    def test_overridable(self, needed):
        config = TrainConfig(data_name="tuberlin", min_val_photos=needed)
        assert config.val_photos_needed == needed

    def test_others_need_none(self):
        assert TrainConfig(data_name="sketchy").val_photos_needed == 0
        assert TrainConfig(data_name="sketchy", min_val_photos=3).val_photos_needed == 3


class TestWhatDecides:
    def test_place_and_start_do_not(self):
        one = TrainConfig(data_root=Path("a"), save_root=Path("b"), resume=True, cache_gb=1)
        other = TrainConfig(
            overwrite=True,
            skip_unreadable=True,
            cache=False,
            cache_dir=Path("c"),
            save_minutes=0,
            tensorboard=True,
            profile=True,
        )
        assert one.what_decides() == other.what_decides()

    @pytest.mark.parametrize(
        "change",
        [
            {"data_name": "sketchy"},
            {"weights": "none"},
            {"seed": 1},
            {"epochs": 3},
            {"select": "test"},
            {"averaging": 0.5},
            {"frozen_blocks": 1},
            {"min_val_photos": 3},
            {"sketch_classes": 3},
            {"precision": "bf16-mixed"},
            {"accumulate": 2},
            {"accelerator": "cpu"},
        ],
    )
    def test_what_changes_the_figures_does(self, change):
        assert TrainConfig(**change).what_decides() != TrainConfig().what_decides()

    @pytest.mark.parametrize(
        "change",
        [
            {"devices": 4},
            {"nodes": 2},
            {"strategy": "ddp"},
            {"compile": True},
            {"checkpoint_gradients": True},
        ],
    )
    def test_what_moves_them_by_a_rounding_does_not(self, change):
        assert TrainConfig(**change).what_decides() == TrainConfig().what_decides()

    def test_makes_the_same_run_again(self):
        config = TrainConfig(head_learning_rate=0.1, epochs=3)
        assert TrainConfig(**config.what_decides()) == config


class TestRecorded:
    """Records of other versions of this program, read with the eyes of this one."""

    @given(st.sets(st.sampled_from(sorted(TrainConfig().what_decides()))))
    def test_a_setting_that_there_was_not_yet_was_at_its_default(self, missing):
        now = TrainConfig(seed=3, fusion="none").what_decides()
        older = {name: value for name, value in now.items() if name not in missing}
        defaults = TrainConfig().what_decides()
        expected = {name: (defaults if name in missing else now)[name] for name in now}
        assert recorded_settings(older) == (expected if older else {})

    def test_number_format_by_its_old_name(self):
        assert recorded_settings({"precision": "32-true"}) == TrainConfig().what_decides()

    def test_what_decided_nothing_is_left_out(self):
        found = recorded_settings({"seed": 3, "cache_gb": 9, "compile": True})
        assert found == TrainConfig(seed=3).what_decides()

    @pytest.mark.parametrize("recorded", [{}, {"seed": -1}, {"unheard_of": 1}, {7: 1}])
    def test_what_cannot_be_read_stays_as_it_is(self, recorded):
        assert recorded_settings(recorded) == recorded


class TestPrecision:
    @pytest.mark.parametrize("given", [32, "32", "32-true"])
    def test_spellings_of_the_default(self, given):
        assert resolve({"precision": given}) == TrainConfig()

    @pytest.mark.parametrize("given", ["bf16-mixed", "16-mixed"])
    def test_others(self, given):
        assert resolve({"precision": given}).precision == given


def test_parts_of_a_batch_are_equal():
    with pytest.raises(ConfigError, match="batch_size 64 cannot be shown in 3 equal parts; choose"):
        resolve({"accumulate": 3})
    assert resolve({"accumulate": 4, "batch_size": 12}).accumulate == 4


def test_photos_alone_need_edge_views():
    with pytest.raises(ConfigError, match="train_on: photos needs edge_views above 0"):
        resolve({"train_on": "photos"})
    assert resolve({"train_on": "photos", "edge_views": 0.5}).train_on == "photos"
