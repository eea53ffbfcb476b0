"""PlainCodec's bytes, and cursors': what other releases must go on reading."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facesvc.core.types import Vectors
from facesvc.errors import InvalidCursor, StoreError
from facesvc.storage.cipher import PlainCodec
from facesvc.storage.cursors import decode_cursor, encode_cursor

codec = PlainCodec()


def test_vectors_are_little_endian_float32() -> None:
    vector = np.zeros(128, np.float32)
    vector[:3] = 1.0, -2.5, 0.1
    stored = codec.encode(vector, "ref_a")
    assert stored == struct.pack("<128f", 1.0, -2.5, 0.1, *[0.0] * 125)
    assert stored[:12].hex() == "0000803f000020c0cdcccc3d"


@given(arrays(np.float32, 128, elements=st.floats(-1e6, 1e6, width=32)))
def test_vectors_come_back_bit_for_bit(vector: Vectors) -> None:
    back = codec.decode(codec.encode(vector, "ref_a"), "ref_a")
    assert back.dtype == np.float32
    assert back.tobytes() == vector.tobytes()


@pytest.mark.parametrize("stored", [b"", b"\0" * 511, b"\0" * 508, b"\0" * 516])
def test_bytes_of_another_length_are_damaged(stored: bytes) -> None:
    with pytest.raises(StoreError, match="stored vector of ref_a is damaged"):
        codec.decode(stored, "ref_a")


@given(st.binary())
def test_other_bytes_are_kept_as_they_are(content: bytes) -> None:
    assert codec.seal(content, "ref_a") == content
    assert codec.open(content, "ref_a") == content


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
