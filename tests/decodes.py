"""Which images the pixel cache had to decode."""

from __future__ import annotations


class Decodes:
    """Which images were decoded."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def since(self) -> list[str]:
        """Those since it was last asked."""
        names, self.names = self.names, []
        return sorted(names)
