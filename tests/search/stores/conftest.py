"""Each test that asks for ``suffix`` runs on a gallery of either kind."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from made_photos import make, photos

_LANCE = pytest.mark.skipif(
    find_spec("lance") is None or find_spec("msedge.search.stores.lance.store") is None,
    reason="there is no store of Lance",
)


@pytest.fixture(params=[".msedge", pytest.param(".lance", marks=_LANCE)], ids=["sqlite", "lance"])
def suffix(request: pytest.FixtureRequest) -> str:
    """What the names of galleries end in."""
    return str(request.param)


@pytest.fixture
def path(tmp_path: Path, suffix: str) -> Path:
    """Where a gallery may be made."""
    return tmp_path / f"photos{suffix}"


@pytest.fixture
def gallery(path: Path) -> Path:
    """A gallery of 100 photos; ids are those of photos plus one."""
    return make(path, photos(100))
