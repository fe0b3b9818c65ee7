"""The running mean of weights, against one that is taken anew."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from msedge.training.averaging import RunningMean

VALUES = st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=12)


@given(VALUES, st.floats(0, 0.999))
def test_of_values_one_after_another(values, decay):
    mean, expected = torch.tensor(values[0]), values[0]
    for count, value in enumerate(values[1:], start=1):
        mean = RunningMean(decay)(mean, torch.tensor(value), count)
        kept = min(decay, (count + 1) / (count + 10))
        expected = kept * expected + (1 - kept) * value
    assert mean.item() == pytest.approx(expected, abs=1e-4)


@given(VALUES, st.floats(0, 0.999))
def test_lies_between_the_smallest_and_the_largest(values, decay):
    mean = torch.tensor(values[0])
    for count, value in enumerate(values[1:], start=1):
        mean = RunningMean(decay)(mean, torch.tensor(value), torch.tensor(count))
        assert min(values) - 1e-4 <= mean.item() <= max(values) + 1e-4


def test_young_means_take_in_much():
    zero, one = torch.zeros(1), torch.ones(1)
    taken = [RunningMean(0.999)(zero, one, count).item() for count in (1, 8, 10**6)]
    assert taken == pytest.approx([9 / 11, 0.5, 0.001], abs=1e-6)


def test_counters_are_the_last_ones():
    found = RunningMean(0.9)(torch.tensor(3), torch.tensor(7), 5)
    assert torch.equal(found, torch.tensor(7))
