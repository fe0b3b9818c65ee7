"""A client that moves is waited for, one that stops is not."""

from __future__ import annotations

from msedge.server.patience import Patience


def test_who_does_nothing_runs_out_of_it():
    patience = Patience(10, 1000)
    patience.waited(9)
    assert patience.left == 1
    patience.waited(2)
    assert patience.left < 0


def test_who_is_fast_enough_is_waited_for_without_end():
    patience = Patience(10, 1000)
    for _ in range(10_000):
        patience.waited(1, 1000)
    assert patience.left == 10


def test_bytes_are_not_saved_up():
    patience = Patience(10, 1000)
    patience.waited(1, 10_000_000)
    patience.waited(11)
    assert patience.left < 0


def test_a_trickle_is_not_enough():
    patience = Patience(10, 1000)
    seconds = 0
    while patience.left >= 0:
        patience.waited(1, 100)
        seconds += 1
    assert seconds == 12


def test_it_can_be_restored():
    patience = Patience(10, 1000)
    patience.waited(99)
    patience.restore()
    assert patience.left == 10
