"""Licences are read as packages state them, and what is unknown or not allowed is said."""

from __future__ import annotations

import runpy
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def licences() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "audit" / "licences.py"))


def installed(folder: Path, metadata: str, licence: str | None = None) -> Distribution:
    """A package as it lies in site-packages."""
    info = folder / "thing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: thing\nVersion: 1.0\n{metadata}")
    names = ["METADATA", "RECORD"]
    if licence is not None:
        (info / "LICENSE").write_text(licence)
        names.append("LICENSE")
    (info / "RECORD").write_text("".join(f"thing-1.0.dist-info/{name},,\n" for name in names))
    return Distribution.at(info)


class TestLicenceOf:
    @pytest.mark.parametrize(
        ("metadata", "expected"),
        [
            ("License-Expression: MIT AND PSF-2.0\n", "MIT AND PSF-2.0"),
            ("License: MPL-2.0 AND MIT\n", "MPL-2.0 AND MIT"),
            ("License: 3-Clause BSD License\n", "BSD-3-Clause"),
            ("Classifier: License :: OSI Approved :: MIT License\n", "MIT"),
            ("License: something of our own\n", ""),
            ("", ""),
        ],
    )
    def test_it_is_what_the_metadata_state(
        self, licences: dict[str, Any], tmp_path: Path, metadata: str, expected: str
    ) -> None:
        assert licences["licence_of"](installed(tmp_path, metadata)) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("MIT License\n\nCopyright", "MIT"),
            ("\n   Apache License\n  Version 2.0, January 2004", "Apache-2.0"),
            ("Copyright (C) 2024, who\n\nPermission is hereby granted, free of charge, to", "MIT"),
            ("GNU GENERAL PUBLIC LICENSE\nVersion 3", ""),
        ],
    )
    def test_else_what_its_file_begins_with(
        self, licences: dict[str, Any], tmp_path: Path, text: str, expected: str
    ) -> None:
        assert licences["licence_of"](installed(tmp_path, "", text)) == expected


class TestParts:
    def test_copyleft_is_seen_in_an_expression(self, licences: dict[str, Any]) -> None:
        allowed = licences["ALLOWED"]
        assert not set(licences["parts"]("MIT AND GPL-3.0-only")) <= allowed
        assert not set(licences["parts"]("GPL-2.0-only OR AGPL-3.0-only")) <= allowed
        assert set(licences["parts"]("(MIT OR GPL-2.0-only) AND ISC")) <= allowed


class TestThisInstallation:
    def test_every_package_has_a_licence_that_is_allowed(self, licences: dict[str, Any]) -> None:
        installed_here = [row for row in licences["rows"]() if row[1]]
        assert len(installed_here) > 50
        assert [row for row in installed_here if not row[2]] == []

    def test_the_page_names_every_package_of_the_lock(self, licences: dict[str, Any]) -> None:
        page = licences["PAGE"].read_text()
        names = licences["pinned"](ROOT / "requirements.lock")
        assert [name for name in names if f"\n| {name} | " not in page] == []
        assert "unknown" not in page
