"""What the vector engines do where they are approximate, or are asked for much: graphs, floors, whole scans."""

import numpy as np
import pytest
from sqlalchemy import text

from facesvc.core.ports import TemplateIndex
from facesvc.core.types import Vectors
from facesvc.index.flat import FlatIndex
from facesvc.index.milvus import KEYS_AT_ONCE, MOST_NEIGHBOURS, PROBES_AT_ONCE, VECTORS_AT_ONCE, MilvusServer, scan
from facesvc.index.pgvector import SCHEMA, PgVectorIndex
from tests.contract.indexes import assert_nearest, nearest_keys, people
from tests.support.databases import unit_vectors
from tests.support.engines import EngineOpeners

pytestmark = pytest.mark.xdist_group("engines")
PERSONS, K = 3_000, 10


@pytest.fixture(scope="module")
def gallery() -> tuple[Vectors, Vectors]:
    """Templates (6000 128), and a probe of each person (3000 128)."""
    return people(PERSONS, 2)


def recall(index: TemplateIndex, vectors: Vectors, keys: np.ndarray, probes: Vectors) -> float:
    """Of the K nearest among ``keys``, how many the index finds. Key i is row i of the vectors."""
    oracle = FlatIndex()
    oracle.add(keys, vectors[keys])
    found, wanted = nearest_keys(index, vectors, probes, K), oracle.search(probes, K)[1]
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), wanted.tolist(), strict=True)]))


def graph_is_used(engine_openers: EngineOpeners, index: PgVectorIndex) -> bool:
    """Whether a search walks the graph, as PostgreSQL plans it."""
    probe = str(unit_vectors(1)[0].tolist())
    with engine_openers.database.connect() as connection:
        query = f"EXPLAIN SELECT key FROM {SCHEMA}.{index.name} ORDER BY vector <-> '{probe}' LIMIT {K}"
        return any(f"{index.name}_graph" in line for line in connection.execute(text(query)).scalars())


@pytest.mark.slow
def test_the_graph_of_pgvector(gallery: tuple[Vectors, Vectors], engine_openers: EngineOpeners) -> None:
    """It is made by size; the nearest are found for known people and strangers, also after removals."""
    vectors, probes = gallery[0], np.concatenate([gallery[1][:100], people(100, 1, seed=8)[0]])
    index = engine_openers.pgvector(exact_until=4_000)
    keys = np.arange(len(vectors))
    index.add(keys[:4_000], vectors[:4_000])
    index.build_graph()
    assert not graph_is_used(engine_openers, index)
    index.add(keys[4_000:], vectors[4_000:])
    index.build_graph()
    assert graph_is_used(engine_openers, index)
    assert recall(index, vectors, keys, probes) >= 0.999
    kept = np.random.default_rng(3).permutation(keys)[: len(keys) // 4]
    index.remove(np.setdiff1d(keys, kept))
    assert recall(index, vectors, kept, probes) >= 0.999
    index.remove(kept[K // 2 :])
    assert_nearest(index, {int(key): vectors[key] for key in kept[: K // 2]}, probes[:5], K)


@pytest.mark.slow
def test_the_graph_of_milvus(gallery: tuple[Vectors, Vectors], engine_openers: EngineOpeners, milvus_uri: str) -> None:
    vectors, probes = gallery[0], np.concatenate([gallery[1][:100], people(100, 1, seed=8)[0]])
    index = engine_openers.milvus(searched_by="HNSW")
    keys = np.arange(len(vectors))
    index.add(keys, vectors)
    with MilvusServer(milvus_uri).asked() as client:
        client.flush(index.name)  # what a server does by itself, by and by: then the graph is built
        described = client.describe_index(index.name, client.list_indexes(index.name)[0])
    assert described["index_type"] == "HNSW"
    assert recall(index, vectors, keys, probes) >= 0.999
    kept = np.random.default_rng(3).permutation(keys)[: len(keys) // 4]
    index.remove(np.setdiff1d(keys, kept))
    assert recall(index, vectors, kept, probes) >= 0.999
    index.remove(kept[K // 2 :])
    assert_nearest(index, {int(key): vectors[key] for key in kept[: K // 2]}, probes[:5], K)


@pytest.mark.parametrize("engine", ["milvus", "pgvector"])
def test_more_neighbours_than_an_engine_gives(engine: str, engine_openers: EngineOpeners) -> None:
    vectors = unit_vectors(300, seed=1)
    index = engine_openers.opener(engine)()
    index.add(np.arange(300), vectors)
    assert_nearest(index, dict(enumerate(vectors)), unit_vectors(3, seed=2), MOST_NEIGHBOURS + 1)


def test_more_than_one_call_takes(engine_openers: EngineOpeners) -> None:
    count = KEYS_AT_ONCE + 500
    vectors = unit_vectors(count, seed=1, dimension=4)
    probes = unit_vectors(PROBES_AT_ONCE + 1, seed=2, dimension=4)
    index = engine_openers.milvus(dimension=4)
    index.add(np.arange(count), vectors)
    assert (len(index), count > 2 * VECTORS_AT_ONCE) == (count, True)
    assert_nearest(index, dict(enumerate(vectors)), probes, 3)
    assert_nearest(index, dict(enumerate(vectors)), probes[:1], MOST_NEIGHBOURS + 1)
    index.remove(np.arange(2, count))
    assert_nearest(index, dict(enumerate(vectors[:2])), probes, 3)


def test_scan_of_pieces() -> None:
    """Pieces of any size, one of them empty, give what one leap does."""
    vectors, probes = unit_vectors(50, seed=1), unit_vectors(4, seed=2)
    keys = 100 + np.arange(50)
    whole = scan([(keys, vectors)], probes, 7)
    pieces = [(keys[a:b], vectors[a:b]) for a, b in ((0, 3), (3, 3), (3, 30), (30, 50))]
    for found, wanted in zip(scan(pieces, probes, 7), whole, strict=True):
        np.testing.assert_array_equal(found, wanted)
    oracle = FlatIndex()
    oracle.add(keys, vectors)
    assert whole[1].tolist() == oracle.search(probes, 7)[1].tolist()
    np.testing.assert_allclose(whole[0], oracle.search(probes, 7)[0], rtol=0, atol=1e-5)
    assert [part.shape for part in scan([], probes, 7)] == [(4, 0), (4, 0)]
