"""A snapshot gives the index back, or says that it can't; and what was taken out of it is in none of its bytes."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from facesvc.core.types import Vectors
from facesvc.index.compressed import CompressedIndex
from facesvc.index.flat import FlatIndex
from facesvc.index.growing import GrowingIndex
from facesvc.index.large import LargeIndex
from facesvc.index.snapshot import MANIFEST, SEGMENT_BYTES, Snapshot, Storable
from tests.contract.indexes import assert_nearest, people
from tests.support.databases import unit_vectors

OWNER = "gallery 1"
COUNT = 20_000
"""More than one segment of flat rows."""
OPENERS: dict[str, Callable[[], Storable]] = {
    "flat": FlatIndex,
    "compressed": CompressedIndex,
    "large": LargeIndex,
    "growing, flat": GrowingIndex,
    "growing, large": partial(GrowingIndex, flat_until=1_000, compressed_until=20_000),
}


@pytest.fixture(params=list(OPENERS))
def open_index(request: pytest.FixtureRequest) -> Callable[[], Storable]:
    return OPENERS[request.param]


@pytest.fixture(scope="module")
def gallery() -> tuple[Vectors, Vectors]:
    """Templates of COUNT photographs, and 50 probes."""
    vectors, probes = people(COUNT // 2, 2)
    return vectors, probes[:50]


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    return Snapshot(tmp_path / "snapshots" / "1-a", OWNER)


def filled(index: Storable, vectors: Vectors, start: int = 0) -> Storable:
    index.add(np.arange(start, start + len(vectors)), vectors)
    return index


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def code(index: Storable, key: int) -> bytes:
    return index.codes(np.array([key]))[1].tobytes()


def assert_same(index: Storable, other: Storable, probes: Vectors) -> None:
    """To the bit, as far as they answer."""
    assert (index.kind, len(index)) == (other.kind, len(other))
    for probe in probes:
        found, wanted = (i.search(probe[None], 7) for i in (index, other))
        assert sorted(zip(found[1][0].tolist(), found[0][0].tolist(), strict=True)) == sorted(
            zip(wanted[1][0].tolist(), wanted[0][0].tolist(), strict=True)
        )


def test_an_index_comes_back(
    snapshot: Snapshot, open_index: Callable[[], Storable], gallery: tuple[Vectors, Vectors]
) -> None:
    vectors, probes = gallery
    index = filled(open_index(), vectors)
    index.remove(np.arange(100, 200))
    snapshot.write(index, index.keys(), 17)
    again = open_index()
    assert snapshot.load(again) == 17
    assert_same(again, index, probes)
    held = {key: vectors[key] for key in again.keys().tolist()}
    assert sorted(held) == [*range(100), *range(200, COUNT)]
    assert_nearest(again, held, probes[:5], 3)
    assert again.nbytes <= index.nbytes * 1.1


def test_an_index_that_came_back_goes_on(
    snapshot: Snapshot, open_index: Callable[[], Storable], gallery: tuple[Vectors, Vectors]
) -> None:
    vectors, probes = gallery
    half = COUNT // 2
    snapshot.write(index := filled(open_index(), vectors[:half]), np.arange(half), 1)
    again = open_index()
    assert snapshot.load(again) == 1
    for each in (index, again):
        filled(each, vectors[half:], half)
        each.remove(np.arange(0, COUNT, 3))
    assert_same(again, index, probes)
    snapshot.write(again, again.keys(), 2)
    third = open_index()
    assert snapshot.load(third) == 2
    assert_same(third, index, probes)
    assert sorted(snapshot.keys().tolist()) == sorted(set(range(COUNT)) - set(range(0, COUNT, 3)))


def test_what_is_purged_is_in_no_byte(
    snapshot: Snapshot, open_index: Callable[[], Storable], gallery: tuple[Vectors, Vectors]
) -> None:
    vectors, _ = gallery
    index = filled(open_index(), vectors)
    snapshot.write(index, index.keys(), 5)
    gone = np.array([3, 9_000, COUNT - 1])
    codes = [code(index, key) for key in gone.tolist()]
    assert all(found in bytes_of(snapshot.folder) for found in codes)
    before = set(snapshot.folder.iterdir())
    snapshot.purge(gone, 6)
    assert [found in bytes_of(snapshot.folder) for found in codes] == [False] * 3
    capacity = SEGMENT_BYTES // (8 + index.frame().code_size)
    touched = len({int(key) // capacity for key in gone})
    assert len(before - set(snapshot.folder.iterdir())) == touched  # no file was written anew without need
    again = open_index()
    assert snapshot.load(again) == 5  # what was added since is still to be caught up with
    assert sorted(again.keys().tolist()) == sorted(set(range(COUNT)) - set(gone.tolist()))


def test_what_the_index_no_longer_holds_goes_with_the_next_write(snapshot: Snapshot) -> None:
    vectors = unit_vectors(300)
    index = filled(FlatIndex(), vectors[:200])
    snapshot.write(index, index.keys(), 1)
    other = filled(FlatIndex(), vectors)
    other.remove(np.arange(50))  # by a process that never saw them there
    snapshot.write(other, other.keys(), 3)
    assert sorted(snapshot.keys().tolist()) == list(range(50, 300))
    assert [code(index, key) in bytes_of(snapshot.folder) for key in (0, 49, 50)] == [False, False, True]


def test_who_is_behind_writes_nothing(snapshot: Snapshot) -> None:
    vectors = unit_vectors(20)
    ahead, behind = filled(FlatIndex(), vectors[:10]), filled(FlatIndex(), vectors)
    snapshot.write(ahead, ahead.keys(), 9)
    before = bytes_of(snapshot.folder)
    for revision in (8, 9):
        snapshot.write(behind, behind.keys(), revision)
    snapshot.purge(np.arange(10), 9)
    assert bytes_of(snapshot.folder) == before


def test_removed_since_its_keys_were_read(snapshot: Snapshot) -> None:
    index = filled(FlatIndex(), unit_vectors(10))
    keys = index.keys()
    index.remove(np.array([4]))
    snapshot.write(index, keys, 1)
    assert sorted(snapshot.keys().tolist()) == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_an_index_that_changed_its_kind_is_written_whole(snapshot: Snapshot) -> None:
    vectors = unit_vectors(40)
    index = filled(GrowingIndex(flat_until=20), vectors[:20])
    snapshot.write(index, index.keys(), 1)
    filled(index, vectors[20:], 20)
    snapshot.write(index, index.keys(), 2)
    again = GrowingIndex(flat_until=20)
    assert (snapshot.load(again), again.kind, len(again)) == (2, "compressed", 40)
    manifest = snapshot.manifest()
    assert manifest is not None
    assert (manifest.code_size, manifest.references, len(manifest.segments)) == (128, 40, 1)


def test_empty_index(snapshot: Snapshot) -> None:
    snapshot.write(FlatIndex(), np.empty(0, np.int64), 4)
    assert (snapshot.load(index := FlatIndex()), len(index), snapshot.keys().tolist()) == (4, 0, [])
    snapshot.delete()
    assert (snapshot.manifest(), snapshot.load(FlatIndex())) == (None, 0)


def test_none_yet(snapshot: Snapshot) -> None:
    assert (snapshot.manifest(), snapshot.load(FlatIndex()), snapshot.keys().tolist()) == (None, 0, [])
    snapshot.purge(np.arange(3), 3)
    snapshot.delete()
    assert not snapshot.folder.exists()


def test_files_are_the_owners_alone(snapshot: Snapshot) -> None:
    snapshot.write(filled(FlatIndex(), unit_vectors(3)), np.arange(3), 1)
    assert [path.stat().st_mode & 0o077 for path in (snapshot.folder, snapshot.folder.parent)] == [0, 0]


# --- damage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["manifest", "segment", "frame"])
@pytest.mark.parametrize("harm", ["flipped", "cut", "emptied", "missing", "longer"])
def test_damage_is_noticed(snapshot: Snapshot, name: str, harm: str) -> None:
    """Every single byte counts, wherever it lies."""
    kind = partial(CompressedIndex)
    index = filled(kind(), unit_vectors(30))
    for position in (0.0, 0.3, 0.7, 1.0):
        snapshot.write(index, index.keys(), 1)
        damage(next(snapshot.folder.glob(PATTERNS[name])), harm, position)
        assert snapshot.load(kind()) == 0
        assert snapshot.manifest() is None
        assert bytes_of(snapshot.folder) == b""


PATTERNS = {"manifest": MANIFEST, "segment": "*.npy", "frame": "*.npz"}


def damage(path: Path, harm: str, position: float) -> None:
    content = bytearray(path.read_bytes())
    at = int(position * (len(content) - 1))
    if harm == "missing":
        path.unlink()
        return
    if harm == "flipped":
        content[at] ^= 1
    path.write_bytes({"cut": content[:at], "emptied": b"", "longer": content + b"x"}.get(harm, content))


def test_damage_found_while_purging_takes_the_snapshot_away(snapshot: Snapshot) -> None:
    """Better none than one that may still hold what was deleted."""
    index = filled(FlatIndex(), unit_vectors(30))
    snapshot.write(index, index.keys(), 1)
    damage(next(snapshot.folder.glob("*.npy")), "flipped", 0.5)
    snapshot.purge(np.array([3]), 2)
    assert bytes_of(snapshot.folder) == b""
    snapshot.write(index, index.keys(), 3)
    assert snapshot.load(FlatIndex()) == 3


def test_another_owners_or_kinds_or_releases(snapshot: Snapshot) -> None:
    index = filled(FlatIndex(), unit_vectors(30))
    snapshot.write(index, index.keys(), 1)
    assert snapshot.load(CompressedIndex()) == 0  # it takes other codes
    snapshot.write(index, index.keys(), 1)
    assert Snapshot(snapshot.folder, "gallery 2").load(FlatIndex()) == 0
    snapshot.write(index, index.keys(), 1)
    manifest = snapshot.folder / MANIFEST
    manifest.write_text(manifest.read_text().replace('\\"format\\": 1', '\\"format\\": 2'))
    assert json.loads(manifest.read_text())["content"].startswith('{"code_size": 512, "format": 2')
    assert snapshot.load(FlatIndex()) == 0


def test_codes_for_vectors_of_another_length(snapshot: Snapshot) -> None:
    index = filled(CompressedIndex(norm=2.5), 2.5 * unit_vectors(30))
    snapshot.write(index, index.keys(), 1)
    assert snapshot.load(CompressedIndex(norm=1.0)) == 0


# --- kill -9 -----------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
import numpy as np
from facesvc.index.flat import FlatIndex
from facesvc.index.snapshot import Snapshot
from tests.support.databases import unit_vectors

snapshot, revision = Snapshot(Path(sys.argv[1]), "gallery 1"), int(sys.argv[2])
vectors = unit_vectors(4_000)
while True:
    index = FlatIndex()
    keys = np.arange(revision, revision + 2_000)
    index.add(keys, vectors[keys % 4_000])
    snapshot.write(index, keys, revision)
    print(revision, flush=True)
    snapshot.purge(np.arange(revision, revision + 50), revision + 1)
    print(-revision, flush=True)
    revision += 2
"""


@pytest.mark.slow
def test_killed_at_any_moment(snapshot: Snapshot) -> None:
    """What was said to be written is there, or what came after it, whole; nothing said to be purged is."""
    chance, revision, vectors = random.Random(0), 1, unit_vectors(4_000)
    for _ in range(12):
        command = [sys.executable, "-c", WRITER, snapshot.folder, str(revision)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as writer:
            assert writer.stdout is not None
            said = [int(writer.stdout.readline()) for _ in range(chance.randint(1, 6))]
            chance.random() < 0.5 and said.append(int(writer.stdout.readline()))
            os.kill(writer.pid, signal.SIGKILL)
            said += [int(line) for line in writer.stdout.read().split()]
        written = max(said, key=abs)
        found = snapshot.load(index := FlatIndex())
        assert found in (abs(written), abs(written) + 2)
        keys = sorted(index.keys().tolist())
        purged = list(range(found + 50, found + 2_000))
        whole = list(range(found, found + 2_000))
        assert keys == purged or (keys == whole and -found not in said)
        assert index.search(vectors[[keys[0] % 4_000]], 1)[1].tolist() == [[keys[0]]]
        assert len(list(snapshot.folder.iterdir())) == 3
        revision = found + 2
