"""The backend that asks a facesvc server over HTTP, with patience for one that is busy or restarting."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar
from urllib.parse import quote

import httpx
from httpx_retries import Retry, retry_request
from pydantic import BaseModel, ValidationError

from facesvc.errors import RemoteError, RequestError
from facesvc.schemas.base import Page
from facesvc.schemas.decisions import Identification, Verification
from facesvc.schemas.galleries import (
    EnrolledPhotograph,
    ErasureReceipt,
    Gallery,
    Model,
    PhotographOutcome,
    Reference,
    RejectedPhotograph,
    Subject,
)

if TYPE_CHECKING:
    from datetime import datetime

    from facesvc.core.decide import DecisionRule

TIMEOUT = httpx.Timeout(120, connect=5)
NOT_TAKEN = (httpx.ConnectError, httpx.ConnectTimeout)
RETRY = Retry(
    total=5,
    allowed_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
    status_forcelist=(httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE),
    retry_on_exceptions=(httpx.TransportError,),
    backoff_factor=0.15,
    backoff_jitter=0.2,
    max_backoff_wait=30,
)
"""Pauses as the server asks with Retry-After, else of 0.3, 0.6, 1.2, 2.4 and 4.8 s, less up to a fifth by chance: that
keeps many clients apart."""
PAGE = 500
"""Items asked for at a time."""

Shape = TypeVar("Shape", bound=BaseModel)


class Results(BaseModel):
    """What answers to an enrolment have in common, whether it was done or refused."""

    results: list[PhotographOutcome]


@contextmanager
def open_remote(url: str, workers: int = 1, api_key: str | None = None) -> Iterator["RemoteBackend"]:
    """Open the server at ``url``. workers: requests to send at once; api_key: to bring with each. Raises RequestError
    for what is not the http(s) address of a server."""
    try:
        base = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise RequestError(f"--server {url}: {error}") from error
    if base.scheme not in {"http", "https"} or not base.host:
        raise RequestError(f"--server {url}: give an address such as http://127.0.0.1:8000")
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    with httpx.Client(base_url=base, timeout=TIMEOUT, headers=headers) as client:
        yield RemoteBackend(client, workers)


class RemoteBackend:
    """Implements ``Backend`` over the HTTP API. Raises RemoteError, with the server's code if it sent one."""

    def __init__(self, client: httpx.Client, workers: int) -> None:
        self.client, self.workers = client, workers

    def model(self, gallery: str) -> Model:
        return self._read(Model, self._ask("GET", f"{gallery_path(gallery)}/model"))

    def verify(self, probe: bytes, reference: bytes, face: str, rule: "DecisionRule") -> Verification:
        files = [part("probe", probe), part("reference", reference)]
        body = self._ask("POST", "/v1/verify", files=files, data={"face": face, **asked(rule)})
        return self._read(Verification, body)

    def identify(self, photograph: bytes, gallery: str, top_k: int, face: str, rule: "DecisionRule") -> Identification:
        fields = {"gallery": gallery, "top_k": str(top_k), "face": face, **asked(rule)}
        body = self._ask("POST", "/v1/identify", files=[part("image", photograph)], data=fields)
        return self._read(Identification, body)

    def enrol(
        self, gallery: str, subject: str, photograph: bytes, face: str, strict: bool
    ) -> EnrolledPhotograph | RejectedPhotograph:
        fields = {"face": face, "strict": str(strict).lower()}
        files = [part("images", photograph)]
        body = self._ask("POST", f"{subject_path(gallery, subject)}/references", files=files, data=fields)
        return self._read(Results, body).results[0]

    def galleries(self) -> Iterator[Gallery]:
        return self._listed("/v1/galleries", Gallery)

    def gallery(self, name: str) -> Gallery:
        return self._read(Gallery, self._ask("GET", gallery_path(name)))

    def create_gallery(self, name: str, keep_photographs: bool = False) -> Gallery:
        wanted = {"name": name, "keep_photographs": keep_photographs}
        return self._read(Gallery, self._ask("POST", "/v1/galleries", again=False, json=wanted))

    def delete_gallery(self, name: str) -> None:
        self._ask("DELETE", gallery_path(name), again=False)

    def subjects(self, gallery: str) -> Iterator[Subject]:
        return self._listed(f"{gallery_path(gallery)}/subjects", Subject)

    def subject(self, gallery: str, subject: str) -> Subject:
        return self._read(Subject, self._ask("GET", subject_path(gallery, subject)))

    def rename_subject(self, gallery: str, subject: str, display_name: str) -> Subject:
        body = self._ask("PATCH", subject_path(gallery, subject), json={"display_name": display_name})
        return self._read(Subject, body)

    def mark_canary(self, gallery: str, subject: str, canary: bool) -> None:
        self._ask("PUT" if canary else "DELETE", f"{subject_path(gallery, subject)}/canary")

    def retain_subject(self, gallery: str, subject: str, consent: str | None, expires_at: "datetime | None") -> Subject:
        given = {"consent": consent, "expires_at": expires_at and expires_at.isoformat()}
        changes = {name: value for name, value in given.items() if value is not None}
        return self._read(Subject, self._ask("PATCH", subject_path(gallery, subject), json=changes))

    def erase_subject(self, gallery: str, subject: str) -> ErasureReceipt:
        body = self._ask("POST", f"{subject_path(gallery, subject)}/erasure")
        return self._read(ErasureReceipt, body, extra="forbid")  # a part of what is signed proves nothing

    def export_subject(self, gallery: str, subject: str, file: BinaryIO) -> None:
        with self.client.stream("GET", f"{subject_path(gallery, subject)}/export") as response:
            if response.is_error:
                response.read()
                answered(response)
            for chunk in response.iter_bytes():
                file.write(chunk)

    def delete_subject(self, gallery: str, subject: str) -> None:
        self._ask("DELETE", subject_path(gallery, subject), again=False)

    def references(self, gallery: str, subject: str) -> Iterator[Reference]:
        return self._listed(f"{subject_path(gallery, subject)}/references", Reference)

    def _listed(self, path: str, shape: type[Shape]) -> Iterator[Shape]:
        cursor: str | None = None
        while True:
            body = self._ask("GET", path, params={"limit": PAGE} | ({"cursor": cursor} if cursor else {}))
            page = self._read(Page[dict[str, Any]], body)
            for item in page.items:
                yield self._read(shape, item)
            cursor = page.next_cursor
            if cursor is None:
                return

    def _read(self, shape: type[Shape], body: Any, extra: Literal["ignore", "forbid"] = "ignore") -> Shape:
        """Return the server's JSON as a shape; by default without fields that only a newer server knows. Raises
        RemoteError where it is none."""
        try:
            return shape.model_validate(body, extra=extra)
        except ValidationError as error:
            raise RemoteError(f"{self.client.base_url} answered, but not as a facesvc server does") from error

    def _ask(self, method: str, path: str, again: bool = True, **request: Any) -> dict[str, Any]:
        """Send a request until it is answered. Raises RemoteError.

        again: doing it twice is the same as once; only then is a request repeated whose answer was lost. A request
        that the server did not take is repeated in any case.
        """
        retry = RETRY if again else RETRY.copy_with(retry_on_exceptions=NOT_TAKEN)
        try:
            response = retry_request(self.client, method, path, retry=retry, **request)
        except httpx.HTTPError as error:
            raise RemoteError(f"{self.client.base_url}: {error or type(error).__name__}") from error
        return answered(response)


def answered(response: httpx.Response) -> dict[str, Any]:
    """Return the answer's JSON object, {} where it has no content. Raises RemoteError for problem documents and what is
    no JSON object."""
    if response.status_code == httpx.codes.NO_CONTENT:
        return {}
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or (response.is_error and "code" not in body and "results" not in body):
        raise RemoteError(f"{response.url} answered {response.status_code}, but not as a facesvc server does")
    if response.is_error and "results" not in body:  # with results, the photographs' own outcomes say it all
        error = RemoteError(body.get("detail") or body.get("title"), body["code"])
        error.source = body.get("source")
        raise error
    return body


def asked(rule: "DecisionRule") -> dict[str, str]:
    """Return the rule as form fields: floats as the shortest text that reads back as the same number."""
    fields = {"threshold": rule.threshold, "target_fmr": rule.target_fmr}
    return {name: repr(value) for name, value in fields.items() if value is not None}


def part(field: str, content: bytes) -> tuple[str, tuple[str, bytes, str]]:
    return field, ("photograph", content, "application/octet-stream")


def gallery_path(name: str) -> str:
    return f"/v1/galleries/{quote(name, safe='')}"


def subject_path(gallery: str, subject: str) -> str:
    return f"{gallery_path(gallery)}/subjects/{quote(subject, safe='')}"
