"""The OpenAPI document of one server: what it asks for is what the document says.

Tested in ``tests/server/test_app.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

_TOO_MANY = "Too many wrong tokens came from this client; `Retry-After` says when to come again."
_SESSION = "/api/session"


def describe(app: FastAPI, *, token: bool) -> Callable[[], dict[str, Any]]:
    """What makes the document; of a server without a token it says nothing of tokens."""
    describe_all = app.openapi

    def document() -> dict[str, Any]:
        described = describe_all()
        if not token:
            described["paths"].pop(_SESSION, None)
        for path in described["paths"].values():
            for operation in path.values():
                answers = operation["responses"]
                if not token:
                    answers.pop("401", None)
                elif "401" in answers:
                    answers.setdefault("429", {**answers["401"], "description": _TOO_MANY})
        return described

    return document
