"""Named zero-shot splits: which classes are unseen, and what to expect of a dataset split so.

A figure in this field means nothing without the classes it was measured on: two lists that
papers both call "Sketchy 25" share only 4 classes. Here every list is a TOML file with a name
(``protocols/*.toml`` beside this module) and a hash that results carry along; two of them can be
laid side by side, to see whether a network was trained on what it is asked for. Tested in
``tests/data/test_protocols.py``.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from msedge.errors import ConfigError
from msedge.quoting import named, plain, quoted
from msedge.written_files import read_written

_FOLDER = Path(__file__).parent / "protocols"
MAX_BYTES = 1_000_000
"""Of a protocol's file."""

_FEWEST_JUDGED = {"tuberlin": 400}
_MOST_COUNTED = 10**12
# Python's reader takes minutes for a name of some ten thousand parts.
_MANY_DOTS = re.compile(r"(?<![^\s.=])(?:[^\s.=]{1,80}[ \t]*\.[ \t]*){20}")
_SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015\u2212]+")


@dataclass(frozen=True, slots=True)
class Expected:
    """Counts of the complete dataset under a protocol; ``None`` where no source gives one.

    ``gallery_lines`` counts the entries of the gallery lists in circulation, some of which name
    a photo twice; ``gallery_unique`` counts the photos. ``fewest_photos`` and ``most_photos`` are
    those of the smallest and the largest unseen class: no precision at ``k`` above the fewest can
    reach 1 for every query.
    """

    seen_classes: int | None = None
    unseen_classes: int | None = None
    queries: int | None = None
    gallery_lines: int | None = None
    gallery_unique: int | None = None
    fewest_photos: int | None = None
    most_photos: int | None = None


@dataclass(frozen=True, slots=True)
class Protocol:
    """A named zero-shot split of one dataset, as read from a TOML file.

    ``seen`` is empty where the file does not list the classes to train on; they are then all that
    the dataset holds besides the unseen ones. ``class_photos`` pairs single unseen classes with
    their number of unique photos, where it is known. ``file`` is the absolute path of one that does
    not come with the package.
    """

    id: str
    dataset: str
    title: str
    citation: str
    unseen: tuple[str, ...]
    expected: Expected = Expected()
    known_defects: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    class_photos: tuple[tuple[str, int], ...] = ()
    file: str | None = field(default=None, compare=False)

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the dataset and its unseen classes, sorted and in normal spelling."""
        names = sorted(normalise_class_name(name) for name in self.unseen)
        return hashlib.sha256("\n".join([self.dataset, *names]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Overlap:
    """What two protocols have in common, each tuple in the order of normal spelling.

    The last two are leaks: a network trained under one protocol has seen these classes, so judged
    under the other it is not asked for the unknown. ``None`` where the protocol trained under does
    not list its seen classes.
    """

    unseen_in_both: tuple[str, ...]
    unseen_in_first_only: tuple[str, ...]
    unseen_in_second_only: tuple[str, ...]
    tested_by_first_trained_by_second: tuple[str, ...] | None
    tested_by_second_trained_by_first: tuple[str, ...] | None


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
        path = Path(id_or_path)
        return replace(_read(path), file=str(path.absolute()))
    raise ConfigError(
        f"unknown protocol {quoted(id_or_path)}: expected one of {', '.join(list_protocols())}, "
        "or the path of a .toml file"
    )


def fewest_judged(dataset: str, protocol: object = None) -> int:
    """The photos that an unseen class needs where the literature evaluates; 0 if it asks for none.

    A split of one's own may have classes of any size.

    Args:
        dataset: the name of the data.
        protocol: the id that it was prepared by; None where that is not known.

    >>> fewest_judged("tuberlin", "tuberlin-30-sake"), fewest_judged("tuberlin", "my-own")
    (400, 0)
    """
    published = protocol is None or protocol in list_protocols()
    return _FEWEST_JUDGED.get(dataset, 0) if published else 0


def overlap(first: Protocol, second: Protocol) -> Overlap:
    """Compare the classes of two protocols, by normal spelling.

    The datasets may differ. Other words for one thing (``hotdog`` and ``hot-dog``, ``motorcycle``
    and ``motorbike``) then count as two classes, so that what is found is the least there is.

    Returns:
        Class names as the first protocol spells them; those that it does not test on, as the
        second does.
    """
    tested_by_first, tested_by_second = _by_spelling(first.unseen), _by_spelling(second.unseen)
    return Overlap(
        unseen_in_both=_pick(tested_by_first, tested_by_first.keys() & tested_by_second),
        unseen_in_first_only=_pick(tested_by_first, tested_by_first.keys() - tested_by_second),
        unseen_in_second_only=_pick(tested_by_second, tested_by_second.keys() - tested_by_first),
        tested_by_first_trained_by_second=_leak(tested_by_first, second.seen),
        tested_by_second_trained_by_first=_leak(tested_by_second, first.seen),
    )


def _leak(tested: Mapping[str, str], trained: tuple[str, ...]) -> tuple[str, ...] | None:
    return _pick(tested, tested.keys() & _by_spelling(trained)) if trained else None


def _by_spelling(names: Iterable[str]) -> dict[str, str]:
    return {normalise_class_name(name): name for name in names}


def _pick(names: Mapping[str, str], keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(names[key] for key in sorted(keys))


def _read(path: Path) -> Protocol:
    try:
        text = read_written(path, MAX_BYTES)
        if _MANY_DOTS.search(text):
            raise ValueError("it holds a name of more than 20 parts; write it flat")
        table = tomllib.loads(text)
    except FileNotFoundError as error:
        raise ConfigError(f"protocol file {named(path)} does not exist") from error
    except RecursionError as error:
        raise ConfigError(
            f"cannot read protocol {named(path)}: it is nested too deep; write it flat"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read protocol {named(path)}: {plain(error)}") from error
    try:
        return _parse(table)
    except ValueError as error:
        raise ConfigError(f"protocol {named(path)}: {error}") from error


def _parse(table: Mapping[str, object]) -> Protocol:
    _refuse_unknown(table, Protocol, "", besides="file")
    counts = _counts(table, "expected")
    _refuse_unknown(counts, Expected, "expected.")
    protocol = Protocol(
        id=_text(table, "id"),
        dataset=_text(table, "dataset"),
        title=_text(table, "title"),
        citation=_text(table, "citation"),
        unseen=_texts(table, "unseen"),
        expected=Expected(**counts),
        known_defects=_texts(table, "known_defects") if "known_defects" in table else (),
        seen=_texts(table, "seen") if "seen" in table else (),
        class_photos=tuple(_counts(table, "class_photos").items()),
    )
    if not protocol.unseen:
        raise ValueError("`unseen` is empty: list at least one class")
    _check_classes(protocol)
    _check_photos(protocol)
    return protocol


def _check_classes(protocol: Protocol) -> None:
    for text in (protocol.id, protocol.dataset, *protocol.unseen, *protocol.seen):
        if not text.isprintable():  # they stand in messages of one line, and in paths
            raise ValueError(f"{quoted(text)} is not a name on one line: remove its odd characters")
    expected = protocol.expected
    for key, names in (("unseen", protocol.unseen), ("seen", protocol.seen)):
        _refuse_repeats(key, names)
    unseen = _by_spelling(protocol.unseen)
    for spelling, name in _by_spelling(protocol.seen).items():
        if spelling in unseen:
            raise ValueError(
                f"{quoted(name)} is in `seen` and in `unseen` (as {quoted(unseen[spelling])}): "
                "keep it in one"
            )
    for key, names, count in (
        ("unseen", protocol.unseen, expected.unseen_classes),
        ("seen", protocol.seen, expected.seen_classes),
    ):
        if names and count not in (None, len(names)):
            raise ValueError(f"`{key}` holds {len(names)} classes, `expected` says {count}")


def _check_photos(protocol: Protocol) -> None:
    fewest, most = protocol.expected.fewest_photos, protocol.expected.most_photos
    if fewest is not None and most is not None and fewest > most:
        raise ValueError(f"`expected.fewest_photos` {fewest} is more than `most_photos` {most}")
    _refuse_repeats("class_photos", (name for name, _ in protocol.class_photos))
    unseen = _by_spelling(protocol.unseen)
    for name, count in protocol.class_photos:
        if normalise_class_name(name) not in unseen:
            raise ValueError(f"`class_photos` counts {quoted(name)}, which is not in `unseen`")
        if (fewest is not None and count < fewest) or (most is not None and count > most):
            raise ValueError(
                f"`class_photos` gives {quoted(name)} {count}, outside "
                "`expected.fewest_photos` and `most_photos`: correct one of them"
            )


def _refuse_repeats(key: str, names: Iterable[str]) -> None:
    by_spelling: dict[str, str] = {}
    for name in names:
        first = by_spelling.setdefault(normalise_class_name(name), name)
        if first is not name:
            raise ValueError(
                f"`{key}` holds {quoted(name)} twice (also as {quoted(first)}): keep one"
            )


def _counts(table: Mapping[str, object], key: str) -> dict[str, int]:
    counts = table.get(key, {})
    if not isinstance(counts, dict):
        raise ValueError(f"`{key}` must be a table of counts, got {quoted(counts)}")
    for name, value in counts.items():
        counted = isinstance(value, int) and not isinstance(value, bool)
        if not counted or not 0 <= value <= _MOST_COUNTED:
            limit = f"at most {_MOST_COUNTED:,}" if counted and value > 0 else "0 or more"
            raise ValueError(
                f"`{key}.{plain(name, 80)}` must be a whole number, {limit}, got {quoted(value)}"
            )
    return counts


def _refuse_unknown(
    table: Mapping[str, object], kind: type, prefix: str, *, besides: str = ""
) -> None:
    known = [each.name for each in fields(kind) if each.name != besides]
    for key in table:
        if key not in known:
            raise ValueError(
                f"unknown field `{prefix}{plain(key, 80)}`: expected {', '.join(known)}"
            )


def _text(table: Mapping[str, object], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"`{key}` must be a text, got {quoted(value)}")
    return value


def _texts(table: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = table.get(key)
    if not isinstance(value, list):
        raise ValueError(f"`{key}` must be a list of texts, got {quoted(value)}")
    texts = tuple(item for item in value if isinstance(item, str) and item.strip())
    if len(texts) != len(value):
        raise ValueError(f"`{key}` must hold texts only, none of them empty")
    return texts
