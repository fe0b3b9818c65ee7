"""What a run and a benchmark left in a folder, when it is not what they wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import save

from hostile_artefacts import (
    TRIED,
    Case,
    cut_short,
    held_to_it,
    of_others,
    refusal,
    safetensors,
    turned,
    wiped,
)
from msedge.benchmark.cells import Cell, RowKey
from msedge.benchmark.outcomes import read_folder
from msedge.benchmark.plan import DatasetPlan
from msedge.benchmark.queries import query_values
from msedge.data.vectors import FORMAT
from msedge.training.config import TrainConfig
from msedge.training.run_files import STATE_FORMAT, EpochRow, Memory, Progress, RunFiles

ROW = EpochRow(1, 0.5, {"mAP@all": 12.5}, 12.5, 3.0)
MEMORY = Memory(
    {"network/weight": torch.zeros(3)}, (ROW,), {"mAP@all": 10.0}, Progress(2, 1.5, 0.5)
)


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        data_root=tmp_path, data_name="tiny", save_root=tmp_path / "run", resume=True
    )


@pytest.fixture
def files(config: TrainConfig) -> RunFiles:
    config.save_root.mkdir()
    return RunFiles(config)


def state(config: TrainConfig, /, **said: str) -> bytes:
    metadata = {
        "format": STATE_FORMAT,
        "config": json.dumps(config.what_decides()),
        "fingerprint": "f",
        "rows": '[{"epoch": 1, "loss": 1, "metrics": {}, "selection_value": 1, "seconds": 1}]',
        "before": "{}",
        "progress": "{}",
    }
    return save(MEMORY.tensors, metadata | said)


def lies(config: TrainConfig) -> Iterator[Case]:
    row = {"epoch": 1, "loss": 1.0, "metrics": {}, "selection_value": 1.0, "seconds": 1.0}
    rows = {
        "an epoch of a text": [row | {"epoch": "x"}],
        "an epoch missing": [row | {"epoch": 2}],
        "an epoch below 1": [row | {"epoch": -1}],
        "a loss of a text": [row | {"loss": "low"}],
        "a loss of nothing": [row | {"loss": None}],
        "metrics of a list": [row | {"metrics": [1]}],
        "metrics of texts": [row | {"metrics": {"a\nb": "x"}}],
        "a field that nobody knows": [row | {"stranger": 1}],
        "a field missing": [{"epoch": 1}],
        "no rows": "x",
        "a number": 7,
    }
    for name, value in rows.items():
        yield Case("a state that lies", name, state(config, rows=json.dumps(value)))
    said = {
        "a config of a list": {"config": "[1, 2]"},
        "a config nested deeply": {"config": "[" * 100_000},
        "rows nested deeply": {"rows": "[" * 100_000},
        "figures of a text": {"before": '{"mAP": "x"}'},
        "figures of 6,000 digits": {"before": f'{{"mAP": {"9" * 6000}}}'},
        "steps of a text": {"progress": '{"steps": "x"}'},
        "steps below 0": {"progress": '{"steps": -5}'},
        "10^30 steps": {"progress": '{"steps": 1000000000000000000000000000000}'},
        "a loss of a list": {"progress": '{"loss": []}'},
        "of a newer release": {"format": "msedge-training-state-3"},
        "of an older release": {"format": "msedge-training-state-1"},
        "of other settings": {"config": '{"dim\\n\\u001b[2J": 7}'},
        "of other images": {"fingerprint": "another"},
    }
    for name, metadata in said.items():
        yield Case("a state that lies", name, state(config, **metadata))
    yield Case("a header that lies", "claims 10^18 bytes", safetensors({}, length=10**18))


class TestTheState:
    def test_from_anywhere_is_read_or_refused_in_one_line(self, config, files, mark):
        whole = state(config)
        cases = chain(
            cut_short(whole), turned(whole, header=400), wiped(whole), of_others(mark), lies(config)
        )
        counts = held_to_it(
            "training state", cases, lambda _: files.read_state("f"), files.state, mark
        )
        assert sum(counts.values()) >= 80

    def test_that_was_written_is_read(self, files):
        files.write_state(MEMORY, "f")
        found = files.read_state("f")
        assert found is not None
        assert (found.rows, found.before, found.progress) == (
            MEMORY.rows, MEMORY.before, MEMORY.progress
        )  # fmt: skip


def cell_of(config: TrainConfig) -> Cell:
    return Cell(DatasetPlan(data_name="tiny"), RowKey(None, ()), config)


RECORD: dict[str, Any] = {
    "finished": True,
    "data": {"fingerprint": "f", "held_out_classes": [], "protocol": None},
    "before_training": {"mAP@all": 10.0},
    "epochs": [
        {"epoch": 1, "loss": 1.0, "metrics": {"mAP@all": 12.0}, "selection_value": 1.0,
         "seconds": 1.0}
    ],
    "selected_epoch": 1,
}  # fmt: skip


def record(config: TrainConfig, /, **changes: Any) -> bytes:
    return json.dumps(RECORD | {"config": config.what_decides()} | changes).encode()


def records(config: TrainConfig) -> Iterator[Case]:
    epoch = RECORD["epochs"][0]
    changes: dict[str, dict[str, Any]] = {
        "epochs of numbers": {"epochs": [1]},
        "no epochs": {"epochs": []},
        "metrics of a list": {"epochs": [epoch | {"metrics": [1]}]},
        "metrics of texts": {"epochs": [epoch | {"metrics": {"mAP@all": "high"}}]},
        "seconds of a text": {"epochs": [epoch | {"seconds": "long"}]},
        "a selection of nothing": {"epochs": [epoch | {"selection_value": None}]},
        "another epoch selected": {"selected_epoch": 9},
        "figures of a list": {"before_training": [1]},
        "data of a list": {"data": []},
        "classes of numbers": {"data": RECORD["data"] | {"held_out_classes": [1]}},
        "settings of a list": {"config": [1]},
        "other settings": {"config": {"a\nb\x1b[2J": 1}},
        "finished maybe": {"finished": "yes"},
    }
    for name, changed in changes.items():
        yield Case("a record that lies", name, record(config, **changed), must_fail=False)
    for name, content in {
        "nested deeply": b"[" * 100_000,
        "a number of 6,000 digits": b'{"epochs": ' + b"9" * 6000 + b"}",
        "a list": b"[]",
    }.items():
        yield Case("a record that lies", name, content, must_fail=False)


class TestTheRecord:
    def test_from_anywhere_is_passed_over_or_told_in_one_line(self, config, files, mark):
        for end in ("results.csv", "model.safetensors", "vectors.safetensors"):
            (config.save_root / f"{config.prefix}_{end}").write_bytes(b"whole")
        cell, whole = cell_of(config), record(config)

        def read(_: Path) -> None:
            """All that a benchmark, and a run that is started again, make of it."""
            files.read_finished("f")
            outcome = read_folder(cell, "f")
            if outcome.error is not None:
                assert outcome.error.isprintable()
                assert len(outcome.error) < 1000
            if outcome.state == "done":
                json.dumps([outcome.metrics, outcome.before, outcome.held_out, outcome.seconds])
                assert isinstance(outcome.held_out_classes, tuple)
            files.guard()

        cases = [
            *cut_short(whole), *turned(whole, header=300), *wiped(whole), *of_others(mark),
            *records(config),
        ]  # fmt: skip
        cases = [Case(c.kind, c.name, c.content, must_fail=False) for c in cases]
        assert held_to_it("record of a run", cases, read, files.record, mark)

    def test_that_is_whole_is_taken(self, config, files):
        for end in ("results.csv", "model.safetensors", "vectors.safetensors"):
            (config.save_root / f"{config.prefix}_{end}").write_bytes(b"whole")
        files.record.write_bytes(record(config))
        assert read_folder(cell_of(config), "f").state == "done"

    def test_that_is_a_pipe_is_not_waited_for(self, config, files):
        os.mkfifo(files.record)
        assert files.read_finished("f") is None
        assert read_folder(cell_of(config), "f").state == "to do"

    def test_failure_that_is_long_or_of_many_lines_is_told_on_one(self, config, files):
        assert files.record.parent == config.save_root
        (config.save_root / "failure.txt").write_bytes(b"a\n\x1b[2J\xff" * 10_000)
        error = read_folder(cell_of(config), "f").error or ""
        assert error.isprintable()
        assert len(error) <= 400


class TestTheAnswersThatABenchmarkKeeps:
    @pytest.fixture
    def vectors(self, files: RunFiles) -> Path:
        content = save_arrays(
            {
                "embeddings": np.eye(8, 4, dtype=np.float32) + np.float32(0.1),
                "labels": np.arange(8) % 2,
                "domains": np.arange(8) // 4,
            },
            {"format": FORMAT, "classes": '["a", "b"]', "paths": json.dumps(list("abcdefgh"))},
        )
        files.vectors.write_bytes(content)
        return files.vectors

    @pytest.mark.parametrize(
        "content",
        [
            lambda _: b"[" * 1000,
            lambda stamp: save_arrays({"labels": np.ones(1)}, stamp),
            lambda stamp: _answers(stamp, average_precision=np.full(4, np.nan)),
            lambda stamp: _answers(stamp, average_precision=np.full(4, 1, np.int64)),
            lambda stamp: _answers(stamp, relevant=np.full(9, 1)),
            lambda stamp: _answers(stamp, labels=np.full(4, 0.5)),
            lambda stamp: _answers(stamp, average_precision=np.ones((2, 2))),
        ],
    )
    def test_are_made_again_where_they_are_damaged(
        self, config, vectors, content: Callable[[dict[str, str]], bytes]
    ):
        cell = cell_of(config)
        expected = query_values(cell)
        status = vectors.stat()
        stamp = {"vectors": f"{status.st_size} bytes of {status.st_mtime_ns}"}
        cell.file("queries.safetensors").write_bytes(content(stamp))
        found = query_values(cell)
        np.testing.assert_array_equal(found.average_precision, expected.average_precision)
        TRIED["answers of a benchmark", "crafted"] += 1

    def test_of_vectors_that_are_not_finite_are_refused(self, config, vectors):
        content = save_arrays(
            {
                "embeddings": np.full((8, 4), np.nan, np.float32),
                "labels": np.arange(8) % 2,
                "domains": np.arange(8) // 4,
            },
            {"format": FORMAT, "classes": '["a", "b"]', "paths": json.dumps(list("abcdefgh"))},
        )
        vectors.write_bytes(content)
        assert refusal(lambda _: query_values(cell_of(config)), vectors)


def _answers(stamp: dict[str, str], **changes: np.ndarray) -> bytes:
    whole = {
        "average_precision": np.full(4, 0.5), "relevant": np.full(4, 2), "labels": np.full(4, 1)
    }  # fmt: skip
    return save_arrays(whole | changes, stamp)
