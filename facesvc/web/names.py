"""The shapes of names and metadata that callers choose, as OpenAPI states them."""

from typing import Annotated, Any

from fastapi import Path
from pydantic import AfterValidator, Field, StringConstraints

from facesvc.core.names import (
    CONSENT_LENGTH,
    DISPLAY_NAME_LENGTH,
    METADATA_BYTES,
    NAME_PATTERN,
    RESERVED,
    TEXT_PATTERN,
    require_metadata,
)
from facesvc.errors import RequestError


def _addressable(name: str) -> str:
    if name in RESERVED:
        raise ValueError('"." and ".." can\'t be names: clients and proxies take them out of addresses')
    return name


def _storable(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        require_metadata(metadata)
    except RequestError as error:
        raise ValueError(error.detail) from error
    return metadata


Name = Annotated[
    str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=128), AfterValidator(_addressable)
]
DisplayName = Annotated[str, StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=DISPLAY_NAME_LENGTH)]
Consent = Annotated[str, StringConstraints(pattern=TEXT_PATTERN, min_length=1, max_length=CONSENT_LENGTH)]
Metadata = Annotated[
    dict[str, Any],
    AfterValidator(_storable),
    Field(description=f"Yours to use: a JSON object of at most {METADATA_BYTES} bytes.", examples=[{"team": "night"}]),
]

_in_path: Any = {"pattern": NAME_PATTERN, "min_length": 1, "max_length": 128}
GalleryPath = Annotated[str, Path(alias="gallery", examples=["staff"], **_in_path), AfterValidator(_addressable)]
SubjectPath = Annotated[str, Path(alias="subject", examples=["ada"], **_in_path), AfterValidator(_addressable)]
ReferencePath = Annotated[str, Path(alias="reference", examples=["ref_01"], **_in_path), AfterValidator(_addressable)]
