"""Writing a folder aside: beside its place under a hidden name, then moved there in one step.

A dataset is tens of thousands of files. Written straight to its place, a kill in the middle would
leave half of one that looks like a whole. Tested in ``tests/data/test_aside.py``,
``tests/faults/test_killed_aside.py`` and by kills in ``tests/faults``.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import DataError

if sys.platform != "win32":
    import fcntl


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Give a new folder beside ``target`` that becomes ``target`` on success.

    After an error, or a stop by the user, it vanishes. What a killed run left is removed by the
    next one. The file system's lock, where it has one, keeps two writers apart.

    Args:
        target: the folder to write, which must not exist; its parent folder must.

    Yields:
        The folder to write into.

    Raises:
        DataError: another process writes into the same parent folder in this way.
        OSError: the file system refuses.
    """
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
def folder_aside(target: Path) -> Iterator[Path]:
    """Give a new hidden folder beside ``target``, removed at the end unless it was renamed.

    Unlike :func:`written_aside` it keeps nobody out: each writer has a folder of its own, and holds
    a lock on it while it lives. So the next writer tells what a killed one left, and removes it,
    where the file system has locks.

    Args:
        target: the folder to make; its parent folder must exist.

    Yields:
        The folder to write into.

    Raises:
        OSError: the file system refuses.
    """
    beginning = f".{target.name}.writing-"
    folder, descriptor = _locked_folder(target.parent, beginning)
    try:
        if descriptor is not None:
            _remove_abandoned(target.parent, beginning)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _locked_folder(parent: Path, beginning: str) -> tuple[Path, int | None]:
    """A new folder, and the descriptor that holds its lock; None where there are no locks."""
    while True:
        folder = parent / f"{beginning}{secrets.token_hex(4)}"
        folder.mkdir()
        try:
            descriptor = _lock(folder)
            # Before it was locked, another writer may have taken it for abandoned.
            if descriptor is None or os.path.samestat(os.fstat(descriptor), folder.stat()):
                return folder, descriptor
        except (BlockingIOError, FileNotFoundError):
            continue
        os.close(descriptor)


def _lock(folder: Path) -> int | None:
    """Lock a folder; None where the system cannot."""
    if sys.platform == "win32":
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # some network file systems cannot lock a folder
        os.close(descriptor)
        return None
    return descriptor


def _remove_abandoned(parent: Path, beginning: str) -> None:
    """Remove the folders of writers that were killed; those of living ones are locked."""
    for folder in parent.iterdir():
        if not re.fullmatch(re.escape(beginning) + "[0-9a-f]{8}", folder.name):
            continue
        try:
            descriptor = _lock(folder)
        except OSError:  # somebody writes it, or has just removed it
            continue
        if descriptor is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)


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
