"""An import that is killed half way ends, run again, with the gallery of one that nothing disturbed."""

import subprocess
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from facesvc.bootstrap import open_service
from facesvc.config import Settings
from facesvc.errors import GalleryNotFound
from facesvc.storage.bulk import SqlExchange
from facesvc.storage.store import Store
from tests.support.commandline import CommandLine
from tests.support.galleryfiles import MOMENT, bare, entry, people, values, write_file

ROWS = 4_000
WENT = sorted([*people(ROWS), bare("nobody"), entry(99_999, "last")], key=lambda each: each.subject)


def by_subject(row: dict[str, Any]) -> tuple[str, datetime]:
    """The order of WENT; the store's is by tokens."""
    return row["subject"], row.get("created_at") or MOMENT


def imported(store: Store) -> int:
    try:
        return store.galleries.get("staff").references
    except GalleryNotFound:
        return 0


def killed_after(references: int, command: list[str], store: Store) -> int:
    """Kills the command when so many references are stored; how many there are then."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while imported(store) < references:
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"the run ended with {process.wait(0.02)} before it could be killed")
        process.kill()
        said = process.communicate()[1]
    assert (process.returncode, "imported" in said) == (-9, False), said
    return imported(store)


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_killed_in_the_middle(url: str, tmp_path: Path) -> None:
    file = tmp_path / "staff.parquet"
    write_file(file, WENT)
    cli = CommandLine(tmp_path / "data")
    run = ("--database-url", url, "galleries", "import", file, "--gallery", "staff")
    with open_service(Settings(data=cli.data, database_url=url)) as service:
        kill_and_repeat(cli, run, service.resources.store, service.resources.exchange)


def kill_and_repeat(cli: CommandLine, run: tuple[object, ...], store: Store, exchange: SqlExchange) -> None:
    after = killed_after(1000, cli.command(*run), store)
    assert 1000 <= after < ROWS
    summary = cli.json(*run)
    assert (summary["references"], summary["already"]) == (ROWS + 1 - after, after + 1)  # nobody has no reference
    assert (summary["rejected"], summary["rejected_rows"]) == ({}, [])
    assert sorted(values(exchange.entries("staff")), key=by_subject) == values(WENT)
    gallery = store.galleries.get("staff")
    assert (gallery.subjects, gallery.references) == (ROWS // 2 + 2, ROWS + 1)
    assert {s.references for s in store.subjects.list("staff", 10_000).items if s.id.startswith("subject")} == {2}
    log = store.revisions.changes(gallery, 0)
    assert (log.added.tolist(), log.revision) == (sorted(set(log.added.tolist())), gallery.revision)
    assert len(log.added) == ROWS + 1
