"""What is kept is found again, and nothing else is."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from msedge.data.layouts import Record
from msedge.errors import DataError
from msedge.training.disk_cache import cached, records_key, weights_key


class Maker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> list[torch.Tensor]:
        self.calls += 1
        return [torch.arange(3.0), torch.ones(2, 2, dtype=torch.float16)]


def test_without_a_folder_it_is_made_each_time():
    make = Maker()
    cached(None, {"a": 1}, make)
    cached(None, {"a": 1}, make)
    assert make.calls == 2


def test_with_one_it_is_made_once_for_each_key(tmp_path):
    make = Maker()
    for key in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3}):
        found = cached(tmp_path / "new", key, make)
        for tensor, expected in zip(found, Maker()(), strict=True):
            assert torch.equal(tensor, expected)
            assert tensor.dtype == expected.dtype
    assert make.calls == 2


def test_a_damaged_file_is_made_anew(tmp_path):
    make = Maker()
    cached(tmp_path, {}, make)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:20])
    cached(tmp_path, {}, make)
    cached(tmp_path, {}, make)
    assert make.calls == 2


def test_a_folder_that_is_a_file_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file"):
        cached(tmp_path / "file", {}, Maker())


def test_a_changed_image_changes_the_key(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"1234")
    os.utime(path, ns=(1, 1))
    record = Record(path, "photo", "ape")
    before = records_key([record])
    assert records_key([record]) == before
    os.utime(path, ns=(1, 2))
    assert records_key([record]) != before


def test_weights_decide_their_key():
    torch.manual_seed(0)
    layer = nn.Linear(2, 2)
    before = weights_key([layer])
    assert weights_key([layer]) == before
    layer.weight.data[0, 0] += 1e-6
    assert weights_key([layer]) != before
