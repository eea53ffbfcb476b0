"""A row of `facesvc identify`: one for each face, one for a file that could not be processed.

Every row has every column. Nothing that differs between two runs over the same files and gallery (times, order
of work) is in a row, so that an interrupted and resumed run ends with the bytes of an uninterrupted one.

Rows as a file: JSON lines, CSV or Parquet.

What a batch run came to.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from facesvc.cli.console import output_file
from facesvc.errors import (
    FaceServiceError,
    FileUnreadable,
    ImageError,
    RequestError,
    RequestTooLarge,
    SampleError,
    WorkerLost,
)

if TYPE_CHECKING:
    import pyarrow

    from facesvc.schemas.decisions import Identification, IdentifiedFace

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


def face_rows(path: str, answer: "Identification") -> list[Row]:
    """Return the rows of one photograph. Each says what its distance means."""
    shared = {
        "path": path,
        "faces_found": answer.faces_found,
        "threshold": answer.threshold,
        "fmr_at_threshold": answer.fmr_at_threshold,
        "template_version": answer.template_version,
        "calibration": answer.calibration,
    }
    return [row({**shared, **face_columns(i, face)}) for i, face in enumerate(answer.faces)]


def face_columns(number: int, face: "IdentifiedFace") -> Row:
    nearest = face.candidates[0] if face.candidates else None
    named = nearest if face.decision == "match" else None
    return {
        "face": number,
        "decision": face.decision,
        "subject": named.subject if named else None,
        "display_name": named.display_name if named else None,
        "reference": named.reference if named else None,
        "distance": nearest.distance if nearest else None,
        "candidates": [candidate.model_dump(mode="json") for candidate in face.candidates],
        "box": face.box,
        "detector_score": face.score,
        "quality_reasons": face.quality.reasons,
    }


def failed_row(path: str, error: FaceServiceError) -> Row:
    """Return the row of a file without a result. It has no distance, so nothing that says what one means."""
    return row({"path": path, "code": error.code, "detail": error.detail})


def row(values: Row) -> Row:
    """Return all columns in order, null where ``values`` has none."""
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


BOX = ("x1", "y1", "x2", "y2")
ROW_GROUP = 16384
"""Rows of a Parquet row group, which are in memory at once."""


def export(rows: Iterable[Row], output: Path) -> None:
    """Writes ``rows`` in the format that ``output`` ends with. A file of that name is replaced at the very end, by one
    that its owner alone may read: it tells who is in which photograph.

    Raises RequestError for other endings, and where nothing can be written.
    """
    write = writer(output)
    with output_file(output) as stream:
        write(rows, stream)


def writer(output: Path) -> Callable[[Iterable[Row], BinaryIO], None]:
    """Return the writer for the ending of ``output``. Raises RequestError where there is none."""
    writers = {".jsonl": write_jsonl, ".csv": write_csv, ".parquet": write_parquet}
    if output.suffix.lower() not in writers:
        raise RequestError(f"--output {output}: use a name that ends with {', '.join(writers)}")
    return writers[output.suffix.lower()]


def jsonl(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False)


def write_jsonl(rows: Iterable[Row], stream: BinaryIO) -> None:
    for row in rows:
        stream.write(jsonl(row).encode() + b"\n")


def write_csv(rows: Iterable[Row], stream: BinaryIO) -> None:
    """RFC 4180 in UTF-8. The box has four columns, reasons are joined by ";", candidates are JSON."""
    columns = [part for name in COLUMNS for part in (BOX if name == "box" else (name,))]
    text = csv.DictWriter(_Encoded(stream), columns)  # type: ignore[type-var]
    text.writeheader()
    for row in rows:
        text.writerow({name: inert(value) for name, value in flat(row).items()})


def flat(row: Row) -> Row:
    """Return the row with nothing but text and numbers in its cells."""
    plain = {name: value for name, value in row.items() if name != "box"}
    plain |= zip(BOX, row["box"] or [None] * 4, strict=True)
    if row["candidates"] is not None:
        plain["candidates"] = json.dumps(row["candidates"], ensure_ascii=False)
    if row["quality_reasons"] is not None:
        plain["quality_reasons"] = ";".join(row["quality_reasons"])
    return plain


def inert(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets an apostrophe before it (OWASP, "CSV Injection"):
    subjects and file names may come from strangers. JSON lines and Parquet have it unchanged."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


class _Encoded:
    """What csv writes to: text in, UTF-8 out, no buffer of its own that would have to be detached."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return self.stream.write(text.encode())


def write_parquet(rows: Iterable[Row], stream: BinaryIO) -> None:
    import pyarrow
    from pyarrow import parquet

    schema = parquet_schema()
    with parquet.ParquetWriter(stream, schema, compression="zstd") as file:
        for group in groups(rows):
            file.write_table(pyarrow.Table.from_pylist(group, schema=schema))


def parquet_schema() -> "pyarrow.Schema":
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    candidate = pa.struct(
        {"subject": text, "display_name": text, "distance": number, "reference": text, "match": pa.bool_()}
    )
    kinds = dict.fromkeys(COLUMNS, text) | {
        "face": pa.int32(),
        "faces_found": pa.int32(),
        "distance": number,
        "candidates": pa.list_(candidate),
        "box": pa.list_(number, 4),
        "detector_score": number,
        "quality_reasons": pa.list_(text),
        "threshold": number,
        "fmr_at_threshold": number,
    }
    return pa.schema(list(kinds.items()))


def groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    source = iter(rows)
    while group := list(islice(source, ROW_GROUP)):
        yield group


@dataclass(slots=True)
class Tally:
    """files, faces: numbers seen, resumed_faces by an earlier run; decisions, errors: numbers by decision and code."""

    files: int = 0
    faces: int = 0
    resumed_faces: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, rows: Iterable[Row]) -> None:
        """Counts the rows of one file."""
        self.files += 1
        for row in rows:
            if row["code"] is not None:
                self.errors[row["code"]] += 1
            else:
                self.faces += 1
                self.decisions[row["decision"]] += 1

    def __str__(self) -> str:
        text = (
            f"{self.files} files, {self.faces} faces: {numbers(self.decisions, ('match', 'unknown', 'inconclusive'))}"
        )
        return text + (f"; not processed: {numbers(self.errors)}" if self.errors else "")


def numbers(counted: Counter[str], names: Iterable[str] = ()) -> str:
    """ "3 match, 1 unknown"; the most frequent first where no names are given."""
    return ", ".join(f"{counted[name]} {name}" for name in (names or [name for name, _ in counted.most_common()]))
