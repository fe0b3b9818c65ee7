"""MSEdge: search photos by sketch, also for classes that training never saw.

Folders of sketches and photos become unit vectors; vectors become rankings; rankings become
numbers, pictures and answers. Importing the package loads nothing heavy.
"""

from __future__ import annotations

from msedge.errors import MSEdgeError

__version__ = "0.1.0"
__all__ = ["MSEdgeError", "__version__"]
