"""What a folder says of its run."""

from __future__ import annotations

import os

import pytest

from msedge.benchmark.locks import take
from msedge.benchmark.outcomes import forget_failure, note_failure, read_folder, read_outcome

FINGERPRINT = "f" * 64


@pytest.fixture
def cell(cells):
    return cells()[0]


class TestState:
    def test_nothing_there(self, cell):
        assert read_outcome(cell, FINGERPRINT).state == "to do"
        assert not cell.folder.exists()

    def test_finished(self, cell, finish):
        finish(cell)
        assert read_outcome(cell, FINGERPRINT).state == "done"
        assert read_outcome(cell, None).state == "done"

    def test_finished_on_images_that_changed(self, cell, finish):
        finish(cell)
        outcome = read_outcome(cell, "another")
        assert (outcome.state, outcome.data_changed) == ("to do", True)

    @pytest.mark.parametrize("end", ["results.csv", "model.safetensors", "vectors.safetensors"])
    def test_a_file_is_missing(self, cell, finish, end):
        finish(cell)
        cell.file(end).unlink()
        assert read_outcome(cell, FINGERPRINT).state == "to do"

    def test_killed(self, cell, finish):
        finish(cell, finished=False)
        outcome = read_outcome(cell, FINGERPRINT)
        assert (outcome.state, outcome.data_changed) == ("killed", False)
        assert read_outcome(cell, "another").data_changed

    def test_running(self, cell, finish):
        finish(cell, finished=False)
        lock = take(cell.folder)
        assert lock is not None
        assert read_outcome(cell, FINGERPRINT).state == "running"
        assert read_folder(cell, FINGERPRINT).state == "killed"
        os.close(lock)

    def test_failed_until_it_is_tried_again(self, cell, finish):
        finish(cell, finished=False)
        note_failure(cell, "no room\non the disk")
        outcome = read_outcome(cell, FINGERPRINT)
        assert (outcome.state, outcome.error) == ("failed", "no room\\non the disk")
        forget_failure(cell)
        assert read_outcome(cell, FINGERPRINT).state == "killed"

    def test_failed_before_its_first_epoch(self, cell):
        note_failure(cell, "no weights")
        assert read_outcome(cell, FINGERPRINT).state == "failed"

    def test_finished_wins_over_an_old_failure(self, cell, finish):
        note_failure(cell, "no weights")
        finish(cell)
        assert read_outcome(cell, FINGERPRINT).failed is False

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"config": 1}', "\x00"])
    def test_a_record_that_cannot_be_read(self, cell, finish, text):
        finish(cell)
        cell.file("run.json").write_text(text)
        assert read_outcome(cell, FINGERPRINT).state == "to do"


class TestOtherSettings:
    def test_are_told(self, cell, finish):
        finish(cell, config=cell.config.what_decides() | {"epochs": 99, "loss": "other"})
        outcome = read_outcome(cell, FINGERPRINT)
        assert outcome.state == "other settings"
        assert outcome.failed
        assert outcome.error == (
            f"{cell.folder} holds a run with another loss, epochs; "
            "remove it, or choose another --save-root"
        )

    def test_of_an_older_version(self, cell, finish):
        """What it did not know was at its default."""
        config = cell.config.what_decides()
        del config["holdout"], config["accumulate"]
        finish(cell, config=config | {"precision": "32-true"})
        assert read_outcome(cell, FINGERPRINT).state == "done"

    def test_of_an_older_version_that_was_otherwise(self, cells, finish):
        (cell, *_) = cells(settings={"accumulate": 2})
        config = cell.config.what_decides()
        del config["accumulate"]
        finish(cell, config=config)
        error = read_outcome(cell, FINGERPRINT).error
        assert error is not None
        assert "holds a run with another accumulate; remove it" in error

    def test_of_a_version_that_knew_another_setting(self, cell, finish):
        finish(cell, config=cell.config.what_decides() | {"unheard_of": 1})
        error = read_outcome(cell, FINGERPRINT).error
        assert error is not None
        assert "holds a run with another unheard_of; remove it" in error


class TestFigures:
    def test_of_the_selected_epoch(self, cell, finish):
        finish(cell, 41.0, held_out=61.0)
        outcome = read_outcome(cell, FINGERPRINT)
        assert outcome.metrics["mAP@all"] == 41.0
        assert outcome.before["mAP@all"] == 10.0
        assert (outcome.held_out, outcome.seconds) == (61.0, 3.0)
        assert outcome.held_out_classes == ("a", "b")

    def test_nothing_was_held_out(self, cells, finish):
        (cell, *_) = cells(settings={"select": "last"})
        finish(cell)
        assert read_outcome(cell, FINGERPRINT).held_out is None

    def test_none_before_it_is_finished(self, cell):
        with pytest.raises(ValueError, match="tiny, plain, seed 0 is not finished"):
            _ = read_outcome(cell, FINGERPRINT).metrics
