"""``msedge benchmark``: a matrix of training runs, and what they come to over seeds.

Tested in ``tests/cli/test_benchmark.py``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from msedge.benchmark.cells import Cell
    from msedge.benchmark.datasets import Fingerprints
    from msedge.benchmark.plan import Plan
    from msedge.benchmark.results import Summary


def benchmark_command(
    plan: Annotated[
        Path, typer.Argument(metavar="PLAN.yaml", help="What to run; see docs/benchmark.md.")
    ],
    save_root: Annotated[
        Path | None,
        typer.Option(
            help="Where the runs and the results go (default: result/<name of the plan>)",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time; they share the cores.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs and their state, and start none.")
    ] = False,
    table_only: Annotated[
        bool, typer.Option("--table-only", help="Write tables and figure of what is there.")
    ] = False,
) -> None:
    """Train every cell of a matrix, and write tables and a figure of means over seeds.

    Runs that are finished are not repeated, and killed ones go on: give the same command again.
    Exit status 1 if a run failed, 2 for a plan or data that cannot be used.
    """
    from msedge.benchmark.datasets import Fingerprints, check_datasets
    from msedge.benchmark.locks import sole_benchmark
    from msedge.benchmark.plan import read_plan
    from msedge.benchmark.results import write_results
    from msedge.errors import ConfigError

    if dry_run and table_only:
        raise ConfigError("--dry-run writes nothing and --table-only does; leave out one of them")
    chosen = read_plan(plan)
    root = Path("result") / chosen.name if save_root is None else save_root
    cells = _cells(plan, chosen, root)
    fingerprints = Fingerprints()
    if dry_run:
        _list(chosen, cells, fingerprints)
        return
    if not table_only:
        check_datasets(chosen.datasets)
    with sole_benchmark(root):
        if not table_only:
            _run(chosen, cells, fingerprints, root, jobs)
        summary = write_results(chosen, cells, fingerprints.where_there, root)
    _show(chosen, summary, root)
    if any(outcome.failed for outcome in summary.outcomes):
        raise typer.Exit(1)


def _cells(file: Path, plan: Plan, root: Path) -> tuple[Cell, ...]:
    from msedge.benchmark.cells import expand
    from msedge.data.images import one_line
    from msedge.errors import ConfigError

    try:
        return expand(plan, root)
    except ConfigError as error:
        raise ConfigError(f"{one_line(file)}: {error}") from error


def _run(
    plan: Plan, cells: Sequence[Cell], fingerprints: Fingerprints, root: Path, jobs: int
) -> None:
    from msedge.benchmark.datasets import draw_sample
    from msedge.benchmark.results import write_results
    from msedge.benchmark.runner import run_cells
    from msedge.cli.benchmark_watcher import BenchmarkWatcher
    from msedge.cli.progress import progress_bar

    with progress_bar("Drawing the sample set") if sys.stderr.isatty() else nullcontext() as bar:
        draw_sample(plan.datasets, bar)

    def write() -> Summary:
        return write_results(plan, cells, fingerprints.of, root)

    states = [outcome.state for outcome in write().outcomes]
    done = sum(state in ("done", "other settings") for state in states)
    with _signals_stop(), BenchmarkWatcher(done=done, total=len(cells), jobs=jobs) as watcher:
        try:
            run_cells(
                cells, jobs=jobs, fingerprint=fingerprints.of, watcher=watcher, after_each=write
            )
        except KeyboardInterrupt:
            watcher.say("stopped, and its runs with it; the same command goes on from here")
            raise


@contextmanager
def _signals_stop() -> Iterator[None]:
    """Let a request to end and a closed terminal stop the benchmark as Ctrl-C does."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before: dict[int, object] = {}
    if threading.current_thread() is threading.main_thread():  # others cannot set handlers
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # not nohup's
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number in before:
            signal.signal(number, signal.SIG_DFL)


def _list(plan: Plan, cells: Sequence[Cell], fingerprints: Fingerprints) -> None:
    """Print the runs with their state, and what is wrong with the data."""
    from msedge.benchmark.datasets import check_datasets
    from msedge.benchmark.outcomes import read_outcome
    from msedge.errors import MSEdgeError

    outcomes = [read_outcome(cell, fingerprints.where_there(cell)) for cell in cells]
    for outcome in outcomes:
        error = f": {outcome.error}" if outcome.error else ""
        typer.echo(f"{outcome.state:15} {outcome.cell.label}{error}")
    done = sum(outcome.state == "done" for outcome in outcomes)
    typer.echo(f"{done} of {len(cells)} runs are done.")
    try:
        check_datasets(plan.datasets)
    except MSEdgeError as problem:
        for line in str(problem).splitlines():
            typer.echo(f"msedge: {line}", err=True)


def _show(plan: Plan, summary: Summary, root: Path) -> None:
    """Print the rows in short, what failed, and where everything lies."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from msedge.benchmark.results import NAMES
    from msedge.benchmark.rows import short_label
    from msedge.benchmark.tables import HELD_OUT, mean_text

    console = Console(highlight=False)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("dataset", "row"):
        table.add_column(title, overflow="fold")
    for title in ("seeds", HELD_OUT, "mAP@all"):
        table.add_column(title, justify="right")
    for row in summary.rows:
        seeds = f"{len(row.finished)} of {len(row.outcomes)}"
        figures = (row.held_out, row.means.get("mAP@all"))
        texts = (row.dataset, short_label(row, summary.rows), seeds, *map(mean_text, figures))
        table.add_row(*map(Text, texts))
    console.print(Text(f"{plan.name}: mean over seeds ± half the 95 % t-interval, in percent"))
    console.print(table)
    for outcome in summary.outcomes:
        if outcome.failed:
            console.print(Text(f"failed: {outcome.cell.label}: {outcome.error}"), soft_wrap=True)
    for name in NAMES:
        console.print(Text(f"{root}{os.sep}{name}"), soft_wrap=True)
