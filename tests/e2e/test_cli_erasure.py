"""Erasure, its receipt, subject access and the audit log on the command line."""

import json
import sqlite3
import zipfile
from pathlib import Path

import pytest

from tests.support.commandline import CommandLine

pytestmark = pytest.mark.xdist_group("cli-erasure")  # one worker: what they share is started once


@pytest.fixture(scope="module")
def cli(cli: CommandLine, samples: Path) -> CommandLine:
    """With ada enrolled in the gallery staff, whose photographs are kept."""
    cli.json("galleries", "create", "staff", "--keep-photographs")
    cli.run("enrol", samples / "people" / "obama" / "obama.jpg", "--subject", "ada", "--gallery", "staff")
    return cli


@pytest.mark.slow
def test_from_consent_to_receipt(cli: CommandLine, tmp_path: Path) -> None:
    kept = cli.json("subjects", "retain", "ada", "--gallery", "staff", "--consent", "form 7", "--expires", "2099-12-31")
    assert (kept["consent"], kept["expires_at"]) == ("form 7", "2099-12-31T00:00:00.000Z")

    archive, receipt = tmp_path / "ada.zip", tmp_path / "erased.json"
    assert cli.run("subjects", "export", "ada", "--gallery", "staff", "--output", archive).returncode == 0
    told = json.loads(zipfile.ZipFile(archive).read("subject.json"))
    assert (told["id"], told["consent"], len(told["references"])) == ("ada", "form 7", 1)
    assert archive.stat().st_mode & 0o077 == 0

    done = cli.run("subjects", "erase", "ada", "--gallery", "staff", "--receipt", receipt, "--yes")
    assert done.returncode == 0, done.stderr
    assert cli.refusal("subjects", "show", "ada", "--gallery", "staff").endswith("[subject_not_found]")
    assert cli.run("receipts", "verify", receipt).returncode == 0
    key = cli.run("receipts", "key").stdout.decode().strip()
    assert cli.run("receipts", "verify", receipt, "--public-key", key).returncode == 0
    statement = json.loads(receipt.read_text())
    statement["statement"]["photographs"] = 0
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(statement))
    assert cli.refusal("receipts", "verify", forged).endswith("[receipt_invalid]")

    actions = [
        (line["key"], line["action"]) for line in cli.json("audit", "list", "--gallery", "staff", "--subject", "ada")
    ]
    assert actions == [
        ("local", action)
        for action in (
            *("enrol", "enrol", "update_subject", "update_subject", "export_subject", "erase", "erase"),
            "read_subject",  # who was not there any more
        )
    ]
    whole = cli.json("audit", "verify", "--receipt", receipt)
    assert whole["whole"] is True
    head = cli.run("audit", "head").stdout.decode().strip()
    assert head.startswith(f"{whole['lines']}:")

    assert cli.json("audit", "verify", "--noted", head)["whole"] is True
    with sqlite3.connect(cli.data / "facesvc.db") as database:  # one byte
        (entry,) = database.execute("SELECT entry FROM audit WHERE sequence = 2").fetchone()
        database.execute("UPDATE audit SET entry = ? WHERE sequence = 2", [entry[:-1] + b"]"])
    found = cli.json("audit", "verify", code=1)
    assert found == {"whole": False, "detail": "line 2 was altered, or does not belong there"}
    with sqlite3.connect(cli.data / "facesvc.db") as database:  # the end is cut off, and the head set back to it
        database.execute("UPDATE audit SET entry = ? WHERE sequence = 2", [entry])
        database.execute("DELETE FROM audit WHERE sequence = ?", [whole["lines"]])
        database.execute(
            "UPDATE tenants SET audit_sequence = audit_sequence - 1, audit_digest = "
            "(SELECT digest FROM audit ORDER BY sequence DESC LIMIT 1) WHERE tenant = 'default'"
        )
    assert cli.json("audit", "verify", code=1)["whole"] is False
    assert cli.refusal("subjects", "erase", "bob", "--gallery", "staff", "--yes").endswith("[audit_broken]")
