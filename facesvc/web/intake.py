"""One entrance for every body: multipart/form-data or application/json, bounded, validated, off the event loop.

Photographs are held in memory while they are worked on and never touch the disk, so that nothing of them
remains in a temporary folder.

The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header): a request that comes again is done once.
"""

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from facesvc.core.types import Ticket
from facesvc.errors import ImageUrlRefused, RequestError, RequestTooLarge, UnsupportedMediaType
from facesvc.web.errors import invalid_fields
from facesvc.web.fetch import PhotographFetcher
from facesvc.web.requests import Body, EncodedPhotograph, Linked

R = TypeVar("R")

FORM, JSON = "multipart/form-data", "application/json"
MAX_PARTS = 256
"""Parts of one form, unless settings.max_images asks for more: thousands of tiny parts are no request of ours."""
MAX_FIELD_BYTES = 64 * 1024
"""Bytes of one form field that is not a file."""
SMALL_JSON = 256 * 1024
"""Bytes of a JSON body without photographs."""


class Intake(Generic[R]):
    """A dependency that reads what a request asks for (``Body.asked``) by the model of the request's media type.

    form, json: the models of the two media types (the same operation in two notations), or None where one is
    not taken. max_json: bytes of a JSON body, where the service's general limit is too generous.
    Raises UnsupportedMediaType, RequestTooLarge, InvalidFields, RequestError.
    """

    def __init__(self, *, json: type[Body], form: type[Body] | None = None, max_json: int | None = None) -> None:
        self.json, self.form, self.max_json = json, form, max_json

    async def __call__(self, request: Request) -> R:
        return (await self._read(request)).asked()

    async def _read(self, request: Request) -> Body:
        media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
        try:
            if media_type == JSON:
                return await self._read_json(request)
            if media_type == FORM and self.form:
                return await run_in_threadpool(self.form.model_validate, await _read_form(request))
        except ValidationError as error:
            raise invalid_fields(error.errors(include_input=False, include_url=False, include_context=False)) from None
        raise UnsupportedMediaType(f"{media_type or 'a body without media type'} is not taken, {self._taken()} is")

    async def _read_json(self, request: Request) -> Body:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if self.max_json and len(body) > self.max_json:
                raise RequestTooLarge(f"this request may have at most {self.max_json} bytes")
        # Parsing megabytes of base64 would stop every other request if it ran on the event loop.
        asked = await run_in_threadpool(self.json.model_validate_json, body)
        if isinstance(asked, Linked) and (links := asked.links()):
            await run_in_threadpool(_fetch, request, links)
        return asked

    def _taken(self) -> str:
        return f"{FORM} or {JSON}" if self.form else JSON

    @property
    def openapi(self) -> dict[str, Any]:
        """The operation's requestBody for ``openapi_extra``; models are referred to by name."""
        taken: Mapping[str, type[BaseModel] | None] = {FORM: self.form, JSON: self.json}
        content = {
            media_type: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
            for media_type, model in taken.items()
            if model
        }
        return {"requestBody": {"required": True, "content": content}}

    @property
    def models(self) -> list[type[BaseModel]]:
        return [model for model in (self.form, self.json) if model]


def _fetch(request: Request, links: Sequence[EncodedPhotograph]) -> None:
    """Raises ImageUrlRefused, Overloaded, RequestTooLarge."""
    fetcher: PhotographFetcher | None = request.app.state.fetcher
    if fetcher is None:
        raise ImageUrlRefused("this service fetches no photographs; send them with the request")
    most = request.app.state.settings.max_images
    if len(links) > most:
        raise RequestTooLarge(f"{len(links)} photographs; one request may have {most}")
    fetched = fetcher.fetch([link.url or "" for link in links], request.state.arrived)
    for link, content in zip(links, fetched, strict=True):
        link.fetched(content)


class _InMemoryParser(MultiPartParser):
    spool_max_size = sys.maxsize


async def _read_form(request: Request) -> dict[str, Any]:
    """Fields by name: text as str, files as bytes; a list where a name occurs more than once."""
    parser = _InMemoryParser(
        request.headers,
        request.stream(),
        max_files=max(MAX_PARTS, request.app.state.settings.max_images + 1),
        max_fields=MAX_PARTS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestError(error.message) from None
    try:
        return await _collect(form)
    finally:
        await form.close()


async def _collect(form: FormData) -> dict[str, Any]:
    values: dict[str, list[Any]] = {}
    for name, value in form.multi_items():
        values.setdefault(name, []).append(await value.read() if isinstance(value, UploadFile) else value)
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


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
