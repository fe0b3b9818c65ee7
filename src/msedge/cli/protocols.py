"""``msedge protocols``: which splits there are, what is in them, and what two have in common.

Tested in ``tests/cli/test_protocols.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from msedge.data.protocols import Overlap, Protocol

_HASH_SHOWN = 12  # digits; enough to tell lists apart by eye, --json gives all of them
_ANY_WIDTH = 1_000  # columns, more than the table of splits needs

protocols_app = typer.Typer(
    name="protocols",
    help="Show the zero-shot splits and compare them.",
    invoke_without_command=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with the complete hash.")]
Chosen = Annotated[str, typer.Argument(help="Split: its id, or a TOML file of your own.")]


@protocols_app.callback()
def _without_command(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the zero-shot splits and compare them; without a command, list them."""
    if context.invoked_subcommand is None:
        list_command(as_json)
    elif as_json:
        raise typer.BadParameter(f"put --json after `{context.invoked_subcommand}`")


@protocols_app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List all splits that come with the package, with their counts."""
    from msedge.data.protocols import list_protocols, load_protocol

    protocols = [load_protocol(name) for name in list_protocols()]
    if as_json:
        _print_json([_document(protocol) for protocol in protocols])
    else:
        _show_table(protocols)


@protocols_app.command("show")
def show_command(protocol: Chosen, as_json: AsJson = False) -> None:
    """Print all that is known of one split: classes, counts, source, defects."""
    from msedge.data.protocols import load_protocol

    chosen = load_protocol(protocol)
    if as_json:
        _print_json(_document(chosen))
    else:
        _show_rows(_rows(chosen))
        typer.echo(f"hash  {chosen.hash}")  # outside of the table, which would break it in two


@protocols_app.command("overlap")
def overlap_command(first: Chosen, second: Chosen, as_json: AsJson = False) -> None:
    """Compare two splits: shared classes, and classes one tests on and the other trains on."""
    from msedge.data.protocols import load_protocol, normalise_class_name, overlap

    one, other = load_protocol(first), load_protocol(second)
    found = overlap(one, other)
    same_dataset = normalise_class_name(one.dataset) == normalise_class_name(other.dataset)
    if as_json:
        sides = {
            side: {"id": protocol.id, "dataset": protocol.dataset, "hash": protocol.hash}
            for side, protocol in (("first", one), ("second", other))
        }
        _print_json({**sides, "same_dataset": same_dataset, **asdict(found)})
        return
    sections = _overlap_sections(one, other, found)
    if not same_dataset:
        note = (
            f"the datasets differ ({one.dataset}, {other.dataset}) and names are compared by "
            "spelling alone: hotdog and hot-dog count as two classes, so that more may be shared "
            "than is shown"
        )
        sections.append(("note", note))
    _show_sections(sections)


def _document(protocol: Protocol) -> dict[str, Any]:
    """The fields of a protocol file, where it lies if it is one's own, and the hash."""
    fields = asdict(protocol)
    return {**fields, "class_photos": dict(protocol.class_photos), "hash": protocol.hash}


def _print_json(document: object) -> None:
    typer.echo(json.dumps(document, indent=2))


def _show_table(protocols: Iterable[Protocol]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    protocols = list(protocols)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    table.add_column("id", no_wrap=True)
    table.add_column("dataset", no_wrap=True)
    for title in ("unseen", "seen", "queries", "gallery\n(unique / lines)"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("hash", no_wrap=True)
    for protocol in protocols:
        expected = protocol.expected
        table.add_row(
            protocol.id,
            protocol.dataset,
            _number(len(protocol.unseen)),
            _number(len(protocol.seen) or expected.seen_classes),
            _number(expected.queries),
            f"{_number(expected.gallery_unique)} / {_number(expected.gallery_lines)}",
            protocol.hash[:_HASH_SHOWN],
        )
    console = Console(highlight=False)
    whole = Measurement.get(console, console.options.update(max_width=_ANY_WIDTH), table).maximum
    if whole <= console.width:
        console.print(table)
    else:  # an id that is cut short cannot be copied
        _show_sections((protocol.id, _summary(protocol)) for protocol in protocols)


def _summary(protocol: Protocol) -> str:
    expected = protocol.expected
    seen = _number(len(protocol.seen) or expected.seen_classes)
    return (
        f"{protocol.dataset}, classes: {len(protocol.unseen)} unseen, {seen} seen; "
        f"queries: {_number(expected.queries)}; gallery: {_number(expected.gallery_unique)} "
        f"unique photos, {_number(expected.gallery_lines)} lines; "
        f"hash: {protocol.hash[:_HASH_SHOWN]}"
    )


def _show_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Print short labels beside texts of any length, which may come from a user's own file."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(Text(_clean(label)), Text(_clean(text)))
    Console(highlight=False).print(grid)


def _show_sections(sections: Iterable[tuple[str, str]]) -> None:
    """Print each label as a heading, with its text indented below."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    for label, text in sections:
        console.print(Text(_clean(label), style="bold"))
        console.print(Padding(Text(_clean(text)), (0, 0, 0, 4), expand=False))


def _rows(protocol: Protocol) -> list[tuple[str, str]]:
    expected = protocol.expected
    seen = _number(len(protocol.seen) or expected.seen_classes)
    counts = (
        ("queries", expected.queries),
        ("gallery, unique photos", expected.gallery_unique),
        ("gallery, lines of lists", expected.gallery_lines),
        ("photos, smallest class", expected.fewest_photos),
        ("photos, largest class", expected.most_photos),
    )
    return [
        ("id", protocol.id),
        ("title", protocol.title),
        ("dataset", protocol.dataset),
        ("citation", protocol.citation),
        *((label, _number(count)) for label, count in counts),
        *((f"photos, {name}", _number(count)) for name, count in protocol.class_photos),
        *(("known defect", defect) for defect in protocol.known_defects),
        (f"unseen ({_number(len(protocol.unseen))})", ", ".join(protocol.unseen)),
        (f"seen ({seen})", ", ".join(protocol.seen) or "not listed"),
    ]


def _overlap_sections(first: Protocol, second: Protocol, found: Overlap) -> list[tuple[str, str]]:
    return [
        _class_section("unseen in both", found.unseen_in_both),
        _class_section(f"unseen in {first.id} only", found.unseen_in_first_only),
        _class_section(f"unseen in {second.id} only", found.unseen_in_second_only),
        *_leak_sections(first, second, found.tested_by_first_trained_by_second),
        *_leak_sections(second, first, found.tested_by_second_trained_by_first),
    ]


def _leak_sections(
    tested: Protocol, trained: Protocol, classes: tuple[str, ...] | None
) -> list[tuple[str, str]]:
    label = f"tested by {tested.id}, trained on by {trained.id}"
    if classes is None:
        return [(label, f"not known: {trained.id} does not list its seen classes")]
    if not classes:
        return [_class_section(label, classes)]
    verdict = (
        f"do not judge a checkpoint of {trained.id} under {tested.id}: it was trained on "
        f"{len(classes)} of the {len(tested.unseen)} classes that it would be asked for"
    )
    return [_class_section(label, classes), ("leak", verdict)]


def _class_section(label: str, classes: tuple[str, ...]) -> tuple[str, str]:
    return f"{label} ({_number(len(classes))})", ", ".join(classes) or "none"


def _number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _clean(text: str) -> str:
    from msedge.data.images import one_line

    return one_line(text)
