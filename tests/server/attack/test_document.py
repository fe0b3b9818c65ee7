"""The API against its own document: schemathesis, by every phase that it has.

It asks what the document allows and what it forbids: bounds, types, missing and unknown fields,
other methods, other types of content, wrong tokens, and chains of requests. Its checks hold that no
answer is an error of the server's own, and that each is as the document says: status, type, headers
and form.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from attacked_server import ENVIRONMENT, TOKEN, AttackedServer

SEED = 1
BEYOND = "positive_data_acceptance,ignored_auth"
"""Checks that are left out: no document says which folders a gallery has, or what is an image; and
wrong tokens are 429 after the fifth, which ``test_tokens.py`` tries."""
PROGRAM = "from schemathesis.cli import schemathesis; schemathesis()"

needs_schemathesis = pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None, reason="schemathesis is not installed"
)


def tried(server: AttackedServer, folder: Path, *options: str, seconds: int) -> int:
    """Run it against a server; how many cases it tried.

    Raises:
        AssertionError: a check failed; what schemathesis says of it is the message.
    """
    address = f"http://127.0.0.1:{server.port}/openapi.json"
    words = ["run", address, "--seed", str(SEED), "--continue-on-failure"]
    words += ["--no-color", "--exclude-checks", BEYOND]
    if server.token is not None:
        words += ["--header", f"Authorization: Bearer {server.token}"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        timeout=seconds,
    )
    assert done.returncode == 0, f"{done.stdout[-8_000:]}\n{done.stderr[-2_000:]}"
    cases = re.search(r"([\d,]+) generated", done.stdout)
    assert cases is not None, done.stdout
    print(f"{cases[1]} cases")
    return int(cases[1].replace(",", ""))


@needs_schemathesis
class TestDocument:
    def test_every_bound_with_a_token(self, guarded, tmp_path):
        assert tried(guarded, tmp_path, "--phases", "coverage", seconds=300) > 200

    def test_anything_without_a_token(self, server, tmp_path):
        options = ("--phases", "examples,fuzzing", "--max-examples", "10")
        assert tried(server, tmp_path, *options, seconds=300) > 50

    @pytest.mark.slow
    @pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "token"])
    def test_all_of_it_for_minutes(self, request, tmp_path, token):
        server = request.getfixturevalue("server" if token is None else "guarded")
        assert tried(server, tmp_path, "--max-examples", "400", seconds=3_000) > 2_000
