"""Connections that keep a server waiting, by raw sockets."""

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from facesvc.web.limits import PatientProtocol

LARGE = 32 * 2**20


class Impatient(PatientProtocol):
    head_seconds, taking_seconds, most_connections = 0.3, 0.3, 4


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    request = Request(scope, receive)
    if request.url.path == "/large":
        await Response(bytes(LARGE))(scope, receive, send)
    elif request.url.path == "/refused":
        await PlainTextResponse("no", 401)(scope, receive, send)
    else:
        await PlainTextResponse(str(len(await request.body())))(scope, receive, send)


class Full(PatientProtocol):
    """Heads have all the time: that a connection is closed is for there being too many."""

    most_connections = 4


@contextmanager
def serving(protocol: type[PatientProtocol]) -> Iterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, http=protocol, ws="none", lifespan="off", log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with serving(Impatient) as address:
        yield address


@contextmanager
def connected(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=10) as connection:
        yield connection


def is_closed(connection: socket.socket) -> bool:
    """By the server, before it is given up. Raises TimeoutError otherwise."""
    with suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    return True


def trickle(connection: socket.socket, byte: bytes) -> None:
    for _ in range(100):
        connection.sendall(byte)
        time.sleep(0.05)  # a client that is slow is what this is about


@pytest.mark.parametrize("sent", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_a_head_that_never_arrives(address: tuple[str, int], sent: bytes) -> None:
    with connected(address) as connection:
        connection.sendall(sent)
        assert is_closed(connection)


def test_a_head_that_arrives_byte_by_byte(address: tuple[str, int]) -> None:
    with connected(address) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        trickle(connection, b"G")


def test_a_body_that_goes_on_after_it_was_refused(address: tuple[str, int]) -> None:
    with connected(address) as connection:
        connection.sendall(b"POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            trickle(connection, b"x")


def test_an_answer_that_is_never_taken(address: tuple[str, int]) -> None:
    with connected(address) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(1.0)  # longer than its patience
        received = 0
        with suppress(ConnectionResetError):
            while more := connection.recv(2**20):
                received += len(more)
    assert received < LARGE


def test_requests_that_take_their_time_are_served(address: tuple[str, int]) -> None:
    with httpx.Client(base_url=f"http://{address[0]}:{address[1]}") as client:
        for _ in range(3):
            assert client.post("/", content=b"x" * 1000).text == "1000"
            time.sleep(0.4)  # a connection may rest between requests for longer than a head may take


def test_connections_are_bounded() -> None:
    with serving(Full) as address, ExitStack() as opened:
        held = {opened.enter_context(connected(address)) for _ in range(12)}
        while len(held) > Full.most_connections:
            closed, _, _ = select.select(held, [], [], 10)
            assert closed, f"{len(held)} connections are held"
            held -= {connection for connection in closed if is_closed(connection)}
        for connection in held:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
