"""`facesvc serve`: the HTTP service and its page."""

import errno
import os
import shutil
import socket
import sys
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from facesvc.cli.console import say
from facesvc.errors import RequestError

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from facesvc.config import Settings

BACKLOG = 2048
LAST_REQUESTS = 30
"""Seconds that running requests have to finish when the service is stopped."""
KEEP_ALIVE = 75
"""Seconds that a connection may rest between two requests: longer than proxies keep theirs (nginx: 60). With uvicorn's
5 a client now and then sends into a connection that is being closed, and gets no answer."""


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on (FACESVC_HOST).")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one (FACESVC_PORT).")
    ] = None,
    dev: Annotated[
        bool, typer.Option("--dev", help="Development mode: no API keys, on a loopback address (FACESVC_DEV).")
    ] = False,
) -> None:
    """Run the service: the API under /v1, the page at /. The first run builds the model pack, and prints the
    administrator's API key.

    Example: facesvc serve --port 8000
    """
    given = {"host": host, "port": port, "dev": dev or None}
    settings = context.obj.model_copy(update={key: value for key, value in given.items() if value is not None})
    require_loopback(settings)
    listener = listen(settings.host, settings.port)  # first: a taken port is known before the models are loaded
    report_first_run(settings)
    run(settings, listener)


def require_loopback(settings: "Settings") -> None:
    """Raises RequestError for development mode on any other address."""
    from facesvc.web import access

    access.require_loopback(settings)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises RequestError where the address can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        # Inherited by every connection. asyncio would set it, but not on sockets of protocol 0, as these are: without
        # it an answer's body waits for the acknowledgement of its head, which clients delay by 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror  # < 0: no such host
        hint = "; try another with --port, or --port 0" if error.errno == errno.EADDRINUSE else ""
        raise RequestError(f"can't listen on {host} port {port}: {str(reason).lower()}{hint}") from error


def report_first_run(settings: "Settings") -> None:
    """Says why the first start takes longer."""
    from facesvc.models.packs import Packs

    packs = Packs(settings.packs)
    name = settings.pack or packs.chosen()
    if name not in packs.built():
        say(f"first run: building model pack {name} from the installed weights, about half a minute")


def run(settings: "Settings", listener: socket.socket) -> None:
    """Serves until SIGINT or SIGTERM. The service is opened before the server, so that what keeps it from starting
    is one plain line."""
    import uvicorn

    from facesvc.bootstrap import open_tenants
    from facesvc.web.app import create_app

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                announce(address(listener), settings.dev)

    with open_tenants(settings, serving=True) as tenants:
        app = create_app(settings, lambda: nullcontext(tenants))
        with suppress(KeyboardInterrupt):  # uvicorn repeats the signal once everything is closed
            Server(configured(app, settings)).run([listener])
    say("stopped")


def configured(app: "FastAPI", settings: "Settings") -> "uvicorn.Config":
    """How uvicorn serves ``app``."""
    import uvicorn

    from facesvc.web.limits import PatientProtocol

    return uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        log_level="warning",  # the application logs its requests itself
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_REQUESTS,
        timeout_keep_alive=KEEP_ALIVE,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
    )


def address(listener: socket.socket) -> str:
    """The URL to try: an address that listens everywhere is reached at the loopback one."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host) or str(host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def announce(url: str, dev: bool) -> None:
    key = "" if dev else '-H "Authorization: Bearer $FACESVC_API_KEY" '
    if dev:
        say("development mode: no API key is needed, by nobody on this machine")
    say(f"facesvc is ready at {url}")
    say(f"try: {program()} samples && curl -s {key}-F probe=@samples/people/obama/obama.jpg \\")
    say(f"       -F reference=@samples/people/obama/obama2.jpg {url}/v1/verify")


def program() -> str:
    """How this program was called, so that what is suggested can be pasted where no environment is activated."""
    return "facesvc" if shutil.which("facesvc") else sys.argv[0]
