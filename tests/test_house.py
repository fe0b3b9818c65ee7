"""The house of ``search``: no circles, no closets, and nobody outside asks which store it holds.

Paths that the documents name exist. Imports are counted wherever they stand, in functions and under
``TYPE_CHECKING`` as well.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src/msedge"
SEARCH = SOURCES / "search"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LEAST_LINES = 60  # of a file that one other file alone imports
FACES = {"__init__.py", "__main__.py"}


def modules(top: Path) -> dict[str, Path]:
    """The files below a package's folder, by the full name that imports them."""
    named = {}
    for path in sorted(top.rglob("*.py")):
        parts = path.relative_to(top.parent).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def imports(source: str, known: set[str]) -> set[str]:
    """The known modules that a source imports, wherever it does so."""
    wanted: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            wanted |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                wanted.add(deeper if deeper in known else node.module)
    return wanted & known


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that reach each other."""

    def reached(start: str) -> set[str]:
        seen, waiting = set(), [start]
        while waiting:
            for each in graph[waiting.pop()] - seen:
                seen.add(each)
                waiting.append(each)
        return seen

    far = {name: reached(name) for name in graph}
    found = {frozenset(n for n in graph if n in far[name] and name in far[n]) for name in graph}
    return [set(each) for each in found if each]


NAMED = modules(SOURCES)
GRAPH = {name: imports(path.read_text(), set(NAMED)) - {name} for name, path in NAMED.items()}
OF_SEARCH = {name for name in NAMED if name.startswith("msedge.search")}


class TestSearch:
    def test_it_has_no_circle(self):
        assert [circle for circle in circles(GRAPH) if circle & OF_SEARCH] == []

    def test_circles_are_found(self):
        graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
        assert circles(graph) == [{"b", "c"}]

    def test_it_has_no_closet(self):
        users = {name: [n for n, wanted in GRAPH.items() if name in wanted] for name in OF_SEARCH}
        closets = [
            name
            for name in OF_SEARCH
            if NAMED[name].name not in FACES
            and len(users[name]) == 1
            and len(NAMED[name].read_text().splitlines()) < LEAST_LINES
        ]
        assert closets == []

    def test_nobody_uses_less_than_it_has(self):
        used = set().union(*GRAPH.values())
        idle = [n for n in OF_SEARCH - used if NAMED[n].name not in FACES]
        assert idle == []


KINDS = re.compile(r"SqliteStore|LanceStore|\.suffix\b.*lance|[\"']\.lance[\"']|is_lance")


class TestStores:
    @pytest.mark.parametrize(
        "path",
        [p for p in NAMED.values() if SEARCH / "stores" not in p.parents],
        ids=lambda path: str(path.relative_to(SOURCES)),
    )
    def test_nobody_asks_which_kind_it_holds(self, path):
        assert KINDS.findall(path.read_text()) == []

    @pytest.mark.parametrize(
        "line",
        ["isinstance(store, SqliteStore)", 'path.suffix == ".lance"', "if is_lance(path):"],
    )
    def test_asking_is_found(self, line):
        assert KINDS.search(line)


class TestDocuments:
    @pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
    def test_paths_that_they_name_are_there(self, path):
        missing = []
        for named in re.findall(
            r"`((?:[\w-]+/)+[\w.-]+\.(?:py|md|toml|yaml|svg)|(?:[\w-]+/)+)`", path.read_text()
        ):
            places = (ROOT / named, SOURCES / named, SEARCH / named, ROOT / "docs" / named)
            if named.startswith(
                (
                    "src/msedge/",
                    "tests/",
                    "benchmarks/",
                    "docs/",
                    "search/",
                    "cli/",
                    "server/",
                    "data/",
                    "models/",
                    "training/",
                    "evaluation/",
                    "figures/",
                    "stores/",
                    "sources/",
                )
            ) and not any(place.exists() for place in places):
                missing.append(named)
        assert missing == []

    def test_the_map_of_search_names_every_file(self):
        page = (ROOT / "CONTRIBUTING.md").read_text()
        told = set(re.findall(r"`([\w/]+(?:\.py|/))`", page))
        untold = []
        for name in OF_SEARCH:
            path = NAMED[name].relative_to(SEARCH)
            if path.name not in FACES and not {str(path), f"{path.parent}/"} & told:
                untold.append(str(path))
        assert untold == []
