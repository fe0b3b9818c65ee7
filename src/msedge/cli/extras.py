"""Packages that only some commands need, and the extra that brings each.

Tested in ``tests/test_without_training.py``.
"""

from __future__ import annotations

from msedge.errors import MSEdgeError

EXTRAS = {
    "faiss": "ann",
    "fastapi": "serve",
    "fsspec": "ray",
    "kornia": "train",
    "lance": "lance",
    "lightning_fabric": "train",
    "onnx": "train,export",
    "onnxscript": "train,export",
    "prometheus_client": "serve",
    "pyarrow": "lance",
    "pytorch_metric_learning": "train",
    "ray": "ray",
    "tensorboard": "train,tensorboard",
    "timm": "train",
    "torch": "train",
    "torchvision": "train",
    "uvicorn": "serve",
}
"""What installs a package, by the name that is imported."""


class MissingExtraError(MSEdgeError):
    """A command needs packages that the base installation does not bring."""


def as_missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """What to tell a person of a package that is missing; None where no extra brings it.

    >>> print(as_missing_extra(ModuleNotFoundError(name="torch")))
    this needs the package torch: pip install 'msedge[train]'
    """
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    return MissingExtraError(
        f"this needs the package {package}: pip install 'msedge[{EXTRAS[package]}]'"
    )
