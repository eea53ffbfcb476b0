"""Reads a gallery's file, a row group at a time. The file may be anything: damaged, hostile, somebody else's.

A row of a gallery's file as an entry for the store, every value checked: the file may be anybody's.

The rows of a gallery's file into a store: chunk by chunk, so that a run which is killed is continued by running it
again; rows that can't be taken are counted and named, and stop nobody else's.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from facesvc.core.names import require_name
from facesvc.core.types import LANDMARKS, Added, Entry, Face, KeptReference, NewReference, Quality, Sample, Template
from facesvc.errors import FileUnreadable, ImageError, ImportInvalid, RequestError, SampleError
from facesvc.exchange.layout import ARRAYS, MEASURES, REFERENCE, TEXTS, Header, header, schema
from facesvc.exchange.sealing import Sealing, batches, is_sealed

Record = dict[str, Any]
"""A row by column: text as str (lone surrogates stand for bytes that are no UTF-8), arrays as float32, moments as
microseconds since 1970, quality as a tuple of numbers; None where there is nothing."""

GROUP_ROWS = 2**20
GROUP_BYTES = 2**30
"""Largest row group that is read: what it says it holds, uncompressed. Ours have 5,000 rows, or some 50 MB."""
LIMITS: dict[str, Any] = {
    "thrift_string_size_limit": 64 * 2**20,
    "thrift_container_size_limit": 2**20,
    "pre_buffer": False,
}
"""Of the file's own descriptions, bytes and elements."""


class GalleryFile:
    """``header``: the file's; ``rows``: their number; iterating gives (row number from 1, Record), a row group in
    memory at a time. Raises FileUnreadable, and ImportInvalid at once or where damage is met."""

    def __init__(self, path: Path, sealing: Sealing | None = None) -> None:
        """sealing: what an encrypted file is opened with; raises what its wrapper raises."""
        self.path = path
        opening: dict[str, Any] = {"decryption_properties": sealing.reading()} if sealing else {}
        with self._blamed("it is no Parquet file, or a damaged one"), ExitStack() as undo:
            if sealing is None and is_sealed(path):
                raise ImportInvalid("it is encrypted: give its passphrase")
            self._stream = undo.enter_context(path.open("rb"))
            described = parquet.ParquetFile(self._stream, **opening, **LIMITS)
            self.header: Header = header(described.metadata.metadata)
            _require_columns(described.schema_arrow)
            self._file = parquet.ParquetFile(
                self._stream,
                metadata=described.metadata,
                read_dictionary=[*TEXTS, "photograph"],  # a value repeated a million times stays one value in memory
                page_checksum_verification=True,
                **opening,
                **LIMITS,
            )
            self.rows: int = self._file.metadata.num_rows
            undo.pop_all()

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        number = 0
        for group in range(self._file.metadata.num_row_groups):
            with self._blamed(f"row group {group + 1} of {self._file.metadata.num_row_groups} is damaged"):
                self._require_size(group)
                records = _records(self._file.read_row_group(group))
            for record in records:
                number += 1
                yield number, record

    def close(self) -> None:
        self._stream.close()

    @contextmanager
    def _blamed(self, what: str) -> Iterator[None]:
        """Whatever pyarrow makes of a strange file is the file's fault, said with its name."""
        try:
            yield
        except ImportInvalid as error:
            raise ImportInvalid(f"{self.path}: {error.detail}") from error
        except OSError as error:
            if error.errno:  # the system's own: no such file, no permission
                raise FileUnreadable(f"{self.path}: {error.strerror or error}") from error
            raise ImportInvalid(f"{self.path}: {what}") from error
        except (pa.ArrowException, ValueError, KeyError, OverflowError, MemoryError) as error:
            raise ImportInvalid(f"{self.path}: {what}") from error

    def _require_size(self, group: int) -> None:
        described = self._file.metadata.row_group(group)
        if described.num_rows > GROUP_ROWS or described.total_byte_size > GROUP_BYTES:
            raise ImportInvalid(f"row group {group + 1} is larger than any that facesvc writes")


def _require_columns(found: pa.Schema) -> None:
    """Ours are there, once each, of our types; others may be too."""
    for wanted in schema():
        if found.names.count(wanted.name) != 1:
            raise ImportInvalid(f"column {wanted.name} is not there, or more than once")
        kind = found.field(wanted.name).type
        if kind != wanted.type:
            raise ImportInvalid(f"column {wanted.name} is {kind}, not {wanted.type}")


def _records(table: pa.Table) -> list[Record]:
    names = schema().names
    columns = [_values(name, table.column(name).combine_chunks()) for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(name: str, column: Any) -> list[Any]:
    if isinstance(column, pa.ChunkedArray):  # without a row
        return []
    if name in TEXTS:
        return _looked_up(column, text=True)
    if name == "photograph":
        return _looked_up(column, text=False)
    if name in ARRAYS:
        return _arrays(column, ARRAYS[name])
    if name == "quality":
        parts = [column.field(measure).to_pylist() for measure in MEASURES]
        present = column.is_valid().to_pylist()
        return [values if there else None for values, there in zip(zip(*parts, strict=True), present, strict=True)]
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64()).to_pylist()
    return column.to_pylist()


def _looked_up(column: Any, text: bool) -> list[Any]:
    """Values of a dictionary-encoded column; equal ones are one object."""
    known = column.dictionary.cast(pa.binary()).to_pylist()
    if text:
        known = [value.decode("utf-8", "surrogateescape") for value in known]
    return [None if i is None else known[i] for i in column.indices.to_pylist()]


def _arrays(column: Any, length: int) -> list[Any]:
    present = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    found: list[Any] = [None] * len(column)
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)  # null elements are NaN
    for i, values in zip(present, flat.reshape(-1, length), strict=True):
        found[i] = values
    return found


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXT_LENGTH = 256
"""Characters of the longest text that the store takes."""
NORM_TOLERANCE = 1e-3
"""By which share a vector's length may differ from its pack's: rounding of float32 is a thousandth of that."""
REASONS = frozenset(kind.code for kind in SampleError.__subclasses__())


class RowRefused(Exception):
    """A row that can't be taken. ``code`` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


@dataclass(frozen=True, slots=True)
class RowRules:
    """template_version: that every template must have; norm: length of its vector, None where that is not known;
    photograph_bytes: of the largest photograph; sniff: names the image format of some bytes, or raises ImageError."""

    template_version: str
    norm: float | None
    photograph_bytes: int
    sniff: Callable[[bytes], str]

    def entry(self, record: Record) -> Entry:
        """Raises RowRefused."""
        reference = None
        if record["reference"] is not None or any(record[name] is not None for name in REFERENCE):
            reference = self._reference(record)
        return Entry(
            subject=_subject(record["subject"]),
            display_name=_text(record["display_name"]),
            metadata=_metadata(record["subject_metadata"]),
            subject_created_at=_moment(record["subject_created_at"]),
            reference=reference,
        )

    def _reference(self, record: Record) -> KeptReference:
        missing = [name for name in (*REFERENCE, "quality") if record[name] is None]
        if missing:
            raise RowRefused("value_missing", f"without {', '.join(missing)}")
        if not re.fullmatch(r"ref_[0-9a-f]{26}", record["reference"]):
            raise RowRefused("reference_id_invalid", "reference is no id of facesvc")
        if not re.fullmatch(r"[0-9a-f]{64}", record["image_sha256"]):
            raise RowRefused("digest_invalid", "image_sha256 is no SHA-256 in hexadecimal digits")
        face = Face(_finite(record, "box"), _finite(record, "landmarks").reshape(len(LANDMARKS), 2), record["score"])
        if not np.isfinite(face.score):
            raise RowRefused("score_invalid", "score is not a number")
        sample = Sample(face, _quality(record), self._template(record))
        photograph, media_type = self._photograph(record)
        new = NewReference(sample, record["image_sha256"], photograph, media_type)
        return KeptReference(record["reference"], new, _moment(record["created_at"]))

    def _template(self, record: Record) -> Template:
        if record["template_version"] != self.template_version:
            raise RowRefused("template_version_mismatch", "its template version is not the file's")
        vector = _finite(record, "vector")
        length = float(np.linalg.norm(vector.astype(np.float64)))
        if length == 0 or (self.norm and abs(length - self.norm) > NORM_TOLERANCE * self.norm):
            wanted = f", the pack's is {self.norm:g}" if self.norm else ""
            raise RowRefused("vector_length_invalid", f"vector has length {length:.4g}{wanted}")
        return Template(vector, self.template_version)

    def _photograph(self, record: Record) -> tuple[bytes | None, str | None]:
        """The bytes and their type, which is told from them: it will be served with them."""
        photograph = record["photograph"]
        if photograph is None:
            return None, None
        if len(photograph) > self.photograph_bytes:
            raise RowRefused("photograph_too_large", f"photograph has more than {self.photograph_bytes} bytes")
        if hashlib.sha256(photograph).hexdigest() != record["image_sha256"]:
            raise RowRefused("photograph_altered", "photograph does not have the SHA-256 of its row")
        try:
            return photograph, f"image/{self.sniff(photograph).lower()}"
        except ImageError as error:
            raise RowRefused("photograph_invalid", f"photograph: {error.detail}") from error


def _subject(name: str | None) -> str:
    if name is None:
        raise RowRefused("value_missing", "without subject")
    try:
        require_name(name)
        name.encode()
    except (RequestError, UnicodeEncodeError) as error:
        raise RowRefused("subject_invalid", "subject can't be a name") from error
    return name


def _text(text: str | None) -> str | None:
    if text is None:
        return None
    if len(text) > TEXT_LENGTH or "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise RowRefused("display_name_invalid", f"display_name is no text of at most {TEXT_LENGTH} characters")
    return text


def _metadata(text: str | None) -> dict[str, Any]:
    if text is None:
        raise RowRefused("value_missing", "without subject_metadata")
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise RowRefused("metadata_invalid", "subject_metadata is not JSON") from error
    if not isinstance(value, dict):
        raise RowRefused("metadata_invalid", "subject_metadata is no JSON object")
    return value


def _moment(microseconds: int | None) -> datetime:
    if microseconds is None:
        raise RowRefused("value_missing", "without its moment of creation")
    try:
        return EPOCH + timedelta(microseconds=microseconds)
    except OverflowError as error:
        raise RowRefused("moment_invalid", "a moment lies outside the years 1 to 9999") from error


def _finite(record: Record, name: str) -> np.ndarray:
    if not np.isfinite(record[name]).all():
        raise RowRefused(f"{name}_not_finite", f"{name} has values that are not numbers")
    return record[name]


def _quality(record: Record) -> Quality:
    measures, reasons = record["quality"], tuple(filter(None, record["quality_reasons"].split(";")))
    if any(value is None or not np.isfinite(value) for value in measures) or not REASONS.issuperset(reasons):
        raise RowRefused("quality_invalid", "quality has values that are not numbers, or reasons that are unknown")
    return Quality(**dict(zip(MEASURES, measures, strict=True)), reasons=reasons)


CHUNK = 500
"""Rows of one transaction."""
CHUNK_BYTES = 16 * 2**20
"""Bytes of photographs after which a transaction ends early."""
NAMED = 100
"""Refused rows that are told one by one; the others are counted."""

Add = Callable[[Sequence[Entry]], Added]
"""Stores entries in one transaction."""


@dataclass(slots=True)
class Import:
    """What came of a file's rows: ``added`` by committed transactions; ``refused`` by code; ``named``: the first of
    those, with row (from 1), subject and detail."""

    rules: RowRules
    added: Added = field(default_factory=Added)
    refused: Counter[str] = field(default_factory=Counter)
    named: list[dict[str, Any]] = field(default_factory=list)

    def run(self, rows: Iterable[tuple[int, Record]], add: Add, advance: Callable[[], None]) -> None:
        """Stores what ``rows`` give; ``advance`` is called for each row that is done."""
        for chunk in batches(self._entries(rows, advance), CHUNK, CHUNK_BYTES):
            self.added += add(chunk)
            for _ in chunk:
                advance()

    def _entries(self, rows: Iterable[tuple[int, Record]], advance: Callable[[], None]) -> Iterator[Entry]:
        for number, record in rows:
            try:
                yield self.rules.entry(record)
            except RowRefused as refused:
                self._name(number, record, refused)
                advance()

    def _name(self, number: int, record: Record, refused: RowRefused) -> None:
        self.refused[refused.code] += 1
        if len(self.named) < NAMED:
            subject = (record["subject"] or "").encode("utf-8", "backslashreplace").decode()[:128]
            self.named.append({"row": number, "subject": subject, "code": refused.code, "detail": refused.detail})
