"""What stored bytes are, plain and sealed, and cursors: what other releases must go on reading."""

import re
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facesvc.core.keys import KeyMaker, Wrapped
from facesvc.core.types import Photograph, Vectors
from facesvc.crypto.codec import SealedCodec
from facesvc.crypto.keyring import Keyring
from facesvc.crypto.master import MasterKey
from facesvc.errors import InvalidCursor, SealBroken, StoreError
from facesvc.storage.cipher import PlainCodec
from facesvc.storage.sealing import Locker, Who, new_subject
from facesvc.storage.tables import SubjectRow
from facesvc.storage.transactions import decode_cursor, encode_cursor
from tests.support.databases import unit_vectors

plain = Locker(PlainCodec(), 1, "ada", None, None)
REFERENCE, VERSION = "ref_a", "sha256:test"


@pytest.fixture(scope="module")
def sealed() -> Locker:
    """Of a subject with a key of its own."""
    rows = Rows()
    codec = SealedCodec(Keyring(MasterKey(bytes(32)), lambda _: rows), "acme")
    columns = new_subject(codec, 1, 7, WHO)
    return Locker(codec, 7, columns["id"], columns["sealed_key"], 1)


class Rows:
    """core.keys.KeyRows in memory."""

    def __init__(self) -> None:
        self.wrapped = Wrapped()

    def read(self) -> Wrapped:
        return self.wrapped

    def found(self, maker: KeyMaker) -> None:
        made = maker.made("acme")
        self.wrapped = Wrapped(made.root, {1: made.data_key})

    def change(self, maker: KeyMaker, renew: Callable[[Wrapped], Wrapped]) -> None:
        raise NotImplementedError


WHO = Who("ada", "Ada", {"born": 1815}, "contract 7")


def test_plain_vectors_are_little_endian_float32() -> None:
    vector = np.zeros(128, np.float32)
    vector[:3] = 1.0, -2.5, 0.1
    stored = plain.put_vector(REFERENCE, VERSION, vector)
    assert stored == struct.pack("<128f", 1.0, -2.5, 0.1, *[0.0] * 125)
    assert stored[:12].hex() == "0000803f000020c0cdcccc3d"


@pytest.mark.parametrize("kind", ["plain", "sealed"])
@given(vector=arrays(np.float32, 128, elements=st.floats(-1e6, 1e6, width=32)))
def test_vectors_come_back_bit_for_bit(kind: str, sealed: Locker, vector: Vectors) -> None:
    locker = plain if kind == "plain" else sealed
    back = locker.vector(REFERENCE, VERSION, locker.put_vector(REFERENCE, VERSION, vector))
    assert back.dtype == np.float32
    assert back.tobytes() == vector.tobytes()


@pytest.mark.parametrize("stored", [b"", b"\0" * 511, b"\0" * 508, b"\0" * 516])
def test_bytes_of_another_length_are_damaged(stored: bytes) -> None:
    with pytest.raises(StoreError, match="stored vector of ref_a is damaged"):
        plain.vector(REFERENCE, VERSION, stored)


def test_a_sealed_vector_tells_nothing_twice(sealed: Locker) -> None:
    """29 bytes more than the vector: format, nonce, tag; another nonce each time."""
    stored = [sealed.put_vector(REFERENCE, VERSION, unit_vectors(1)[0]) for _ in range(2)]
    assert [len(each) for each in stored] == [512 + 29] * 2
    assert stored[0][:1] == stored[1][:1] == b"\x01"
    assert stored[0][1:13] != stored[1][1:13]
    assert stored[0][13:] != stored[1][13:]


def test_a_sealed_vector_is_of_its_reference_and_version(sealed: Locker) -> None:
    stored = sealed.put_vector(REFERENCE, VERSION, unit_vectors(1)[0])
    for reference, version in (("ref_b", VERSION), (REFERENCE, "sha256:other")):
        with pytest.raises(SealBroken, match="changed, moved, or sealed with another key"):
            sealed.vector(reference, version, stored)
    with pytest.raises(SealBroken):
        sealed.photograph_of(REFERENCE, stored, "")


@pytest.mark.parametrize("at", [0, 1, 12, 13, 300, 540])
def test_one_changed_bit_is_noticed(sealed: Locker, at: int) -> None:
    stored = bytearray(sealed.put_vector(REFERENCE, VERSION, unit_vectors(1)[0]))
    stored[at] ^= 1
    with pytest.raises(SealBroken):
        sealed.vector(REFERENCE, VERSION, bytes(stored))


def test_what_is_plain_is_refused_where_all_is_sealed(sealed: Locker) -> None:
    """Else a thief who can write would put in his own face."""
    with pytest.raises(SealBroken, match="stored in the clear, in place of what was sealed"):
        sealed.vector(REFERENCE, VERSION, unit_vectors(1)[0].tobytes())
    with pytest.raises(SealBroken, match="stored in the clear"):
        sealed.photograph_of(REFERENCE, b"a photograph", "image/jpeg")


def test_a_subject_is_sealed_whole(sealed: Locker) -> None:
    columns = sealed.put_subject(WHO)
    assert {name: columns[name] for name in ("display_name", "details", "consent")} == {
        "display_name": None,
        "details": {},
        "consent": None,
    }
    assert re.fullmatch(r"/[A-Za-z0-9_-]{43}", columns["id"])
    assert sealed.subject(SubjectRow(**columns)) == WHO


@given(st.binary(), st.sampled_from(["image/jpeg", "image/heif"]))
def test_plain_photographs_are_kept_as_they_are(content: bytes, media_type: str) -> None:
    columns = plain.put_photograph(REFERENCE, Photograph(content, media_type))
    assert columns == {"content": content, "media_type": media_type}
    assert plain.photograph_of(REFERENCE, **columns) == Photograph(content, media_type)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_cursors_carry_names(name: str) -> None:
    assert decode_cursor("galleries", encode_cursor("galleries", name), str) == name


@given(st.integers(0, 2**63 - 1))
def test_cursors_carry_keys(key: int) -> None:
    assert decode_cursor("references/7", encode_cursor("references/7", key), int) == key


def test_cursors_are_text_for_addresses() -> None:
    assert encode_cursor("galleries", "ada?") == "WyJnYWxsZXJpZXMiLCJhZGE_Il0"


@given(st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_garbage_is_no_cursor(cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor("galleries", cursor, str)


@pytest.mark.parametrize(
    "cursor",
    [
        encode_cursor("subjects/1", "ada"),  # another listing's
        encode_cursor("references/1", "ada"),  # a name for a key
        encode_cursor("references/1", True),
        encode_cursor("references/1", -1),
        encode_cursor("references/1", 2**63),
        encode_cursor("references/1", 7) + "!",
        "W" * 100_000,
        "W1tb" * 10_000,  # [[[[[...
    ],
)
def test_cursors_of_others_are_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor("references/1", cursor, int)
