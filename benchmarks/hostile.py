"""Table of hostile and odd files -> what a live service answers, and whether it still answers afterwards.

python -m benchmarks.hostile [--markdown FILE]
"""

import argparse
import tempfile
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from facesvc.cli.samples import fetch
from facesvc.models.packs import DEFAULT_PACK, Packs
from tests.support.hostile import HostileFile, hostile_files
from tests.support.live import Live, serve, served_settings

Row = tuple[str, str, str, int]


def outcome(answer: httpx.Response) -> str:
    """The problem's code, or how many faces were found; one face or none is told apart, as verify would."""
    body = answer.json()
    if answer.is_error:
        return body["code"]
    return {0: "no_face", 1: "ok"}.get(body["faces_found"], f"ok ({body['faces_found']} faces)")


def ask(live: Live, files: dict[str, HostileFile]) -> list[Row]:
    """Sends every file to /v1/detect: (name, expected code, outcome, status)."""
    rows = []
    for name, file in files.items():
        answer = live.client.post("/v1/detect", files={"image": (name, file.data)})
        rows.append((name, file.code, outcome(answer), answer.status_code))
    return rows


def still_answers(live: Live, photographs: dict[str, bytes]) -> bool:
    parts = {"probe": photographs["obama"], "reference": photographs["obama2"]}
    return live.client.post("/v1/verify", files=parts).json()["match"] is True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path, help="also write the table here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        fetch(home / "samples")
        photographs = {path.stem: path.read_bytes() for path in sorted((home / "samples").rglob("*.[jp][pn]g"))}
        packs = home / "packs"
        Packs(packs).build(DEFAULT_PACK)
        settings = served_settings(home / "data", packs)
        with serve(settings) as live:
            rows = ask(live, hostile_files(photographs))
            alive = still_answers(live, photographs)
    as_owed = sum(found.split(" (")[0] == code for _, code, found, _ in rows)
    summary = f"{as_owed} of {len(rows)} files answered as they should; afterwards the service answers: {alive}"
    table = Table("file", "code", "status", title=summary)
    for name, _, found, status in rows:
        table.add_row(name, found, str(status))
    Console().print(table)
    if arguments.markdown:
        lines = [f"| {name} | `{found}` | {status} |" for name, _, found, status in rows]
        arguments.markdown.write_text(
            "\n".join([summary, "", "| File | Answer | Status |", "|---|---|---|", *lines, ""])
        )


if __name__ == "__main__":
    main()
