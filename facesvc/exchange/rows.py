"""A row of a gallery's file as an entry for the store, every value checked: the file may be anybody's."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from facesvc.core.names import require_name
from facesvc.core.types import LANDMARKS, Entry, Face, KeptReference, NewReference, Quality, Sample, Template
from facesvc.errors import ImageError, RequestError, SampleError
from facesvc.exchange.layout import MEASURES, REFERENCE
from facesvc.exchange.reader import Record

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
