"""The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header): a request that comes again is done once."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Header
from fastapi.responses import Response

from facesvc.core.types import Ticket

KEY_PATTERN = r"^[\u0020-\u007e]{1,255}$"
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=KEY_PATTERN,
        description="A name of your own for this request, such as a UUID. The same request with the same key is done "
        "once: for 24 hours it gets the first one's answer again.",
        examples=['"8e03978e-40d5-43e8-bc93-6894a57f9324"'],
    ),
]
CARRIED = ("location", "content-type")
"""Headers that belong to an answer; others are made anew for each."""


def ticket(caller: str, key: str, parts: Sequence[object], files: Sequence[bytes]) -> Ticket:
    """Of a request for ``parts`` (JSON values) about ``files``, whichever notation it came in. Each caller (an API
    key's id) has names of its own: nobody is given an answer that was another's."""
    asked = [*parts, *(hashlib.sha256(file).hexdigest() for file in files)]
    return Ticket(_digest(f"{caller}\0{_bare(key)}"), _digest(json.dumps(asked)))


def pack(answer: Response) -> bytes:
    """Status, headers and body of an answer, to be kept."""
    headers = {name: value for name, value in answer.headers.items() if name in CARRIED}
    kept: dict[str, Any] = {"status": answer.status_code, "headers": headers, "body": bytes(answer.body).decode()}
    return json.dumps(kept, ensure_ascii=False).encode()


def unpack(kept: bytes) -> Response:
    """The answer that ``pack`` was given, byte for byte."""
    answer = json.loads(kept)
    return Response(answer["body"].encode(), answer["status"], answer["headers"])


def _bare(key: str) -> str:
    """The draft wants a quoted string (RFC 9651, section 3.3.3), many clients send it bare: both name the same."""
    quoted = re.fullmatch(r'"((?:[^"\\]|\\["\\])*)"', key)
    return re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else key


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
