"""What faiss is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import approximate_galleries
from approximate_galleries import clustered, drawn
from msedge.search.approximate.plan import plan_for
from msedge.search.approximate.structure import add, candidates, full_width, is_graph, trained
from msedge.search.candidates import unit_vectors


def heard(_done, _total):
    pass


def made(kind, count=6000, dim=16):
    plan = plan_for(count, dim, recall=0.9, kind=kind)
    vectors = unit_vectors(clustered(count, dim))
    structure = trained(plan, dim, vectors[: plan.training], heard)
    add(structure, vectors)
    return structure, vectors


class TestCandidates:
    @pytest.mark.parametrize("kind", ["hnsw", "ivf-sq", "ivf-pq"])
    def test_they_rise_and_hold_the_nearest(self, kind):
        structure, vectors = made(kind)
        query = drawn(1, 16)[0]
        rows = candidates(structure, query, full_width(structure), 200, None)
        assert (np.diff(rows) > 0).all()
        assert int(np.argmax(vectors @ query)) in rows

    @pytest.mark.parametrize("kind", ["hnsw", "ivf-sq", "ivf-pq"])
    def test_only_rows_whose_bit_is_set(self, kind):
        structure, _ = made(kind)
        allowed = np.arange(6000) % 7 == 3
        bits = np.packbits(allowed, bitorder="little")
        rows = candidates(structure, drawn(1, 16)[0], full_width(structure), 100, bits)
        assert len(rows) == 100
        assert allowed[rows].all()

    @pytest.mark.parametrize("kind", ["ivf-sq", "ivf-pq"])
    def test_all_lists_hold_every_row(self, kind):
        structure, _ = made(kind)
        rows = candidates(structure, drawn(1, 16)[0], full_width(structure), 6000, None)
        assert rows.tolist() == list(range(6000))


def test_beside_a_library_that_puts_another_search_into_faiss(tmp_path):
    """As pytorch-metric-learning does, in a process of its own: that cannot be undone."""
    program = (
        "import faiss.contrib.torch_utils; import numpy as np;"
        "from approximate_galleries import clustered, index_of; from pathlib import Path;"
        "vectors = clustered(6000, 16); import sys;"
        "index = index_of(Path(sys.argv[1]), vectors, kind='ivf-pq');"
        "print(len(index.nearest(np.asarray(vectors[5], np.float32), 20)[0]))"
    )
    tests = {**os.environ, "PYTHONPATH": str(Path(approximate_galleries.__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "index"],
        capture_output=True, text=True, check=False, env=tests, timeout=120,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("20\n", 0), done.stderr


class TestTrained:
    def test_whoever_is_told_may_end_it(self):
        def ended(_done, _total):
            raise KeyboardInterrupt

        plan = plan_for(6000, 16, recall=0.9, kind="ivf-pq")
        with pytest.raises(KeyboardInterrupt):
            trained(plan, 16, unit_vectors(clustered(6000, 16)), ended)

    def test_a_graph_is_told_from_lists(self):
        assert is_graph(made("hnsw")[0])
        assert not is_graph(made("ivf-pq")[0])
