"""MSEdge: search photos by sketch, also for classes that training never saw.

Folders of sketches and photos become unit vectors; vectors become rankings; rankings become
numbers, pictures and answers. Importing the package loads nothing heavy: ``msedge.Gallery`` is
loaded when it is first asked for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from msedge.errors import MSEdgeError

if TYPE_CHECKING:
    from msedge.search.gallery import Gallery

# From 1.32 on, ONNX Runtime counts its users, in a file at home and over the network: not here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["Gallery", "MSEdgeError", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Gallery":
        from msedge.search.gallery import Gallery

        return Gallery
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
