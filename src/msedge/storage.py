"""Writing files so that a kill at any moment leaves the old one or the new one, whole."""

from __future__ import annotations

import glob
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msedge.errors import DataError

_TOKEN_BYTES = 4


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of ``path``; on success it takes the place of ``path``.

    The folder is made when it is missing. The suffix is kept, since writers choose by it. After an
    error the temporary file is removed and ``path`` is as it was.

    Write to it directly: a writer that goes through a file of its own, as ``save_file`` of
    safetensors does, leaves that one behind when it is killed.

    Args:
        path: the file to write.

    Yields:
        The path to write to.

    Raises:
        DataError: the folder cannot be made, or the file cannot be written; also for an ``OSError``
            of the writer.
    """
    temporary = path.parent / f".{path.stem}-{secrets.token_hex(_TOKEN_BYTES)}{path.suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The umask is left to the system: asking for it would change it for every thread.
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except OSError as error:
        raise DataError(
            f"cannot write {path} ({error.strerror}); choose a folder that can be written to"
        ) from error
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(mode)  # the writer may have made the file anew
        temporary.replace(path)
    except OSError as error:  # a full disk, a folder of that name
        reason = error.strerror or error
        raise DataError(f"cannot write {path} ({reason}); what stood there is untouched") from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of :func:`atomic_path` whose writers were killed.

    Only for a file that nobody writes just now.

    Args:
        path: the file that they were to replace; it stays.
    """
    beginning, token = f".{path.stem}-", "[0-9a-f]" * (2 * _TOKEN_BYTES)
    for leftover in path.parent.glob(glob.escape(beginning) + token + glob.escape(path.suffix)):
        leftover.unlink(missing_ok=True)
