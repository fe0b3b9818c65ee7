"""A disk of a few megabytes for tests, which can be filled, made read-only, and taken away.

It is a file system in memory (``tmpfs``), so it takes no room of the real disk. Mounting one needs
Linux and root; tests that ask for it skip elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_BLOCK = 4096  # bytes that the file system gives out at a time
_BALLAST = ".ballast"


class SmallDisk:
    """A file system of its own at a folder, with a word on how full it is."""

    def __init__(self, root: Path, megabytes: float) -> None:
        self.root = root
        self._size = int(megabytes * 1024)

    @property
    def free(self) -> int:
        """Bytes that are left."""
        state = os.statvfs(self.root)
        return state.f_bavail * state.f_frsize

    def leave(self, kilobytes: int) -> None:
        """Fill the disk until this much is left."""
        self.make_room()
        excess = self.free - kilobytes * 1024
        assert excess >= 0, f"{self.free // 1024} kB are left, not {kilobytes}"
        with (self.root / _BALLAST).open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, max(excess // _BLOCK * _BLOCK, 1))

    def make_room(self) -> None:
        """Take away what :meth:`leave` put there."""
        (self.root / _BALLAST).unlink(missing_ok=True)

    def empty(self) -> None:
        """Take away everything."""
        for path in sorted(self.root.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()

    def read_only(self) -> None:
        """Let nobody write from now on, root included; everything on it has to be closed."""
        _mount("-o", "remount,ro", str(self.root))

    def writable(self) -> None:
        """Let everybody write again."""
        _mount("-o", f"remount,rw,size={self._size}k", str(self.root))

    def names(self) -> set[str]:
        """The files and folders on it, from its root, without what fills it."""
        found = {str(path.relative_to(self.root)) for path in self.root.rglob("*")}
        return found - {_BALLAST}

    def digests(self) -> dict[str, str]:
        """The content of the files on it, without what fills it."""
        return {
            name: hashlib.sha256((self.root / name).read_bytes()).hexdigest()
            for name in self.names()
            if (self.root / name).is_file()
        }


@contextmanager
def mounted(root: Path, megabytes: float) -> Iterator[SmallDisk]:
    """Mount a disk at a folder, which is made; it is gone afterwards, with all that is on it.

    Skips the test where this machine does not let us mount.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs Linux and root")
    root.mkdir(parents=True, exist_ok=True)
    disk = SmallDisk(root, megabytes)
    try:
        _mount("-t", "tmpfs", "-o", f"size={disk._size}k,mode=0777", "msedge-test", str(root))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no small disk can be mounted here ({error})")
    try:
        yield disk
    finally:
        with suppress(subprocess.CalledProcessError):
            unmount(root)


def unmount(root: Path) -> None:
    """Take a disk away, also from those who have files of it open."""
    subprocess.run(["umount", "--lazy", str(root)], check=True, capture_output=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)
