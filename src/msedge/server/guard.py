"""Who may ask, decided before anything else looks at a request; and the headers of every answer.

A server on 127.0.0.1 is reached by every page in the browser of the same machine. Three checks keep
other sites out: the ``Host`` header (a name of their own that they let point here: DNS rebinding),
``Origin`` and ``Sec-Fetch-Site`` (forms and scripts of their pages), and headers that let no other
page embed or read an answer. Tokens, where there are any, are compared in constant time and never
logged; who gives wrong ones is slowed down. Tested in ``tests/server/test_guard.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from msedge.server.clients import Guesses, client_of
from msedge.server.problems import problem
from msedge.server.settings import ServerSettings, host_and_port, host_name
from msedge.server.tokens import Tokens

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
COOKIE = "msedge_token"
COOKIE_PATH = "/api/photos"
"""Where the cookie is sent to: ``<img>`` cannot send the bearer header, scripts can."""

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_logger = logging.getLogger(__name__)


class Guard:
    """Refuse what must not be asked, and add the headers of every answer."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ServerSettings,
        tokens: Tokens,
        refused: Callable[[str], None],
    ) -> None:
        """Take the application to guard, its rules, and what hears of a refusal of 429."""
        self._app, self._names = app, settings.host_names
        self._tokens, self._guesses, self._refused = tokens, Guesses(), refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await problem(*refusal)(scope, receive, with_headers)
            return
        try:
            await self._app(scope, receive, with_headers)
        except Exception:
            if started:
                raise
            name = scope.get("state", {}).get("request_id", "-")
            _logger.exception("cannot answer %s, id=%s", scope["method"], name)
            line = "the server failed to answer; its log says why"
            await problem(500, line)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str, dict[str, str]] | None:
        headers, path = Headers(scope=scope), str(scope["path"])
        hosts = headers.getlist("host")
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None:
            return 400, "the Host header is missing or not well formed", {}
        if name not in self._names:
            return 403, f"this server does not answer to {name}; `--allow-host {name}` lets it", {}
        safe = scope["method"] in _SAFE_METHODS
        if not _is_from_here(headers, hosts[0], safe=safe, public=_is_public(path)):
            return 403, "requests from other sites' pages are refused", {}
        if self._tokens and not _is_public(path):
            return self._token_refusal(scope, headers, cookie=safe and _has_cookie(path))
        return None

    def _token_refusal(
        self, scope: Scope, headers: Headers, *, cookie: bool
    ) -> tuple[int, str, dict[str, str]] | None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        secret = given.strip() if scheme.lower() == "bearer" else ""
        proof = cookie_parser(headers.get("cookie", "")).get(COOKIE, "") if cookie else ""
        token = self._tokens.of_secret(secret) or self._tokens.of_cookie(proof)
        client = client_of(scope)
        wait = self._guesses.wait(client) if secret or proof else 0
        if token is not None and (not wait or self._guesses.was_right(client)):
            self._guesses.right(client)
            scope.setdefault("state", {})["token"] = token
            return None
        if wait:
            self._refused("token")
            line = f"too many wrong tokens from your address: try again in {wait} s"
            return 429, line, {"Retry-After": str(wait)}
        if secret or proof:
            self._guesses.wrong(client)
        line = "a token is needed: send `Authorization: Bearer TOKEN`"
        if secret:
            line = (
                "the token is not one of this server's, or no longer: ask who keeps it for another"
            )
        return 401, line, {"WWW-Authenticate": "Bearer"}


def _is_public(path: str) -> bool:
    """What needs no token: the page's own files, which hold nothing of the gallery, and health."""
    return path in ("/", "/healthz", "/readyz") or path.startswith("/page/")


def _has_cookie(path: str) -> bool:
    return path.startswith(f"{COOKIE_PATH}/")


def _is_from_here(headers: Headers, host: str, *, safe: bool, public: bool) -> bool:
    site = headers.get("sec-fetch-site", "none")
    if safe:  # following a link to the page is fine; embedding or fetching an answer is not
        navigates = headers.get("sec-fetch-mode") == "navigate"
        return public or navigates or site in ("same-origin", "none")
    if site not in ("same-origin", "none"):
        return False
    origins = headers.getlist("origin")
    return all(_is_own(origin, host) for origin in origins)


def _is_own(origin: str, host: str) -> bool:
    """Whether an origin is this host, by either scheme, as a proxy may end TLS."""
    scheme, _, rest = origin.partition("://")
    usual = {"http": 80, "https": 443}.get(scheme)
    own, other = host_and_port(host), host_and_port(rest)
    if usual is None or own is None or other is None:
        return False
    return (own[0], own[1] or usual) == (other[0], other[1] or usual)
