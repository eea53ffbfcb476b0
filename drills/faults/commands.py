"""Rounds with the real command line: an enrolment of a folder, or an identification, is killed and run again."""

import hashlib
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from drills.faults.ground import PACK, Outcome, Stage, elsewhere
from drills.faults.inspection import structure
from drills.faults.kinds import kind
from drills.faults.moments import ANY_TIME
from drills.faults.served import FACES, Photographs
from drills.faults.worker import open_service
from facesvc.service import FaceService
from facesvc.storage.engine import open_engine
from tests.support.commandline import CommandLine
from tests.support.databases import keep_master_key, make_keys

LATEST_SECONDS = 0.3
"""After the photograph that was waited for, the kill."""
GALLERY = "staff"
EACH = 8
"""Photographs of each of two people."""


@kind("enrol-folder", share=0.02, real=True)
def enrol_folder(stage: Stage, chance: Random) -> Outcome:
    """Killed at a random photograph; done again, each photograph is there, once."""
    with sealed_url(stage) as url, open_service(open_engine(url)) as service:
        cli, folder = prepare(stage)
        command = ("--pack", PACK, "--database-url", url, "enrol-folder", folder, "--gallery", GALLERY)
        kill(cli, command, lambda: sum(map(len, stored(service).values())), chance)
        violations = elsewhere(structure, url).violations
        acknowledged = sum(map(len, stored(service).values()))
        done = cli.run(*command)
        violations += elsewhere(structure, url).violations
        wanted = {person.name: digests(person) for person in sorted(folder.iterdir())}
        if (found := stored(service)) != wanted:
            violations.append(f"enrolled again: {done.stderr.decode()} {found} is not {wanted}")
    return Outcome("enrol-folder", stage.database, ANY_TIME, "enrol-folder", acknowledged, violations)


@kind("identify", share=0.02, real=True)
def identify(stage: Stage, chance: Random) -> Outcome:
    """Killed at a random photograph; resumed, its output has the bytes of one that nothing disturbed."""
    with sealed_url(stage) as url:
        cli, folder = prepare(stage)
        database = ("--pack", PACK, "--database-url", url)
        cli.run(*database, "enrol-folder", folder, "--gallery", GALLERY)
        output, undisturbed = folder.parent / "killed.jsonl", folder.parent / "undisturbed.jsonl"
        command = (*database, "identify", folder, "--gallery", GALLERY, "--output")
        journal = Path(f"{output}.partial")
        kill(cli, (*command, output), lambda: lines(journal), chance)
        acknowledged = lines(journal)
        for target, option in ((output, ("--resume",)), (undisturbed, ())):
            cli.run(*command, target, *option)
        violations = elsewhere(structure, url).violations
        if output.read_bytes() != undisturbed.read_bytes() or lines(output) < 2 * EACH:
            violations.append(f"resumed identification: {output.read_text()} is not {undisturbed.read_text()}")
    return Outcome("identify", stage.database, ANY_TIME, "identify", acknowledged, violations)


def prepare(stage: Stage) -> tuple[CommandLine, Path]:
    """A command line with a data folder of its own, and a folder of people."""
    assert stage.real
    folder, photographs = stage.new_folder(), Photographs(stage.real.samples)
    for owner in FACES:
        person = folder / "people" / owner
        person.mkdir(parents=True)
        for number in range(EACH):
            (person / f"{number}.jpg").write_bytes(photographs(f"{owner} {number}"))
    cli = CommandLine.over(folder / "data", stage.real.packs)
    keep_master_key(cli.data)
    return cli, folder / "people"


@contextmanager
def sealed_url(stage: Stage) -> Iterator[str]:
    """Of a database that the commands and the inspection open with one master key."""
    with stage.open_url() as url:
        make_keys(url)
        yield url


def kill(cli: CommandLine, command: tuple[object, ...], done: Callable[[], int], chance: Random) -> None:
    """Runs ``command`` and kills it a moment after it has done a random number of photographs."""
    wanted, seconds = chance.randrange(2 * EACH), chance.uniform(0, LATEST_SECONDS)
    process = subprocess.Popen(cli.command(*command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and done() < wanted:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    process.wait()


def stored(service: FaceService) -> dict[str, list[str]]:
    """Digests of each subject's photographs, sorted; {} while there is no gallery."""
    store = service.resources.store
    if GALLERY not in {gallery.name for gallery in store.galleries.list(100).items}:
        return {}
    return {
        subject.id: sorted(
            reference.image_sha256 for reference in store.references.list(GALLERY, subject.id, 100).items
        )
        for subject in store.subjects.list(GALLERY, 100).items
    }


def digests(folder: Path) -> list[str]:
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir())


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
