"""Writes a gallery as Parquet, a row group in memory at a time."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from facesvc.core.types import Entry, KeptReference
from facesvc.exchange.layout import MEASURES, TEXTS, Header, schema
from facesvc.exchange.sealing import Sealing, batches

ROW_GROUP = 5_000
"""Rows of a row group, which are in memory at once."""
GROUP_BYTES = 32 * 2**20
"""Bytes of photographs after which a row group ends early."""


@dataclass(slots=True)
class Written:
    """Numbers of what is in a file."""

    subjects: int = 0
    references: int = 0
    photographs: int = 0
    last: str | None = None

    def count(self, entry: Entry) -> None:
        self.subjects += entry.subject != self.last  # a subject's rows follow one another
        self.references += entry.reference is not None
        self.photographs += entry.reference is not None and entry.reference.new.photograph is not None
        self.last = entry.subject


def write(
    entries: Iterable[Entry],
    header: Header,
    stream: BinaryIO,
    advance: Callable[[], None],
    sealing: Sealing | None = None,
) -> Written:
    """Writes the file; ``advance`` is called for each row. ``entries`` come subject by subject. sealing: encrypts
    it."""
    described, written = schema().with_metadata(header.to_metadata()), Written()
    # checksums: a flipped bit in a vector would go unnoticed otherwise
    options: dict[str, Any] = {"use_dictionary": list(TEXTS), "write_page_checksum": True}
    if sealing:
        options["encryption_properties"] = sealing.writing()
    with parquet.ParquetWriter(stream, described, compression="zstd", **options) as file:
        for group in batches(entries, ROW_GROUP, GROUP_BYTES):
            file.write_table(_table(group, described))
            for entry in group:
                written.count(entry)
                advance()
    return written


def _table(entries: list[Entry], described: pa.Schema) -> pa.Table:
    rows = [_row(entry) for entry in entries]
    columns = [_column([row.get(field.name) for row in rows], field.type) for field in described]
    return pa.Table.from_arrays(columns, schema=described)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values, kind)
    absent = np.array([value is None for value in values])
    filled = np.zeros((len(values), kind.list_size), np.float32)
    for i in np.flatnonzero(~absent):
        filled[i] = values[i]
    return pa.FixedSizeListArray.from_arrays(pa.array(filled.ravel()), type=kind, mask=pa.array(absent))


def _row(entry: Entry) -> dict[str, Any]:
    kept = _reference(entry.reference) if entry.reference else {}
    return {
        "subject": entry.subject,
        "display_name": entry.display_name,
        "subject_metadata": json.dumps(dict(entry.metadata), ensure_ascii=False, allow_nan=False),
        "subject_created_at": entry.subject_created_at,
        **kept,
    }


def _reference(kept: KeptReference) -> dict[str, Any]:
    sample = kept.new.sample
    return {
        "reference": kept.id,
        "template_version": sample.template.version,
        "image_sha256": kept.new.image_sha256,
        "vector": sample.template.vector,
        "box": sample.face.box,
        "landmarks": sample.face.landmarks.ravel(),
        "score": float(sample.face.score),
        "quality": {name: getattr(sample.quality, name) for name in MEASURES},
        "quality_reasons": ";".join(sample.quality.reasons),
        "created_at": kept.created_at,
        "photograph": kept.new.photograph,
    }
