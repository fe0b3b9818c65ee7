"""From an official archive to the training layout, by a protocol.

The Sketchy archive keeps its domains apart (``256x256/{sketch,photo}/tx_000000000000/<class>``)
and the photos that the Extended set adds in a folder of their own. Here they become
``<data_root>/<name>/{train,val}/{sketch,photo}/<class>``: links to the archive by default, copies
on request, written aside and moved into place in one step. Repeats of a photo are left out, since
a gallery that holds each original twice flatters P@200. Tested in ``tests/data/test_prepare.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from msedge.data.images import is_image_name, one_line
from msedge.data.protocols import Protocol, normalise_class_name
from msedge.errors import ConfigError, DataError

if sys.platform != "win32":
    import fcntl

MARKER = "prepared.json"
"""File that tells a folder written here from a folder of the user's own."""

_DOMAINS = ("sketch", "photo")
_VARIANT = "tx_000000000000"  # of the archive's transformations, the plain one
_EXTENSION = "EXTEND_image_sketchy"
_MISNAMED = {("camel", "c"): "n02437136_5405"}  # in the extension: (class, stem) -> original


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """How many classes and images one side of a prepared dataset has."""

    classes: int
    sketches: int
    photos: int


@dataclass(frozen=True, slots=True)
class PreparedCounts:
    """What was written: counts of both sides, and a line for each thing left out."""

    train: SplitCounts
    val: SplitCounts
    dropped: tuple[str, ...] = ()


@dataclass(slots=True)
class _ClassFiles:
    """The files of one class that will be in the dataset."""

    name: str
    sketch: list[Path]
    photo: list[Path]


def prepare_sketchy(
    source: Path,
    protocol: Protocol,
    data_root: Path,
    *,
    name: str = "sketchy",
    copy: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PreparedCounts:
    """Write the Sketchy archive into the training layout, split by a protocol.

    The added photos of Sketchy Extended (``EXTEND_image_sketchy``, inside ``256x256`` or beside
    it) go with the photos where they are present. One that repeats an original photo, or another
    added photo of its class, is left out. Asking again for what is already there changes nothing.

    Args:
        source: the folder that holds ``256x256``, or ``256x256`` itself.
        protocol: its unseen classes go to ``val``, all others to ``train``.
        data_root: the folder that holds datasets; created if missing.
        name: the dataset's folder in it.
        copy: copy the files, instead of linking to them by absolute symbolic links.
        progress: called with (files done, files in all) after each file.

    Returns:
        The counts of what was written, now or when the same was asked before.

    Raises:
        DataError: the archive is incomplete, or the target exists and is something else.
        ConfigError: the protocol is of another dataset, or `name` is not the name of one folder.
    """
    if normalise_class_name(protocol.dataset) != "sketchy":
        raise ConfigError(
            f"protocol {protocol.id} is for {protocol.dataset}: choose one for sketchy"
        )
    if not name or name.startswith(".") or Path(name).name != name:
        raise ConfigError(f"dataset name {name!r}: expected the name of one folder, not hidden")
    try:
        archive = _archive_root(source)
        extension = _extension_root(archive)
        request = _request(archive, extension, protocol, copy)
        target = data_root / name
        if target.exists() or target.is_symlink():
            return _reuse(target, request)
        classes, dropped = _read_archive(archive, extension)
        sides = _split(classes, protocol, archive)
        counts = PreparedCounts(_count(sides["train"]), _count(sides["val"]), tuple(dropped))
        data_root.mkdir(parents=True, exist_ok=True)
        with _written_aside(target) as aside:
            _write(aside, sides, copy, progress)
            marker = json.dumps({**request, "counts": asdict(counts)}, indent=1)
            (aside / MARKER).write_text(marker + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"cannot prepare {one_line(data_root / name)}: {one_line(error)}"
        ) from error
    return counts


def _archive_root(source: Path) -> Path:
    for folder in (source / "256x256", source):
        if all((folder / domain / _VARIANT).is_dir() for domain in _DOMAINS):
            return folder.resolve()
    raise DataError(
        f"no Sketchy archive in {one_line(source)}: expected 256x256/sketch/{_VARIANT} and "
        f"256x256/photo/{_VARIANT} in it: name the folder that holds 256x256"
    )


def _extension_root(archive: Path) -> Path | None:
    for folder in (archive, archive.parent):
        if (folder / _EXTENSION).is_dir():
            return (folder / _EXTENSION).resolve()
    return None


def _request(
    archive: Path, extension: Path | None, protocol: Protocol, copy: bool
) -> dict[str, str | bool | None]:
    return {
        "source": str(archive),
        "extension": None if extension is None else str(extension),
        "protocol": protocol.id,
        "protocol_hash": protocol.hash,
        "copy": copy,
    }


def _reuse(target: Path, request: dict[str, str | bool | None]) -> PreparedCounts:
    advice = "remove it, or give another name (--name)"
    try:
        marker = json.loads((target / MARKER).read_text(encoding="utf-8"))
        counts = marker["counts"]
        stored = PreparedCounts(
            train=SplitCounts(**counts["train"]),
            val=SplitCounts(**counts["val"]),
            dropped=tuple(counts["dropped"]),
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{one_line(target)} exists and was not written by `msedge data prepare`: {advice}"
        ) from error
    other = [key for key, value in request.items() if marker.get(key) != value]
    if other:
        was = ", ".join(f"{key} {one_line(marker.get(key))}" for key in other)
        raise DataError(f"{one_line(target)} was prepared otherwise ({was}): {advice}")
    return stored


def _read_archive(
    archive: Path, extension: Path | None
) -> tuple[dict[str, _ClassFiles], list[str]]:
    """Files of each class by normal spelling, and what was left out."""
    sketches = _class_folders(archive / "sketch" / _VARIANT)
    photos = _class_folders(archive / "photo" / _VARIANT)
    added = {} if extension is None else _class_folders(extension)
    classes: dict[str, _ClassFiles] = {}
    dropped: list[str] = []
    for key in sorted({*sketches, *photos}):
        sketch_files = _images(sketches.get(key))
        originals = _images(photos.get(key))
        folder = photos.get(key) or sketches[key]
        for domain, files in zip(_DOMAINS, (sketch_files, originals), strict=True):
            if not files:
                raise DataError(
                    f"class {one_line(folder.name)} has no images in "
                    f"{one_line(archive / domain / _VARIANT)}: unpack the archive again"
                )
        extra, repeats = _without_repeats(folder.name, originals, _images(added.get(key)))
        classes[key] = _ClassFiles(folder.name, sketch_files, originals + extra)
        dropped += repeats
    dropped += [
        f"{folder.name}: the class has added photos only, no sketches"
        for key, folder in added.items()
        if key not in classes
    ]
    return classes, dropped


def _class_folders(root: Path) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for folder in sorted(root.iterdir(), key=lambda path: path.name):
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        first = folders.setdefault(normalise_class_name(folder.name), folder)
        if first is not folder:
            raise DataError(
                f"{one_line(root)} holds one class twice, {first.name} and {folder.name}: "
                "merge the two folders"
            )
    return folders


def _images(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    files = [path for path in folder.iterdir() if is_image_name(path.name) and path.is_file()]
    return sorted(files, key=lambda path: path.name)


def _without_repeats(
    class_name: str, originals: Sequence[Path], added: Sequence[Path]
) -> tuple[list[Path], list[str]]:
    """The added photos that are new, by name and then by content, and a line for each other."""
    stems = {path.stem for path in originals}
    sizes = {path: path.stat().st_size for path in (*originals, *added)}
    shared = Counter(sizes.values())  # only files of equal size can be equal: few are hashed
    first_with: dict[str, Path] = {}
    for path in originals:
        if shared[sizes[path]] > 1:
            first_with.setdefault(_digest(path), path)
    kept: list[Path] = []
    repeats: list[str] = []
    for path in added:
        stem = _MISNAMED.get((normalise_class_name(class_name), path.stem), path.stem)
        if stem in stems:
            repeats.append(f"{class_name}/{path.name}: repeats the original photo {stem}")
            continue
        first = path
        if shared[sizes[path]] > 1:
            first = first_with.setdefault(_digest(path), path)
        if first is path:
            kept.append(path)
        else:
            repeats.append(f"{class_name}/{path.name}: has the content of {first.name}")
    return kept, repeats


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _split(
    classes: dict[str, _ClassFiles], protocol: Protocol, archive: Path
) -> dict[str, list[_ClassFiles]]:
    unseen = {normalise_class_name(name): name for name in protocol.unseen}
    missing = [name for key, name in unseen.items() if key not in classes]
    if missing:
        raise DataError(
            f"unseen classes of {protocol.id} are missing from {one_line(archive)}: "
            f"{', '.join(missing)}: unpack the whole archive, or choose another protocol"
        )
    sides: dict[str, list[_ClassFiles]] = {"train": [], "val": []}
    for key, files in classes.items():
        sides["val" if key in unseen else "train"].append(files)
    if not sides["train"]:
        raise DataError(
            f"{one_line(archive)} holds unseen classes of {protocol.id} only: "
            "unpack the whole archive, its other classes are trained on"
        )
    return sides


def _count(classes: Sequence[_ClassFiles]) -> SplitCounts:
    return SplitCounts(
        classes=len(classes),
        sketches=sum(len(files.sketch) for files in classes),
        photos=sum(len(files.photo) for files in classes),
    )


@contextmanager
def _written_aside(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that becomes `target` on success and vanishes on failure."""
    prefix = f".{target.name}.preparing-"
    with _sole_writer(target.parent) as alone:
        if alone:  # what a killed run left; the random part has 8 digits
            for folder in target.parent.iterdir():
                if re.fullmatch(re.escape(prefix) + "[0-9a-f]{8}", folder.name):
                    shutil.rmtree(folder)
        aside = target.parent / f"{prefix}{secrets.token_hex(4)}"
        aside.mkdir()
        try:
            yield aside
            aside.rename(target)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


@contextmanager
def _sole_writer(folder: Path) -> Iterator[bool]:
    """Keep other preparations out of `folder`; yields whether the file system could do that."""
    if sys.platform == "win32":
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError as error:
            raise DataError(
                f"another `msedge data prepare` is writing to {one_line(folder)}: wait for it"
            ) from error
        except OSError:  # some network file systems cannot lock a folder
            alone = False
        yield alone
    finally:
        os.close(descriptor)


def _write(
    root: Path,
    sides: dict[str, list[_ClassFiles]],
    copy: bool,
    progress: Callable[[int, int], None] | None,
) -> None:
    places = [
        (file, root / side / domain / one.name)
        for side, classes in sides.items()
        for one in classes
        for domain, files in (("sketch", one.sketch), ("photo", one.photo))
        for file in files
    ]
    for done, (file, folder) in enumerate(places, start=1):
        folder.mkdir(parents=True, exist_ok=True)
        if copy:
            shutil.copy2(file, folder / file.name)
        else:
            _link(file, folder / file.name)
        if progress is not None:
            progress(done, len(places))


def _link(file: Path, link: Path) -> None:
    try:
        link.symlink_to(file.resolve())
    except OSError as error:
        raise DataError(
            f"cannot make a symbolic link in {one_line(link.parents[3])}: {one_line(error)}: "
            "copy the files instead (--copy)"
        ) from error
