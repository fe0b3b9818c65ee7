"""Each test that asks for ``suffix`` runs on a gallery of either kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_photos import make, photos


@pytest.fixture(params=[".msedge", ".lance"], ids=["sqlite", "lance"])
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
