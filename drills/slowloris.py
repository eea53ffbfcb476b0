"""Six hundred connections that say nothing, half a head, or a byte now and then: others are served meanwhile, and the
idle ones are closed."""

import socket
import time
from pathlib import Path

from drills.ground import Real, Served, prepared, serving
from drills.offered import percentile
from facesvc.web.limits import HEAD_SECONDS

CONNECTIONS = 600
BEGINNINGS = (b"", b"GET /v1/mod", b"POST /v1/detect HTTP/1.1\r\nHost: a\r\nX-Slow: ")
LEEWAY = 15.0
"""Seconds beyond its patience in which the server must have closed them all."""
SERVED_WITHIN = 1.0


def measure(folder: Path, real: Real) -> tuple[list[float], float]:
    """Seconds that others' requests took meanwhile, and after which the last idle connection was closed."""
    with serving(folder, real) as served:
        start = time.monotonic()
        held = [begun(served, BEGINNINGS[number % len(BEGINNINGS)]) for number in range(CONNECTIONS)]
        taken: list[float] = []
        try:
            while held and time.monotonic() < start + HEAD_SECONDS + LEEWAY:
                taken += others(served)
                held = [connection for connection in held if not ended(connection)]
            seconds = time.monotonic() - start
            assert not held, f"{len(held)} of {CONNECTIONS} connections are still open after {seconds:.0f} s"
        finally:
            for connection in held:
                connection.close()
    return taken, seconds


def begun(served: Served, beginning: bytes) -> socket.socket:
    connection = socket.create_connection(served.address, timeout=10)
    connection.sendall(beginning)
    connection.setblocking(False)
    return connection


def ended(connection: socket.socket) -> bool:
    """Whether the server has closed it; where not, another byte of the head is sent to some."""
    try:
        if connection.fileno() % 2:
            connection.send(b"a")
        return connection.recv(4096) == b""
    except BlockingIOError:
        return False
    except OSError:
        connection.close()
        return True


def others(served: Served) -> list[float]:
    """Seconds of a few requests, each on a connection of its own."""
    taken = []
    for _ in range(5):
        start = time.monotonic()
        with served.client() as client:
            client.get("/v1/model").raise_for_status()
        taken.append(time.monotonic() - start)
        time.sleep(0.1)  # one who asks now and then, for as long as the attack lasts
    return taken


def run(folder: Path) -> str:
    taken, seconds = measure(folder / "data", prepared())
    worst = percentile(taken, 0.99)
    assert worst < SERVED_WITHIN, f"others waited {worst:.2f} s"
    return (
        f"{CONNECTIONS} connections that never finish a request: {len(taken)} requests of others served meanwhile, p99 "
        f"{worst * 1000:.0f} ms; all of them closed after {seconds:.0f} s"
    )
