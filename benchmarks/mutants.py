"""The mutants that ``benchmarks/mutation.py`` tries: how they are made, named and told apart."""

from __future__ import annotations

import ast
import csv
import difflib
from dataclasses import dataclass
from pathlib import Path

FUNCTION_OF = "MUTANT_UNDER_TEST"
"""The variable by which mutmut's functions learn which mutant is under test."""
_MESSAGES = {"message"}
"""Names of variables that hold text for people."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one function.

    Attributes:
        name: Module, function and number, as mutmut writes it.
        change: What is different, ``old -> new``.
        text_only: Whether only the text of an error or a finding is.
    """

    name: str
    change: str
    text_only: bool

    @property
    def function(self) -> str:
        """The function that it changes, as mutmut writes it."""
        return self.name.partition("__mutmut_")[0]

    @property
    def module(self) -> str:
        """The module that it changes."""
        return self.name.rpartition(".")[0]


def mutants_of(root: Path, sources: list[str], changed: Path, only: list[str]) -> list[Mutant]:
    """Write the sources with all their mutants inside, asleep, and list these.

    Args:
        root: Where ``src`` lies.
        sources: Files and folders below it.
        changed: A copy of ``src``, whose files are replaced.
        only: Parts of names of modules, of which one is enough.
    """
    from mutmut.mutation.file_mutation import mutate_file_contents

    found = []
    for source in sources:
        path = root / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            relative = file.relative_to(root / "src")
            module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
            if not any(each in module for each in only):
                continue
            mutated = mutate_file_contents(str(relative), file.read_text())
            (changed / relative).write_text(mutated.code)
            found += _listed(module, mutated.code, mutated.mutant_names)
    return found


def _listed(module: str, code: str, names: list[str]) -> list[Mutant]:
    functions = {
        node.name: node
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    found = []
    for name in names:
        mutated = functions[name]
        original = functions[name.partition("__mutmut_")[0] + "__mutmut_orig"]
        original.name = mutated.name
        text_only = _same_but_text(original, mutated)
        found.append(Mutant(f"{module}.{name}", _change(original, mutated), text_only))
    return found


def _change(original: ast.AST, mutated: ast.AST) -> str:
    """The lines that differ, shortened to what differs in them."""
    before, after = (ast.unparse(each).splitlines() for each in (original, mutated))
    gone, come = [], []
    for line in difflib.unified_diff(before, after, n=0, lineterm=""):
        if line.startswith("-") and not line.startswith("---"):
            gone.append(line[1:].strip())
        elif line.startswith("+") and not line.startswith("+++"):
            come.append(line[1:].strip())
    return f"{' '.join(gone)} -> {' '.join(come)}"


class _WithoutText(ast.NodeTransformer):
    """Takes out what only people read: arguments of raised errors, and messages."""

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        names = [each.id for each in node.targets if isinstance(each, ast.Name)]
        if _MESSAGES & set(names):
            node.value = ast.Constant("")
        return self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if isinstance(node.target, ast.Name) and node.target.id in _MESSAGES:
            node.value = ast.Constant("")
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        # find(entry, rule, severity, message)
        if isinstance(node.func, ast.Name) and node.func.id == "find" and len(node.args) == 4:
            node.args[3] = ast.Constant("")
        return self.generic_visit(node)


def _same_but_text(original: ast.FunctionDef, mutated: ast.FunctionDef) -> bool:
    parts = []
    for each in (original, mutated):
        plain = _WithoutText().visit(ast.parse(ast.unparse(each)))
        parts.append(ast.dump(plain))
    return parts[0] == parts[1]


def write_table(path: Path, outcome: dict[Mutant, str]) -> None:
    """One row a mutant."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["mutant", "outcome", "text only", "change"])
        for mutant, result in outcome.items():
            table.writerow([mutant.name, result, mutant.text_only, mutant.change])


def read_noticed(path: Path) -> dict[str, str]:
    """The outcomes of those that a table says were noticed, by name."""
    with path.open(newline="") as file:
        return {
            row["mutant"]: row["outcome"]
            for row in csv.DictReader(file)
            if row["outcome"] not in ("survived", "no tests")
        }
