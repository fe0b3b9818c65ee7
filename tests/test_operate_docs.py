"""``docs/operate.md`` cannot drift: its commands run in its order, its figures are the code's."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from msedge.data.sample import draw_photo
from msedge.server.settings import ServerSettings

PAGE = (Path(__file__).parent.parent / "docs/operate.md").read_text()
TEXT = " ".join(PAGE.split())
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
CURL = """#!{python}
import sys, httpx
answer = httpx.get(sys.argv[-1])
print(answer.text)
sys.exit(0 if answer.is_success else 22)
"""


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.mark.skipif(sys.platform == "win32", reason="the page is for a POSIX shell")
def test_the_commands_run_in_their_order(tmp_path):
    photos = tmp_path / "Pictures"
    for number in range(6):
        path = photos / ("lost" if number > 3 else "kept") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_photo("cup", np.random.default_rng(number)).save(path)
    (tmp_path / "bin").mkdir()
    if shutil.which("curl") is None:
        (tmp_path / "bin/curl").write_text(CURL.format(python=sys.executable))
        (tmp_path / "bin/curl").chmod(0o755)
    folders = [str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | {"HOME": str(tmp_path), "PATH": ":".join(folders)}
    marked = [f"echo '== {number}'\n{block}" for number, block in enumerate(BLOCKS)]
    script = "trap 'kill $(cat msedge.pid) 2>/dev/null' EXIT\n" + "\n".join(marked)
    done = subprocess.run(
        ["bash", "-e", "-c", script.replace("8765", str(free_port()))],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    parts = re.split(r"== \d+\n", done.stdout)[1:]
    assert len(parts) == len(BLOCKS) >= 10
    assert "holds 6 photos" in parts[0]
    assert parts[0].endswith('{"status":"ok"}')
    restored = next(part for part in parts if "what was there before is kept" in part)
    assert "photos.msedge holds 6 photos" in restored
    assert "is sound" in done.stdout
    assert "0 new, 0 changed, 0 moved, 0 removed, 6 unchanged" in done.stdout
    figures = next(part for part in parts if "msedge_gallery_readable" in part)
    named = set(re.findall(r"\b(?:msedge|process)_[a-z_]+", PAGE))
    assert len(named) >= 7
    assert {name for name in named if name not in figures} == set()
    log = (tmp_path / "msedge.log").read_text()
    assert "Traceback" not in log
    assert "SIGHUP: read again: 0 tokens, 4 photos" in log
    kept = sorted(path.name for path in tmp_path.glob("*.msedge"))
    assert len(kept) == 2
    assert re.fullmatch(r"photos-before-\d{8}-\d{6}\.msedge", kept[0])


def test_figures_are_the_codes():
    settings = ServerSettings()
    assert settings.gallery_seconds == 5
    assert "within 5 seconds" in TEXT
    assert "costs each question 5 seconds and a 503" in TEXT
