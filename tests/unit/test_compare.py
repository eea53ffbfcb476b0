"""Distances longhand, and the laws that any metric and any fusion obeys."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facesvc.core.compare import distance, fuse_minimum, require_version, similarity, squared_l2
from facesvc.core.types import DIMENSION, Template, Vectors
from facesvc.errors import TemplateVersionMismatch


def unit(axis: int, size: int = DIMENSION) -> Vectors:
    return np.eye(size, dtype=np.float32)[axis]


def units(n: int) -> st.SearchStrategy[Vectors]:
    """(n 128) float32 vectors of unit length."""
    values = arrays(np.float32, (n, DIMENSION), elements=st.floats(-1, 1, width=32))
    return values.map(lambda v: v + 1e-3 * unit(0)).map(lambda v: v / np.linalg.norm(v, axis=1, keepdims=True))


def test_squared_l2_longhand() -> None:
    probes = np.array([[1, 2], [0, 0]], np.float32)
    references = np.array([[1, 2], [4, 6], [-1, 0.5]], np.float32)
    expected = [[0, 9 + 16, 4 + 2.25], [1 + 4, 16 + 36, 1 + 0.25]]
    assert squared_l2(probes, references).tolist() == expected


def test_unit_vectors_apart_opposite_and_at_right_angles() -> None:
    assert squared_l2(unit(3)[None], np.stack([unit(3), unit(4), -unit(3)])).tolist() == [[0.0, 2.0, 4.0]]


def test_differences_are_taken_in_double_precision() -> None:
    """|a|^2 - 2ab + |b|^2 in float32 would lose this distance altogether."""
    near = unit(0).copy()
    near[1] = 1e-5
    assert squared_l2(unit(0)[None], near[None])[0, 0] == pytest.approx(1e-10, rel=1e-6)


def test_no_vectors_have_no_distances() -> None:
    assert squared_l2(np.zeros((0, 4), np.float32), np.zeros((3, 4), np.float32)).shape == (0, 3)


@given(units(3), units(4))
def test_squared_l2_is_a_loop_over_pairs(probes: Vectors, references: Vectors) -> None:
    found = squared_l2(probes, references)
    for i, p in enumerate(probes.tolist()):
        for j, r in enumerate(references.tolist()):
            assert math.isclose(found[i, j], math.fsum((a - b) ** 2 for a, b in zip(p, r, strict=True)), rel_tol=1e-12)
    assert np.array_equal(found, squared_l2(references, probes).T)
    assert found.max() <= 4 + 1e-5


@given(units(1))
def test_a_template_is_at_zero_from_itself(vectors: Vectors) -> None:
    assert squared_l2(vectors, vectors).tolist() == [[0.0]]


def test_distance_of_templates() -> None:
    probe, reference = Template(unit(0), "sha256:a"), Template(unit(1), "sha256:a")
    assert distance(probe, reference) == 2.0
    assert distance(probe, probe) == 0.0


def test_templates_of_different_versions_are_never_compared() -> None:
    with pytest.raises(TemplateVersionMismatch, match=r"sha256:b can't be compared with sha256:a"):
        distance(Template(unit(0), "sha256:a"), Template(unit(0), "sha256:b"))
    with pytest.raises(TemplateVersionMismatch):
        require_version("a", "A")


@pytest.mark.parametrize(
    ("squared", "norm", "cosine"),
    [(0.0, 1.0, 1.0), (1.1, 1.0, 0.45), (2.0, 1.0, 0.0), (4.0, 1.0, -1.0), (4.0, 2.0, 0.5), (0.0, 2.466, 1.0)],
)
def test_similarity(squared: float, norm: float, cosine: float) -> None:
    assert similarity(squared, norm) == pytest.approx(cosine)


@given(units(2), st.floats(0.5, 3))
def test_similarity_is_the_cosine(vectors: Vectors, norm: float) -> None:
    a, b = vectors.astype(np.float64) * norm
    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    assert similarity(float(np.square(a - b).sum()), norm) == pytest.approx(cosine, abs=1e-5)


# --- fusion ---------------------------------------------------------------------------------------


def test_a_subject_counts_with_its_nearest_reference() -> None:
    subjects = ["ada", "bob", "ada", "bob", "cyd"]
    assert fuse_minimum(subjects, [0.9, 0.7, 0.4, 1.2, 0.5]) == [("ada", 2), ("cyd", 4), ("bob", 1)]


def test_ties_keep_the_order_given() -> None:
    assert fuse_minimum(["b", "a", "b", "c"], [0.5, 0.5, 0.5, 0.1]) == [("c", 3), ("b", 0), ("a", 1)]


def test_no_references_give_no_subjects() -> None:
    assert fuse_minimum([], []) == []


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0])), max_size=20))
def test_fusion_by_brute_force(references: list[tuple[str, float]]) -> None:
    subjects, distances = [s for s, _ in references], [d for _, d in references]
    fused = fuse_minimum(subjects, distances)
    assert {s: distances[i] for s, i in fused} == {s: min(d for t, d in references if t == s) for s in subjects}
    assert all(subjects[i] == s for s, i in fused)
    assert all((distances[a], a) < (distances[b], b) for (_, a), (_, b) in pairwise(fused))
