"""A real server on a free loopback port, in a thread of the test process."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from facesvc.bootstrap import open_tenants
from facesvc.cli.serve import configured
from facesvc.cli.serve import listen as bind
from facesvc.config import Settings
from facesvc.models.packs import DEFAULT_PACK
from facesvc.web.app import create_app

START_SECONDS = 120


@dataclass(frozen=True)
class Live:
    """A running server: its address, its settings, and a client of it."""

    url: str
    settings: Settings
    client: httpx.Client


class _Server(uvicorn.Server):
    """Says when it listens, or that it never will."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.settled.set()


@contextmanager
def serve(settings: Settings) -> Iterator[Live]:
    """The whole service over ``settings``, as `facesvc serve` runs it."""
    with (
        listen(create_app(settings, partial(open_tenants, settings, serving=True))) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield Live(url, settings, client)


@contextmanager
def listen(app: FastAPI) -> Iterator[str]:
    """The address of ``app``, served until the context ends."""
    listener = bind("127.0.0.1", 0)
    server = _Server(configured(app, app.state.settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="live server")
    thread.start()
    try:
        assert server.settled.wait(START_SECONDS)
        assert server.started, "the server did not start; its log says why"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def served_settings(data: Path, packs: Path, **changes: Any) -> Settings:
    """Settings over the folder ``data``, with the default pack of the folder ``packs``; in development mode unless
    ``changes`` say otherwise."""
    data.mkdir(exist_ok=True)
    (data / "packs").symlink_to(packs, target_is_directory=True)
    return Settings(**{"data": data, "pack": DEFAULT_PACK, "dev": True} | changes)
