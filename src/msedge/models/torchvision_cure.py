"""The cure for a torchvision whose compiled operators do not fit the torch beside it.

timm imports torchvision. With a CPU build of torch, the package index's torchvision (built for
CUDA) cannot load its compiled library and then fails on import with ``operator torchvision::nms
does not exist``. Declaring the two operators that its import expects is enough; the compiled
operators stay unavailable, and nothing here uses them. Tested in
``tests/models/test_torchvision_cure.py``.
"""

from __future__ import annotations

import importlib
import sys

import torch

_MISSING_OPERATORS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared: list[torch.library.Library] = []  # a library's operators vanish with the object


def ensure_torchvision() -> None:
    """Import torchvision, declaring its missing operators first where that is what fails.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: torchvision fails for another reason than its missing operators.
    """
    if "torchvision" in sys.modules:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for schema in _MISSING_OPERATORS.values():
            library.define(schema)  # type: ignore[no-untyped-call]
        _declared.append(library)
        importlib.import_module("torchvision")
