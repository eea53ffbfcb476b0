"""Requests as bytes, and damage to them: what no HTTP client lets one send."""

import base64
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random

from drills.mutations import MUTATIONS

BOUNDARY = "facesvc-drill"
HOST = "127.0.0.1"
PATHS = (
    b"/v1/galleries/%00/subjects", b"/v1/galleries/../../etc/passwd", b"/v1/galleries/%2e%2e%2f", b"//", b"*",
    b"/v1/galleries/" + b"a" * 5000, b"/v1/galleries/%ff%fe", b"http://elsewhere/v1/model", b"/v1/galleries?limit=-1",
    b"/v1/galleries?cursor=" + b"A" * 3000, b"/v1/galleries?limit=1e400", b"/page/../../facesvc/config.py",
    b"/page/%2e%2e/%2e%2e/config.py", b"/v1/galleries/default/subjects?limit=5&limit=6", b"/\xff\xfe", b"",
)  # fmt: skip
HEADERS = (
    b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: 5\r\nContent-Length: 6",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity, chunked", b"Content-Type: application/json",
    b"Content-Type: multipart/form-data; boundary=" + b"b" * 300, b"Content-Type: multipart/form-data",
    b"Content-Encoding: gzip", b"Expect: 100-continue", b"Upgrade: websocket\r\nConnection: Upgrade",
    b"Idempotency-Key: " + b"k" * 300, b"Idempotency-Key: \x00", b"X-Request-ID: \r\n folded",
    b"X-Request-ID: " + b"x" * 20_000, b"Host: a\r\nHost: b", b"Authorization: Bearer facesvc_\xff\xfe",
    b"Authorization: Bearer " + b"A" * 9000, b"Range: bytes=0-,0-,0-", b"X-Forwarded-For: 1.2.3.4, \x01",
    b"Cookie: " + b"a=b; " * 500, b"Accept: " + b"*/*," * 999,
)  # fmt: skip
METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"FOO", b"")


def form(fields: Mapping[str, str], files: Mapping[str, bytes]) -> bytes:
    """The body of a form."""
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    parts += [
        f'Content-Disposition: form-data; name="{name}"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'.encode()
        + content
        for name, content in files.items()
    ]
    return b"".join(f"--{BOUNDARY}\r\n".encode() + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"", media_type: str = "") -> bytes:
    """A whole request after which the server closes the connection."""
    said = {"Host": HOST, "Connection": "close", **headers}
    if body:
        said |= {"Content-Type": media_type, "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def good_requests(photograph: bytes, headers: Mapping[str, str]) -> list[bytes]:
    """Requests that the service would grant, one of every shape."""
    multipart, json = f"multipart/form-data; boundary={BOUNDARY}", "application/json"
    encoded = b'{"base64": "' + base64.b64encode(photograph) + b'"}'
    references = "/v1/galleries/default/subjects/ada/references"
    bodies: list[tuple[str, str, bytes, str]] = [
        ("POST", "/v1/verify", form({"face": "only"}, {"probe": photograph, "reference": photograph}), multipart),
        ("POST", "/v1/verify", b'{"probe": ' + encoded + b', "reference": {"subject": "ada"}}', json),
        ("POST", "/v1/identify", form({"top_k": "3", "threshold": "1.1"}, {"image": photograph}), multipart),
        ("POST", "/v1/identify", b'{"gallery": "default", "top_k": 3, "image": ' + encoded + b"}", json),
        ("POST", "/v1/detect", form({}, {"image": photograph}), multipart),
        ("POST", "/v1/detect", b'{"image": ' + encoded + b"}", json),
        ("POST", references, form({"strict": "false"}, {"images": photograph}), multipart),
        ("POST", references, b'{"strict": false, "images": [' + encoded + b"]}", json),
        ("POST", "/v1/galleries", b'{"name": "staff", "metadata": {"a": [1, 2.5, null]}}', json),
        ("PATCH", "/v1/galleries/default", b'{"metadata": {"b": "c"}}', json),
        ("POST", "/v1/galleries/default/subjects", b'{"id": "eve", "display_name": "Eve"}', json),
        ("PATCH", "/v1/galleries/default/subjects/ada", b'{"display_name": "Ada"}', json),
    ]
    reads = ["/v1/galleries?limit=3", "/v1/galleries/default/subjects?limit=2", references, "/v1/model", "/metrics"]
    reads += ["/", "/page/app.js", "/errors/no_face", "/openapi.json", "/healthz", "/readyz"]
    named = {**headers, "Idempotency-Key": '"one"', "X-Request-ID": "drill"}
    return [request(method, path, named, body, kind) for method, path, body, kind in bodies] + [
        request("GET", path, headers) for path in reads
    ]


def damaged(chance: Random, good: Sequence[bytes]) -> bytes:
    """One of the requests, damaged in its line, its headers, its body, or anywhere."""
    head, gap, body = chance.choice(good).partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    where = chance.random()
    if where < 0.15:
        line = _line(chance, line)
    elif where < 0.4:
        headers.insert(chance.randrange(len(headers) + 1), chance.choice(HEADERS))
    elif where < 0.5:
        headers.pop(chance.randrange(len(headers)))
    elif where < 0.8 and body:
        body = _mutated(chance, body)
        headers = [f"Content-Length: {len(body)}".encode() if h.startswith(b"Content-Length") else h for h in headers]
    else:
        return _mutated(chance, head + gap + body)
    return b"\r\n".join([line, *headers]) + gap + body


def _line(chance: Random, line: bytes) -> bytes:
    method, path, version = line.split(b" ")
    if chance.random() < 0.3:
        method = chance.choice(METHODS)
    if chance.random() < 0.7:
        path = chance.choice((*PATHS, _mutated(chance, path)))
    if chance.random() < 0.2:
        version = chance.choice((b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1\x00", b""))
    return b" ".join((method, path, version))


def _mutated(chance: Random, data: bytes) -> bytes:
    for _ in range(chance.randint(1, 3)):
        data = chance.choice(MUTATIONS)(chance, data) or b"\0"
    return data


def send(address: tuple[str, int], data: bytes, patience: float) -> str:
    """The status of the answer to these bytes; "none" where the connection was closed without, "waits" where the
    server wants more than it got within ``patience`` seconds, "refused" where there is nobody."""
    received = b""
    try:
        with socket.create_connection(address, timeout=30) as connection:
            connection.settimeout(patience)
            with suppress(OSError):  # it has answered and closed already
                connection.sendall(data)
            while len(received) < 12 and (more := connection.recv(4096)):
                received += more
    except TimeoutError:
        return "waits"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "none"
    return received[9:12].decode("latin-1") if received.startswith(b"HTTP/1.") else "none"
