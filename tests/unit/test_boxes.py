"""Box geometry against longhand arithmetic, and suppression against its definition."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from facesvc.core.types import Face
from facesvc.pipeline.detect.boxes import areas, largest_first, moved, overlaps, squared, suppress

POINTS = np.array([[1, 1], [3, 1], [2, 2], [1, 3], [3, 3]], np.float32)
whole = st.integers(0, 20)
low = st.tuples(whole, whole)
box = st.tuples(low, low).map(lambda corners: (*np.min(corners, 0).tolist(), *np.max(corners, 0).tolist()))
scored = st.lists(st.tuples(box, st.floats(0, 1)), max_size=12)


def face(x1: float, y1: float, x2: float, y2: float, score: float = 1.0, points: np.ndarray = POINTS) -> Face:
    return Face(np.array([x1, y1, x2, y2], np.float32), points, score)


def overlap_longhand(a: tuple, b: tuple, by_smaller: bool) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    first, second = ((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    divisor = min(first, second) if by_smaller else first + second - shared
    return shared / divisor if divisor > 0 else 0.0


def test_overlap_of_known_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [2, 2, 4, 4], [20, 20, 30, 30], [3, 3, 3, 3]], float)
    np.testing.assert_allclose(overlaps(boxes[0], boxes), [1, 50 / 150, 4 / 100, 0, 0])
    np.testing.assert_allclose(overlaps(boxes[0], boxes, by_smaller=True), [1, 0.5, 1, 0, 0])


def test_areas_of_boxes_turned_inside_out_are_zero() -> None:
    assert areas(np.array([[0, 0, 4, 5], [4, 0, 0, 5], [2, 2, 2, 9]], float)).tolist() == [20, 0, 0]


def test_suppression_keeps_the_best_of_each_cluster() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [40, 40, 50, 50], [0, 0, 10, 9]], float)
    assert suppress(boxes, np.array([0.7, 0.9, 0.5, 0.8]), 0.5).tolist() == [1, 2]


def test_suppression_of_nothing() -> None:
    assert suppress(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


@given(scored, st.sampled_from([0.0, 0.3, 0.5, 0.7]), st.booleans())
def test_suppression_is_greedy_by_its_definition(rows: list, limit: float, by_smaller: bool) -> None:
    boxes, scores = [b for b, _ in rows], [s for _, s in rows]
    kept: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: -scores[i]):
        if all(overlap_longhand(boxes[k], boxes[i], by_smaller) <= limit for k in kept):
            kept.append(i)
    got = suppress(np.array(boxes, float).reshape(-1, 4), np.array(scores), limit, by_smaller)
    assert got.tolist() == kept


def test_squares_share_the_centre_and_the_longer_side() -> None:
    assert squared(np.array([[0, 0, 10, 4], [2, 0, 4, 8]], float)).tolist() == [[0, -3, 10, 7], [-1, 0, 7, 8]]
    assert squared(np.array([[0, 0, 10, 4]], float), 0.5).tolist() == [[2.5, -0.5, 7.5, 4.5]]


def test_boxes_move_by_shares_of_their_sides() -> None:
    boxes = moved(np.array([[10, 10, 30, 50]], float), np.array([[0.1, 0.1, -0.1, 0.5]]))
    np.testing.assert_allclose(boxes, [[12, 14, 28, 70]])


def test_faces_come_largest_first_and_ties_by_score() -> None:
    faces = [face(0, 0, 4, 4, 0.9), face(0, 0, 9, 9, 0.5), face(0, 0, 8, 2, 0.95), face(0, 0, 1, 1)]
    assert [f.score for f in largest_first(faces)] == [0.5, 0.95, 0.9, 1.0]


def test_faces_that_no_later_stage_could_use_are_left_out() -> None:
    unusable = [
        face(0, 0, 0, 9),
        face(0, 0, np.nan, 9),
        face(0, 0, 9, np.inf),
        face(0, 0, 9, 9, points=POINTS * np.float32(np.nan)),
        face(0, 0, 9, 9, points=np.full((5, 2), 7, np.float32)),
    ]
    good = face(0, 0, 5, 5)
    assert largest_first([*unusable, good]) == [good]
