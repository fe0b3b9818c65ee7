"""How long a client may be slow, however much it has to send or to take.

Tested in ``tests/server/test_patience.py``.
"""

from __future__ import annotations


class Patience:
    """Seconds that are left for a client: they pass while it is waited for, and bytes earn them.

    Whoever moves so many bytes a second is waited for without end; whoever stops is given up after
    the seconds that there are at most.
    """

    def __init__(self, seconds: float, bytes_per_second: int) -> None:
        """Take the most seconds, which are there at first, and the bytes that earn one."""
        self._most, self._per_second = seconds, bytes_per_second
        self.left = seconds

    def waited(self, seconds: float, moved: int = 0) -> None:
        """Count seconds that passed, and the bytes that moved in them."""
        self.left = min(self._most, self.left - seconds + moved / self._per_second)

    def restore(self) -> None:
        """Have all of it again."""
        self.left = self._most
