"""A Ray cluster of this machine, started once for the tests of a file."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cluster_runs import TESTS


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """The address of a cluster of two CPUs, whose workers find the modules of the tests.

    This process is connected to it as well.
    """
    import ray

    from msedge.search.cluster.ray_cluster import ray_cluster

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = TESTS
    try:
        with ray_cluster(None, cpus=2):
            yield ray.get_runtime_context().gcs_address
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
