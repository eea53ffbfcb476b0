"""The journal of a batch run: whole lines or none, one contract, one writer."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facesvc.cli.batch import Journal
from facesvc.errors import RequestError

CONTRACT = {"gallery": "staff", "top_k": 5}
ENTRIES = [
    (f"{name}.jpg", [{"path": name, "face": face} for face in range(faces)])
    for name, faces in zip("aäc", (1, 3, 0), strict=True)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl.partial"


def write(path: Path) -> bytes:
    path.unlink(missing_ok=True)
    journal = Journal(path, CONTRACT)
    for name, rows in ENTRIES:
        journal.append(name, rows)
    journal.close()
    return path.read_bytes()


def test_what_was_appended_is_replayed(path: Path) -> None:
    write(path)
    journal = Journal(path, CONTRACT, resume=True)
    assert list(journal.replay()) == ENTRIES
    assert journal.count == 3
    journal.remove()
    assert not path.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(cut=st.integers(0, 10_000), junk=st.sampled_from([b"", b"\0" * 9, b"[]\n", b'{"path": "x"}\n', b"\xff\n"]))
def test_a_torn_tail_is_cut_and_the_rest_can_be_done_again(path: Path, cut: int, junk: bytes) -> None:
    """Whatever a crash leaves of the end: what is replayed are first entries, and appending the others makes the
    journal whole."""
    content = write(path)
    head = content.index(b"\n") + 1
    path.write_bytes(content[: max(head, cut % (len(content) + 1))] + junk)
    journal = Journal(path, CONTRACT, resume=True)
    done = list(journal.replay())
    assert done == ENTRIES[: len(done)]
    for name, rows in ENTRIES[len(done) :]:
        journal.append(name, rows)
    journal.close()
    assert path.read_bytes() == content


def test_a_journal_without_a_whole_head_starts_anew(path: Path) -> None:
    content = write(path)
    path.write_bytes(content[:10])
    journal = Journal(path, CONTRACT, resume=True)
    assert list(journal.replay()) == []
    journal.close()
    assert content.startswith(path.read_bytes())


def test_another_contract_is_refused_and_nothing_touched(path: Path) -> None:
    content = write(path)
    with pytest.raises(RequestError, match=r"can't be resumed: top_k was 5, is 3\. --force starts over"):
        Journal(path, CONTRACT | {"top_k": 3}, resume=True)
    with pytest.raises(RequestError, match="File exists"):
        Journal(path, CONTRACT)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"precious\n", b"{}\n", b"[1]\n", b'{"format": "something else"}\n'])
def test_other_files_are_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(RequestError, match="is no journal"):
        Journal(path, CONTRACT, resume=True)
    assert path.read_bytes() == content


def test_one_writer(path: Path) -> None:
    journal = Journal(path, CONTRACT)
    with pytest.raises(RequestError, match="another run is writing"):
        Journal(path, CONTRACT, resume=True)
    journal.close()
    Journal(path, CONTRACT, resume=True).close()
    assert path.exists()


def test_a_place_that_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="No such file or directory"):
        Journal(tmp_path / "none" / "rows.partial", CONTRACT)
