"""``msedge serve``: a gallery in the browser, and as an HTTP API.

Tested in ``tests/cli/test_serve.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from msedge.cli.search_options import DEFAULT_GALLERY, GalleryPath, NamesFile

_NEEDED = ("fastapi", "prometheus_client", "uvicorn")


class LogFormat(StrEnum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


Host = Annotated[
    str,
    typer.Option(help="Address to listen on; one that other machines reach needs --token."),
]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="0 for any that is free.")]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="MSEDGE_TOKEN",
        show_envvar=True,
        help="What a client must know to ask; better given in the environment, which other "
        "users of the machine cannot read.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Further tokens, a line NAME TOKEN for each, which nobody else may read; SIGHUP has "
        "it read again.",
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A further name that clients may ask by; once for each."),
]
TrustProxy = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADDRESS",
        help="A proxy's address or network, whose X-Forwarded-For is believed; once for each.",
    ),
]
RootPath = Annotated[
    str,
    typer.Option(
        metavar="PATH",
        help="Under which a proxy shows the server, such as /photos; the proxy takes it off.",
        show_default=False,
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Show the page in the browser.")]
Recall = Annotated[
    float,
    typer.Option(
        min=0.0,
        max=1.0,
        help="Beyond a million photos, the share of the first 20 that searching is to find; an "
        "index for that is built in the background. 1 searches exactly.",
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="Searches a second that one client may ask, on average over three; 0 for no limit. "
        "Without it none on this machine alone, and 10 where other machines can reach it.",
        show_default=False,
    ),
]
Memory = Annotated[
    str,
    typer.Option(
        metavar="SIZE",
        help="For pictures while they are read, over all requests, such as 1GB; more have to wait.",
    ),
]
Log = Annotated[bool, typer.Option("--log", help="Write a line for each request.")]
LogFormatOption = Annotated[LogFormat, typer.Option("--log-format", help="Of the log's lines.")]


def serve_command(
    gallery: GalleryPath = DEFAULT_GALLERY,
    host: Host = "127.0.0.1",
    port: Port = 8765,
    token: Token = None,
    token_file: TokenFile = None,
    allow_host: AllowHost = None,
    trust_proxy: TrustProxy = None,
    root_path: RootPath = "",
    open_page: Open = False,
    log: Log = False,
    log_format: LogFormatOption = LogFormat.TEXT,
    recall: Recall = 0.99,
    rate: Rate = None,
    memory: Memory = "300MB",
    names: NamesFile = None,
) -> None:
    """Serve a gallery: a page to draw on, and an HTTP API.

    Prints its address on standard output when it answers, and ends by Ctrl+C or SIGTERM.
    SIGHUP has the tokens and the gallery read again.
    """
    _check_installed()
    from msedge.search.gallery import Gallery
    from msedge.server.app import create_app
    from msedge.server.memory import memory_size
    from msedge.server.request_log import json_line
    from msedge.server.running import address_of, bind, serve
    from msedge.server.settings import settings_for

    settings = settings_for(
        host,
        token=token,
        token_file=token_file,
        allowed_hosts=allow_host or (),
        trusted_proxies=trust_proxy or (),
        root_path=root_path,
        rate=rate,
        memory=memory_size(memory),
    )

    def say(line: str) -> None:
        typer.echo(json_line(line) if log_format is LogFormat.JSON else line, err=True)

    # As many searches run at a time as there are cores, so each needs no more than one thread: with
    # more they get in each other's way, and take longer.
    whole = Gallery.open(gallery, exact=recall == 1, threads=1, names=names)
    with whole as opened, bind(host, port) as listening:
        _ = opened.encoder, opened.names  # a server that cannot search does not begin
        app, address = create_app(opened, settings), address_of(listening)

        def ready() -> None:
            serving = f"Serving {opened.photos:,} photos; Ctrl+C ends it."
            typer.echo(address)  # from here on whoever waited for it may change the gallery
            say(serving)
            if open_page:
                typer.launch(address)

        with _background_index(gallery, recall, say, is_shared=opened.is_shared):
            serve(app, listening, log=log, log_format=log_format.value, ready=ready)


def _background_index(
    gallery: Path, recall: float, say: Callable[[str], None], *, is_shared: bool
) -> AbstractContextManager[object]:
    from msedge.cli.background_index import BackgroundIndex

    if recall == 1 or is_shared:  # the index of a shared gallery is its own, not a server's
        return nullcontext()
    return BackgroundIndex(gallery, recall=recall, say=say)


def _check_installed() -> None:
    from msedge.errors import ConfigError

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"serving needs {', '.join(missing)}: install it by `pip install 'msedge[serve]'`"
        )
