"""A gallery as a Parquet file: a row for each reference, one without a reference for a subject that has none.

Text is plain text, metadata is JSON text; box is x1 y1 x2 y2 px, landmarks are x y px of the five of
``core.types.LANDMARKS`` in their order; quality_reasons are codes joined by ";". The columns from ``reference`` to
``created_at`` are null where a subject has no reference. What belongs to the file as a whole is its header: a JSON
object under the key ``facesvc`` of the file's metadata.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa

from facesvc.core.types import DIMENSION, LANDMARKS
from facesvc.errors import ImportInvalid

FORMAT = 1
"""Number of this layout; a reader knows its own and refuses others."""
KEY = b"facesvc"

MEASURES = ("face_size", "sharpness", "yaw", "pitch", "roll", "brightness", "contrast")
"""Fields of ``core.types.Quality`` that are numbers."""
TEXTS = (
    "subject",
    "display_name",
    "subject_metadata",
    "reference",
    "template_version",
    "image_sha256",
    "quality_reasons",
)
ARRAYS = {"vector": DIMENSION, "box": 4, "landmarks": 2 * len(LANDMARKS)}
"""float32 of fixed length."""
REFERENCE = (*ARRAYS, "reference", "template_version", "image_sha256", "score", "quality_reasons", "created_at")
"""Columns that a row with a reference must have."""


def schema() -> pa.Schema:
    text, moment = pa.string(), pa.timestamp("us", tz="UTC")
    arrays = {name: pa.list_(pa.field("element", pa.float32()), length) for name, length in ARRAYS.items()}
    return pa.schema(
        {
            "subject": text,
            "display_name": text,
            "subject_metadata": text,
            "subject_created_at": moment,
            "reference": text,
            "template_version": text,
            "image_sha256": text,
            **arrays,
            "score": pa.float64(),
            "quality": pa.struct(dict.fromkeys(MEASURES, pa.float64())),
            "quality_reasons": text,
            "created_at": moment,
            "photograph": pa.binary(),
        }
    )


@dataclass(frozen=True, slots=True)
class Header:
    """format: FORMAT; facesvc: the release that wrote it; pack, norm: of the pack whose templates these are, None
    where that was not known; photographs: whether their bytes are in it; the rest as in ``core.types.Gallery``."""

    format: int
    facesvc: str
    gallery: str
    template_version: str
    keep_photographs: bool
    photographs: bool
    metadata: Mapping[str, Any]
    pack: str | None = None
    norm: float | None = None

    def to_metadata(self) -> dict[bytes, bytes]:
        return {KEY: json.dumps(asdict(self), allow_nan=False).encode()}


def header(metadata: Mapping[bytes, bytes] | None) -> Header:
    """The header in a file's metadata. Raises ImportInvalid."""
    if not metadata or KEY not in metadata:
        raise ImportInvalid("it is a Parquet file, but no gallery that facesvc exported")
    try:
        values = json.loads(metadata[KEY])
        found = Header(**{field.name: values[field.name] for field in fields(Header)}) if _of_this(values) else None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ImportInvalid("its header is damaged") from error
    if found is None:
        raise ImportInvalid(f"its format is {values['format']!r}, this release reads {FORMAT}")
    _require_types(found)
    return found


def _of_this(values: Mapping[str, Any]) -> bool:
    return values["format"] == FORMAT


def _require_types(found: Header) -> None:
    texts = (found.facesvc, found.gallery, found.template_version)
    flags = (found.keep_photographs, found.photographs)
    good = (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(flag, bool) for flag in flags)
        and isinstance(found.metadata, dict)
        and (found.pack is None or isinstance(found.pack, str))
        and (found.norm is None or (isinstance(found.norm, float | int) and 0 < found.norm <= 1000))
    )
    if not good:
        raise ImportInvalid("its header has values of the wrong type")
