"""The licence of everything that MSEdge is installed with, listed and held against what is allowed.

``python audit/licences.py`` writes ``docs/licences.md`` from what the installed packages say of
themselves; with ``--check`` it compares instead, and ends with status 1 where a licence is unknown
or not allowed or the page is out of date. Tested in ``tests/audit/test_licences.py``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"

PERMISSIVE = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CNRI-Python",
        "HPND",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "PSF-2.0",
        "Unlicense",
        "Zlib",
    }
)
"""SPDX names of licences under which a package may be used beside Apache-2.0 without conditions on
our own sources."""

OF_FILES = frozenset({"MPL-2.0"})
"""Copyleft that ends at the package's own files: allowed, since nothing of them is changed here."""

ALLOWED = PERMISSIVE | OF_FILES

SPELT = {
    "3-clause bsd": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "new bsd license": "BSD-3-Clause",
    "python software foundation license": "PSF-2.0",
    "the mit license": "MIT",
}
"""What packages without an SPDX expression write, in lower case."""

HEADS = {
    r"Apache Software License 2\.0\b": "Apache-2.0",
    r"(The )?MIT License\b": "MIT",
    r"(Copyright .*\s+)?Permission is hereby granted, free of charge": "MIT",
    r"Mozilla Public License,? Version 2\.0": "MPL-2.0",
    r"Apache License\s+Version 2\.0": "Apache-2.0",
}
"""How the licence file of a package that states nothing else begins."""


HEAD = """\
# Licences of what MSEdge is installed with

MSEdge itself is under Apache-2.0. These are the packages of `requirements.lock` (all extras, and
what the tests need) with the licence that each states for itself. Written by `make licences`;
`make audit` checks it.

Permissive licences ask for their notice alone. MPL-2.0 binds changes of a package's own files, of
which there are none here. Wheels hold libraries of other projects, too: numpy, SciPy and faiss
GCC's runtime (GPL-3.0 with its exception), and pillow-heif (extra `heic`) libheif and libde265
under LGPL-3.0 and x265 under GPL-2.0. Whoever passes on an installation with that extra passes on
x265.

| package | licence |
|---|---|"""


def pinned(lock: Path) -> list[str]:
    """The packages of a lock file, in its order."""
    return re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==", lock.read_text(), re.MULTILINE)


def licence_of(package: Distribution) -> str:
    """An SPDX expression of a package's licence; empty where it says nothing that is understood."""
    for expression in stated(package, "License-Expression"):
        return expression
    named = [
        name.rpartition(" :: ")[2]
        for name in stated(package, "Classifier")
        if name.startswith("License :: OSI Approved :: ")
    ]
    for name in [*named, *stated(package, "License")]:
        if name and all(part in ALLOWED for part in parts(name)):
            return name
        if name.lower() in SPELT:
            return SPELT[name.lower()]
    return _by_file(package)


def _by_file(package: Distribution) -> str:
    for file in package.files or []:
        if file.name.upper().startswith("LICENSE"):
            text = file.read_text().lstrip()
            for head, licence in HEADS.items():
                if re.match(head, text, re.IGNORECASE):
                    return licence
    return ""


def stated(package: Distribution, field: str) -> list[str]:
    """All values of a field of a package's metadata."""
    return [str(value).strip() for value in package.metadata.get_all(field) or []]


def parts(expression: str) -> list[str]:
    """The licences of an SPDX expression, one of ``OR`` counting where it is allowed.

    >>> parts("MPL-2.0 AND (MIT OR GPL-2.0-only)")
    ['MPL-2.0', 'MIT']
    """
    found = []
    for whole in re.split(r"\s+AND\s+", expression.replace("(", "").replace(")", "")):
        choices = re.split(r"\s+OR\s+", whole.strip())
        found.append(next((choice for choice in choices if choice in ALLOWED), choices[0]))
    return found


def rows() -> Iterator[tuple[str, str, bool]]:
    """Each package with its licence, and whether it is allowed."""
    for name in pinned(ROOT / "requirements.lock"):
        try:
            licence = licence_of(distribution(name))
        except PackageNotFoundError:
            licence = ""
        yield name, licence, bool(licence) and all(part in ALLOWED for part in parts(licence))


def page(found: list[tuple[str, str, bool]]) -> str:
    """The page of the documentation."""
    lines = [HEAD]
    lines += [f"| {name} | {licence or 'unknown'} |" for name, licence, _ in found]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or check it; returns the exit status."""
    found = list(rows())
    bad = [
        f"{name}: {licence or 'no licence that is known'}" for name, licence, ok in found if not ok
    ]
    text = page(found)
    if arguments == ["--check"]:
        if not PAGE.exists() or PAGE.read_text() != text:
            bad.append(f"{PAGE.name} is out of date: run `make licences`")
    else:
        PAGE.write_text(text)
    print("\n".join([*bad, f"{len(found)} packages, {len(bad)} to look at"]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
