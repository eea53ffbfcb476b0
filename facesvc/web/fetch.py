"""A photograph from an address that a caller names, without lending the caller this machine's place in the network.

Server-side request forgery (OWASP Top 10 2021, A10) is stopped at the address, not at the name: a name is looked up
once, every address that it has must be public, and the connection goes to the very address that was looked at, so that
a name which means something else a moment later (DNS rebinding) gains nothing. TLS and the Host header still go by the
name. Redirects start over. What came back is told of in one sentence whatever it was, so that nobody maps a network by
it. No proxy, cookie or credential of this machine is used.

The addresses of a name, by a certain moment: the system's resolver knows no deadline of ours, and a name server that
is slow on purpose would hold a request for as long as it likes.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from threading import BoundedSemaphore, Thread
from typing import Any

import httpcore
import httpx

from facesvc.errors import ImageUrlRefused, Overloaded

LOOKUPS_AT_ONCE = 32
"""Names that are looked up; further requests are answered `overloaded`. Those that were given up keep their place until
the system's resolver gives up too."""

Resolve = Callable[[str, int], Sequence[str]]


def look_up(host: str, port: int) -> list[str]:
    """All addresses of a name. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label of more than 63 characters
        raise OSError(f"no name: {error}") from error
    return [str(address[0]) for *_, address in found]


class Lookups:
    """Thread-safe. resolve: how names are looked up, each in a thread of its own that nobody has to wait for."""

    def __init__(self, resolve: Resolve, at_once: int = LOOKUPS_AT_ONCE) -> None:
        self._resolve, self._places = resolve, BoundedSemaphore(at_once)

    def addresses(self, host: str, port: int, deadline: float) -> Sequence[str]:
        """By ``deadline``, as time.monotonic counts. Raises OSError, of which TimeoutError is one, and Overloaded."""
        if not self._places.acquire(blocking=False):
            raise Overloaded("too many names are being looked up; try again in a moment")
        found: Future[Sequence[str]] = Future()
        thread = Thread(target=self._look, args=(found, host, port), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more
            self._places.release()
            raise Overloaded("no thread is left to look up a name; try again in a moment") from None
        return found.result(max(deadline - time.monotonic(), 0))

    def _look(self, found: Future[Sequence[str]], host: str, port: int) -> None:
        try:
            found.set_result(self._resolve(host, port))
        except BaseException as error:  # it is for whoever waits
            found.set_exception(error)
        finally:
            self._places.release()


MAX_REDIRECTS = 3
REDIRECTS = {301, 302, 303, 307, 308}
PORTS = {"https": 443, "http": 80}
LONGEST_URL = 2048
AT_ONCE = 8
"""Requests whose photographs are fetched; further ones are answered `overloaded`: slow servers must not take all
threads."""
HEADERS = [(b"Accept", b"image/*"), (b"Accept-Encoding", b"identity"), (b"User-Agent", b"facesvc")]
EMBEDDING = [
    ip_network(network)
    for network in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10")
]
"""Networks of IPv6 whose addresses stand for IPv4 ones (compatible, NAT64, Teredo, 6to4) or were private once
(site-local): where they lead depends on the network that one is in."""
UNUSABLE = "the address gave no public image in time"

Allowed = Callable[[str], bool]
Arrived = Callable[[int], None]
"""Told of bytes as they come in; whatever it raises ends the fetching."""


def is_public(address: str) -> bool:
    """Whether this is an address of the public internet and of nothing else (IANA special-purpose registries)."""
    try:
        found: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped:
            return is_public(str(found.ipv4_mapped))
        if found.scope_id or any(found in network for network in EMBEDDING):
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved and not found.is_unspecified


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """max_bytes: of one photograph; seconds: for all of a request together, looking up names included;
    http: whether plain HTTP is allowed."""

    max_bytes: int
    seconds: float = 10.0
    http: bool = False


class PhotographFetcher:
    """Thread-safe. resolve, allowed, ports: how names are looked up and what may be connected to; others than the
    default ones are for tests, which have no public server. verify: what certificates are checked with."""

    def __init__(
        self,
        limits: FetchLimits,
        resolve: Resolve = look_up,
        allowed: Allowed = is_public,
        ports: Iterable[int] = PORTS.values(),
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self.limits, self.allowed, self.ports = limits, allowed, frozenset(ports)
        self.lookups = Lookups(resolve)
        self.verify = verify or ssl.create_default_context()
        self._turns = BoundedSemaphore(AT_ONCE)

    def fetch(self, urls: Sequence[str], arrived: Arrived) -> list[bytes]:
        """The files at these addresses. Raises ImageUrlRefused, Overloaded, and whatever ``arrived`` raises."""
        if not self._turns.acquire(blocking=False):
            raise Overloaded("too many photographs are being fetched; try again in a moment")
        try:
            deadline = time.monotonic() + self.limits.seconds
            return [self._fetch(url, deadline, arrived) for url in urls]
        finally:
            self._turns.release()

    def _fetch(self, text: str, deadline: float, arrived: Arrived) -> bytes:
        url = self._checked(text)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                found = self._ask(url, deadline, arrived)
            except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
                raise ImageUrlRefused(UNUSABLE) from error
            if isinstance(found, bytes):
                return found
            url = self._checked(str(_joined(url, found)))
        raise ImageUrlRefused(UNUSABLE)

    def _checked(self, text: str) -> httpx.URL:
        """Raises ImageUrlRefused for an address that is not fetched from, whoever is there."""
        url = _parsed(text)
        if url.scheme != "https" and not (self.limits.http and url.scheme == "http"):
            raise ImageUrlRefused(f"photographs are fetched from {'http(s)' if self.limits.http else 'https'}:// only")
        if not url.host or url.userinfo or (url.port or PORTS[url.scheme]) not in self.ports:
            raise ImageUrlRefused("an address is a host's name and a path, without credentials or port")
        return url

    def _ask(self, url: httpx.URL, deadline: float, arrived: Arrived) -> bytes | str:
        """The file, or where it is to be found. Raises ImageUrlRefused, and httpcore's and the system's errors."""
        port = url.port or PORTS[url.scheme]
        addresses = list(self.lookups.addresses(url.raw_host.decode("ascii"), port, deadline))
        if not addresses or not all(map(self.allowed, addresses)):
            raise ImageUrlRefused("the address is not one of the public internet")
        backend = _Pinned(addresses[0], deadline)
        with (
            httpcore.ConnectionPool(ssl_context=self.verify, network_backend=backend) as pool,
            pool.stream("GET", str(url), headers=HEADERS) as answer,
        ):
            told = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
            if answer.status in REDIRECTS and b"location" in told:
                return told[b"location"]
            _require_image(answer.status, told)
            return self._read(answer.iter_stream(), arrived)

    def _read(self, chunks: Iterable[bytes], arrived: Arrived) -> bytes:
        content = bytearray()
        for chunk in chunks:
            arrived(len(chunk))
            content += chunk
            if len(content) > self.limits.max_bytes:
                raise ImageUrlRefused(UNUSABLE)
        return bytes(content)


def _parsed(text: str) -> httpx.URL:
    if len(text) <= LONGEST_URL:
        try:
            return httpx.URL(text)
        except httpx.InvalidURL:
            pass
    raise ImageUrlRefused("this is not the address of anything")


def _joined(url: httpx.URL, location: str) -> httpx.URL:
    try:
        return url.join(location)
    except httpx.InvalidURL:
        raise ImageUrlRefused(UNUSABLE) from None


def _require_image(status: int, headers: dict[bytes, str]) -> None:
    encoding = headers.get(b"content-encoding", "identity").lower()
    image = headers.get(b"content-type", "").lower().startswith("image/")
    if status != 200 or encoding != "identity" or not image:
        raise ImageUrlRefused(UNUSABLE)


class _Pinned(httpcore.NetworkBackend):
    """Connects to one address, whatever the host is called, and to nothing after the deadline."""

    def __init__(self, address: str, deadline: float) -> None:
        self.address, self.deadline, self.inner = address, deadline, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self.deadline)
        return _Bounded(self.inner.connect_tcp(self.address, port, left, local_address, socket_options), self.deadline)


class _Bounded(httpcore.NetworkStream):
    """A stream on which every wait ends at the deadline: a server that sends a byte now and then gains no time."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float) -> None:
        self.inner, self.deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.inner.read(max_bytes, _left(self.deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.inner.write(buffer, _left(self.deadline))

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Bounded(self.inner.start_tls(ssl_context, server_hostname, _left(self.deadline)), self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


def _left(deadline: float) -> float:
    """Seconds. Raises httpcore.ReadTimeout where there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("deadline")
    return left
