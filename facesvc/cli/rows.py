"""A row of `facesvc identify`: one for each face, one for a file that could not be processed.

Every row has every column. Nothing that differs between two runs over the same files and gallery (times, order
of work) is in a row, so that an interrupted and resumed run ends with the bytes of an uninterrupted one.
"""

from collections.abc import Iterable
from typing import Any

from facesvc.cli.backends import View
from facesvc.errors import FaceServiceError, FileUnreadable, ImageError, RequestTooLarge, SampleError, WorkerLost

Row = dict[str, Any]

COLUMNS = (
    "path",
    "face",  # 0.., largest first
    "faces_found",
    "decision",  # match | unknown | inconclusive
    "subject",  # who matched; null unless decision is match
    "display_name",
    "distance",  # squared L2 of the nearest candidate, matching or not
    "reference",
    "candidates",  # the top_k nearest subjects, nearest first
    "box",  # x1 y1 x2 y2, px of the photograph as sent
    "detector_score",
    "quality_reasons",
    "threshold",
    "fmr_at_threshold",
    "template_version",
    "calibration",
    "code",  # of the error, for a file that could not be processed
    "detail",
)
CONTRACT = ("threshold", "fmr_at_threshold", "template_version", "calibration")
"""What a distance means: on every row that has one."""


def face_rows(path: str, answer: View) -> list[Row]:
    """The rows of one photograph, from the view of its identification."""
    shared = {"path": path, "faces_found": answer["faces_found"], **{name: answer[name] for name in CONTRACT}}
    return [row({**shared, **face_columns(i, face)}) for i, face in enumerate(answer["faces"])]


def face_columns(number: int, face: View) -> Row:
    candidates = face["candidates"]
    nearest = candidates[0] if candidates else {}
    named = nearest if face["decision"] == "match" else {}
    return {
        "face": number,
        "decision": face["decision"],
        "subject": named.get("subject"),
        "display_name": named.get("display_name"),
        "reference": named.get("reference"),
        "distance": nearest.get("distance"),
        "candidates": candidates,
        "box": face["box"],
        "detector_score": face["score"],
        "quality_reasons": face["quality"]["reasons"],
    }


def failed_row(path: str, error: FaceServiceError) -> Row:
    """The row of a file without a result. It has no distance, so nothing that says what one means."""
    return row({"path": path, "code": error.code, "detail": error.detail})


def row(values: Row) -> Row:
    """All columns in order, null where ``values`` has none."""
    return {name: values.get(name) for name in COLUMNS}


def photograph_codes() -> frozenset[str]:
    """Codes of errors that are one photograph's own fault. Any other error would meet every file: it stops a run."""
    kinds: Iterable[type[FaceServiceError]] = (
        *ImageError.__subclasses__(),
        *SampleError.__subclasses__(),
        FileUnreadable,
        RequestTooLarge,
        WorkerLost,  # again and again; a run that has no workers any more meets ClusterUnavailable
        FaceServiceError,  # internal_error: a defect that one photograph uncovers must not stop the other million
    )
    return frozenset(kind.code for kind in kinds)
