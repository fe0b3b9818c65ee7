"""Who may ask, decided before anything else looks at a request; and the headers of every answer.

A server on 127.0.0.1 is reached by every page in the browser of the same machine. Three checks keep
other sites out: the ``Host`` header (a name of their own that they let point here: DNS rebinding),
``Origin`` and ``Sec-Fetch-Site`` (forms and scripts of their pages), and headers that let no other
page embed or read an answer. A token, where one is set, is compared in constant time and never
logged. Tested in ``tests/server/test_guard.py``.
"""

from __future__ import annotations

import hashlib
import hmac
import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from msedge.server.problems import problem
from msedge.server.settings import ServerSettings, host_and_port, host_name

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


def cookie_value(token: str) -> str:
    """What the cookie holds: a proof of the token from which it cannot be had back."""
    return hmac.new(token.encode(), b"msedge photos", hashlib.sha256).hexdigest()


class Guard:
    """Refuse what must not be asked, and add the headers of every answer."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        """Take the application to guard, and its rules."""
        self._app, self._names, self._token = app, settings.host_names, settings.token

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
            status, line = refusal
            challenge = {"WWW-Authenticate": "Bearer"} if status == 401 else None
            await problem(status, line, challenge)(scope, receive, with_headers)
            return
        try:
            await self._app(scope, receive, with_headers)
        except Exception:
            if started:
                raise
            _logger.exception("cannot answer %s", scope["method"])
            line = "the server failed to answer; its log says why"
            await problem(500, line)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers, path = Headers(scope=scope), str(scope["path"])
        hosts = headers.getlist("host")
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None:
            return 400, "the Host header is missing or not well formed"
        if name not in self._names:
            return 403, f"this server does not answer to {name}; `--allow-host {name}` lets it"
        safe = scope["method"] in _SAFE_METHODS
        if not _is_from_here(headers, hosts[0], safe=safe, public=_is_public(path)):
            return 403, "requests from other sites' pages are refused"
        if self._token is not None and not _is_public(path):
            return self._token_refusal(headers, self._token, cookie=safe and _has_cookie(path))
        return None

    def _token_refusal(
        self, headers: Headers, token: str, *, cookie: bool
    ) -> tuple[int, str] | None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip(), token):
            return None
        if cookie:
            cookies = cookie_parser(headers.get("cookie", ""))
            if _same(cookies.get(COOKIE, ""), cookie_value(token)):
                return None
        return 401, "a token is needed: send `Authorization: Bearer TOKEN`"


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


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
