"""A store of this machine and a server answer every command alike: the same calls, asked of both, give the same values,
the same errors, and leave the same behind."""

import inspect
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from facesvc.cli.backend import Backend
from facesvc.cli.local import LocalBackend, open_local
from facesvc.cli.remote import RemoteBackend, open_remote
from facesvc.core.decide import OWN_THRESHOLD, DecisionRule
from facesvc.errors import FaceServiceError
from tests.support.live import serve, served_settings

pytestmark = pytest.mark.xdist_group("congruence")  # one worker: the two services are started once

Calls = list[tuple[Any, ...]]
KEPT, UNKEPT, NONE = "staff", "guests", "nowhere"
"""Galleries that every call finds: with photographs, without, and one that is not there."""
IDENTIFIER = re.compile(r"\b[a-z]{2,4}_[0-9a-z]{26}\b")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")

MARKS: dict[str, Callable[[Any], Any]] = {
    "timings_ms": sorted,
    "key": lambda _: "<caller>",
    "audit": sorted,
    "signature": lambda signature: {name: len(each) for name, each in signature.items()},
}
"""What is left of values that are others each time, by their names: the stages that were timed, the fields of what
names a line of the audit log, the lengths of a public key and a signature."""


def methods(kind: type) -> dict[str, list[str]]:
    """Return the public methods of a class, each with the names of its parameters."""
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: list(inspect.signature(method).parameters) for name, method in found if not name.startswith("_")}


def calls(photographs: Mapping[str, bytes]) -> dict[str, Calls]:
    """Return the arguments of the calls that are made, one after another, by method."""
    obama, obama2, biden, group, no_face = (photographs[n] for n in ("obama", "obama2", "biden", "group", "no_face"))
    whose = [(KEPT, "ada"), (UNKEPT, "joe"), (KEPT, "joe"), (NONE, "ada"), (KEPT, "ä b ?")]
    then = datetime(2099, 12, 31, 4, 5, 6, tzinfo=UTC)
    return {
        "model": [(KEPT,), (NONE,)],
        "verify": [
            (obama, obama2, "prominent", OWN_THRESHOLD),
            (obama, biden, "largest", DecisionRule(threshold=0.9)),
            (group, biden, "prominent", DecisionRule(target_fmr=1e-3)),
            (group, obama, "only", OWN_THRESHOLD),
            (obama, no_face, "prominent", OWN_THRESHOLD),
            (obama[:5000], obama, "prominent", OWN_THRESHOLD),
            (b"", obama, "prominent", OWN_THRESHOLD),
            (obama, obama2, "prominent", DecisionRule(threshold=9.0)),
            (obama, obama2, "prominent", DecisionRule(target_fmr=0.9)),
            (obama, obama2, "prominent", DecisionRule(threshold=1.0, target_fmr=1e-3)),
        ],
        "identify": [
            (obama2, KEPT, 5, "prominent", OWN_THRESHOLD),
            (group, KEPT, 2, "all", OWN_THRESHOLD),
            (group, UNKEPT, 1, "all", DecisionRule(threshold=0.2)),
            (group, KEPT, 5, "only", OWN_THRESHOLD),
            (no_face, KEPT, 5, "all", OWN_THRESHOLD),
            (obama[:5000], KEPT, 5, "all", OWN_THRESHOLD),
            (obama, NONE, 5, "all", OWN_THRESHOLD),
        ],
        "enrol": [
            (KEPT, "ada", obama2, "prominent", False),
            (KEPT, "ada", obama2, "prominent", False),
            (KEPT, "new", group, "largest", True),
            (UNKEPT, "new", group, "only", False),
            (KEPT, "new", no_face, "prominent", False),
            (KEPT, "new", obama[:5000], "prominent", False),
            (KEPT, "x" * 300, obama, "prominent", False),
            (NONE, "new", obama, "prominent", False),
        ],
        "galleries": [()],
        "gallery": [(KEPT,), (UNKEPT,), (NONE,), ("ä b ?",)],
        "create_gallery": [("new",), ("kept", True), ("new", True), ("ä b ?",), ("x" * 300,)],
        "delete_gallery": [(UNKEPT,), (UNKEPT,), ("ä b ?",)],
        "subjects": [(KEPT,), (NONE,)],
        "subject": whose,
        "rename_subject": [(*who, "Ada Lovelace") for who in whose] + [(KEPT, "ada", "x" * 10_000), (KEPT, "ada", "")],
        "mark_canary": [(*who, canary) for who in whose for canary in (True, True, False)],
        "retain_subject": [(*who, "form 7", None) for who in whose]
        + [(*whose[0], None, then), (*whose[0], "", None), (*whose[1], "form 8", then)],
        "delete_subject": whose + whose[:1],
        "erase_subject": whose + whose[:1],
        "export_subject": whose,
        "references": whose,
    }


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, default_packs: Path) -> Iterator[tuple[Backend, Backend]]:
    """The two backends, each over a store of its own."""
    here, there = (served_settings(tmp_path_factory.mktemp(name) / "data", default_packs) for name in ("here", "there"))
    with open_local(here) as local, serve(there) as live, open_remote(live.url, here.workers) as remote:
        yield local, remote


@pytest.fixture
def backends(services: tuple[Backend, Backend], photographs: dict[str, bytes]) -> Iterator[tuple[Backend, Backend]]:
    """The two, with one subject in each of two galleries; made anew after a test that changed them."""
    for backend in services:
        if KEPT not in {gallery.name for gallery in backend.galleries()}:
            backend.create_gallery(KEPT, keep_photographs=True)
            backend.create_gallery(UNKEPT)
            backend.enrol(KEPT, "ada", photographs["obama"], "prominent", strict=True)
            backend.enrol(UNKEPT, "joe", photographs["biden"], "prominent", strict=True)
    before = list(map(content, services))
    yield services
    for backend in services if list(map(content, services)) != before else ():
        for name in {gallery.name for gallery in backend.galleries()} - {"default"}:
            backend.delete_gallery(name)


@pytest.mark.parametrize("method", methods(Backend))
def test_both_answer_alike(method: str, backends: tuple[Backend, Backend], photographs: dict[str, bytes]) -> None:
    wanted = calls(photographs).get(method)
    assert wanted, f"no case for {method}: add calls of it"
    local, remote = backends
    for arguments in wanted:
        assert answer(remote, method, arguments) == answer(local, method, arguments)
    assert content(remote) == content(local)


def test_both_have_the_methods_of_the_protocol() -> None:
    assert methods(LocalBackend) == methods(RemoteBackend) == methods(Backend)
    assert calls(dict.fromkeys(["obama", "obama2", "biden", "group", "no_face"], b"")).keys() == methods(Backend).keys()


def answer(backend: Backend, method: str, arguments: tuple[Any, ...]) -> Any:
    """Return what a call answers as JSON, without ids and times of now, or its error's code, source and text."""
    asked = getattr(backend, method)
    try:
        if method == "export_subject":
            file = BytesIO()
            asked(*arguments, file)
            return archive(file)
        told = asked(*arguments)
        return listed(told) if isinstance(told, Iterator) else masked(told)
    except FaceServiceError as error:
        ours = error.code != "invalid_request"  # a server's form is refused before the service sees it, in other words
        return {"code": error.code, "source": error.source, "detail": str(error) if ours else None}


def content(backend: Backend) -> dict[str, Any]:
    """Return all that a backend lists of its galleries."""
    return {
        name: {
            "gallery": masked(backend.gallery(name)),
            "subjects": listed(backend.subjects(name)),
            "references": {who: listed(backend.references(name, who)) for who in ids(backend.subjects(name))},
        }
        for name in [gallery.name for gallery in backend.galleries()]
    }


def ids(listing: Iterator[Any]) -> list[str]:
    return [each.id for each in listing]


def listed(listing: Iterator[Any]) -> list[Any]:
    """Return a listing in one order for both: a store lists names by digests that its own key makes."""
    return sorted(map(masked, listing), key=lambda each: json.dumps(each, sort_keys=True))


def archive(file: BytesIO) -> dict[str, Any]:
    """Return the files of an exported subject; of the audit log's lines, which name the caller, the actions."""
    with zipfile.ZipFile(file) as found:
        files = {name: found.read(name) for name in found.namelist()}
    actions = [json.loads(line)["action"] for line in files.pop("audit.jsonl").splitlines()]
    del files["README.txt"]  # names the subject's stand-in, which is another in each store
    subject = masked(json.loads(files.pop("subject.json")))
    return {"actions": actions, "subject": subject, "photographs": {masked(name): data for name, data in files.items()}}


def masked(value: Any) -> Any:
    """Return ``value`` as its JSON says it, with a mark for each new id, time of now, duration and signature."""
    if isinstance(value, BaseModel):
        return masked(value.model_dump(mode="json"))
    if isinstance(value, dict):
        return {name: masked(MARKS.get(name, lambda each: each)(each)) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked(each) for each in value]
    return TIME.sub(of_now, IDENTIFIER.sub("<id>", value)) if isinstance(value, str) else value


def of_now(time: re.Match[str]) -> str:
    near = abs(datetime.fromisoformat(time[0]) - datetime.now(UTC)) < timedelta(hours=1)
    return "<now>" if near else time[0]
