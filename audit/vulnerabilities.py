"""Hold the pinned dependencies against the published advisories, by pip-audit.

``python audit/vulnerabilities.py`` prints each vulnerability that is known of a version in
``constraints.txt`` and ends with status 1; where the advisories cannot be had it says so and ends
with 0, since a machine without a network must be able to run what CI runs. Tested in
``tests/audit/test_vulnerabilities.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
UNREACHABLE = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ServiceError", "SSLError")
"""What pip-audit's last line names where its service is out of reach."""

_SECONDS_AN_ANSWER = "10"
_SECONDS_IN_ALL = 300


def asked() -> tuple[str, str]:
    """Standard output and standard error of pip-audit."""
    command = ["-m", "pip_audit", "--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip"]
    try:
        done = subprocess.run(
            [sys.executable, *command, "--format", "json", "--timeout", _SECONDS_AN_ANSWER],
            capture_output=True,
            text=True,
            timeout=_SECONDS_IN_ALL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "", f"ReadTimeout: no answer in {_SECONDS_IN_ALL} s"
    return done.stdout, done.stderr


def judged(output: str, errors: str) -> tuple[list[str], int]:
    """What pip-audit found, as lines, and the status to end with.

    Args:
        output: its JSON; empty where it gave up.
        errors: what it wrote to standard error.
    """
    if not output.strip():
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        if any(name in last for name in UNREACHABLE):
            return ["warning: the advisories cannot be reached, so nothing was audited"], 0
        return [f"pip-audit failed: {last}"], 1
    packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    looked_at = [package for package in packages if "skip_reason" not in package]
    lines = [
        f"{package['name']} {package['version']}: {found['id']}"
        f" ({', '.join(found['aliases']) or 'no other name'});"
        f" mended in {', '.join(found['fix_versions']) or 'no version yet'}"
        for package in looked_at
        for found in package["vulns"]
    ]
    status = 1 if lines else 0
    if len(looked_at) < len(packages):
        left = len(packages) - len(looked_at)
        lines.append(f"warning: no advisories to be had for {left} of {len(packages)} packages")
    return [*lines, f"{len(looked_at)} of {len(packages)} packages audited"], status


def main() -> int:
    """Ask, print, and return the exit status."""
    lines, status = judged(*asked())
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
