"""What ``msedge gallery`` prints for people.

Tested in ``tests/cli/test_gallery.py``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from msedge.data.images import one_line
from msedge.search.locations import location

if TYPE_CHECKING:
    from msedge.search.folders import Forgotten, MovedFolder, Rerooted
    from msedge.search.stores import Built, Copied, Restored
    from msedge.search.stores.reports import Compacted, Finding, IndexState, Statistics

_MOVED_SHOWN = 3  # folders
_WIDTH = 18  # of the names before the numbers


def show_copied(copied: Copied, copy: Path) -> None:
    """Print what a copy came to."""
    typer.echo(
        f"{_name(copy)} holds {copied.photos:,} photos, compared one by one with those copied "
        f"({copied.seconds:.1f} s)"
    )


def show_restored(restored: Restored, gallery: Path) -> None:
    """Print what restoring came to, and where what was there is now."""
    typer.echo(f"{_name(gallery)} holds {restored.photos:,} photos ({restored.seconds:.1f} s)")
    if restored.kept:
        typer.echo(f"what was there before is kept: {_name(Path(restored.kept))}")


def show_findings(findings: Sequence[Finding], gallery: Path, *, repaired: bool) -> None:
    """Print what was found, a line each, and what it comes to."""
    for finding in findings:
        typer.echo(f"{_state(finding)}: {finding.what}: {_advice(finding, repaired)}")
    left = [finding for finding in findings if finding.is_left]
    if not left:
        typer.echo(f"{_name(gallery)} is sound")
    elif not repaired and any(finding.can_mend for finding in left):
        typer.echo(f"mend it: msedge gallery check --repair {shlex.quote(_name(gallery))}")


def show_compacted(compacted: Compacted, gallery: Path) -> None:
    """Print what compacting did and saved."""
    for line in compacted.done:
        typer.echo(line)
    before, after = compacted.bytes_before, compacted.bytes_after
    sizes = ""
    if before is not None and after is not None:
        sizes = f": {_bytes(before)} before, {_bytes(after)} now"
    typer.echo(f"{_name(gallery)}{sizes} ({compacted.seconds:.1f} s)")


def show_approximate(built: Built, gallery: Path) -> None:
    """Print what was built, or why nothing was."""
    if built.state is None:
        typer.echo(f"{_name(gallery)}: {built.why_not}")
        return
    for line in _lines_of_index(built.state):
        typer.echo(line)
    typer.echo(
        f"{_name(gallery)} is searched by an approximate index of {built.state.photos:,} photos, "
        f"recall {built.state.recall:.3f}, built in {built.seconds:.1f} s"
    )


def show_rerooted(rerooted: Rerooted, old: Path, new: Path) -> None:
    """Print how many photos have other paths now, and which were there already."""
    typer.echo(f"{rerooted.photos:,} photos of {_name(old)} are in {_name(new)} now")
    if not rerooted.is_there:
        back = f"{shlex.quote(_name(new))} {shlex.quote(_name(old))}"
        typer.echo(
            f"none of those that were looked for is in {_name(new)}, and the next `msedge index` "
            "removes what it does not find: if that is another folder, go back by "
            f"`msedge gallery reroot {back}`"
        )
    if rerooted.known:
        typer.echo(f"{rerooted.known:,} of them were known there already, and are there once now")
    if rerooted.other:
        typer.echo(
            f"{rerooted.other:,} of these with other content: `msedge index "
            f"{shlex.quote(_name(new))}` reads them again"
        )


def show_forgotten(forgotten: Forgotten, folder: Path, gallery: Path) -> None:
    """Print how many photos were taken out."""
    typer.echo(
        f"{forgotten.photos:,} photos of {_name(folder)} are no longer in {_name(gallery)}; "
        "their files were not touched"
    )


def show_moved_folders(folders: Sequence[MovedFolder], gallery: Path, default: Path) -> None:
    """Print what to do about folders that seem to have moved to what was indexed, a line each."""
    option = "" if gallery == default else f" --gallery {shlex.quote(_name(gallery))}"
    for each in folders[:_MOVED_SHOWN]:
        old, new = (shlex.quote(_name(Path(name))) for name in (each.old, each.new))
        typer.echo(
            f"{each.photos:,} of these photos are in the gallery under {_name(Path(each.old))}, "
            f"which is not there any more: `msedge gallery reroot {old} {new}{option}` or `msedge "
            f"gallery forget {old}{option}`"
        )
    if (more := len(folders) - _MOVED_SHOWN) > 0:
        typer.echo(f"and {more:,} more such folders; --json lists all")


def show_statistics(statistics: Statistics) -> None:
    """Print what a gallery holds, a number a line."""
    model = statistics.model
    _row("gallery", f"{one_line(statistics.gallery)} ({statistics.kind})")
    _row("photos", f"{statistics.photos:,}")
    _row("model", f"{model.name}, {model.fingerprint[:12]}, {model.dim} wide")
    _row("version", f"{statistics.version:,}")
    if statistics.bytes_on_disk is not None:
        _row("on disk", _bytes(statistics.bytes_on_disk))
    for name, size in statistics.bytes_of_caches.items():
        _row(f"cache: {name}", _bytes(size))
    _row("a vector", f"{statistics.bytes_a_vector:,} bytes")
    if statistics.taken is not None:
        _row("taken", " to ".join(_day(seconds) for seconds in statistics.taken))
    _row("orientation", ", ".join(f"{n:,} {name}" for name, n in statistics.orientations.items()))
    _row("same content", f"{statistics.same_content:,} photos repeat another's bytes")
    for name, number in (statistics.lance or {}).items():
        _row(name, f"{number:,}")
    if statistics.approximate is not None:
        for line in _lines_of_index(statistics.approximate):
            typer.echo(line)
    else:
        _row("search", "exact")
    _row("folders", f"{statistics.folder_count:,}")
    for folder, count in statistics.folders:
        typer.echo(f"{count:>{_WIDTH},}  {one_line(folder)}")


def _lines_of_index(state: IndexState) -> Iterator[str]:
    parameters = ", ".join(f"{name} {value}" for name, value in state.parameters.items())
    yield _line("search", f"approximate, {state.kind} ({parameters})")
    verdict = "" if state.recall >= state.recall_wanted else ", which it does not reach"
    yield _line(
        "recall",
        f"{state.recall:.3f} of the true first 20, wanted {state.recall_wanted:.3f}{verdict} "
        f"({state.queries:,} queries)",
    )
    if state.bytes_a_vector is not None:
        yield _line("memory", f"{state.bytes_a_vector:.0f} bytes a vector")
    yield _line("built of", f"{state.photos:,} photos; {state.behind:,} put or removed since")


def _state(finding: Finding) -> str:
    if finding.is_mended:
        return "mended"
    return "note" if finding.is_note else "found"


def _advice(finding: Finding, repaired: bool) -> str:
    if finding.can_mend and not repaired:
        return f"--repair {finding.advice}"
    return finding.advice


def _row(name: str, text: str) -> None:
    typer.echo(_line(name, text))


def _line(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}}  {text}"


def _name(path: Path) -> str:
    return one_line(location(path))


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f} s"


def _bytes(size: int) -> str:
    """Bytes as people read them.

    >>> _bytes(999), _bytes(1_234_567)
    ('999 bytes', '1.2 MB')
    """
    if size < 1000:
        return f"{size} bytes"
    amount = float(size)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 1000:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"
