"""Traces the way of a photograph and of a template through the code: ``python -m benchmarks.routes A.jpg B.jpg``.

A profiler notes every call of a function of ``facesvc/`` that has the photograph's bytes, or a value that holds them,
among its arguments; for the template, the 128 numbers or a value that holds them, from the store on. Printed for each
route: calls, moves from one file to another, files, and returns to a file that was left before.

Routes: verify, enrolment of two photographs, identify (requests over HTTP, in process), and the two templates of the
enrolment on their way through ``facesvc/storage``.
"""

import argparse
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from starlette.testclient import TestClient

import facesvc
from facesvc.bootstrap import open_tenants
from facesvc.config import Settings
from facesvc.web.app import create_app

PACKAGE = Path(facesvc.__file__).parent
DEPTH = 4
"""How far a value is looked into: a request holds a list of uploads that hold bytes."""
NUMBERS = 128


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("photographs", type=Path, nargs=2, help="two photographs of one person")
    parser.add_argument("--files", action="store_true", help="print each call")
    parser.add_argument("--data", type=Path, help="a data folder, whose packs are used; else a new one")
    asked = parser.parse_args(arguments)
    photographs = [path.read_bytes() for path in asked.photographs]
    print(f"{'route':<34}{'calls':>7}{'moves':>7}{'files':>7}{'returns':>9}")
    for name, route in traced(asked.data, photographs).items():
        print(f"{name:<34}{len(route.calls):>7}{len(route.moves):>7}{len(set(route.files)):>7}{route.returns:>9}")
        if asked.files:
            print("".join(f"    {call}\n" for call in route.calls), end="")


def traced(data: Path | None, photographs: Sequence[bytes]) -> dict[str, "Route"]:
    """Return the routes by their names."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=data or Path(folder), database_url=f"sqlite:///{folder}/routes.db", dev=True)
        app = create_app(settings, partial(open_tenants, settings, serving=True))
        with (
            recording() as recorder,
            TestClient(app, base_url="http://localhost", client=("127.0.0.1", 50_000)) as client,
        ):
            return dict(routes(recorder.trace, client, *photographs))


def routes(
    trace: Callable[..., "Route"], client: TestClient, probe: bytes, reference: bytes
) -> Iterator[tuple[str, "Route"]]:
    images = [("images", probe), ("images", reference)]
    enrol = partial(client.post, "/v1/galleries/default/subjects/first/references", files=images)
    again = partial(client.post, "/v1/galleries/default/subjects/second/references", files=images)
    verify = partial(client.post, "/v1/verify", files={"probe": probe, "reference": reference})
    identify = partial(client.post, "/v1/identify", files={"image": probe}, data={"gallery": "default"})
    yield "photograph, verify", trace(verify, holds_bytes(probe))
    yield "two photographs, enrolment", trace(enrol, holds_bytes(probe), 201)
    yield "photograph, identify", trace(identify, holds_bytes(probe))
    yield "two templates into the store", trace(again, holds_template, 201).within("storage")


@dataclass
class Route:
    """Calls in their order, as "file function"."""

    calls: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[str]:
        return [call.split()[0] for call in self.calls]

    @property
    def moves(self) -> list[tuple[str, str]]:
        return [(left, entered) for left, entered in pairwise(self.files) if left != entered]

    @property
    def returns(self) -> int:
        """How often a file is entered that was left before."""
        entered = [file for file, before in zip(self.files, [None, *self.files], strict=False) if file != before]
        return len(entered) - len(set(entered))

    def within(self, folder: str) -> "Route":
        """Return the part from the first call of that folder on, without what other folders do meanwhile."""
        return Route([call for call in self.calls if call.startswith(f"{folder}/")])


class Recorder:
    """Notes calls in all threads that start after it."""

    def __init__(self) -> None:
        self.route, self.holds = Route(), holds_nothing

    def trace(self, request: Callable[[], Any], holds: Callable[[Any], bool], status: int = 200) -> Route:
        """Return the route of what ``holds`` recognises while the request is answered."""
        self.route, self.holds = Route(), holds
        answer = request()
        self.holds = holds_nothing
        assert answer.status_code == status, answer.text
        return self.route

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or code.co_name.startswith("<") or not code.co_filename.startswith(str(PACKAGE)):
            return
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if any(self.holds(frame.f_locals.get(name)) for name in names):
            file = Path(code.co_filename).relative_to(PACKAGE)
            self.route.calls.append(f"{file} {code.co_qualname}")


@contextmanager
def recording() -> Iterator[Recorder]:
    recorder = Recorder()
    threading.setprofile(recorder.note)
    try:
        yield recorder
    finally:
        threading.setprofile(None)


def holds_nothing(_: Any) -> bool:
    return False


def holds_bytes(photograph: bytes) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        return any(isinstance(part, bytes) and part == photograph for part in parts(value))

    return holds


def holds_template(value: Any) -> bool:
    return any(isinstance(part, np.ndarray) and part.shape[-1:] == (NUMBERS,) for part in parts(value))


def parts(value: Any, depth: int = DEPTH) -> Iterator[Any]:
    """Yield a value and what it holds."""
    yield value
    if depth == 0 or value is None or isinstance(value, str | bytes | int | float | np.ndarray):
        return
    if isinstance(value, Mapping):
        inner: Any = value.values()
    elif isinstance(value, list | tuple):
        inner = value
    else:
        inner = fields(value)
    for part in inner:
        yield from parts(part, depth - 1)


def fields(value: Any) -> list[Any]:
    """Return the fields of a value class or a pydantic model; services, stores and clients hold nothing."""
    if hasattr(type(value), "__dataclass_fields__"):
        return [getattr(value, name, None) for name in type(value).__dataclass_fields__]
    if hasattr(type(value), "model_fields"):
        return list(vars(value).values())
    return []


if __name__ == "__main__":
    main()
