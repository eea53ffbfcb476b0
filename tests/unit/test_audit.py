"""The chain of the audit log, line by line."""

import hashlib
import hmac
import json
from dataclasses import replace

import pytest

from facesvc.core.audit import START, Chain, Head, Line, canonical
from facesvc.errors import AuditBroken

KEY = bytes(range(32))
chain = Chain(KEY)


def written(*entries: bytes) -> list[Line]:
    head, lines = Head(), []
    for entry in entries:
        lines.append(chain.after(head, entry))
        head = Head(lines[-1].sequence, lines[-1].digest)
    return lines


LINES = written(b'{"n":1}', b'{"n":2}', b'{"n":3}', b'{"n":4}')
END = Head(4, LINES[-1].digest)


def test_a_lines_digest_is_what_the_documentation_says() -> None:
    first = hmac.new(KEY, b"1\0" + bytes(32) + b'{"n":1}', hashlib.sha256).digest()
    assert LINES[0].digest == first
    assert LINES[1].digest == hmac.new(KEY, b"2\0" + first + b'{"n":2}', hashlib.sha256).digest()


def test_whole_chains_verify() -> None:
    assert chain.verify([], Head()) == 0
    assert chain.verify(LINES, END) == 4
    assert chain.verify(LINES, END, {2: LINES[1].digest}) == 4


BROKEN = {
    "altered": ([LINES[0], replace(LINES[1], entry=b'{"n":5}'), *LINES[2:]], "line 2 was altered"),
    "one bit of a digest": (
        [*LINES[:3], replace(LINES[3], digest=bytes([LINES[3].digest[0] ^ 1]) + LINES[3].digest[1:])],
        "line 4 was altered",
    ),
    "missing": ([*LINES[:1], *LINES[2:]], "line 2 is missing"),
    "first missing": (LINES[1:], "line 1 is missing"),
    "reordered": ([LINES[0], LINES[2], LINES[1], LINES[3]], "line 2 is missing"),
    "exchanged": (
        [LINES[0], replace(LINES[2], sequence=2), replace(LINES[1], sequence=3), LINES[3]],
        "line 2 was altered",
    ),
    "cut off": (LINES[:3], "the log ends at line 3"),
    "put in": ([*LINES, Line(5, b'{"n":5}', bytes(32))], "line 5 was altered"),
    "emptied": ([], "the log ends at line 0"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_every_change_is_found(kind: str) -> None:
    lines, detail = BROKEN[kind]
    with pytest.raises(AuditBroken, match=detail):
        chain.verify(lines, END)


def test_an_end_cut_off_with_its_head_set_back_is_found_by_a_head_noted_elsewhere() -> None:
    cut = LINES[:2]
    assert chain.verify(cut, Head(2, cut[-1].digest)) == 2
    with pytest.raises(AuditBroken, match="line 4, whose digest was noted, is missing"):
        chain.verify(cut, Head(2, cut[-1].digest), {4: LINES[3].digest})
    with pytest.raises(AuditBroken, match="line 3 is not the one"):
        chain.verify(LINES, END, {3: START})


def test_a_head_is_signed_as_the_documentation_says() -> None:
    signature = hmac.new(KEY, b"head\x004\0" + LINES[-1].digest, hashlib.sha256).digest()
    assert chain.signed(END) == signature
    chain.require_signed(END, signature)


@pytest.mark.parametrize("wrong", [Head(), Head(3, LINES[2].digest), Head(3, END.digest), Head(4, LINES[2].digest)])
def test_no_other_head_is_signed_with_it(wrong: Head) -> None:
    for signature in (chain.signed(END), wrong.digest, Chain(bytes(32)).signed(wrong), b""):
        with pytest.raises(AuditBroken, match=f"ends at line {wrong.sequence} was not written by this service"):
            chain.require_signed(wrong, signature)


def test_another_key_computes_another_chain() -> None:
    with pytest.raises(AuditBroken, match="line 1 was altered"):
        Chain(bytes(32)).verify(LINES, END)


def test_tokens_stand_for_one_name_each() -> None:
    tokens = {chain.token(*names) for names in [("subject", "a", "b"), ("subject", "ab", ""), ("gallery", "a"), ("a",)]}
    assert len(tokens) == 4
    assert chain.token("gallery", "Zoë") == chain.token("gallery", "Zoë")
    assert Chain(bytes(32)).token("gallery", "Zoë") != chain.token("gallery", "Zoë")


def test_canonical_json_is_the_same_for_the_same_content() -> None:
    assert canonical({"b": 1, "a": {"d": "é", "c": None}}) == '{"a":{"c":null,"d":"é"},"b":1}'.encode()
    assert json.loads(canonical({"x": [1.5, True]})) == {"x": [1.5, True]}
