"""What the kinds for many faces promise beyond the contract: certain shortlists, measured recall, moves, memory."""

from collections.abc import Iterator

import numpy as np
import pytest

from facesvc.core.compare import squared_l2
from facesvc.core.types import Vectors
from facesvc.index.compressed import LARGEST, STEP, CompressedIndex
from facesvc.index.exact import ExactIndex
from facesvc.index.flat import GONE, RECENT, FlatIndex, KeyRows
from facesvc.index.growing import GrowingIndex, opener
from facesvc.index.large import DISTANCES, LATE, SMALLEST, LargeIndex, Sketches, around
from tests.contract.indexes import assert_nearest, nearest_keys, people
from tests.support.databases import unit_vectors

PERSONS, PHOTOGRAPHS = 20_000, 2
DLIB_NORM = 2.466


@pytest.fixture(scope="module")
def gallery() -> tuple[Vectors, Vectors]:
    """Templates (40000 128) and a probe of each person (20000 128)."""
    return people(PERSONS, PHOTOGRAPHS)


@pytest.fixture(scope="module")
def large(gallery: tuple[Vectors, Vectors]) -> LargeIndex:
    index = LargeIndex()
    index.add(np.arange(len(gallery[0])), gallery[0])
    return index


def oracle(vectors: Vectors, probes: Vectors, k: int) -> Vectors:
    """(n k) keys by FAISS's flat index, which is tested against the oracle's values."""
    index = FlatIndex()
    index.add(np.arange(len(vectors)), vectors)
    return np.concatenate([index.search(probe[None], k)[1] for probe in probes])


# --- compressed ---------------------------------------------------------------------------------------


def test_distances_are_those_of_the_codes(gallery: tuple[Vectors, Vectors]) -> None:
    """Neither FAISS nor the closer look at a few rows rounds the probe."""
    vectors, probes = gallery[0][:SMALLEST], gallery[1][:50]
    codes = np.rint(vectors / STEP).astype(np.float32) * np.float32(STEP)
    for index in (CompressedIndex(), LargeIndex()):
        index.add(np.arange(SMALLEST), vectors)
        distances, keys = index.search(probes, 1)
        exact = [squared_l2(probes[i : i + 1], codes[keys[i, :1]]).item() for i in range(50)]
        np.testing.assert_allclose(distances[:, 0], exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("k", [1, 20])
def test_compressed_gives_exactly_the_nearest(gallery: tuple[Vectors, Vectors], k: int) -> None:
    vectors, probes = gallery[0], np.concatenate([gallery[1][:300], people(100, 1, seed=7)[0]])
    index = CompressedIndex()
    index.add(np.arange(len(vectors)), vectors)
    assert (nearest_keys(index, vectors, probes, k) == oracle(vectors, probes, k)).all()
    assert 0.016 < index.error < 0.02


def test_compressed_is_certain_where_its_codes_are_wrong_about_the_order() -> None:
    """References so close to each other that their codes can't tell which is nearer."""
    rng = np.random.default_rng(0)
    vectors = (unit_vectors(1) + rng.normal(scale=2e-3, size=(2_000, 128))).astype(np.float32)
    probes = (unit_vectors(1) + rng.normal(scale=2e-3, size=(50, 128))).astype(np.float32)
    index = CompressedIndex()
    index.add(np.arange(2_000), vectors)
    by_codes = index.search(probes, 5)[1][:, :5]
    wanted = np.argsort(squared_l2(probes, vectors), axis=1)[:, :5]
    assert (by_codes != wanted).any()
    assert (nearest_keys(index, vectors, probes, 5) == wanted).all()


def test_vectors_beyond_the_codes_are_found_all_the_same() -> None:
    """A component that is cut makes shortlists long, not wrong."""
    vectors = unit_vectors(500, seed=1)
    vectors[7] = np.eye(128, dtype=np.float32)[3]
    index = CompressedIndex()
    index.add(np.arange(500), vectors)
    assert index.error == pytest.approx(1 - LARGEST * STEP, abs=1e-6)
    assert_nearest(index, dict(enumerate(vectors)), np.concatenate([vectors[5:9], unit_vectors(5, seed=2)]), 3)


def test_templates_of_another_length(gallery: tuple[Vectors, Vectors]) -> None:
    vectors, probes = DLIB_NORM * gallery[0][:20_000], DLIB_NORM * gallery[1][:100]
    for index in (CompressedIndex(norm=DLIB_NORM), LargeIndex(norm=DLIB_NORM)):
        index.add(np.arange(len(vectors)), vectors)
        assert index.error < 0.02 * DLIB_NORM
        assert (nearest_keys(index, vectors, probes, 10) == oracle(vectors, probes, 10)).all()


# --- large --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 10])
@pytest.mark.parametrize("known", [True, False], ids=["mated", "strangers"])
def test_recall_of_large(gallery: tuple[Vectors, Vectors], large: LargeIndex, known: bool, k: int) -> None:
    """Each of the k nearest is found with a probability of 0.999, for known people and for strangers."""
    assert large.kind == "large"
    vectors = gallery[0]
    probes = gallery[1][:2_000] if known else people(2_000, 1, seed=8)[0]
    found, wanted = nearest_keys(large, vectors, probes, k), oracle(vectors, probes, k)
    recall = np.mean([len(set(a) & set(b)) / k for a, b in zip(found.tolist(), wanted.tolist(), strict=True)])
    assert recall >= 0.999


def test_what_sketches_do_not_cover_is_scanned(gallery: tuple[Vectors, Vectors], large: LargeIndex) -> None:
    """Probes further from everybody than estimates were measured, and more neighbours than sketches name."""
    vectors = gallery[0]
    aside = np.linalg.eigh(np.cov(vectors.T))[1].T[:2].astype(np.float32)  # where faces hardly differ
    assert squared_l2(aside, vectors).min() > DISTANCES[-1]
    assert (nearest_keys(large, vectors, aside, 3) == oracle(vectors, aside, 3)).all()
    probe, half = gallery[1][:1], len(vectors) // 2 + 1
    assert set(nearest_keys(large, vectors, probe, half)[0]) == set(oracle(vectors, probe, half)[0])


def test_sketches_reach_as_far_as_they_say(gallery: tuple[Vectors, Vectors]) -> None:
    """On rows and directions that they were not measured with, mated ones among them."""
    vectors, probes = gallery
    sketches = Sketches(vectors[20_000:36_384], norm=1.0)
    for distance in (0.3, 0.6, 0.9, 1.2):
        rows = vectors[:16_384]
        estimates = sketches._estimates(rows, around(rows, vectors[4_000:20_384], distance))
        assert np.mean(estimates > sketches.reach(distance)) < 3 * LATE
    mates = vectors[::PHOTOGRAPHS]
    exact = np.square(mates.astype(np.float64) - probes).sum(axis=1)
    estimates = sketches._estimates(mates, probes)
    assert np.mean([e > sketches.reach(d) for e, d in zip(estimates.tolist(), exact.tolist(), strict=True)]) < LATE


def test_probes_around_a_row_are_as_far_as_asked() -> None:
    rows = unit_vectors(50, seed=1)
    for distance in DISTANCES:
        probes = around(rows, unit_vectors(50, seed=2), distance)
        np.testing.assert_allclose(np.square(probes - rows).sum(axis=1), distance, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(probes, axis=1), 1, atol=1e-5)


def histories(seed: int, keys: int) -> Iterator[tuple[str, np.ndarray]]:
    """Additions, replacements and removals, of one key and of thousands, that no two galleries share."""
    rng = np.random.default_rng(seed)
    yield "add", np.arange(keys)
    for _ in range(12):
        size = int(rng.choice([1, 3, 40, 1_500]))
        yield str(rng.choice(["add", "remove"])), rng.integers(0, keys + 500, size)


@pytest.mark.parametrize("seed", range(3))
def test_large_after_any_history(gallery: tuple[Vectors, Vectors], seed: int) -> None:
    """Rows and their sketches stay together: after each write the nearest are those of an index built anew."""
    rng = np.random.default_rng(seed)
    index, held = LargeIndex(), {}
    for what, keys in histories(seed, SMALLEST + 2_000):
        chosen = gallery[0][rng.integers(0, len(gallery[0]), len(keys))]
        if what == "add":
            index.add(keys, chosen)
            held.update(zip(keys.tolist(), chosen, strict=True))
        else:
            index.remove(keys)
            held = {key: held[key] for key in held.keys() - set(keys.tolist())}
        assert (len(index), index.kind) == (len(held), "large")
        assert_nearest(index, held, np.concatenate([gallery[1][rng.integers(0, 20_000, 5)], chosen[:2]]), 5)


def test_large_to_its_last_row(gallery: tuple[Vectors, Vectors]) -> None:
    index = LargeIndex()
    vectors = gallery[0][: SMALLEST + 1]
    index.add(np.arange(len(vectors)), vectors)
    for count in (SMALLEST // 2, 1_000, 10, 1, 0):
        index.remove(np.arange(count, len(vectors)))
        assert len(index) == count
        assert_nearest(index, dict(enumerate(vectors[:count])), gallery[1][:3], 4)
    index.add(np.arange(len(vectors)), vectors)
    assert (nearest_keys(index, vectors, gallery[1][:50], 3) == oracle(vectors, gallery[1][:50], 3)).all()


# --- the choice ---------------------------------------------------------------------------------------


def test_growing_moves_up_and_not_down(gallery: tuple[Vectors, Vectors]) -> None:
    vectors, probes = gallery
    index, kinds = GrowingIndex(flat_until=1_000, compressed_until=SMALLEST), []
    for end in (10, 1_000, 1_001, SMALLEST, SMALLEST + 1):
        start = len(index)
        index.add(np.arange(start, end), vectors[start:end])
        kinds.append(index.kind)
        assert (nearest_keys(index, vectors, probes[:20], 5) == oracle(vectors[:end], probes[:20], 5)).all()
    assert kinds == ["flat", "flat", "compressed", "compressed", "large"]
    index.remove(np.arange(5, SMALLEST + 1))
    assert (index.kind, len(index)) == ("large", 5)
    assert_nearest(index, dict(enumerate(vectors[:5])), probes[:5], 3)


def test_kinds_by_name() -> None:
    kinds = {kind: type(opener(kind, 1.0)()) for kind in ("auto", "exact", "flat", "compressed", "large")}
    assert kinds == {
        "auto": GrowingIndex,
        "exact": ExactIndex,
        "flat": FlatIndex,
        "compressed": CompressedIndex,
        "large": LargeIndex,
    }
    compressed = opener("compressed", DLIB_NORM)()
    compressed.add(np.arange(1), DLIB_NORM * unit_vectors(1))
    assert compressed.search(DLIB_NORM * unit_vectors(1), 1)[0].item() < (0.02 * DLIB_NORM) ** 2


@pytest.mark.parametrize(
    ("index", "most"), [(FlatIndex(), 512 + 20), (CompressedIndex(), 128 + 20), (LargeIndex(), 160 + 21)]
)
def test_bytes_a_face(gallery: tuple[Vectors, Vectors], index: FlatIndex, most: int) -> None:
    vectors = gallery[0][:20_000]
    index.add(np.arange(len(vectors)), vectors)
    assert most - 1 <= index.nbytes / len(vectors) <= most


# --- rows ---------------------------------------------------------------------------------------------


def test_rows_of_keys_after_any_history() -> None:
    """Against a list: a removed key's row is taken by the last one. Large enough to be sorted again and again."""
    rng = np.random.default_rng(0)
    rows, model = KeyRows(), []
    for _ in range(120):
        new = np.setdiff1d(rng.integers(0, 60_000, int(rng.choice([1, 20, 3_000]))), model)
        assert (rows.find(new) == GONE).all()
        rows.append(new)
        model += new.tolist()
        for key in rng.choice(model, min(len(model), int(rng.choice([0, 1, 200])))).tolist():
            at = model.index(key) if key in model else None
            removed = rows.remove(key)
            if at is None:
                assert removed is None
            else:
                assert removed == (at, len(model) - 1)
                model[at] = model[-1]
                model.pop()
        if len(model) > 5 * RECENT:
            for key in model[RECENT:]:
                rows.remove(key)
            model = rows.keys.tolist()
        assert rows.keys.tolist() == model
        assert (rows.find(np.array(model, np.int64)) == np.arange(len(model))).all()
