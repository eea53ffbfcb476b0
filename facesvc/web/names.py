"""The shapes of names and metadata that callers choose, as OpenAPI states them."""

import json
from typing import Annotated, Any

from fastapi import Path
from pydantic import AfterValidator, Field, StringConstraints

from facesvc.core.names import NAME_PATTERN, RESERVED

TEXT_PATTERN = r"^[^\u0000-\u001f\u007f-\u009f]*$"
METADATA_BYTES = 16 * 1024


def _addressable(name: str) -> str:
    if name in RESERVED:
        raise ValueError('"." and ".." can\'t be names: clients and proxies take them out of addresses')
    return name


def _storable(metadata: dict[str, Any]) -> dict[str, Any]:
    """Every database must take it and give it back as it was: no NaN, no infinity, no U+0000."""
    encoded = json.dumps(metadata, allow_nan=False)
    if len(encoded) > METADATA_BYTES:
        raise ValueError(f"metadata may have at most {METADATA_BYTES} bytes of JSON")
    if "\\u0000" in encoded.replace("\\\\", ""):  # an escaped backslash is no start of an escape
        raise ValueError("metadata can't hold the character U+0000")
    return metadata


Name = Annotated[
    str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=128), AfterValidator(_addressable)
]
DisplayName = Annotated[str, StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=256)]
Consent = Annotated[str, StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=200)]
Metadata = Annotated[
    dict[str, Any],
    AfterValidator(_storable),
    Field(description=f"Yours to use: a JSON object of at most {METADATA_BYTES} bytes.", examples=[{"team": "night"}]),
]

_in_path: Any = {"pattern": NAME_PATTERN, "min_length": 1, "max_length": 128}
GalleryPath = Annotated[str, Path(alias="gallery", examples=["staff"], **_in_path), AfterValidator(_addressable)]
SubjectPath = Annotated[str, Path(alias="subject", examples=["ada"], **_in_path), AfterValidator(_addressable)]
ReferencePath = Annotated[str, Path(alias="reference", examples=["ref_01"], **_in_path), AfterValidator(_addressable)]
