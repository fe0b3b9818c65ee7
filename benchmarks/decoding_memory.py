"""Resident memory of a server while large pictures are asked with, and after that.

Claim: pictures are decoded within the budget of `msedge serve --memory`, however many are sent at a
time, and what they took is given back. Sixteen clients send a picture of 24 megapixels each at the
same moment: photos with the grain of a lens, scanned pages, drawings with and without transparency.
The reference is the same server without a budget to speak of, or an earlier release by its sources.

    python benchmarks/decoding_memory.py [--memory 300MB] [--compare OTHER/src] [--rounds 3]

Prints, of each side, what is resident before, at the peak, and when all is answered, and the ratio
of the peaks. Exit status 1: a picture was not answered, the peak is 500 MB or more, or what is
resident afterwards is more than a fifth above what it was after one small search.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from msedge.data.sample import draw_photo
from msedge.search.encoder import OnnxEncoder
from msedge.search.indexing import index

SIZE = (6_000, 4_000)
CLIENTS = 16
MOST_MB, MOST_LEFT = 500, 1.2
SETTLED = 3.0  # seconds after the last answer
_EVERY = 0.005
_SOURCES = Path(__file__).parent.parent / "src"


def photograph(kind: str, **options: object) -> bytes:
    """A sheet before a lens: uneven light, grain, and a drawing on it."""
    rng = np.random.default_rng(0)
    light = Image.linear_gradient("L").rotate(30).resize(SIZE, Image.Resampling.BICUBIC)
    levels = 120 + np.asarray(light, np.float32) * 0.4
    levels += rng.standard_normal(levels.shape, np.float32) * 6
    sheet = Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    _draw(sheet, (50, 50, 70), width=18)
    return _saved(sheet.filter(ImageFilter.GaussianBlur(1.2)), kind, **options)


def page(mode: str, kind: str, **options: object) -> bytes:
    """A clean drawing that fills its sheet, as programs make them."""
    ground: tuple[int, ...] = (255, 255, 255, 0) if mode == "RGBA" else (255, 255, 255)
    sheet = Image.new("RGBA" if mode == "RGBA" else "RGB", SIZE, ground)
    _draw(sheet, (0, 0, 0, 255)[: len(ground)], width=60)
    return _saved(sheet if sheet.mode == mode else sheet.convert(mode), kind, **options)


def _draw(sheet: Image.Image, ink: tuple[int, ...], width: int) -> None:
    pen, rng = ImageDraw.Draw(sheet), np.random.default_rng(1)
    for _ in range(40):
        corners = rng.uniform(0.02, 0.98, (4, 2)) * SIZE
        pen.line([(float(x), float(y)) for x, y in corners], fill=ink, width=width)


def _saved(sheet: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    sheet.save(content, kind, **options)
    return content.getvalue()


PICTURES: dict[str, Callable[[], bytes]] = {
    "photographed": lambda: photograph("JPEG", quality=80),
    "progressive": lambda: photograph("JPEG", quality=75, progressive=True),
    "scanned": lambda: page("RGB", "JPEG", quality=90),
    "drawn": lambda: page("RGB", "PNG", compress_level=1),
    "transparent": lambda: page("RGBA", "PNG", compress_level=1),
    "grey": lambda: page("L", "PNG", compress_level=1),
}


@dataclass(frozen=True, slots=True)
class Held:
    """What was resident, in MB (10^6 bytes), what was answered, and how long that took."""

    before: float
    peak: float
    after: float
    statuses: dict[int, int]
    seconds: float


@contextmanager
def serving(sources: Path, gallery: Path, *options: str) -> Iterator[tuple[int, int]]:
    """`msedge serve` of some sources; its process and port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "msedge", "serve", "--gallery", str(gallery), "--port=0", *options],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(sources)},
    )
    try:
        assert process.stdout is not None
        yield process.pid, urlsplit(process.stdout.readline().strip()).port or 0
    finally:
        process.terminate()
        process.wait()


def resident(process: int, field: str = "VmRSS") -> float:
    """MB of a process, by Linux."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(rf"{field}:\s+(\d+) kB", status)[0]) * 1024 / 1e6


def ask(port: int, body: bytes) -> int:
    """Search; the answer's status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request("POST", "/api/search", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def measure(sources: Path, gallery: Path, bodies: list[bytes], rounds: int, *options: str) -> Held:
    """Send all bodies at the same moment, some times, and look at what is resident."""
    with serving(sources, gallery, *options) as (process, port):
        ask(port, json.dumps({"strokes": [[[0, 1, 2], [0, 1, 0]]]}).encode())
        before, peak, statuses = resident(process), 0.0, Counter[int]()
        ended = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(_EVERY):
                peak = max(peak, resident(process))

        watching = threading.Thread(target=watch)
        watching.start()
        begun = time.perf_counter()
        try:
            with ThreadPoolExecutor(len(bodies)) as clients:
                for _ in range(rounds):
                    statuses.update(clients.map(lambda body: ask(port, body), bodies))
        finally:
            ended.set()
            watching.join()
        seconds = time.perf_counter() - begun
        time.sleep(SETTLED)
        peak = max(peak, resident(process, "VmHWM"))
        return Held(before, peak, resident(process), dict(statuses), seconds)


def told(name: str, held: Held) -> None:
    """Print one side."""
    print(
        f"{name:<24} before {held.before:6.1f} MB, peak {held.peak:6.1f} MB, "
        f"after {held.after:6.1f} MB; {held.seconds:.1f} s, answers {held.statuses}"
    )


def main() -> None:
    """Measure both sides, kind by kind and all kinds together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", help="as of `msedge serve`; without it the default")
    parser.add_argument("--compare", type=Path, help="sources of an earlier release")
    parser.add_argument("--kind", choices=[*PICTURES, "all"], action="append")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    made = {name: make() for name, make in PICTURES.items()}
    bodies = {
        name: json.dumps({"image": base64.b64encode(content).decode()}).encode()
        for name, content in made.items()
    }
    sets = {name: [body] * CLIENTS for name, body in bodies.items()}
    sets["all"] = [list(bodies.values())[n % len(bodies)] for n in range(CLIENTS)]
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        folder, gallery = Path(temporary) / "photos", Path(temporary) / "photos.msedge"
        folder.mkdir()
        for number, name in enumerate(("cup", "fish", "lamp")):
            draw_photo(name, np.random.default_rng(number)).save(folder / f"{name}.jpg")
        index([folder], gallery, OnnxEncoder.load(threads=1))
        for kind in options.kind or sets:
            sent = sets[kind]
            print(f"{kind}: {CLIENTS} pictures of {sum(map(len, sent)) / CLIENTS / 1e6:.1f} MB")
            own = ("--memory", options.memory) if options.memory else ()
            held = measure(_SOURCES, gallery, sent, options.rounds, *own)
            told("with its budget", held)
            if options.compare:
                other = measure(options.compare, gallery, sent, options.rounds)
            else:
                other = measure(_SOURCES, gallery, sent, options.rounds, "--memory", "1000GB")
            told("earlier" if options.compare else "without a budget", other)
            print(f"ratio of the peaks: {other.peak / held.peak:.2f}")
            failed |= set(held.statuses) != {200}
            failed |= held.peak >= MOST_MB or held.after > MOST_LEFT * held.before
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
