"""A rotation of the data key is killed half way and run again, while clients enrol, verify and identify."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from drills.faults.worker import Packs, open_home
from facesvc.core.types import NewGallery
from facesvc.index.galleries import GalleryIndexes
from facesvc.service.enrolment import EnrolmentRequest
from facesvc.storage.engine import open_engine
from tests.support.databases import VERSION, process
from tests.support.galleryfiles import bare
from tests.support.services import make_service

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SUBJECTS = 3_000
BEFORE = 4
"""Steps of the rotation that are made before it is killed: the gallery, then 200 subjects each."""


def client(url: str, name: str, ended: Event) -> tuple[list[str], list[str]]:
    """A service process's work: whom it enrolled, and what failed."""
    database = process(open_engine(url))
    store = database.store("default")
    service = make_service(Packs(), store, GalleryIndexes(store, open_home(store, None)))
    enrolled: list[str] = []
    failed: list[str] = []
    while not ended.is_set() or len(enrolled) < 3:
        person = f"{name} {len(enrolled) + 1}"
        try:
            service.enrolments.enrol(EnrolmentRequest("staff", person, [person.encode()], strict=False))
            answer = service.decisions.verify_subject(person.encode(), "staff", person)
            found = service.decisions.identify(person.encode(), "staff", 1).faces[0].candidates[0].subject
            if (answer.distance, found) != (0.0, person):
                failed.append(f"{person}: {answer.distance} {found}")
        except Exception as error:  # whatever it is, it is what the test looks for
            failed.append(f"{person}: {error!r}")
        enrolled.append(person)
    database.engine.dispose()
    return enrolled, failed


def rotation(url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "drills.faults.rotator", url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def kill_half_way(url: str) -> None:
    with rotation(url) as rotating:
        assert rotating.stdout is not None
        for _ in range(BEFORE):
            assert rotating.stdout.readline()
        rotating.kill()
    assert rotating.returncode == -9


def test_killed_half_way_and_resumed_with_clients_running(url: str) -> None:
    database = process(open_engine(url))
    database.store("default").galleries.create(NewGallery("staff"), VERSION)
    for start in range(0, SUBJECTS, 500):
        database.exchange("default").add("staff", [bare(f"s{number}") for number in range(start, start + 500)])
    care, ended = database.encryption("default"), Event()
    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(client, url, name, ended) for name in ("w0", "w1", "w2")]
        try:
            kill_half_way(url)
            assert min(care.data_keys().values()) > 0, "killed half way"
            assert sorted(care.data_keys()) == [1, 2]
            with rotation(url) as rotating:
                steps, _ = rotating.communicate(timeout=240)
            assert rotating.returncode == 0
            assert sum(map(int, steps.split())) >= SUBJECTS - 200 * BEFORE
        finally:
            ended.set()
        outcomes = [each.result() for each in clients]
    assert [failed for _, failed in outcomes] == [[], [], []]
    enrolled = [person for names, _ in outcomes for person in names]
    assert care.data_keys() == {2: SUBJECTS + len(enrolled) + 1}
    after = process(open_engine(url)).store("default")
    assert after.galleries.get("staff").subjects == SUBJECTS + len(enrolled)
    for person in (*enrolled, "s0", f"s{SUBJECTS - 1}"):
        assert after.subjects.get("staff", person).id == person
    database.engine.dispose()
    after.engine.dispose()
