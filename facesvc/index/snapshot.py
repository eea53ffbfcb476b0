"""An index's codes on disk: a folder of segments, each a file that is written once, and one manifest that says which of
them count. Whatever is killed while it writes leaves the snapshot as it was.

What the stored codes of an index mean, apart from the codes themselves.

How files of ours are kept on disk: as they are, or sealed.
"""

import hashlib
import json
import logging
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from facesvc.core.ports import TemplateIndex
from facesvc.errors import StoreError
from facesvc.files import write_whole

Codes = NDArray[np.uint8]
"""(n b) bytes, as an index stores vectors."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """kind: of the index; code_size: bytes of a vector; arrays: what else was learnt or measured, by name."""

    kind: str
    code_size: int
    arrays: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


class Storable(TemplateIndex, Protocol):
    """An index that can be put away and made again from its codes; see index.flat for what each method says."""

    def keys(self) -> NDArray[np.int64]: ...
    def codes(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], Codes]: ...
    def frame(self) -> Frame: ...
    def adopt(self, frame: Frame) -> None: ...
    def restore(self, keys: NDArray[np.int64], codes: Codes) -> None: ...


class Seal(Protocol):
    """owner: which file it is and of what; what is sealed for one opens for no other."""

    def seal(self, content: bytes, owner: str) -> bytes: ...

    def open(self, stored: bytes, owner: str) -> bytes:
        """What ``seal`` was given. Raises StoreError for anything else."""
        ...


class NoSeal:
    """Leaves bytes as they are."""

    def seal(self, content: bytes, owner: str) -> bytes:
        return content

    def open(self, stored: bytes, owner: str) -> bytes:
        return stored


FORMAT = 1
MANIFEST = "manifest.json"
SEGMENT_BYTES = 8 * 2**20
"""Of a full segment. Forgetting a reference rewrites the one it lies in: some 10 ms, however large the gallery."""

DAMAGE = (ValueError, KeyError, TypeError, FileNotFoundError, BadZipFile, StoreError)
"""What reading files raises that are not as they were written."""

Keys = NDArray[np.int64]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class File:
    """One file of a snapshot, and its digest: how many references are in it, from which key to which. The frame has
    none."""

    name: str
    sha256: str
    references: int = 0
    first: int = 0
    last: int = 0

    def may_hold(self, keys: NDArray[np.int64]) -> bool:
        """Said without a look at the file: keys come in their order, so one key lies in one file as a rule."""
        return bool(((keys >= self.first) & (keys <= self.last)).any())


@dataclass(frozen=True, slots=True)
class Manifest:
    """owner: which gallery and template version this is of; revision: every reference added until then is in the
    segments, but for those that are ``purged``: every one removed until that revision is out of them."""

    owner: str
    revision: int
    purged: int
    kind: str
    code_size: int
    frame: File
    segments: tuple[File, ...]

    @property
    def references(self) -> int:
        return sum(segment.references for segment in self.segments)


class Snapshot:
    """The snapshot of one index, in ``folder``, which need not exist. owner: what it must be of.

    Processes take turns. Damage of any kind is noticed by its checksum, and then there is no snapshot. seal: how every
    file is kept.
    """

    def __init__(self, folder: Path, owner: str, seal: Seal = NoSeal()) -> None:  # noqa: B008  it has no state
        self.folder, self.owner = folder, owner
        self._seal = seal
        self._lock = FileLock(folder.with_name(folder.name + ".lock"))

    def manifest(self) -> Manifest | None:
        """What there is; None where nothing is that can be used."""
        try:
            found = _parsed(self._opened(MANIFEST, (self.folder / MANIFEST).read_bytes()))
        except FileNotFoundError:
            return None
        except DAMAGE as error:
            self._report_damage(error)
            return None
        return found if found.owner == self.owner else None

    def load(self, index: Storable) -> int:
        """Fill an empty index and return the revision it stands at; 0 where there is no good snapshot: then the index
        may hold anything. Files are read one after the other, each checked before it is believed."""
        if not self.folder.exists():
            return 0
        revision = 0
        with self._alone():
            manifest = self.manifest()
            if manifest is not None:
                index.adopt(self._frame(manifest))
                for segment in manifest.segments:
                    index.restore(*self._segment(segment, manifest.code_size))
                revision = manifest.revision
        return revision

    def write(self, index: Storable, keys: Keys, revision: int) -> None:
        """Adds those of ``keys``, which are all that the index held at ``revision``, that are not in the snapshot, and
        takes out what is not among them. Where another process got further already, nothing is done."""
        with self._alone():
            known, frame = self.manifest(), index.frame()
            if known is not None and known.revision >= revision:
                return
            kept = self._retained(known, frame, keys) if known else []
            new = np.setdiff1d(keys, _joined([self._keys(segment) for segment in kept]), assume_unique=True)
            fresh = [self._put(*index.codes(part)) for part in _parts(new, frame.code_size)]
            if index.frame().code_size == frame.code_size:  # else it outgrew its kind meanwhile; next time, then
                described, segments = self._put_frame(index.frame()), (*kept, *fresh)
                self._publish(
                    Manifest(self.owner, revision, revision, frame.kind, frame.code_size, described, segments)
                )

    def purge(self, removed: Keys, revision: int) -> None:
        """Takes ``removed`` out: all that was removed between where the snapshot was purged to and ``revision``."""
        with self._alone():
            known = self.manifest()
            if known is not None and known.purged < revision:
                kept = tuple(self._without(segment, removed) for segment in known.segments)
                self._publish(replace(known, purged=revision, segments=kept))

    def keys(self) -> Keys:
        """Return the keys of all references whose codes are in the files, (n,); none for a damaged snapshot."""
        found: list[Keys] = []
        with self._alone():
            known = self.manifest()
            found = [self._keys(segment) for segment in known.segments] if known else []
        return _joined(found)

    def delete(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock:
            self._delete()

    # --- parts -------------------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time; what a killed one left half written is gone before the next looks. A snapshot that
        proves to be damaged is deleted, and what was to be done with it ends there."""
        self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock:
            self._sweep(self.manifest())
            try:
                yield
            except DAMAGE as error:
                self._report_damage(error)
                self._delete()

    def _report_damage(self, error: Exception) -> None:
        logger.warning("snapshot %s is damaged, the index is built from the database: %s", self.folder.name, error)

    def _retained(self, known: Manifest, frame: Frame, keys: Keys) -> list[File]:
        """The segments that stay, without what is not among ``keys``; small ones are dissolved into the new."""
        if (known.kind, known.code_size) != (frame.kind, frame.code_size):
            return []
        least = _capacity(frame.code_size) // 2
        living = (self._without(s, np.setdiff1d(self._keys(s), keys)) for s in known.segments)
        return [segment for segment in living if segment.references >= least]

    def _without(self, segment: File, removed: Keys) -> File:
        if not segment.may_hold(removed):
            return segment
        content = self._rows(segment)
        stays = ~np.isin(content["key"], removed)
        return segment if stays.all() else self._put(content["key"][stays], content["code"][stays])

    def _put(self, keys: Keys, codes: Codes) -> File:
        content = np.empty(len(keys), _row(codes.shape[1]))
        content["key"], content["code"] = keys, codes
        stored, name = BytesIO(), f"{secrets.token_hex(8)}.npy"
        np.save(stored, content, allow_pickle=False)
        bounds = (int(keys.min()), int(keys.max())) if len(keys) else (0, 0)
        return File(name, self._write(name, stored.getbuffer()), len(keys), *bounds)

    def _put_frame(self, frame: Frame) -> File:
        stored, name = BytesIO(), f"{secrets.token_hex(8)}.npz"
        np.savez(stored, **frame.arrays)  # pyright: ignore[reportArgumentType]  # names are ours, none its option
        return File(name, self._write(name, stored.getbuffer()))

    def _write(self, name: str, content: bytes | memoryview) -> str:
        """Write or replace one file; return the SHA-256 of what is in it, as hexadecimal digits."""
        self.folder.mkdir(exist_ok=True, mode=0o700)
        stored = self._seal.seal(bytes(content), self._owner(name))
        write_whole(self.folder / name, stored)
        return hashlib.sha256(stored).hexdigest()

    def _owner(self, name: str) -> str:
        return f"snapshot {self.owner} {name}"

    def _opened(self, name: str, stored: bytes) -> bytes:
        return self._seal.open(stored, self._owner(name))

    def _frame(self, manifest: Manifest) -> Frame:
        with np.load(self._content(manifest.frame), allow_pickle=False) as arrays:
            return Frame(manifest.kind, manifest.code_size, dict(arrays))

    def _segment(self, segment: File, code_size: int) -> tuple[Keys, Codes]:
        content = self._rows(segment)
        if content.dtype != _row(code_size) or len(content) != segment.references:
            raise ValueError("a segment is not what its manifest says")
        return content["key"], content["code"]

    def _keys(self, segment: File) -> Keys:
        return np.array(self._rows(segment)["key"])

    def _rows(self, file: File) -> NDArray[Any]:
        return np.load(self._content(file), allow_pickle=False)

    def _content(self, file: File) -> BytesIO:
        """Raises ValueError where the file is not the one that was written."""
        stored = (self.folder / file.name).read_bytes()
        if hashlib.sha256(stored).hexdigest() != file.sha256:
            raise ValueError(f"checksum of {file.name} is wrong")
        return BytesIO(self._opened(file.name, stored))

    def _publish(self, manifest: Manifest) -> None:
        """The moment at which the new snapshot takes the old one's place."""
        manifest = replace(manifest, segments=tuple(s for s in manifest.segments if s.references))
        self._write(MANIFEST, _rendered(manifest))
        self._sweep(manifest)

    def _sweep(self, manifest: Manifest | None) -> None:
        """Deletes what the manifest doesn't name: all, where there is none to believe."""
        if not self.folder.exists():
            return
        if manifest is None:
            self._delete()
            return
        named = {MANIFEST, manifest.frame.name, *(segment.name for segment in manifest.segments)}
        for path in self.folder.iterdir():
            if path.name not in named:
                path.unlink()

    def _delete(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _row(code_size: int) -> np.dtype[Any]:
    return np.dtype([("key", "<i8"), ("code", "u1", (code_size,))])


def _capacity(code_size: int) -> int:
    """References in a full segment."""
    return SEGMENT_BYTES // (8 + code_size)


def _joined(keys: Sequence[Keys]) -> Keys:
    return np.concatenate([np.empty(0, np.int64), *keys])


def _parts(keys: Keys, code_size: int) -> Sequence[Keys]:
    size = _capacity(code_size)
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def _rendered(manifest: Manifest) -> bytes:
    content = json.dumps({"format": FORMAT, **asdict(manifest)}, sort_keys=True)
    return json.dumps({"sha256": hashlib.sha256(content.encode()).hexdigest(), "content": content}).encode()


def _parsed(stored: bytes) -> Manifest:
    """Raises ValueError, KeyError or TypeError for anything that ``_rendered`` didn't make."""
    outer = json.loads(stored)
    if hashlib.sha256(outer["content"].encode()).hexdigest() != outer["sha256"]:
        raise ValueError("checksum of the manifest is wrong")
    content = json.loads(outer["content"])
    if content.pop("format") != FORMAT:
        raise ValueError("it is of another release")
    content["frame"] = File(**content["frame"])
    content["segments"] = tuple(File(**segment) for segment in content["segments"])
    return Manifest(**content)
