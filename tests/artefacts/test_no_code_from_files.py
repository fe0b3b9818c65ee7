"""No code comes from a file: the sources hold nothing that could run it, but where it is safe.

Every exception stands below with its reason; a new one fails here until somebody gives one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import msedge

PACKAGE = Path(msedge.__file__).parent

NEVER_IMPORTED = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code"}
NEVER_CALLED = {
    "eval", "exec", "compile", "__import__", "import_module", "run_path", "run_module",
    "literal_eval", "read_pickle", "load_extension", "enable_load_extension",
    "unsafe_load", "full_load", "load_all", "system", "popen", "Popen", "run", "call",
    "check_call", "check_output", "execv", "execve", "spawnv", "CDLL", "LoadLibrary",
    "register_custom_ops_library", "extractall", "unpack_archive",
}  # fmt: skip
WATCHED_MODULES = {"subprocess", "os", "ctypes", "importlib", "runpy", "ast", "builtins", "yaml",
                   "shutil", "torch", "np", "numpy", "sqlite3", "pandas"}  # fmt: skip
OF_PYTHON = {"eval", "exec", "compile", "__import__", "import_module", "Popen", "CDLL", "system"}
WHATEVER_OWNS_THEM = {
    "load_extension", "enable_load_extension", "register_custom_ops_library", "extractall",
    "read_pickle",
}  # fmt: skip
NEVER_GIVEN = {"allow_pickle", "trust_remote_code", "shell"}
"""Keywords that may be False alone."""

ALLOWED = {
    ("cli/background_index.py", "subprocess.Popen"): "our own command; paths come after --",
    ("benchmark/runner.py", "subprocess.Popen"): "our own command, with a file that we wrote",
    ("data/svg.py", "subprocess.run"): "our own interpreter; the drawing goes to standard input",
    ("training/run_record.py", "subprocess.run"): "git rev-parse HEAD, nothing else",
    ("training/allocator.py", "ctypes.CDLL"): "the C library of this process",
    ("cli/with_parent.py", "ctypes.CDLL"): "the C library of this process",
    ("server/memory.py", "ctypes.CDLL"): "the C library of this process",
    ("data/quiet_decoders.py", "ctypes.CDLL"): "a library that Pillow has loaded already",
    ("training/learner.py", "torch.compile"): "our own network",
    ("training/step_log.py", "importlib.import_module"): "the name stands there",
    ("models/torchvision_cure.py", "importlib.import_module"): "the name stands there",
    ("models/backbones.py", "importlib.import_module"): "a name of PACKAGED_WEIGHTS",
    ("models/backbones.py", "import pickle"): "the error alone, to tell it from others",
}
"""Uses that no file decides: where, what, and why it is safe."""


def uses(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of everything in a source that could run what a file says."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in NEVER_IMPORTED:
                    yield node.lineno, f"import {alias.name}"
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in NEVER_IMPORTED:
                yield node.lineno, f"import {node.module}"
        elif isinstance(node, ast.Call):
            yield from _of_call(node)


def _of_call(call: ast.Call) -> Iterator[tuple[int, str]]:
    function = call.func
    if isinstance(function, ast.Name):
        whole, last = function.id, function.id
        is_watched = last in OF_PYTHON
    elif isinstance(function, ast.Attribute):
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        whole, last = f"{owner}.{function.attr}", function.attr
        is_watched = owner in WATCHED_MODULES or last in WHATEVER_OWNS_THEM
    else:
        return
    given = {word.arg: word.value for word in call.keywords}
    if is_watched and last in NEVER_CALLED:
        yield call.lineno, whole
    for word in NEVER_GIVEN & given.keys():
        if not _is(given[word], False):
            yield call.lineno, f"{whole}({word})"
    if whole == "torch.load" and not _is(given.get("weights_only"), True):
        yield call.lineno, "torch.load"
    if whole in ("np.load", "numpy.load") and not _is(given.get("allow_pickle"), False):
        yield call.lineno, whole
    if whole == "yaml.load":
        yield call.lineno, whole


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], int]:
    """Every use in the package, by file and name, and the last line where it stands."""
    return {
        (str(path.relative_to(PACKAGE)), name): line
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, name in uses(path.read_text(encoding="utf-8"))
    }


class TestTheSources:
    def test_hold_nothing_that_could_run_what_a_file_says(self, found):
        assert {place: line for place, line in found.items() if place not in ALLOWED} == {}

    def test_every_exception_is_still_needed(self, found):
        assert set(ALLOWED) - found.keys() == set()


class TestTheSearch:
    @pytest.mark.parametrize(
        "source",
        [
            "import pickle",
            "from pickle import loads",
            "import dill.source",
            "eval(text)",
            "exec(open(path).read())",
            "torch.load(path)",
            "torch.load(path, weights_only=False)",
            "torch.load(path, weights_only=safe)",
            "np.load(path)",
            "np.load(path, allow_pickle=True)",
            "read(path, allow_pickle=asked)",
            "yaml.load(text, Loader=yaml.Loader)",
            "yaml.unsafe_load(text)",
            "subprocess.run(words)",
            "os.system(words)",
            "connection.enable_load_extension(True)",
            "options.register_custom_ops_library(path)",
            "AutoModel.from_pretrained(name, trust_remote_code=True)",
            "archive.extractall(folder)",
            "importlib.import_module(name)",
        ],
    )
    def test_finds(self, source):
        assert list(uses(source))

    @pytest.mark.parametrize(
        "source",
        [
            "network.eval()",
            "re.compile(text)",
            "torch.load(path, weights_only=True)",
            "np.load(path, allow_pickle=False)",
            "yaml.safe_load(text)",
            "runner.run(cells)",
            "json.loads(text)",
        ],
    )
    def test_passes(self, source):
        assert not list(uses(source))
