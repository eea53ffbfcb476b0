"""What stored bytes are, and cursors: what other releases must go on reading."""

import re
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facesvc.core.types import Photograph, Vectors
from facesvc.crypto.codec import Codec
from facesvc.crypto.keyring import Keyring, Maker, Wrapped
from facesvc.crypto.master import MasterKey
from facesvc.errors import InvalidCursor, SealBroken
from facesvc.storage.sealing import SubjectCipher, SubjectDetails, new_subject
from facesvc.storage.tables import SubjectRow
from facesvc.storage.transactions import decode_cursor, encode_cursor
from tests.support.databases import unit_vectors

REFERENCE, VERSION = "ref_a", "sha256:test"


@pytest.fixture(scope="module")
def sealed() -> SubjectCipher:
    """Of a subject with a key of its own."""
    rows = Rows()
    codec = Codec(Keyring(MasterKey(bytes(32)), lambda _: rows), "acme")
    columns = new_subject(codec, 1, 7, WHO)
    return SubjectCipher(codec, 7, columns["id"], columns["sealed_key"], 1)


class Rows:
    """crypto.keyring.KeyRows in memory."""

    def __init__(self) -> None:
        self.wrapped = Wrapped()

    def read(self) -> Wrapped:
        return self.wrapped

    def found(self, maker: Maker) -> None:
        made = maker.made("acme")
        self.wrapped = Wrapped(made.root, {1: made.data_key})

    def change(self, maker: Maker, renew: Callable[[Wrapped], Wrapped]) -> None:
        raise NotImplementedError


WHO = SubjectDetails("ada", "Ada", {"born": 1815}, "contract 7")


def test_vectors_are_little_endian_float32(sealed: SubjectCipher) -> None:
    vector = np.zeros(128, np.float32)
    vector[:3] = 1.0, -2.5, 0.1
    stored = sealed.seal_vector(REFERENCE, VERSION, vector)
    content = sealed._envelope.open(stored, f"vector {REFERENCE} {VERSION}")
    assert content == struct.pack("<128f", 1.0, -2.5, 0.1, *[0.0] * 125)
    assert content[:12].hex() == "0000803f000020c0cdcccc3d"


@given(vector=arrays(np.float32, 128, elements=st.floats(-1e6, 1e6, width=32)))
def test_vectors_come_back_bit_for_bit(sealed: SubjectCipher, vector: Vectors) -> None:
    back = sealed.open_vector(REFERENCE, VERSION, sealed.seal_vector(REFERENCE, VERSION, vector))
    assert back.dtype == np.float32
    assert back.tobytes() == vector.tobytes()


@pytest.mark.parametrize("stored", [b"", b"\0" * 511, b"\0" * 512, b"\0" * 541, b"\1" + b"\0" * 8])
def test_bytes_that_nobody_sealed_are_refused(sealed: SubjectCipher, stored: bytes) -> None:
    with pytest.raises(SealBroken, match="what is stored of vector ref_a sha256:test"):
        sealed.open_vector(REFERENCE, VERSION, stored)


def test_a_sealed_vector_tells_nothing_twice(sealed: SubjectCipher) -> None:
    """29 bytes more than the vector: format, nonce, tag; another nonce each time."""
    stored = [sealed.seal_vector(REFERENCE, VERSION, unit_vectors(1)[0]) for _ in range(2)]
    assert [len(each) for each in stored] == [512 + 29] * 2
    assert stored[0][:1] == stored[1][:1] == b"\x01"
    assert stored[0][1:13] != stored[1][1:13]
    assert stored[0][13:] != stored[1][13:]


def test_a_sealed_vector_is_of_its_reference_and_version(sealed: SubjectCipher) -> None:
    stored = sealed.seal_vector(REFERENCE, VERSION, unit_vectors(1)[0])
    for reference, version in (("ref_b", VERSION), (REFERENCE, "sha256:other")):
        with pytest.raises(SealBroken, match="changed, moved, or sealed with another key"):
            sealed.open_vector(reference, version, stored)
    with pytest.raises(SealBroken):
        sealed.open_photograph(REFERENCE, stored)


@pytest.mark.parametrize("at", [0, 1, 12, 13, 300, 540])
def test_one_changed_bit_is_noticed(sealed: SubjectCipher, at: int) -> None:
    stored = bytearray(sealed.seal_vector(REFERENCE, VERSION, unit_vectors(1)[0]))
    stored[at] ^= 1
    with pytest.raises(SealBroken):
        sealed.open_vector(REFERENCE, VERSION, bytes(stored))


def test_what_is_plain_is_refused(sealed: SubjectCipher) -> None:
    """Else a thief who can write would put in his own face."""
    with pytest.raises(SealBroken, match="is not sealed as it should be"):
        sealed.open_vector(REFERENCE, VERSION, unit_vectors(1)[0].tobytes())
    with pytest.raises(SealBroken, match="is not sealed as it should be"):
        sealed.open_photograph(REFERENCE, b"a photograph")


def test_a_subject_is_sealed_whole(sealed: SubjectCipher) -> None:
    stored = sealed.seal_subject(WHO)
    assert re.fullmatch(r"/[A-Za-z0-9_-]{43}", sealed.token)
    assert not any(secret in stored for secret in (b"ada", b"Ada", b"1815", b"contract"))
    assert sealed.open_subject(SubjectRow(sealed=stored)) == WHO


@given(st.binary(), st.sampled_from(["image/jpeg", "image/heif"]))
def test_photographs_come_back_as_they_were(sealed: SubjectCipher, content: bytes, media_type: str) -> None:
    photograph = Photograph(content, media_type)
    stored = sealed.seal_photograph(REFERENCE, photograph)
    assert len(stored) == len(content) + len(media_type) + 1 + 29
    assert sealed.open_photograph(REFERENCE, stored) == photograph


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
