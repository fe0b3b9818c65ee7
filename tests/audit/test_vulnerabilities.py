"""What pip-audit says becomes lines and a status, whatever it says."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "audit" / "vulnerabilities.py"


@pytest.fixture(scope="module")
def judged() -> Any:
    return runpy.run_path(str(SCRIPT))["judged"]


def report(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": list(packages), "fixes": []})


SOUND = {"name": "numpy", "version": "2.4.6", "vulns": []}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI: torch"}
HOLED = {
    "name": "pillow",
    "version": "13.0.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["13.0.1"], "aliases": ["CVE-1"]}],
}


class TestJudged:
    def test_sound_packages_are_counted(self, judged: Any) -> None:
        assert judged(report(SOUND), "") == (["1 of 1 packages audited"], 0)

    def test_a_vulnerability_is_named_and_fails(self, judged: Any) -> None:
        lines, status = judged(report(SOUND, HOLED), "")
        assert lines == [
            "pillow 13.0.0: PYSEC-1 (CVE-1); mended in 13.0.1",
            "2 of 2 packages audited",
        ]
        assert status == 1

    def test_packages_without_advisories_are_a_warning(self, judged: Any) -> None:
        lines, status = judged(report(SOUND, UNKNOWN), "")
        assert lines == [
            "warning: no advisories to be had for 1 of 2 packages",
            "1 of 2 packages audited",
        ]
        assert status == 0

    def test_a_service_out_of_reach_is_a_warning(self, judged: Any) -> None:
        last = "requests.exceptions.ConnectionError: Max retries exceeded"
        lines, status = judged("", f"Traceback\n{last}\n")
        assert (len(lines), status) == (1, 0)
        assert "nothing was audited" in lines[0]

    @pytest.mark.parametrize("errors", ["", "error: unknown option", "a\nTypeError: no"])
    def test_another_failure_is_none(self, judged: Any, errors: str) -> None:
        lines, status = judged("", errors)
        assert status == 1
        assert lines[0].startswith("pip-audit failed: ")
