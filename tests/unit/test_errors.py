"""Errors cross process borders whole."""

import pickle

import pytest

import facesvc.web.errors as web
from facesvc.errors import FaceServiceError, NoFace, RemoteError


@pytest.mark.parametrize("kind", list(web.kinds()), ids=lambda kind: kind.code)
def test_every_kind_can_be_pickled(kind: type[FaceServiceError]) -> None:
    error = web.InvalidFields([{"field": "image", "detail": "missing"}]) if kind is web.InvalidFields else kind("why")
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
