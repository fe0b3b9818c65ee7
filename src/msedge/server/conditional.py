"""Answers that are asked for only if they are new (RFC 9110, section 13)."""

from __future__ import annotations

from starlette.requests import Request


def not_modified(request: Request, etag: str) -> bool:
    """Whether ``If-None-Match`` names what would be answered; compared weakly, as it is for GET."""
    named = [tag.strip().removeprefix("W/") for tag in _tags(request)]
    return etag in named or "*" in named


def _tags(request: Request) -> list[str]:
    return [tag for line in request.headers.getlist("if-none-match") for tag in line.split(",")]
