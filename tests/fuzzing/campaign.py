"""Fuzz the parsers for minutes or hours, led by what of their code an input reaches.

Half of the inputs are well formed documents with other values, the others are made of bytes.

    python tests/fuzzing/campaign.py --target svg --minutes 10 --corpus corpus --defects defects
    python tests/fuzzing/campaign.py --all --minutes 10

Needs atheris beside what the tests need (``pip install atheris``). Each parser runs in a process
of its own, with limits of memory and of time an input. What broke a parser's promise is written to
the folder of defects, once for each place where it broke, and the campaign goes on; what ended the
process itself is there as ``crash-*``, ``timeout-*`` or ``oom-*``. Exit status 1 if there was any.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from random import Random

_TESTS = Path(__file__).resolve().parents[1]
if str(_TESTS) not in sys.path:  # run as a script
    sys.path.insert(0, str(_TESTS))

from fuzzing.forms import FORMS  # noqa: E402
from fuzzing.judging import Defect, Target, judge  # noqa: E402
from fuzzing.targets import TARGETS, scratch, scratch_prefix, scratch_root  # noqa: E402

MEGABYTES = 1_500
"""Of memory that a parser's process may take; PyTorch alone, which some import, is a third."""

_WELL_FORMED = 0.5  # of new inputs, where the format is known
_SECONDS = 120  # of a clock for one input; promises are tighter, but machines are busy
_INSTRUMENTED = [
    "msedge", "json", "yaml", "tomllib", "csv", "xml", "tarfile", "decimal", "urllib",
    "numpy.lib", "zipfile", "pathlib",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figures:
    """What a campaign against one parser came to."""

    target: str
    minutes: float
    processor: float  # minutes of one, less than those of the clock on a busy machine
    runs: int
    a_second: int
    corpus: int
    defects: int
    slowest: float
    megabytes: int

    def __str__(self) -> str:
        return (
            f"{self.target:<15} {self.minutes:6.1f} min ({self.processor:.1f} of a processor)"
            f" {self.runs:>11,} runs {self.a_second:>7,}/s"
            f" {self.corpus:>6,} new in corpus {self.defects:>4} defects"
            f" {self.slowest:7.3f} s slowest {self.megabytes:>6,} MB"
        )


def main() -> int:
    """Run the campaign that the command line asks for."""
    asked = _asked()
    if asked.inside:
        _fuzz(TARGETS[asked.target], asked)
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("the campaign needs atheris: pip install atheris", file=sys.stderr)
        return 2
    broken = 0
    for name in TARGETS if asked.all else [asked.target]:
        figures = _campaign(name, asked)
        print(figures, flush=True)
        broken += figures.defects
    return 1 if broken else 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--target", choices=[*TARGETS], help="one parser")
    which.add_argument("--all", action="store_true", help="every parser, one after the other")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each parser")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, default=Path("fuzzing-corpus"))
    parser.add_argument("--defects", type=Path, default=Path("fuzzing-defects"))
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _campaign(name: str, asked: argparse.Namespace) -> Figures:
    """Fuzz one parser in processes of its own, until its time is over."""
    defects, corpus = asked.defects / name, asked.corpus / name
    defects.mkdir(parents=True, exist_ok=True)
    corpus.mkdir(parents=True, exist_ok=True)
    before, known = set(defects.iterdir()), len([*corpus.iterdir()])
    begun, parts, before_parts = time.monotonic(), list[_Part](), _processor()
    while (left := 60 * asked.minutes - (time.monotonic() - begun)) > 0:
        parts.append(_process(name, asked, left, asked.seed + len(parts)))
    seconds = time.monotonic() - begun
    runs = sum(part.runs for part in parts)
    return Figures(
        name,
        seconds / 60,
        (_processor() - before_parts) / 60,
        runs,
        round(runs / seconds),
        len([*corpus.iterdir()]) - known,
        len(set(defects.iterdir()) - before),
        max(part.slowest for part in parts),
        max(part.megabytes for part in parts),
    )


def _processor() -> float:
    """Seconds that processes started here have computed."""
    used = os.times()
    return used.children_user + used.children_system


@dataclass(frozen=True, slots=True)
class _Part:
    """What one process came to; the last of a campaign ends by itself, those before it broke."""

    runs: int
    slowest: float
    megabytes: int


def _process(name: str, asked: argparse.Namespace, seconds: float, seed: int) -> _Part:
    record = asked.defects / f"{name}.json"
    record.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--inside", "--target", name]
    command += ["--minutes", str(seconds / 60), "--seed", str(seed)]
    command += ["--corpus", str(asked.corpus), "--defects", str(asked.defects)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        said = process.communicate()[1]
    for left in scratch_root().glob(f"{scratch_prefix(process.pid)}*"):
        shutil.rmtree(left, ignore_errors=True)  # libFuzzer ends without Python's own tidying
    if process.returncode:
        (asked.defects / f"{name}.log").write_text(said[-20_000:])
        if not record.is_file():
            raise SystemExit(f"{name} cannot be fuzzed:\n{said[-2_000:]}")
    told = json.loads(record.read_text())
    record.unlink()
    return _Part(
        _stated(said, "number_of_executed_units") or told["runs"],
        told["slowest"],
        _stated(said, "peak_rss_mb"),
    )


def _stated(said: str, what: str) -> int:
    found = re.search(rf"^stat::{what}:\s*(\d+)", said, re.MULTILINE)
    return int(found[1]) if found else 0


def _fuzz(target: Target, asked: argparse.Namespace) -> None:
    """Fuzz until the time is over; this process does not come back from it."""
    import atheris

    corpus, defects = asked.corpus / target.name, asked.defects / target.name
    with atheris.instrument_imports(include=_INSTRUMENTED, enable_loader_override=False):
        for number, seed in enumerate(target.seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
            with contextlib.suppress(Defect):  # it is met again below
                judge(target, seed)
    words = scratch() / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words or (b"\0",)))
    seen: set[str] = set()
    told = {"runs": 0, "slowest": 0.0}
    record = defects.parent / f"{target.name}.json"

    def one(content: bytes) -> None:
        told["runs"] += 1
        begun = time.process_time()
        try:
            judge(target, content)
        except Defect as defect:
            _keep(defects, content, defect, seen)
        taken = time.process_time() - begun
        if taken > told["slowest"] or told["runs"] % 1_000 == 0:
            told["slowest"] = max(told["slowest"], taken)
            record.write_text(json.dumps(told))

    arguments = [
        sys.argv[0],
        f"-max_total_time={max(1, round(60 * asked.minutes))}",
        f"-max_len={target.longest}",
        f"-dict={words}",
        f"-timeout={_SECONDS}",
        f"-report_slow_units={_SECONDS}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-artifact_prefix={defects}{os.sep}",
        f"-seed={asked.seed}",
        "-print_final_stats=1",
        str(corpus),
    ]
    form = FORMS.get(target.name)

    def near(content: bytes, most: int, number: int) -> bytes:
        random = Random(number)
        made = form.mutated(content, random) if form and random.random() < _WELL_FORMED else None
        if made is None or len(made) > most:
            return bytes(atheris.Mutate(content, most))
        return made

    atheris.Setup(arguments, one, custom_mutator=near)
    atheris.Fuzz()


def _keep(folder: Path, content: bytes, defect: Defect, seen: set[str]) -> None:
    """Write what broke a promise, the first for each place where it broke."""
    cause = defect.__cause__
    place = "".join(traceback.format_tb(cause.__traceback__)[-2:]) if cause else ""
    kind = re.sub(r"['\"].*|\d+", "", str(defect))
    key = hashlib.sha256(f"{kind}{place}".encode()).hexdigest()[:12]
    if key in seen:
        return
    seen.add(key)
    (folder / key).write_bytes(content)
    lines = "".join(traceback.format_exception(defect))
    (folder.parent / f"{folder.name}-{key}.txt").write_text(lines, errors="backslashreplace")


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
