"""One BLAS thread while anyone ranks; what was set before, once nobody does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from msedge.blas_threads import OneBlasThread
from msedge.evaluation.ranking import map_hits


def blas() -> set[int]:
    """The threads of each BLAS that is loaded."""
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    """A number that nothing else would set."""
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(3, user_api="blas"):
        if blas() != {3}:
            pytest.skip("this BLAS has no threads to hold")
        yield


@pytest.fixture
def parts() -> Callable[..., Iterator[object]]:
    """Rankings in several parts."""
    rng = np.random.default_rng(0)
    asked, kept = rng.normal(size=(60, 4)), rng.normal(size=(50, 4))
    arrays = asked, kept, np.arange(60) % 5, np.arange(50) % 5
    return lambda function=lambda *part: part: map_hits(function, *arrays, chunk=4)


def test_the_last_to_leave_gives_back():
    limit = OneBlasThread()
    limit.__enter__()
    limit.__enter__()
    limit.__exit__()
    assert blas() == {1}
    limit.__exit__()
    assert blas() == {3}
    with limit:
        assert blas() == {1}
    assert blas() == {3}


def test_rankings_taken_in_turn(parts):
    first, second = parts(), parts()
    assert blas() == {3}  # nothing is ranked yet
    next(first)
    next(second)
    first.close()
    assert blas() == {1}
    assert sum(1 for _ in second) > 1
    assert blas() == {3}


def test_rankings_in_two_threads(parts):
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(lambda _: sum(1 for _ in parts()), range(20)))
    assert len(set(counts)) == 1
    assert blas() == {3}


def test_ranking_given_up_midway(parts):
    left = parts()
    next(left)
    assert blas() == {1}
    del left
    assert blas() == {3}


def test_error_of_a_worker_comes_out(parts):
    def fail(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(parts(fail))
    assert blas() == {3}
