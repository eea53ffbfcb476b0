"""Photographs by their address: what is fetched from a real server on this machine, and all that is refused.

Loopback is allowed to these tests alone, by an argument of the fetcher.
"""

import datetime
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from facesvc.errors import ImageUrlRefused, Overloaded, RequestTooLarge
from facesvc.web.fetch import AT_ONCE, UNUSABLE, FetchLimits, Lookups, PhotographFetcher, is_public, look_up
from tests.support.listening import listening

PICTURE = b"\xff\xd8\xff picture"
NAME = "photographs.example"


class Handler(BaseHTTPRequestHandler):
    """The path says what is answered."""

    asked: list[tuple[str, str]] = []  # noqa: RUF012  of all requests: path and host

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"]))
        getattr(self, f"answer_{self.path.split('/')[1]}")()

    def answer(self, body: bytes = PICTURE, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": "image/jpeg", "content-length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def answer_good(self) -> None:
        self.answer()

    def answer_page(self) -> None:
        self.answer(b"<html>", content_type="text/html")

    def answer_missing(self) -> None:
        self.answer(status=404)

    def answer_gzip(self) -> None:
        self.answer(content_encoding="gzip")

    def answer_large(self) -> None:
        self.answer(bytes(100_001))

    def answer_inside(self) -> None:
        self.answer(b"", 302, location="http://169.254.169.254/latest/meta-data")

    def answer_loop(self) -> None:
        self.answer(b"", 302, location="/loop")

    def answer_twice(self) -> None:
        self.answer(b"", 301, location="/once")

    def answer_once(self) -> None:
        self.answer(b"", 308, location="/good")

    def answer_file(self) -> None:
        self.answer(b"", 302, location="file:///etc/passwd")

    def answer_drip(self) -> None:
        self.send_response(200)
        try:
            while True:
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.02)  # a server that is slow is what this is about
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[int]:
    """Its port."""
    Handler.asked.clear()
    with listening(Handler) as port:
        yield port


@dataclass
class Names:
    """A resolver that gives these answers in turn, and the last one from then on."""

    answers: list[list[str]]
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def uncounted(size: int) -> None:
    assert size > 0


def fetcher(port: int, seconds: float = 10.0, names: Names | None = None) -> PhotographFetcher:
    limits = FetchLimits(max_bytes=100_000, seconds=seconds, http=True)
    allowed = {"127.0.0.1"}
    return PhotographFetcher(limits, names or Names([["127.0.0.1"]]), allowed.__contains__, [port])


def test_a_photograph(server: int) -> None:
    names = Names([["127.0.0.1"]])
    assert fetcher(server, names=names).fetch([f"http://{NAME}:{server}/good"] * 2, uncounted) == [PICTURE] * 2
    assert names.asked == [NAME] * 2
    assert Handler.asked == [("/good", f"{NAME}:{server}")] * 2  # the name, though it was connected to by its address


def test_redirects_are_followed_and_each_is_looked_up(server: int) -> None:
    names = Names([["127.0.0.1"]])
    assert fetcher(server, names=names).fetch([f"http://{NAME}:{server}/twice"], uncounted) == [PICTURE]
    assert names.asked == [NAME] * 3


@pytest.mark.parametrize("path", ["page", "missing", "gzip", "large", "loop"])
def test_what_is_no_photograph_is_told_of_in_one_way(server: int, path: str) -> None:
    with pytest.raises(ImageUrlRefused) as refusal:
        fetcher(server).fetch([f"http://{NAME}:{server}/{path}"], uncounted)
    assert refusal.value.detail == UNUSABLE


@pytest.mark.parametrize("path", ["inside", "file"])
def test_a_redirect_elsewhere(server: int, path: str) -> None:
    limits = FetchLimits(max_bytes=100, http=True)
    with pytest.raises(ImageUrlRefused):
        PhotographFetcher(limits, look_up, {"127.0.0.1"}.__contains__, [server, 80]).fetch(
            [f"http://127.0.0.1:{server}/{path}"], uncounted
        )
    assert [asked for asked, _ in Handler.asked] == [f"/{path}"]


def test_a_name_that_means_something_else_a_moment_later(server: int) -> None:
    """DNS rebinding: what was looked at is what is connected to, and nothing is looked up again."""
    names = Names([["127.0.0.1"], ["10.0.0.1"]])
    assert fetcher(server, names=names).fetch([f"http://{NAME}:{server}/good"], uncounted) == [PICTURE]
    assert names.asked == [NAME]


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["127.0.0.1", "10.0.0.1"], []])
def test_every_address_of_a_name_must_be_public(server: int, addresses: list[str]) -> None:
    with pytest.raises(ImageUrlRefused, match="not one of the public internet"):
        fetcher(server, names=Names([addresses])).fetch([f"http://{NAME}:{server}/good"], uncounted)
    assert Handler.asked == []


def test_a_server_that_drips_gains_no_time(server: int) -> None:
    """It would go on for ever."""
    with pytest.raises(ImageUrlRefused, match=UNUSABLE):
        fetcher(server, seconds=0.3).fetch([f"http://{NAME}:{server}/drip"], uncounted)


def test_bytes_are_told_as_they_come(server: int) -> None:
    """Of the large one no more is read than was let in."""
    told: list[int] = []

    def let_in(size: int) -> None:
        told.append(size)
        if sum(told) > len(PICTURE) + 50_000:
            raise RequestTooLarge

    with pytest.raises(RequestTooLarge):
        fetcher(server).fetch([f"http://{NAME}:{server}/{path}" for path in ("good", "large", "good")], let_in)
    assert told[0] == len(PICTURE)
    assert sum(told[:-1]) <= len(PICTURE) + 50_000 < sum(told) < len(PICTURE) + 100_001 + 1
    assert [path for path, _ in Handler.asked] == ["/good", "/large"]


class SlowNames:
    """A name server that answers when the test is over."""

    def __init__(self) -> None:
        self.over, self.asked = threading.Event(), 0

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        self.over.wait()
        return ["127.0.0.1"]


def test_looking_up_has_the_same_deadline(server: int) -> None:
    slow = SlowNames()
    asked = PhotographFetcher(FetchLimits(100_000, 0.1, http=True), slow, {"127.0.0.1"}.__contains__, [server])
    start = time.monotonic()
    with pytest.raises(ImageUrlRefused, match=UNUSABLE):
        asked.fetch([f"http://{NAME}:{server}/good"], uncounted)
    assert time.monotonic() - start < 3
    assert Handler.asked == []
    slow.over.set()


def test_names_that_are_never_found_take_so_many_threads() -> None:
    slow, late = SlowNames(), time.monotonic()
    lookups = Lookups(slow, at_once=3)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            lookups.addresses(NAME, 443, late)
    with pytest.raises(Overloaded):
        lookups.addresses(NAME, 443, late)
    assert slow.asked == 3
    slow.over.set()


def test_what_is_no_name_is_not_found() -> None:
    with pytest.raises(OSError, match="no name"):
        look_up("a" * 64 + ".example", 443)


def test_so_many_at_once(server: int) -> None:
    slow = fetcher(server, seconds=0.5)
    outcomes: list[type[Exception]] = []

    def ask() -> None:
        try:
            slow.fetch([f"http://{NAME}:{server}/drip"], uncounted)
        except (ImageUrlRefused, Overloaded) as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=ask) for _ in range(AT_ONCE + 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count(Overloaded), outcomes.count(ImageUrlRefused)) == (3, AT_ONCE)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "[::1]", "169.254.169.254", "0.0.0.0", "2130706433", "0x7f000001", "127.1",
        "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
        "10.0.0.1",
        "192.168.1.1", "172.16.0.1", "100.64.0.1", "224.0.0.1", "255.255.255.255", "localhost", "[ff02::1]",
    ],
)  # fmt: skip
def test_addresses_of_the_inside(host: str) -> None:
    """By the system's own resolver, which understands numbers in many notations."""
    with pytest.raises(ImageUrlRefused) as refusal:
        PhotographFetcher(FetchLimits(max_bytes=100, http=True)).fetch([f"http://{host}/a.jpg"], uncounted)
    assert refusal.value.detail in {"the address is not one of the public internet", UNUSABLE}


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a.jpg", "file:///etc/passwd", "gopher://example.org/", "ftp://example.org/a.jpg",
        "//example.org", "https://user@example.org/a.jpg", "https://example.org:22/", "https://example.org:8443/",
        "https:///a.jpg", "", "a.jpg", "http://0177.0.0.1/",
        "https://exam ple.org/\x00", "https://" + "a" * 3000,
    ],
)  # fmt: skip
def test_what_is_not_even_looked_up(url: str) -> None:
    names = Names([["192.0.2.1"]])
    with pytest.raises(ImageUrlRefused):
        PhotographFetcher(FetchLimits(max_bytes=100), names).fetch([url], uncounted)
    assert names.asked == []


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address", ["nonsense", "192.0.2.1", "198.51.100.1", "240.0.0.1", "2001:db8::1", "2001::1", "fe80::1%1"]
)
def test_addresses_that_are_not(address: str) -> None:
    assert not is_public(address)


def test_certificates_go_by_the_name(tmp_path: Path) -> None:
    certificate = tmp_path / "server.pem"
    certificate.write_bytes(issued(NAME))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, args=[0.01])
        thread.start()
        trusting = ssl.create_default_context(cafile=str(certificate))
        port = listening.server_port
        asked = FetchLimits(max_bytes=1000), Names([["127.0.0.1"]]), {"127.0.0.1"}.__contains__, [port]
        try:
            assert PhotographFetcher(*asked, trusting).fetch([f"https://{NAME}:{port}/good"], uncounted) == [PICTURE]
            with pytest.raises(ImageUrlRefused, match=UNUSABLE):
                PhotographFetcher(*asked, trusting).fetch([f"https://other.example:{port}/good"], uncounted)
            with pytest.raises(ImageUrlRefused, match=UNUSABLE):
                PhotographFetcher(*asked).fetch([f"https://{NAME}:{port}/good"], uncounted)  # signed by nobody
        finally:
            listening.shutdown()
            thread.join()


def issued(name: str) -> bytes:
    """A certificate for ``name``, signed by itself, with its key; PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("192.0.2.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret + built.public_bytes(serialization.Encoding.PEM)
