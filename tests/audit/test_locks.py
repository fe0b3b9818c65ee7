"""The locks hold the versions of ``constraints.txt``, with hashes, and no place to fetch from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "requirements-audit.lock"]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def spelt(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {spelt(name): version for name, version in pins}


def locked(lock: str) -> dict[str, tuple[str, str]]:
    """Version and hashes of each package."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = {}
    for entry in entries:
        pin, _, hashes = entry.partition(" ")
        name, version = pin.split("==")
        found[spelt(name)] = (version, hashes)
    return found


@pytest.mark.parametrize("lock", LOCKS)
class TestLocks:
    def test_versions_are_those_of_the_constraints(self, lock: str) -> None:
        wanted, found = constraints(), locked(lock)
        assert len(found) > 20
        versions = {name: version.partition("+")[0] for name, (version, _) in found.items()}
        assert versions == {name: wanted[name] for name in versions}

    def test_every_package_has_hashes_and_nothing_else(self, lock: str) -> None:
        for name, (_, hashes) in locked(lock).items():
            assert hashes.split(), name
            assert all(HASH.fullmatch(part) for part in hashes.split()), name

    def test_none_says_where_to_fetch_from(self, lock: str) -> None:
        text = (ROOT / lock).read_text()
        assert "://" not in text
        assert "--index" not in text


def test_everything_that_the_project_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = dict(project["optional-dependencies"])
    audit = extras.pop("audit")
    asked = {*project["dependencies"], *(line for lines in extras.values() for line in lines)}

    def names(lines: set[str]) -> set[str]:
        return {spelt(re.split(r"[\[<>=; ]", line, maxsplit=1)[0]) for line in lines}

    assert names(asked) <= set(locked("requirements.lock"))
    assert names(set(audit)) <= set(locked("requirements-audit.lock"))


def test_pytorch_is_the_build_for_processors() -> None:
    assert locked("requirements.lock")["torch"][0] == constraints()["torch"] + "+cpu"
