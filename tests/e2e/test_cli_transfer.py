"""`facesvc galleries export` and `import` on real photographs."""

import hashlib
import io
import os
import pickle
import shutil
import stat
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from facesvc.bootstrap import open_exchange
from facesvc.cli import main
from facesvc.config import Settings
from tests.commandline import CommandLine
from tests.databases import postgresql, postgresql_database
from tests.galleryfiles import entry, values, write_file

pytestmark = pytest.mark.xdist_group("cli-transfer")

STAFF = ("--gallery", "staff")


class Here(CommandLine):
    """Runs commands in this process: a process each would spend most of its time on imports."""

    def run(
        self, *arguments: object, stdin: bytes = b"", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        stdout, stderr = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
            for name in [name for name in os.environ if name.startswith("FACESVC_")]:
                patch.delenv(name)
            try:
                main(self.command(*arguments)[3:])
                code: Any = 0
            except SystemExit as end:
                code = end.code or 0
        return subprocess.CompletedProcess([], code, stdout.getvalue().encode(), stderr.getvalue().encode())


@pytest.fixture(scope="module")
def admin() -> Iterator[str]:
    with postgresql() as admin:
        yield admin


@pytest.fixture(scope="module")
def database(admin: str) -> Iterator[str]:
    with postgresql_database(admin) as url:
        yield url


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory, samples: Path, default_packs: Path) -> CommandLine:
    """With a gallery "staff" of two people, that keeps photographs."""
    cli = Here.over(tmp_path_factory.mktemp("transfer") / "data", default_packs)
    cli.json("galleries", "create", "staff", "--keep-photographs")
    cli.json("enrol-folder", samples / "people", *STAFF)
    cli.json("subjects", "rename", "obama", "Barack Obama", *STAFF)
    return cli


@pytest.fixture
def elsewhere(cli: CommandLine, tmp_path: Path) -> CommandLine:
    """Another installation with the same packs."""
    return Here.over(tmp_path / "elsewhere", cli.data / "packs")


def stored(cli: CommandLine, url: str, gallery: str = "staff") -> list[dict[str, Any]]:
    """All there is in a gallery, photographs too, as the master key of the data folder opens it."""
    with open_exchange(Settings(data=cli.data, database_url=url)) as (_, exchange, _trail):
        found = values(exchange.entries(gallery, photographs=True))
    return sorted(found, key=lambda row: row["subject"])


def local(cli: CommandLine) -> str:
    return f"sqlite:///{cli.data / 'facesvc.db'}"


def answers(cli: CommandLine, *options: object, photographs: Path, gallery: str = "staff") -> list[Any]:
    return cli.lines(*options, "identify", photographs, "--gallery", gallery, "--json")


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


# --- other systems ----------------------------------------------------------------------------------------


class Trap:
    """Unpickling one leaves a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


@pytest.mark.slow
def test_deepface(cli: CommandLine, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder of people is enrolled; its pickles are left alone; photographs of nobody are told."""
    folder = tmp_path / "db"
    shutil.copytree(samples / "people", folder)
    shutil.copy(samples / "astronaut.png", folder)
    shutil.copy(samples / "no_face.jpg", folder / "biden")
    (folder / "ds_model_arcface_detector_opencv_aligned_normalization_base_expand_0.pkl").write_bytes(
        pickle.dumps([Trap()])
    )
    run = ("galleries", "import", folder, "--from", "deepface", "--gallery", "deepface")
    monkeypatch.chdir(tmp_path)
    done = cli.run(*run, "--json")
    assert done.returncode == 1
    assert not (tmp_path / "unpickled").exists()
    said = done.stderr.decode()
    assert "ds_model_arcface_detector_opencv_aligned_normalization_base_expand_0.pkl is not read" in said
    assert f"1 photographs lie in {folder} itself, so whose they are is not known: such as astronaut.png" in said
    again = cli.json(*run, code=1)
    rejected = [{"path": str(folder / "biden" / "no_face.jpg"), "subject": "biden", "status": "rejected"}]
    assert again == {
        "gallery": "deepface", "subjects": 2, "photographs": 5, "enrolled": 0, "already_enrolled": 4,
        "rejected": [{**rejected[0], "code": "no_face", "detail": "no face was found in the photograph"}],
        "left_behind": {"photographs_without_person": 1},
    }  # fmt: skip
    found = answers(cli, photographs=samples / "people", gallery="deepface")
    assert [(row["subject"], row["distance"]) for row in found] == [("biden", 0.0), *[("obama", 0.0)] * 3]


COMPREFACE = """
CREATE TABLE app (id bigint PRIMARY KEY, name varchar(50) NOT NULL);
CREATE TABLE model (id bigint PRIMARY KEY, name varchar(255) NOT NULL, guid varchar(36) NOT NULL,
  app_id bigint NOT NULL REFERENCES app (id), api_key varchar(36) NOT NULL UNIQUE, type varchar(1));
CREATE TABLE subject (id uuid PRIMARY KEY, api_key varchar(36), subject_name varchar(255),
  UNIQUE (api_key, subject_name));
CREATE TABLE img (id uuid PRIMARY KEY, content bytea NOT NULL);
CREATE TABLE embedding (id uuid PRIMARY KEY, subject_id uuid REFERENCES subject (id), embedding float8[] NOT NULL,
  calculator varchar(255) NOT NULL, img_id uuid REFERENCES img (id));
INSERT INTO app VALUES (0, 'Demo_App'), (1, 'office');
INSERT INTO model VALUES (1, 'Demo', 'g1', 0, 'key-demo', 'R'), (2, 'doors', 'g2', 1, 'key-doors', 'R'),
  (3, 'verify', 'g3', 1, 'key-verify', 'V');
"""
"""What an import reads of the schema that CompreFace's Liquibase change logs make."""


@pytest.fixture
def compreface(admin: str, photographs: dict[str, bytes]) -> Iterator[str]:
    with postgresql_database(admin, template="template1") as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            for statement in COMPREFACE.split(";")[:-1]:
                connection.execute(text(statement))
            for name, images in (("obama", ("obama", "obama2")), ("joe/biden", ("biden",)), ("nobody", ("no_face",))):
                put(connection, "key-doors", name, [photographs[image] for image in images])
            put(connection, "key-doors", "joe", [photographs["biden"], None])
            put(connection, "key-demo", "demo", [photographs["astronaut"]])
        engine.dispose()
        yield url


def put(connection: Any, key: str, name: str, contents: list[bytes | None]) -> None:
    """A subject with an embedding of two calculators for each photograph, as after a change of CompreFace's model."""
    subject = uuid.uuid4()
    connection.execute(text("INSERT INTO subject VALUES (:id, :key, :name)"), {"id": subject, "key": key, "name": name})
    for content in contents:
        image = content and uuid.uuid4()
        if image:
            connection.execute(text("INSERT INTO img VALUES (:id, :content)"), {"id": image, "content": content})
        for calculator in ("facenet", "arcface")[: 2 if image else 1]:
            cells = {"id": uuid.uuid4(), "subject": subject, "calculator": calculator, "image": image}
            connection.execute(
                text("INSERT INTO embedding VALUES (:id, :subject, '{0.5, 0.25}', :calculator, :image)"), cells
            )


@pytest.mark.slow
def test_compreface(cli: CommandLine, compreface: str, photographs: dict[str, bytes], samples: Path) -> None:
    """Its photographs are enrolled anew, once each; what can't move is told; run again it continues."""
    run = ("galleries", "import", compreface, "--from", "compreface", "--gallery", "doors")
    assert cli.refusal(*run) == (
        "facesvc: --collection chooses one of CompreFace's services with people: Demo_App/Demo, office/doors "
        "[import_invalid]"
    )
    assert cli.refusal(*run, "--collection", "verify").endswith("[import_invalid]")
    first = cli.json(*run, "--collection", "doors", code=1)
    again = cli.json(*run, "--collection", "office/doors", code=1)
    for summary, enrolled, already in ((first, 3, 0), (again, 0, 3)):
        assert {name: value for name, value in summary.items() if name != "rejected"} == {
            "gallery": "doors", "subjects": 4, "photographs": 5, "enrolled": enrolled, "already_enrolled": already,
            "left_behind": {"embeddings_without_photograph": 1},
        }  # fmt: skip
        assert [(each["subject"], each["code"]) for each in summary["rejected"]] == [
            ("joe/biden", "invalid_request"),
            ("nobody", "no_face"),
        ]
    known: dict[str, set[str]] = {}
    for row in stored(cli, local(cli), "doors"):
        known.setdefault(row["subject"], set()).add(row["image_sha256"])
    assert known == {
        "joe": {hashlib.sha256(photographs["biden"]).hexdigest()},
        "obama": {hashlib.sha256(photographs[name]).hexdigest() for name in ("obama", "obama2")},
    }
    (row,) = answers(cli, photographs=samples / "people" / "obama" / "obama2.jpg", gallery="doors")
    assert (row["decision"], row["subject"], row["distance"]) == ("match", "obama", 0.0)


def test_a_database_that_is_not_comprefaces(cli: CommandLine, database: str) -> None:
    run = ("galleries", "import", database, "--from", "compreface", "--gallery", "none")
    assert cli.refusal(*run) == "facesvc: the database does not have CompreFace's tables [import_invalid]"
