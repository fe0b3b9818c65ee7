"""The architecture of the package: which way imports run, what they cost, and what is explained.

The rules are those of the project's design: ``cli`` -> ``server`` -> ``search``, ``figures``,
``evaluation``, ``training`` -> ``models``, ``data``; never back up, and never sideways but from
``training`` to ``evaluation``; ``benchmark`` stands beside the ``server``. An import inside a
function counts like any other.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import msedge

PACKAGE = Path(msedge.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
FOUNDATIONS = {
    "blas_threads",
    "errors",
    "locks",
    "memory",
    "quoting",
    "storage",
    "system",
    "written_files",
}
MAY_IMPORT = {
    "blas_threads": set(),
    "errors": set(),
    "locks": {"errors", "quoting"},
    "memory": {"errors"},
    "quoting": set(),
    "storage": {"errors"},
    "system": set(),
    "written_files": set(),
    "data": FOUNDATIONS,
    "models": FOUNDATIONS,
    "evaluation": FOUNDATIONS,  # sees arrays only: no files, no networks
    "search": FOUNDATIONS | {"models", "data"},
    "figures": FOUNDATIONS | {"models", "data"},
    "training": FOUNDATIONS | {"models", "data", "evaluation"},
}
BELOW_THE_SERVER = set(MAY_IMPORT)
MAY_IMPORT["server"] = BELOW_THE_SERVER
MAY_IMPORT["benchmark"] = FOUNDATIONS | {"models", "data", "evaluation", "figures", "training"}
MAY_IMPORT["cli"] = BELOW_THE_SERVER | {"server", "benchmark"}
MAY_IMPORT["__init__"] = {"errors", "search"}  # search when asked for
MAY_IMPORT["__main__"] = {"cli"}


def module_name(path: Path, package: Path = PACKAGE) -> str:
    """``msedge.models.edges``, or ``msedge.models.__init__`` for a package's own file."""
    return ".".join([package.name, *path.relative_to(package).with_suffix("").parts])


def imported(source: str, module: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything of ours that a module imports, wherever it does so."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            # `from msedge import data` and `from . import edges` name modules after the import
            names = [f"{origin}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and _is_import_call(node):
            names = [a.value for a in node.args[:1] if isinstance(a, ast.Constant)]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "msedge":
                yield node.lineno, name


def _is_import_call(call: ast.Call) -> bool:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def part_of(name: str) -> str | None:
    """The part of the package that a full name belongs to; None for the package's own names."""
    names = name.split(".")
    known = len(names) > 1 and (names[1] in MAY_IMPORT or (PACKAGE / names[1]).is_dir())
    return names[1] if known else None


def wrong_imports(source: str, module: str) -> list[str]:
    """A line for each import that runs the wrong way."""
    own = part_of(module)
    assert own in MAY_IMPORT, f"{module}: say in MAY_IMPORT what it may import"
    return [
        f"{module}:{line} imports {name}"
        for line, name in imported(source, module)
        if (part := part_of(name)) not in (None, own) and part not in MAY_IMPORT[own]
    ]


def unexplained(source: str) -> list[str]:
    """Public modules, classes, functions and methods without a docstring."""

    def visit(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
        for child in node.body:
            if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if child.name.startswith("_"):
                continue
            if not ast.get_docstring(child):
                yield prefix + child.name
            if isinstance(child, ast.ClassDef):
                yield from visit(child, f"{prefix}{child.name}.")

    tree = ast.parse(source)
    return [*([] if ast.get_docstring(tree) else ["the module"]), *visit(tree, "")]


def loaded_after(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after a statement."""
    program = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300
    )
    return set(done.stdout.split())


class TestDirection:
    @pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
    def test_imports_run_downwards(self, path):
        assert wrong_imports(path.read_text(encoding="utf-8"), module_name(path)) == []

    @pytest.mark.parametrize(
        ("module", "source"),
        [
            ("msedge.data.images", "import msedge.models.edges"),
            ("msedge.data.images", "from msedge.training import config"),
            ("msedge.data.images", "from msedge import models"),
            ("msedge.data.images", "def late():\n    from msedge.cli.app import app"),
            ("msedge.data.images", "if TYPE_CHECKING:\n    from msedge.server.app import App"),
            ("msedge.data.images", "from ..models.edges import edge_map"),
            ("msedge.data.__init__", "from ..models import edges"),
            ("msedge.data.images", "importlib.import_module('msedge.models.edges')"),
            ("msedge.models.edges", "from msedge.data.images import open_image"),
            ("msedge.evaluation.report", "from msedge.data.vectors import Vectors"),
            ("msedge.evaluation.report", "from msedge.training.trainer import train"),
            ("msedge.search.gallery", "from msedge.figures.montage import Row"),
            ("msedge.training.trainer", "from msedge.figures.montage import Row"),
            ("msedge.server.app", "from msedge.cli import app"),
            ("msedge.errors", "from msedge.storage import atomic_path"),
            ("msedge.__init__", "from msedge.models.network import MSEdge"),
        ],
    )
    def test_the_rules_catch_what_runs_upwards_or_sideways(self, module, source):
        assert len(wrong_imports(source, module)) == 1

    @pytest.mark.parametrize(
        ("module", "source"),
        [
            ("msedge.data.images", "import msedge\nfrom msedge import __version__"),
            ("msedge.data.images", "from msedge.errors import DataError"),
            ("msedge.data.layouts", "from . import images\nfrom .images import open_image"),
            ("msedge.training.trainer", "from msedge.evaluation.evaluate import evaluate"),
            ("msedge.search.encoder", "from msedge.models.checkpoint import load_checkpoint"),
            ("msedge.cli.serve", "def serve():\n    from msedge.server.app import App"),
            ("msedge.data.images", "import torch.nn\nfrom models import msedge"),
        ],
    )
    def test_the_rules_let_pass_what_runs_downwards(self, module, source):
        assert wrong_imports(source, module) == []

    def test_a_new_part_needs_a_place(self):
        with pytest.raises(AssertionError, match="helpers: say in MAY_IMPORT"):
            wrong_imports("", "msedge.helpers")


class TestCost:
    def test_the_package_imports_nothing_heavy(self):
        heavy = {
            "torch", "timm", "kornia", "pytorch_metric_learning", "lightning_fabric",
            "matplotlib", "numpy", "PIL", "pydantic",
        }  # fmt: skip
        loaded = loaded_after("import msedge")
        assert "msedge" in loaded
        assert loaded & heavy == set()

    def test_the_command_line_imports_no_learning_library(self):
        heavy = {
            "torch", "timm", "kornia", "pytorch_metric_learning", "lightning_fabric", "matplotlib",
        }  # fmt: skip
        loaded = loaded_after("import msedge.cli.app")
        assert {"msedge", "typer"} <= loaded
        assert loaded & heavy == set()

    def test_judging_features_needs_no_learning_library(self):
        heavy = {
            "torch", "timm", "kornia", "pytorch_metric_learning", "lightning_fabric", "sklearn",
            "scipy",
        }  # fmt: skip
        judge = (
            "import numpy as np\n"
            "from msedge.evaluation.evaluate import evaluate\n"
            "assert evaluate(np.eye(2), np.eye(2), np.arange(2), np.arange(2)).gallery == 2\n"
            "import msedge.cli.evaluate, msedge.cli.evaluation_report, msedge.data.features"
        )
        loaded = loaded_after(judge)
        assert "numpy" in loaded
        assert loaded & heavy == set()


class TestDocstrings:
    @pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
    def test_everything_public_is_explained(self, path):
        assert unexplained(path.read_text(encoding="utf-8")) == []

    def test_what_is_not_explained_is_found(self):
        source = (
            "def public(): pass\ndef _private(): pass\n"
            "class Thing:\n    'Explained.'\n    def method(self): pass\n    def __len__(self): ..."
        )
        assert unexplained(source) == ["the module", "public", "Thing.method"]
