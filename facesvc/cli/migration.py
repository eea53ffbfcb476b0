"""Galleries of other systems. Their vectors come from other networks and can't be compared with ours, so what moves
is people and photographs: every photograph is enrolled anew."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from facesvc.cli.backends import open_backend
from facesvc.cli.console import answer, answer_json, say
from facesvc.cli.enrolment import Enroller, FolderEnrolment, People, Source, describe, folder_people, people
from facesvc.cli.inputs import SUFFIXES, shown, walk
from facesvc.cli.progress import progress
from facesvc.errors import ImportInvalid

if TYPE_CHECKING:
    from facesvc.config import Settings

PICKLES = (".pkl", ".pickle")


@dataclass(frozen=True, slots=True)
class Foreign:
    """Another system's people. photographs: their number; left: what can't move, and how many of it there are."""

    people: People
    photographs: int
    left: dict[str, int] = field(default_factory=dict)


def enrol_from(
    origin: str,
    source: str,
    collection: str | None,
    settings: "Settings",
    gallery: str,
    face: str,
    strict: bool,
    as_json: bool,
    server: str | None,
) -> bool:
    """Enrols everybody and reports; True where nothing was left behind. Raises ImportInvalid, StoreUnavailable."""
    opened = compreface(source, collection) if origin == "compreface" else deepface(Path(source))
    with opened as found, open_backend(settings, server) as backend:
        enroller = Enroller(backend, gallery, face, strict, settings.max_image_bytes)
        enroller.ensure_gallery()
        run = FolderEnrolment(enroller)
        with progress("import", count=lambda: found.photographs) as advance:
            run.run(found.people, settings.workers, advance)
    if as_json:
        answer_json({**run.summary, "left_behind": found.left})
    else:
        for result in sorted(run.rejected, key=lambda result: result["code"]):
            answer(describe(result))
    say(str(run))
    return not run.rejected and not any(found.left.values())


@contextmanager
def compreface(url: str, collection: str | None) -> Iterator[Foreign]:
    """The people of one collection of CompreFace's database. Embeddings without a photograph are left."""
    from facesvc.exchange.compreface import CompreFace

    with closing(CompreFace(url)) as store:
        chosen = store.collection(collection)
        found = store.photographs(chosen)
        left = store.embeddings_without_photograph(chosen)
        if left:
            say(f"{left} embeddings have no photograph: CompreFace did not keep them, and its vectors can't be used")

        def groups() -> People:
            for name, ids in found.items():
                yield name, (Source(f"img {id_}", partial(store.content, id_)) for id_ in ids)

        total = sum(map(len, found.values()))
        yield Foreign(groups(), total, {"embeddings_without_photograph": left})


@contextmanager
def deepface(folder: Path) -> Iterator[Foreign]:
    """DeepFace's folder of people. Its pickles are never opened: a pickle can run any code."""
    if folder.suffix.lower() in PICKLES:
        raise ImportInvalid(f"{folder}: a pickle is never read, since it can run code; give the folder it lies in")
    if not folder.is_dir():
        raise ImportInvalid(f"{folder} is no folder of <person>/<photographs>")
    people(folder)
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    for pickle in (path for path in files if path.suffix.lower() in PICKLES):
        say(f"{shown(str(pickle))} is not read: a pickle can run code, and its vectors are another network's")
    loose = [path for path in files if path.suffix.lower() in SUFFIXES]
    if loose:
        say(f"{len(loose)} photographs lie in {folder} itself, so whose they are is not known: such as {loose[0].name}")
    total = sum(1 for person in people(folder) for _ in walk(str(person)))
    yield Foreign(folder_people(folder), total, {"photographs_without_person": len(loose)})
