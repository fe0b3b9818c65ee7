"""Named zero-shot splits: which classes are unseen, and what to expect of a dataset split so.

A figure in this field means nothing without the classes it was measured on: two lists that
papers both call "Sketchy 25" share only 4 classes. Here every list is a TOML file with a name
(``protocols/*.toml`` beside this module) and a hash that results carry along. Tested in
``tests/data/test_protocols.py``.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import ConfigError

_FOLDER = Path(__file__).parent / "protocols"
_SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015\u2212]+")


@dataclass(frozen=True, slots=True)
class Expected:
    """Counts of the complete dataset under a protocol; ``None`` where no source gives one.

    ``gallery_lines`` counts the entries of the gallery lists in circulation, some of which name
    a photo twice; ``gallery_unique`` counts the photos.
    """

    seen_classes: int | None = None
    unseen_classes: int | None = None
    queries: int | None = None
    gallery_lines: int | None = None
    gallery_unique: int | None = None


@dataclass(frozen=True, slots=True)
class Protocol:
    """A named zero-shot split of one dataset, as read from a TOML file."""

    id: str
    dataset: str
    title: str
    citation: str
    unseen: tuple[str, ...]
    expected: Expected = Expected()
    known_defects: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the dataset and its unseen classes, sorted and in normal spelling."""
        names = sorted(normalise_class_name(name) for name in self.unseen)
        return hashlib.sha256("\n".join([self.dataset, *names]).encode()).hexdigest()


def normalise_class_name(name: str) -> str:
    """The spelling under which class names are compared, the same for all variants of one.

    Case, Unicode form, and whether words are parted by spaces, underscores or hyphens do not
    matter.

    >>> normalise_class_name("Hot-Air_Balloon") == normalise_class_name("hot air balloon")
    True
    """
    # Compatibility caseless matching, Unicode standard, definition D146; NFKC makes it readable.
    folded = unicodedata.normalize("NFD", name).casefold()
    folded = unicodedata.normalize("NFKD", folded).casefold()
    return _SEPARATORS.sub(" ", unicodedata.normalize("NFKC", folded)).strip()


def list_protocols() -> tuple[str, ...]:
    """The ids of the protocols that come with the package, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_protocol(id_or_path: str) -> Protocol:
    """Read a protocol of the package by its id, or one of your own from a TOML file.

    Args:
        id_or_path: an id of :func:`list_protocols`, or the path of a ``.toml`` file.

    Raises:
        ConfigError: there is no such protocol, or its file is malformed.
    """
    if id_or_path in list_protocols():
        return _read(_FOLDER / f"{id_or_path}.toml")
    if id_or_path.endswith(".toml"):
        return _read(Path(id_or_path))
    raise ConfigError(
        f"unknown protocol {id_or_path!r}: expected one of {', '.join(list_protocols())}, "
        "or the path of a .toml file"
    )


def _read(path: Path) -> Protocol:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"protocol file {one_line(path)} does not exist") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read protocol {one_line(path)}: {one_line(error)}") from error
    try:
        return _parse(table)
    except ValueError as error:
        raise ConfigError(f"protocol {one_line(path)}: {error}") from error


def _parse(table: Mapping[str, object]) -> Protocol:
    _refuse_unknown(table, Protocol, "")
    counts = table.get("expected", {})
    if not isinstance(counts, dict):
        raise ValueError("`expected` must be a table of counts")
    protocol = Protocol(
        id=_text(table, "id"),
        dataset=_text(table, "dataset"),
        title=_text(table, "title"),
        citation=_text(table, "citation"),
        unseen=_texts(table, "unseen"),
        expected=_expected(counts),
        known_defects=_texts(table, "known_defects") if "known_defects" in table else (),
    )
    if not protocol.unseen:
        raise ValueError("`unseen` is empty: list at least one class")
    by_spelling: dict[str, str] = {}
    for name in protocol.unseen:
        first = by_spelling.setdefault(normalise_class_name(name), name)
        if first is not name:
            raise ValueError(f"`unseen` holds {name!r} twice (also as {first!r}): keep one")
    count = protocol.expected.unseen_classes
    if count not in (None, len(protocol.unseen)):
        raise ValueError(f"`unseen` holds {len(protocol.unseen)} classes, `expected` says {count}")
    return protocol


def _expected(counts: Mapping[str, object]) -> Expected:
    _refuse_unknown(counts, Expected, "expected.")
    numbers: dict[str, int] = {}
    for key, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"`expected.{key}` must be a whole number, got {value!r}")
        numbers[key] = value
    return Expected(**numbers)


def _refuse_unknown(table: Mapping[str, object], kind: type, prefix: str) -> None:
    known = [field.name for field in fields(kind)]
    for key in table:
        if key not in known:
            raise ValueError(f"unknown field `{prefix}{key}`: expected {', '.join(known)}")


def _text(table: Mapping[str, object], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"`{key}` must be a text, got {value!r}")
    return value


def _texts(table: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = table.get(key)
    if not isinstance(value, list):
        raise ValueError(f"`{key}` must be a list of texts, got {value!r}")
    texts = tuple(item for item in value if isinstance(item, str) and item.strip())
    if len(texts) != len(value):
        raise ValueError(f"`{key}` must hold texts only, none of them empty")
    return texts
