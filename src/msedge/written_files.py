"""Files that people write by hand, read as far as a person could have written them.

Settings, plans and protocols are small. Their parsers take time that grows faster than the file,
so that a large one, or a device that never ends, is refused before it is parsed. Tested in
``tests/test_written_files.py``.
"""

from __future__ import annotations

from pathlib import Path


def read_written(path: Path, most: int) -> str:
    """The text of a file.

    Pipes are read too: a shell makes one of ``<(command)``.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger, or not in UTF-8; the message says so without naming the file.
    """
    with path.open("rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes; expected a file written by hand")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 from byte {error.start:,} on; save it so") from error
