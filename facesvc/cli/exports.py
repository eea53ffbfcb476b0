"""Rows as a file: JSON lines, CSV or Parquet."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from facesvc.cli.rows import COLUMNS, Row
from facesvc.errors import RequestError
from facesvc.files import replacing

if TYPE_CHECKING:
    import pyarrow

BOX = ("x1", "y1", "x2", "y2")
ROW_GROUP = 16384
"""Rows of a Parquet row group, which are in memory at once."""


def export(rows: Iterable[Row], output: Path) -> None:
    """Writes ``rows`` in the format that ``output`` ends with. A file of that name is replaced at the very end, by one
    that its owner alone may read: it tells who is in which photograph.

    Raises RequestError for other endings, and where nothing can be written.
    """
    write = writer(output)
    with replacing(output) as stream:
        write(rows, stream)


def writer(output: Path) -> Callable[[Iterable[Row], BinaryIO], None]:
    """The writer for the ending of ``output``. Raises RequestError where there is none."""
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
    """The row with nothing but text and numbers in its cells."""
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
