"""Opening Lance datasets, and saying in one line what Lance says in many words.

Where a dataset lies in an object store, credentials and addresses come from the environment, as
Lance reads it: ``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ``AWS_ALLOW_HTTP`` and so on.
Tested in ``tests/search/lance/test_datasets.py``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("LANCE_LOG", "error")  # its warnings stand on standard error, on many lines

import lance
import pyarrow as pa

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.gallery_schema import not_a_gallery
from msedge.search.locations import is_remote, location

_WRAPPING = re.compile(r"^(External error: |LanceError\(\w+\): |Generic \S+ error: )+")
_SOURCE_LINE = re.compile(r", /\S+\.rs:\d+:\d+.*", re.DOTALL)  # where in Lance it was raised
_LONGEST = 200


def open_dataset(path: Path) -> lance.LanceDataset:
    """Open the newest version of a dataset.

    Raises:
        DataError: it is missing, something else, or damaged.
    """
    if not is_remote(path):
        if not path.exists():
            raise DataError(no_gallery(path))
        if not (path / "_versions").is_dir():
            raise DataError(not_a_gallery(path))
    try:
        return lance.dataset(location(path))
    except BaseException as error:
        if isinstance(error, ValueError) and is_remote(path) and "was not found" in str(error):
            raise DataError(no_gallery(path)) from error
        if isinstance(error, OSError | ValueError) or _is_panic(error):
            raise _told(path, error) from error
        raise


def no_gallery(path: Path) -> str:
    """The message for a dataset that is not there."""
    return (
        f"no gallery {one_line(location(path))}: make it with `msedge index PHOTOS --gallery "
        "NAME.lance`"
    )


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn Lance's errors into one line that says how to go on.

    Raises:
        DataError: Lance failed within.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, OSError | ValueError | RuntimeError | pa.ArrowException):
            raise _told(path, error) from error
        if _is_panic(error):
            raise _told(path, error) from error
        raise


def _is_panic(error: BaseException) -> bool:
    """Whether Lance's own code gave up, as it does where a file is not as it should be."""
    return type(error).__name__ == "PanicException"  # of no module that could be imported


def reason(error: BaseException) -> str:
    """What went wrong, without where in Lance's sources."""
    text = _WRAPPING.sub("", _SOURCE_LINE.sub("", str(error)))
    return one_line(text if len(text) <= _LONGEST else text[:_LONGEST] + "...")


def is_conflict(error: Exception) -> bool:
    """Whether a change was refused since another process made one first."""
    # Compacting says so by an OSError alone, other changes by a class of its own.
    return isinstance(error, OSError) and "concurrent transaction" in str(error)


def _told(path: Path, error: BaseException) -> DataError:
    name = one_line(location(path))
    text = str(error)
    if not is_remote(path) and not path.exists():
        return DataError(no_gallery(path))
    if "Permission denied" in text or "Read-only file system" in text:
        return DataError(
            f"gallery {name}: it may not be read or written: change the permissions of its files"
        )
    if "No space left" in text:
        return DataError(f"gallery {name}: the disk is full: make room; what was committed is safe")
    if "HTTP error" in text or "error sending request" in text:
        return DataError(
            f"gallery {name}: its object store does not answer ({reason(error)}): check the "
            "network, the address and the credentials"
        )
    return DataError(
        f"gallery {name}: it cannot be read or written ({reason(error)}): try again; if that "
        "stays so it is damaged: move it away and copy or index again"
    )
