"""`facesvc galleries import --from`: people of other systems."""

import hashlib
import pickle
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests.e2e.transferring import Here, answers, local, stored
from tests.support.commandline import CommandLine
from tests.support.databases import postgresql_database

pytestmark = pytest.mark.xdist_group("cli-migration")


@pytest.fixture(scope="module")
def cli(cli: CommandLine) -> CommandLine:
    return Here(cli.data)


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
def compreface(postgresql_admin: str, photographs: dict[str, bytes]) -> Iterator[str]:
    with postgresql_database(postgresql_admin, template="template1") as url:
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


def test_a_database_that_is_not_comprefaces(cli: CommandLine, postgresql_admin: str) -> None:
    with postgresql_database(postgresql_admin) as url:
        run = ("galleries", "import", url, "--from", "compreface", "--gallery", "none")
        assert cli.refusal(*run) == "facesvc: the database does not have CompreFace's tables [import_invalid]"
