"""Sealed snapshots: nothing of vectors, keys or numbers is in the files, and none opens in another's place."""

from pathlib import Path

import numpy as np
import pytest

from facesvc.crypto.envelope import Envelope
from facesvc.index.compressed import CompressedIndex
from facesvc.index.flat import FlatIndex
from facesvc.index.snapshot import MANIFEST, Snapshot, Storable
from tests.support.databases import unit_vectors

SEAL = Envelope(bytes(32), "acme")
COUNT = 3_000


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    return Snapshot(tmp_path / "1-a", "gallery 1", SEAL)


def filled(index: Storable) -> Storable:
    index.add(np.arange(COUNT), unit_vectors(COUNT))
    return index


def files(snapshot: Snapshot) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(snapshot.folder.iterdir())}


@pytest.mark.parametrize("kind", [FlatIndex, CompressedIndex])
def test_it_comes_back_as_it_went(snapshot: Snapshot, kind: type[Storable]) -> None:
    index, fresh = filled(kind()), kind()
    snapshot.write(index, index.keys(), 5)
    snapshot.purge(np.arange(10), 6)
    assert snapshot.load(fresh) == 5
    assert sorted(fresh.keys().tolist()) == list(range(10, COUNT))
    keys = np.arange(10, COUNT)
    np.testing.assert_array_equal(fresh.codes(keys)[1], index.codes(keys)[1])


def test_no_file_tells_of_what_is_in_it(snapshot: Snapshot) -> None:
    index = filled(FlatIndex())
    snapshot.write(index, index.keys(), 5)
    told = b"".join(files(snapshot).values())
    vectors = unit_vectors(COUNT)
    assert not any(vectors[row].tobytes()[:16] in told for row in range(0, COUNT, 97))
    for word in (b"NUMPY", b"gallery", b"revision", b"sha256", b"flat", np.arange(3).tobytes()):
        assert word not in told


@pytest.mark.parametrize("pattern", [MANIFEST, "*.npy", "*.npz"])
def test_one_changed_bit_and_there_is_none(snapshot: Snapshot, pattern: str) -> None:
    index = filled(FlatIndex())
    snapshot.write(index, index.keys(), 5)
    path = next(snapshot.folder.glob(pattern))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert (snapshot.load(FlatIndex()), snapshot.folder.exists()) == (0, False)


@pytest.mark.parametrize(
    ("owner", "seal"),
    [("gallery 2", SEAL), ("gallery 1", Envelope(b"1" * 32, "acme")), ("gallery 1", Envelope(bytes(32), "others"))],
    ids=["gallery", "key", "tenant"],
)
def test_in_anothers_place_it_does_not_open(snapshot: Snapshot, owner: str, seal: Envelope) -> None:
    index = filled(FlatIndex())
    snapshot.write(index, index.keys(), 5)
    assert Snapshot(snapshot.folder, owner, seal).load(FlatIndex()) == 0


def test_one_from_before_there_were_keys_is_not_believed(snapshot: Snapshot) -> None:
    index = filled(FlatIndex())
    Snapshot(snapshot.folder, "gallery 1").write(index, index.keys(), 5)
    assert (snapshot.load(FlatIndex()), snapshot.folder.exists()) == (0, False)
