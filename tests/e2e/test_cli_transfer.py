"""`facesvc galleries export` and `import` on real photographs."""

import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from facesvc.bootstrap import open_service
from facesvc.config import Settings
from facesvc.core.types import Retention, SubjectChange
from tests.e2e.transferring import Here, answers, local, stored
from tests.support.commandline import CommandLine
from tests.support.databases import postgresql_database
from tests.support.galleryfiles import entry, write_file

pytestmark = pytest.mark.xdist_group("cli-transfer")

STAFF = ("--gallery", "staff")


@pytest.fixture(scope="module")
def database(postgresql_admin: str) -> Iterator[str]:
    with postgresql_database(postgresql_admin) as url:
        yield url


@pytest.fixture(scope="module")
def cli(cli: CommandLine, samples: Path) -> CommandLine:
    """In this process, with a gallery "staff" of two people, that keeps photographs."""
    cli = Here(cli.data)
    cli.json("galleries", "create", "staff", "--keep-photographs")
    cli.json("enrol-folder", samples / "people", *STAFF)
    cli.json("subjects", "rename", "obama", "Barack Obama", *STAFF)
    return cli


@pytest.fixture
def elsewhere(cli: CommandLine, tmp_path: Path) -> CommandLine:
    """Another installation with the same packs."""
    return Here.over(tmp_path / "elsewhere", cli.data / "packs")


def test_a_gallery_answers_the_same_wherever_it_is(
    cli: CommandLine, elsewhere: CommandLine, samples: Path, tmp_path: Path, database: str
) -> None:
    """From SQLite into another SQLite and into PostgreSQL: the same rows, distances to the last bit, ids, names and
    photographs."""
    file = tmp_path / "staff.parquet"
    summary = cli.json("galleries", "export", "staff", "--output", file, "--photographs", "--plain")
    version = cli.json("galleries", "show", "staff")["template_version"]
    assert summary == {
        "gallery": "staff", "file": str(file), "subjects": 2, "references": 4, "photographs": 4,
        "template_version": version,
    }  # fmt: skip
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    wanted = answers(cli, photographs=samples / "group.jpg")
    assert [row["subject"] for row in wanted] == ["biden", "obama", None]
    assert all(0 < row["distance"] < 4 for row in wanted)
    before = stored(cli, local(cli))
    assert {row["display_name"] for row in before} == {"Barack Obama", None}
    assert {row["photograph"] for row in before} == {path.read_bytes() for path in samples.glob("people/*/*.jpg")}
    for url in (local(elsewhere), database):
        run = ("--database-url", url, "galleries", "import", file, *STAFF)
        counts = {"gallery": "staff", "file": str(file), "template_version": version}
        refused = {"rejected": {}, "rejected_rows": []}
        assert elsewhere.json(*run) == {**counts, "subjects": 2, "references": 4, "already": 0, **refused}
        assert elsewhere.json(*run) == {**counts, "subjects": 0, "references": 0, "already": 4, **refused}
        assert answers(elsewhere, "--database-url", url, photographs=samples / "group.jpg") == wanted
        assert stored(elsewhere, url) == before


def test_a_sealed_file_tells_nothing_without_its_passphrase(
    cli: CommandLine, elsewhere: CommandLine, tmp_path: Path
) -> None:
    file, secret, wrong = (tmp_path / name for name in ("staff.parquet", "secret", "wrong"))
    secret.write_text("correct horse battery staple\n")
    wrong.write_text("another horse battery staple\n")
    run = ("galleries", "export", "staff", "--output", file, "--photographs")
    assert "--plain" in cli.refusal(*run)
    before = stored(cli, local(cli))
    assert cli.json(*run, "--passphrase-file", secret)["references"] == 4
    content = file.read_bytes()
    known = [before[0]["photograph"][100:148], b"Barack Obama", b"obama", b"sha256:", before[0]["vector"][:48]]
    assert [needle for needle in known if needle in content] == []
    into = ("galleries", "import", file, *STAFF)
    assert elsewhere.refusal(*into).endswith("it is encrypted: give its passphrase [import_invalid]")
    assert elsewhere.refusal(*into, "--passphrase-file", wrong).endswith(
        "this is not the passphrase that the file was sealed with [invalid_request]"
    )
    assert elsewhere.refusal(*into, "--passphrase-file", tmp_path / "none").endswith("[file_unreadable]")
    assert elsewhere.json(*into, "--passphrase-file", secret)["references"] == 4
    assert stored(elsewhere, local(elsewhere)) == before
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    again = ("galleries", "import", damaged, "--gallery", "other", "--passphrase-file", secret)
    assert elsewhere.refusal(*again).endswith("[import_invalid]")


def test_without_photographs_and_for_people(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "staff.parquet"
    run = ("galleries", "export", "staff", "--output", file, "--plain")
    assert cli.run(*run).stdout.decode() == f"staff: 2 subjects, 4 references written to {file}\n"
    assert file.stat().st_size < 20_000
    assert cli.refusal(*run) == f"facesvc: {file} exists: --force replaces it [invalid_request]"
    assert cli.run(*run, "--force").returncode == 0
    assert cli.refusal("galleries", "export", "staff", "--output", tmp_path / "x.csv").endswith(
        "use a name that ends with .parquet [invalid_request]"
    )
    assert cli.refusal("galleries", "export", "none", "--output", tmp_path / "x.parquet", "--plain").endswith(
        "[gallery_not_found]"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["staff.parquet"]
    done = cli.run("galleries", "import", file, "--gallery", "copy")
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.decode() == "gallery copy created\n2 subjects, 4 references imported\n"
    assert cli.json("galleries", "show", "copy")["keep_photographs"] is True


@pytest.mark.slow
def test_templates_of_another_pack(
    cli: CommandLine, samples: Path, locked_build: Callable[[str], Path], tmp_path: Path
) -> None:
    """A new gallery takes the file's version as its own, and is searched by the pack of that, whichever is in use; one
    with templates of its own refuses."""
    file = tmp_path / "staff.parquet"
    cli.json("galleries", "export", "staff", "--output", file, "--plain")
    locked_build("sface")
    done = cli.run("--pack", "sface", "galleries", "import", file, "--gallery", "guests")
    assert done.returncode == 0
    assert done.stderr.decode() == "gallery guests created\n2 subjects, 4 references imported\n"
    version = cli.json("galleries", "show", "guests")["template_version"]
    (row,) = cli.lines("--pack", "sface", "identify", samples / "people" / "biden" / "biden.jpg", "--gallery", "guests")
    assert (row["subject"], row["template_version"]) == ("biden", version)
    write_file(tmp_path / "strange.parquet", [entry(1)])
    run = ("galleries", "import", tmp_path / "strange.parquet")
    assert cli.refusal(*run, *STAFF) == (
        f"facesvc: gallery 'staff' has template version {version}, the file has sha256:test: "
        "import it into a new gallery [template_version_mismatch]"
    )
    assert "needs the pack of its templates" in cli.run(*run, "--gallery", "strange").stderr.decode()
    assert cli.json("galleries", "show", "staff")["references"] == 4


def test_rows_that_can_not_be_taken(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "some.parquet"
    write_file(file, [entry(1, "ada"), entry(2, "a/b"), entry(3, "eve", b"no photograph")])
    summary = cli.json("galleries", "import", file, "--gallery", "some", code=1)
    assert (summary["subjects"], summary["references"]) == (1, 1)
    assert summary["rejected"] == {"subject_invalid": 1, "photograph_invalid": 1}
    assert summary["rejected_rows"] == [
        {"row": 2, "subject": "a/b", "code": "subject_invalid", "detail": "subject can't be a name"},
        {
            "row": 3, "subject": "eve", "code": "photograph_invalid",
            "detail": "photograph: the file is of no known image format",
        },
    ]  # fmt: skip
    done = cli.run("galleries", "import", file, "--gallery", "some")
    assert done.stdout.decode().splitlines()[0] == "subject_invalid row 2 (a/b): subject can't be a name"
    assert done.stderr.decode().endswith(
        "0 subjects, 0 references imported, 1 rows were there, 2 rejected (1 subject_invalid, 1 photograph_invalid)\n"
    )


def test_who_has_expired_is_erased_before_others_come_to_the_id(cli: CommandLine, tmp_path: Path) -> None:
    file, expiring = tmp_path / "some.parquet", ("--gallery", "expiring")
    write_file(file, [entry(1, "ada")])
    cli.json("galleries", "import", file, *expiring)
    with open_service(Settings(data=cli.data)) as service:
        (before,) = service.resources.store.references.list("expiring", "ada", 9).items
        service.resources.store.subjects.update(
            "expiring", "ada", SubjectChange(retention=Retention(expires_at=datetime.now(UTC) - timedelta(days=1)))
        )
    summary = cli.json("galleries", "import", file, *expiring)
    assert (summary["subjects"], summary["references"], summary["already"]) == (1, 1, 0)
    with open_service(Settings(data=cli.data)) as service:
        (after,) = service.resources.store.references.list("expiring", "ada", 9).items
        told = [line.told for line in service.audit.lines()]
    assert after.key != before.key
    assert last_erasure(told) == {"expired": True, "references": 1, "photographs": 0}


def last_erasure(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """How the last erasure ended."""
    return [line["outcome"] for line in lines if line["action"] == "erase"][-1]


def test_sources_that_are_none(cli: CommandLine, samples: Path, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    for arguments, said in (
        ((tmp_path / "none.parquet",), "No such file or directory [file_unreadable]"),
        ((tmp_path / "x.parquet",), "it is no Parquet file, or a damaged one [import_invalid]"),
        (
            (tmp_path / "x.parquet", "--server", "http://127.0.0.1:1"),
            "run this where the database is [invalid_request]",
        ),
        ((tmp_path, "--from", "deepface"), "has no folders: expected "),
        ((samples / "group.jpg", "--from", "deepface"), "is no folder of <person>/<photographs> [import_invalid]"),
        (("ds_model_arcface.pkl", "--from", "deepface"), "give the folder it lies in [import_invalid]"),
        (("dump.sql", "--from", "compreface"), "where you have only that [import_invalid]"),
        (("postgresql://x@127.0.0.1:1/frs", "--from", "compreface"), "does not answer [store_unavailable]"),
    ):
        assert said in cli.refusal("galleries", "import", *arguments, "--gallery", "none")
    assert "none" not in [gallery["name"] for gallery in cli.json("galleries", "list")]
