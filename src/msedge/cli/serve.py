"""``msedge serve``: a gallery in the browser, and as an HTTP API.

Tested in ``tests/cli/test_serve.py``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from msedge.cli.search_options import DEFAULT_GALLERY, GalleryPath

_NEEDED = ("fastapi", "prometheus_client", "uvicorn")

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
AllowHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A further name that clients may ask by; once for each."),
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


def serve_command(
    gallery: GalleryPath = DEFAULT_GALLERY,
    host: Host = "127.0.0.1",
    port: Port = 8765,
    token: Token = None,
    allow_host: AllowHost = None,
    open_page: Open = False,
    log: Log = False,
    recall: Recall = 0.99,
    rate: Rate = None,
    memory: Memory = "300MB",
) -> None:
    """Serve a gallery: a page to draw on, and an HTTP API.

    Prints its address on standard output when it answers, and ends by Ctrl+C or SIGTERM.
    """
    _check_installed()
    from msedge.search.encoder import OnnxEncoder
    from msedge.search.gallery import Gallery
    from msedge.search.stores import open_store
    from msedge.server.app import create_app
    from msedge.server.memory import memory_size
    from msedge.server.running import address_of, bind, serve
    from msedge.server.settings import settings_for

    settings = settings_for(
        host,
        token=token,
        allowed_hosts=tuple(allow_host or ()),
        rate=rate,
        memory=memory_size(memory),
    )
    with open_store(gallery) as store:
        # As many searches run at a time as there are cores, so each needs no more than one thread:
        # with more they get in each other's way, and take longer.
        encoder = OnnxEncoder.load(store.model.name, threads=1)
        store.check_model(encoder)
        is_shared = store.is_shared
    whole = Gallery.open(gallery, model=encoder, exact=recall == 1)
    with whole as opened, bind(host, port) as listening:
        address = address_of(listening)

        def ready() -> None:
            typer.echo(address)
            typer.echo(f"Serving {opened.photos:,} photos; Ctrl+C ends it.", err=True)
            if open_page:
                typer.launch(address)

        with _background_index(gallery, recall, is_shared=is_shared):
            serve(create_app(opened, settings), listening, log=log, ready=ready)


def _background_index(
    gallery: Path, recall: float, *, is_shared: bool
) -> AbstractContextManager[object]:
    from msedge.cli.background_index import BackgroundIndex

    if recall == 1 or is_shared:  # the index of a shared gallery is its own, not a server's
        return nullcontext()
    return BackgroundIndex(gallery, recall=recall, say=lambda line: typer.echo(line, err=True))


def _check_installed() -> None:
    from msedge.errors import ConfigError

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"serving needs {', '.join(missing)}: install it by `pip install 'msedge[serve]'`"
        )
