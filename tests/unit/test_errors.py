"""Errors cross process borders whole, and are told of in the documentation."""

import pickle
import re
from pathlib import Path

import pytest

import facesvc.web.errors as web
from facesvc.errors import FaceServiceError, NoFace, RemoteError

NEVER_ANSWERED = {
    "image_error", "sample_error", "decision_error",  # of which one that is more exact is answered
    "cluster_unavailable", "worker_lost", "samples_unavailable", "remote_error",  # of commands alone, as all below
    "tenant_exists", "audit_broken", "file_unreadable", "import_invalid", "receipt_invalid",
}  # fmt: skip


@pytest.mark.parametrize("kind", list(web.kinds()), ids=lambda kind: kind.code)
def test_every_kind_can_be_pickled(kind: type[FaceServiceError]) -> None:
    error = (
        web.InvalidFields([web.FieldError(field="image", detail="missing")])
        if kind is web.InvalidFields
        else kind("why")
    )
    error.source = "probe"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(error, protocol))
        assert (type(copy), copy.code, copy.title, copy.source) == (kind, error.code, error.title, "probe")
        assert (copy.detail, copy.args, vars(copy)) == (error.detail, error.args, vars(error))


def test_an_error_without_a_source_has_none_elsewhere() -> None:
    copy = pickle.loads(pickle.dumps(NoFace()))
    assert (copy.detail, copy.source) == ("No face found", None)


def test_a_servers_own_code_is_kept() -> None:
    assert pickle.loads(pickle.dumps(RemoteError("gone", "gallery_not_found"))).code == "gallery_not_found"


def test_the_documentation_has_every_code_with_its_status() -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", text, re.MULTILINE)
    told = {code: int(status) for status, codes in rows for code in re.findall(r"`([a-z_]+)`", codes)}
    assert told == {kind.code: web.status_of(kind) for kind in web.kinds() if kind.code not in NEVER_ANSWERED}
