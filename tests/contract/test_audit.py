"""The audit log in the database, and what the use cases write into it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from facesvc.core.access import Caller
from facesvc.core.audit import Head
from facesvc.errors import AuditBroken, FaceServiceError, Overloaded, SubjectNotFound, TenantNotFound
from facesvc.service.audit import Trail
from facesvc.storage.audit import SqlAuditLog
from facesvc.storage.engine import WRITING, open_engine
from tests.support.databases import process


@pytest.fixture
def log(url: str) -> Iterator[SqlAuditLog]:
    engine = open_engine(url)
    yield process(engine).audit("default")
    engine.dispose()


@pytest.fixture
def elsewhere(url: str, log: SqlAuditLog) -> Iterator[SqlAuditLog]:
    """Another process's."""
    engine = open_engine(url)
    yield process(engine).audit("default")
    engine.dispose()


def change(log: SqlAuditLog, statement: str) -> None:
    """By somebody with the database's password."""
    with log.engine.execution_options(**{WRITING: True}).begin() as connection:
        connection.execute(text(statement))


def test_lines_come_back_as_they_were_written(log: SqlAuditLog) -> None:
    assert (log.head(), log.verify()) == (Head(), 0)
    head = log.append([b"one", b"two"])
    assert log.append([b"three"]).sequence == 3
    assert [(line.sequence, line.entry) for line in log.lines()] == [(1, b"one"), (2, b"two"), (3, b"three")]
    assert [line.entry for line in log.lines(after=1, until=2)] == [b"two"]
    assert (head.sequence, log.verify({2: head.digest})) == (2, 3)


def test_processes_and_threads_continue_one_chain(log: SqlAuditLog, elsewhere: SqlAuditLog) -> None:
    wanted = {f"{who} {n}".encode() for who in range(8) for n in range(12)}

    def write(who: int) -> list[int]:
        mine = (log, elsewhere)[who % 2]
        return [mine.append([f"{who} {n}".encode()]).sequence for n in range(12)]

    with ThreadPoolExecutor(8) as pool:
        numbers = sorted(number for found in pool.map(write, range(8)) for number in found)
    assert numbers == list(range(1, 97))
    assert (log.verify(), elsewhere.head().sequence) == (96, 96)
    assert {line.entry for line in log.lines()} == wanted


def test_tenants_have_chains_of_their_own(log: SqlAuditLog) -> None:
    database = process(log.engine)
    theirs = database.audit(database.register.create("acme").id)
    log.append([b"ours"])
    theirs.append([b"theirs"])
    told = [line.entry for line in log.lines(after=2)], [line.entry for line in theirs.lines()]  # 2 of the new tenant
    assert told == ([b"ours"], [b"theirs"])
    change(log, "DELETE FROM audit WHERE tenant = 'default'")
    assert theirs.verify() == 1


CHANGES = {
    "altered": "UPDATE audit SET entry = entry || entry WHERE sequence = 3",
    "missing": "DELETE FROM audit WHERE sequence = 3",
    "reordered": "UPDATE audit SET sequence = CASE sequence WHEN 2 THEN 30 WHEN 3 THEN 20 ELSE sequence END",
    "cut off": "DELETE FROM audit WHERE sequence > 4",
    "put in": "INSERT INTO audit (tenant, sequence, entry, digest) SELECT tenant, 7, entry, digest FROM audit "
    "WHERE sequence = 6",
    "all gone": "DELETE FROM audit",
    "head set back": "UPDATE tenants SET audit_sequence = 5",
    "head of no bytes": "UPDATE tenants SET audit_head = audit_digest",
}


@pytest.mark.parametrize("kind", CHANGES)
def test_changes_in_the_database_are_found(log: SqlAuditLog, kind: str) -> None:
    log.append([b"%d" % number for number in range(6)])
    assert log.verify() == 6
    change(log, CHANGES[kind])
    with pytest.raises(AuditBroken):
        log.verify()


CUTS = {0: f"decode('{'00' * 32}', 'hex')", 4: "(SELECT digest FROM audit WHERE sequence = 4)"}
"""Digests of earlier heads."""


def cut(log: SqlAuditLog, at: int) -> None:
    """The lines after this one, and the head set back to it."""
    digest = f"x'{'00' * 32}'" if at == 0 and log.engine.dialect.name == "sqlite" else CUTS[at]
    change(log, f"DELETE FROM audit WHERE tenant = 'default' AND sequence > {at}")
    change(log, f"UPDATE tenants SET audit_sequence = {at}, audit_digest = {digest} WHERE tenant = 'default'")


@pytest.mark.parametrize("at", CUTS)
def test_an_end_cut_off_with_its_head_set_back_is_found(log: SqlAuditLog, elsewhere: SqlAuditLog, at: int) -> None:
    """Nor does anything that is written afterwards make the log whole again."""
    log.append([b"%d" % number for number in range(6)])
    cut(log, at)
    for ask in (log.verify, log.head, lambda: log.append([b"7"]), lambda: elsewhere.append([b"7"]), elsewhere.verify):
        with pytest.raises(AuditBroken, match=f"that the log ends at line {at} was not written by this service"):
            ask()
    assert [line.sequence for line in log.lines()] == list(range(1, at + 1))


def test_an_older_head_that_was_copied_is_found_by_one_that_was_noted(log: SqlAuditLog) -> None:
    """What remains: whoever kept an old row, and puts it back."""
    log.append([b"1", b"2"])
    change(log, "CREATE TABLE kept AS SELECT * FROM tenants")
    noted = log.append([b"3"])
    change(log, "DELETE FROM audit WHERE sequence > 2")
    change(log, "DELETE FROM tenants")
    change(log, "INSERT INTO tenants SELECT * FROM kept")
    assert log.verify() == 2
    with pytest.raises(AuditBroken, match="line 3, whose digest was noted, is missing"):
        log.verify({noted.sequence: noted.digest})


def test_heads_of_other_tenants_do_not_do(log: SqlAuditLog) -> None:
    database = process(log.engine)
    acme = database.register.create("acme").id
    database.audit(acme).append([b"1"])
    log.append([b"1"])
    change(
        log,
        "UPDATE tenants SET audit_head = (SELECT t.audit_head FROM tenants AS t WHERE t.tenant = 'default') "
        f"WHERE tenant = '{acme}'",
    )
    with pytest.raises(AuditBroken):
        database.audit(acme).append([b"2"])
    assert log.append([b"2"]).sequence == 4  # after the two that the new tenant left


def test_a_tenant_that_was_deleted_gets_no_lines(log: SqlAuditLog) -> None:
    database = process(log.engine)
    acme = database.register.create("acme")
    theirs = database.audit(acme.id)
    theirs.append([b"1"])
    database.register.delete(acme)
    for ask in (lambda: theirs.append([b"2"]), theirs.head):
        with pytest.raises(TenantNotFound):
            ask()
    assert acme.id not in database.register.ids()


def test_one_flipped_byte_is_found(log: SqlAuditLog) -> None:
    log.append([b"%d" % number for number in range(6)])
    flipped = {"sqlite": "x'07'", "postgresql": "'\\x07'::bytea"}[log.engine.dialect.name]
    change(log, f"UPDATE audit SET entry = {flipped} WHERE sequence = 4")
    with pytest.raises(AuditBroken, match="line 4 was altered"):
        log.verify()


def test_lines_say_who_asked_what_and_name_nobody(log: SqlAuditLog) -> None:
    trail = Trail(log, log.chain, Caller(key="k1"), "r-1")
    with trail.question("verify", "staff", "Ada Lovelace") as outcome:
        outcome.told = {"decision": "match"}
    with pytest.raises(SubjectNotFound), trail.by(Caller(key="k2")).change("erase", "staff", "Bob"):
        raise SubjectNotFound("no subject 'Bob'")
    told = [line.told for line in log.lines()]
    assert [(t["key"], t["request"], t["action"], t["outcome"]) for t in told] == [
        ("k1", "r-1", "verify", {"decision": "match"}),
        ("k2", None, "erase", {"state": "begun"}),
        ("k2", None, "erase", {"error": "subject_not_found"}),
    ]
    assert [t["subject"] for t in told] == [
        log.chain.token("subject", "staff", name) for name in ("Ada Lovelace", "Bob", "Bob")
    ]
    assert {t["gallery"] for t in told} == {log.chain.token("gallery", "staff")}
    kept = b"".join(line.entry for line in log.lines())
    assert [name for name in (b"Ada", b"Bob", b"staff") if name in kept] == []


def test_who_was_turned_away_unheard_leaves_no_line_but_a_change_does(log: SqlAuditLog) -> None:
    trail = Trail(log, log.chain, Caller())
    with pytest.raises(Overloaded), trail.question("identify", "staff"):
        raise Overloaded("busy")
    assert list(log.lines()) == []
    with pytest.raises(Overloaded), trail.change("erase", "staff", "ada"):
        raise Overloaded("busy")
    assert [line.told["outcome"] for line in log.lines()] == [{"state": "begun"}, {"error": "overloaded"}]


def test_without_the_log_there_is_no_answer(log: SqlAuditLog) -> None:
    change(log, "DROP TABLE audit")
    answered = False
    with pytest.raises(FaceServiceError), Trail(log, log.chain, Caller()).change("erase", "staff", "ada"):
        answered = True
    assert not answered
