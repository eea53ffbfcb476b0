"""Errors: exact problem documents, limits, hostile bodies, and nothing of the inside told."""

import json as jsonlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from facesvc.config import Settings
from facesvc.errors import NoFace
from facesvc.service.disclosure import Alarms
from facesvc.web.app import create_app
from facesvc.web.errors import kinds, status_of
from tests.api.conftest import Part, problem, references
from tests.support.hostile import HostileFile
from tests.support.live import Live, listen

Parts = Callable[[str, str], Part]
JSON = {"Content-Type": "application/json"}

STATUSES = {
    200: set(),
    401: {"unauthenticated"},
    403: {"forbidden"},
    404: {
        "gallery_not_found", "subject_not_found", "reference_not_found", "photograph_not_found", "not_found",
        "api_key_not_found", "tenant_not_found",
    },
    405: {"method_not_allowed"},
    408: {"request_timeout"},
    409: {
        "gallery_exists", "subject_exists", "template_version_mismatch", "idempotency_key_in_use",
        "model_change_conflict", "model_change_incomplete", "tenant_exists", "too_many_references",
    },
    413: {"image_too_large", "request_too_large"},
    415: {"unsupported_format", "unsupported_media_type"},
    422: {
        "image_error", "not_an_image", "corrupt_image", "image_too_small", "sample_error", "no_face", "several_faces",
        "too_many_faces", "face_too_small", "face_blurred", "face_turned", "face_too_dark", "face_too_bright",
        "face_cut_off", "decision_error", "invalid_threshold", "target_fmr_unsupported", "calibration_missing",
        "invalid_cursor", "idempotency_key_reused", "invalid_request", "file_unreadable", "import_invalid",
        "image_url_refused", "receipt_invalid",
    },
    429: {"rate_limited", "identity_budget_spent"},
    500: {
        "internal_error", "store_error", "seal_broken", "audit_broken", "cluster_unavailable", "worker_lost",
        "samples_unavailable",
    },
    502: {"remote_error"},
    503: {
        "model_error", "pack_not_found", "carrier_missing", "pack_damaged", "pack_invalid", "overloaded",
        "store_unavailable", "index_unavailable", "master_key_unavailable",
    },
}  # fmt: skip
"""The public contract of codes: a change here is a change for callers."""


def test_every_code_has_its_status_and_advice() -> None:
    expected = {code: status for status, codes in STATUSES.items() for code in codes}
    assert {kind.code: status_of(kind) for kind in kinds()} == expected
    assert [kind.__name__ for kind in kinds() if "code" in vars(kind) and "advice" not in vars(kind)] == []
    assert len({kind.advice for kind in kinds()}) == len(expected)


def test_every_problem_type_is_explained(client: httpx.Client) -> None:
    assert client.get("/errors/no_face").json() == {
        "code": "no_face",
        "title": "No face found",
        "status": 422,
        "advice": NoFace.advice,
    }
    answers = {kind: client.get(f"/errors/{kind.code}").json() for kind in kinds()}
    assert [kind.__name__ for kind, answer in answers.items() if answer["advice"] != kind.advice] == []
    assert problem(client.get("/errors/nonsense"))["code"] == "not_found"


def test_an_address_that_is_not_there(client: httpx.Client) -> None:
    answer = client.get("/v2/verify")
    assert answer.status_code == 404
    assert problem(answer) == {
        "type": "/errors/not_found",
        "title": "No such address",
        "status": 404,
        "code": "not_found",
        "detail": "there is nothing at /v2/verify",
    }


def test_a_method_that_is_not_there(client: httpx.Client) -> None:
    answer = client.get("/v1/verify")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert problem(answer)["code"] == "method_not_allowed"


def test_a_media_type_that_is_not_taken(client: httpx.Client) -> None:
    answer = client.post("/v1/verify", content=b"probe=1", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert problem(answer) == {
        "type": "/errors/unsupported_media_type",
        "title": "Media type not supported",
        "status": 415,
        "code": "unsupported_media_type",
        "detail": "text/plain is not taken, multipart/form-data or application/json is",
    }


def test_fields_that_are_missing_or_wrong(client: httpx.Client, part: Parts) -> None:
    answer = client.post("/v1/identify", files=[part("picture", "obama")], data={"top_k": "many"})
    assert answer.status_code == 422
    document = problem(answer)
    assert document["code"] == "invalid_request"
    assert sorted(document["errors"], key=lambda error: error["field"]) == [
        {"field": "image", "detail": "Field required"},
        {"field": "picture", "detail": "Extra inputs are not permitted"},
        {"field": "top_k", "detail": "Input should be a valid integer, unable to parse string as an integer"},
    ]


def test_a_text_where_a_file_belongs(client: httpx.Client, part: Parts) -> None:
    answer = client.post("/v1/verify", files=[part("probe", "obama"), ("reference", (None, b"a text"))])
    assert problem(answer)["errors"] == [{"field": "reference", "detail": "must be one file part (with a filename)"}]


def test_two_files_where_one_belongs(client: httpx.Client, part: Parts) -> None:
    answer = client.post("/v1/detect", files=[part("image", "obama"), part("image", "biden")])
    assert problem(answer)["errors"] == [{"field": "image", "detail": "must be one file part (with a filename)"}]


@pytest.mark.parametrize("files", [("probe",), ("probe", "reference")])
def test_a_form_needs_exactly_one_reference(client: httpx.Client, part: Parts, files: tuple[str, ...]) -> None:
    data = {"subject": "x"} if len(files) == 2 else {}
    answer = client.post("/v1/verify", files=[part(field, "obama") for field in files], data=data)
    assert problem(answer)["errors"] == [{"field": "body", "detail": "give either a reference photograph or a subject"}]


@pytest.mark.parametrize("text", ["%%%", "YQ", "YQ==\n", "data:image/png;base64,YQ==", "Ä", 5, None])
def test_base64_is_taken_strictly(client: httpx.Client, text: Any) -> None:
    answer = client.post("/v1/detect", json={"image": {"base64": text}})
    assert answer.status_code == 422
    assert [error["field"] for error in problem(answer)["errors"]] == ["image.base64"]


@pytest.mark.parametrize("body", ["", "{", "[" * 100_000, '{"image": {"base64": "\\ud800"}}', "\xff", "null"])
def test_json_that_is_none(client: httpx.Client, body: str) -> None:
    answer = client.post("/v1/detect", content=body.encode("latin-1"), headers=JSON)
    assert answer.status_code == 422
    assert problem(answer)["code"] == "invalid_request"


@pytest.mark.parametrize("body", [b"", b"no multipart at all", b"--x\r\n", b"--x\r\n\r\nno header\r\n--x--\r\n"])
def test_a_form_that_is_none(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v1/detect", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 422
    assert problem(answer)["code"] == "invalid_request"


def test_a_form_without_boundary(client: httpx.Client) -> None:
    answer = client.post("/v1/detect", content=b"x", headers={"Content-Type": "multipart/form-data"})
    assert problem(answer)["detail"] == "Missing boundary in multipart."


def test_thousands_of_form_fields(client: httpx.Client) -> None:
    answer = client.post("/v1/detect", files=[(f"f{number}", (None, b"x")) for number in range(5000)])
    assert answer.status_code == 422
    assert problem(answer)["detail"] == "Too many fields. Maximum number of fields is 256."


def test_a_request_too_large_by_its_own_word(tight: Live) -> None:
    answer = tight.client.post("/v1/detect", content=b"x" * 1_500_001, headers=JSON)
    assert answer.status_code == 413
    assert problem(answer) == {
        "type": "/errors/request_too_large",
        "title": "Request too large",
        "status": 413,
        "code": "request_too_large",
        "detail": "a request may have at most 1500000 bytes",
    }


def test_a_request_too_large_without_a_word(tight: Live) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(16):
            yield b"x" * 100_000

    answer = tight.client.post("/v1/detect", content=chunks(), headers=JSON)
    assert answer.status_code == 413
    assert problem(answer)["code"] == "request_too_large"


def test_documents_without_photographs_are_small(client: httpx.Client) -> None:
    answer = client.post("/v1/galleries", content=b'{"name": "' + b"x" * 300_000 + b'"}', headers=JSON)
    assert (answer.status_code, problem(answer)["code"]) == (413, "request_too_large")


def test_an_image_too_large(tight: Live, part: Parts) -> None:
    answer = tight.client.post("/v1/detect", files=[part("image", "astronaut")])  # 791,555 bytes
    assert (answer.status_code, problem(answer)["code"]) == (413, "image_too_large")


def test_too_many_images(tight: Live, part: Parts) -> None:
    three = [part("images", "biden")] * 3
    answer = tight.client.post(references("default", "x"), files=three)
    assert answer.status_code == 413
    assert problem(answer)["detail"] == "3 photographs; one request may have 2"


def test_a_full_queue_says_when_to_come_back(tight: Live, part: Parts) -> None:
    def ask(_: int) -> httpx.Response:
        return tight.client.post("/v1/verify", files=[part("probe", "obama"), part("reference", "biden")])

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    assert {answer.status_code for answer in answers} == {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert (answer.headers["retry-after"], problem(answer)["code"]) == ("1", "overloaded")
        else:
            assert answer.json()["decision"] == "no_match"
    assert ask(0).status_code == 200


@pytest.mark.xdist_group("hostile")
def test_hostile_files_are_named_and_survived(client: httpx.Client, hostile: dict[str, HostileFile]) -> None:
    found = {name: detected(client, file.data) for name, file in hostile.items()}
    assert found == {name: file.code for name, file in hostile.items()}
    assert client.get("/readyz").json() == {"status": "ready"}


def detected(client: httpx.Client, content: bytes) -> str:
    answer = client.post("/v1/detect", files=[("image", ("file", content))])
    if answer.status_code == 200:
        return "ok" if answer.json()["faces"] else "no_face"
    return problem(answer)["code"]


class Broken:
    """A store whose every operation fails in a way that nobody foresaw."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("password=hunter2")


class BrokenTenants:
    """Just enough of services to start; all of them fail."""

    alarms = Alarms()

    class extractors:  # noqa: N801
        class default:  # noqa: N801
            template_version = "sha256:0"

    def of(self, tenant: str) -> Broken:
        return Broken()


@contextmanager
def broken_tenants() -> Iterator[Any]:
    yield BrokenTenants()


def test_a_failure_tells_nothing_of_the_inside(capsys: pytest.CaptureFixture[str]) -> None:
    with listen(create_app(Settings(dev=True), broken_tenants)) as url:
        answer = httpx.get(f"{url}/v1/galleries", headers={"X-Request-ID": "trace-7"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "trace-7"
    assert answer.json() == {
        "type": "/errors/internal_error",
        "title": "Internal error",
        "status": 500,
        "code": "internal_error",
        "detail": "the service failed; the request's id is trace-7",
    }
    failure, line = (jsonlib.loads(text) for text in capsys.readouterr().err.splitlines())
    assert (failure["event"], failure["request_id"], failure["route"]) == ("request failed", "trace-7", "/v1/galleries")
    assert "RuntimeError: password=hunter2" in failure["exception"]  # the operator's log does tell
    assert (line["event"], line["status"], line["method"]) == ("request", 500, "GET")


def test_request_ids_are_echoed_or_made(client: httpx.Client) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": "a.b-c_1"}).headers["x-request-id"] == "a.b-c_1"
    made = client.get("/healthz", headers={"X-Request-ID": "forged\tlines"}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", made)
