"""Models as tables for people: a line each, or the whole card of one.

Tested in ``tests/cli/test_model_card.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from msedge.data.images import one_line
from msedge.models.card import Card
from msedge.models.shipped import ModelFiles
from msedge.models.stored_tensors import stored_tensors

_FIRST_MEASURE = "mAP@all"
_NOT_SAID = "-"


def show_models(models: Iterable[ModelFiles]) -> None:
    """Print a row for each model."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("name", overflow="fold")
    for title in ("dim", "input", "classes\ntrained on", "size"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("unseen classes (convention)")
    for model in models:
        card = model.card
        table.add_row(
            Text(one_line(model.name)),
            str(card.dim),
            f"{card.image_size} px",
            str(card.trained_classes),
            f"{model.size / 1e6:.1f} MB",
            Text(one_line(_headline(card))),
        )
    Console(highlight=False).print(table)


def show_card(model: ModelFiles) -> None:
    """Print everything that a model's card says, and what its files hold."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in (*_file_rows(model), *_card_rows(model.card)):
        grid.add_row(Text(one_line(label)), Text(one_line(text)))
    Console(highlight=False).print(grid)


def _headline(card: Card) -> str:
    if not card.metrics:
        return _NOT_SAID
    measure = _FIRST_MEASURE if _FIRST_MEASURE in card.metrics else next(iter(card.metrics))
    inflated = ", inflated" if card.selected_on_test_classes else ""
    return f"{measure} {card.metrics[measure]:.1f} ({card.convention}{inflated})"


def _file_rows(model: ModelFiles) -> list[tuple[str, str]]:
    return [
        ("checkpoint", _NOT_SAID if model.is_graph_alone else str(model.checkpoint)),
        ("onnx", _NOT_SAID if model.onnx is None else str(model.onnx)),
        ("size", f"{model.size / 1e6:.1f} MB: {_held(model)}"),
    ]


def _held(model: ModelFiles) -> str:
    if model.is_graph_alone:
        return f"weights as {model.card.precision}"
    tensors = stored_tensors(model.checkpoint).values()
    forms = sorted({tensor.dtype for tensor in tensors if tensor.dtype.startswith(("F", "BF"))})
    return f"{sum(tensor.values for tensor in tensors):,} values as {', '.join(forms)}"


def _card_rows(card: Card) -> list[tuple[str, str]]:
    """A row for each field of the card, in its order; a row for each source of the data."""
    rows = []
    for field in Card.model_fields:
        label, value = field.replace("_", " "), getattr(card, field)
        if field == "data" and value:
            rows += [(label, f"{each.name}: {each.what} ({each.licence})") for each in value]
        else:
            rows.append((label, _written(value)))
    return rows


def _written(value: Any) -> str:
    if value is None or value in ("", (), {}):
        return _NOT_SAID
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:.1f}" for name, number in value.items())
    if isinstance(value, tuple):
        return ", ".join(f"{number:.4g}" for number in value)
    return str(value)
