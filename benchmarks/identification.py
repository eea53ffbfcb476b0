"""1:N end to end through the command line: rank-1, false matches, faces per second, and a kill half way.

    python -m benchmarks.identification people/ --work /tmp/identification

DIR holds a folder per person. By hash, a quarter of the people stay unknown; of the others, half of the
photographs are enrolled and half are probes. The second identification is killed (SIGKILL) half way,
resumed, and must equal the first byte for byte.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

from rich.console import Console
from rich.table import Table

from facesvc.core.metrics import wilson

FACESVC = [str(Path(sys.executable).with_name("facesvc"))]
GALLERY = "benchmark"
STRICTER = (1.0, 0.95, 0.9)
"""Thresholds to count false matches at too; rows hold the nearest subject's distance whether it matches or not."""


def portion(name: str, parts: int) -> int:
    """A fixed pseudo-random part, 0..parts-1, of a name."""
    return int(sha256(name.encode()).hexdigest(), 16) % parts


def split(people: Path, work: Path) -> tuple[Path, Path, set[str]]:
    """Links the photographs into work/references and work/probes; returns both and the enrolled people."""
    references, probes = work / "references", work / "probes"
    known = {person.name for person in people.iterdir() if person.is_dir() and portion(person.name, 4)}
    for photograph in sorted(people.glob("*/*.jpg")):
        person = photograph.parent.name
        enrolled = person in known and portion(f"{person}/{photograph.name}", 2)
        target = (references if enrolled else probes) / person / photograph.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(photograph.resolve())
    return references, probes, {person.name for person in references.iterdir()}


def run(arguments: list[str], data: Path) -> float:
    """Runs facesvc to its end; seconds."""
    start = time.perf_counter()
    result = subprocess.run([*FACESVC, "--data", str(data), *arguments], stdout=subprocess.DEVNULL)
    if result.returncode not in (0, 1):  # 1: some photographs had no usable face
        raise SystemExit(f"facesvc {' '.join(arguments)} ended with {result.returncode}")
    return time.perf_counter() - start


def run_killed(arguments: list[str], data: Path, journal: Path, lines: int) -> int:
    """Starts facesvc and kills it once the journal holds ``lines`` lines; returns how many it held then."""
    process = subprocess.Popen(
        [*FACESVC, "--data", str(data), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and count(journal) < lines:
        time.sleep(0.05)
    if process.poll() is not None:
        raise SystemExit("the run to be killed ended first")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return count(journal)


def count(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def score(output: Path, known: set[str]) -> dict:
    """Rank-1 over probes of enrolled people, matches at the threshold, and false matches of both kinds."""
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    faces = [row for row in rows if not row.get("code")]
    mated = [row for row in faces if Path(row["path"]).parent.name in known]
    strangers = [row for row in faces if Path(row["path"]).parent.name not in known]
    right = [row for row in mated if row["candidates"][0]["subject"] == Path(row["path"]).parent.name]
    false = [row for row in strangers if row["distance"] < row["threshold"]]
    wrong = [row for row in mated if row not in right and row["distance"] < row["threshold"]]
    return {
        "rows": len(rows),
        "faces": len(faces),
        "failures": len(rows) - len(faces),
        "mated_probes": len(mated),
        "rank_1": len(right) / len(mated),
        "identified_at_threshold": sum(row["distance"] < row["threshold"] for row in right) / len(mated),
        "matched_to_another": len(wrong),
        "strangers": len(strangers),
        "strangers_matched": len(false),
        "fpir": len(false) / len(strangers),
        **{f"strangers_matched_at_{at}": sum(row["distance"] < at for row in strangers) for at in STRICTER},
        "fpir_interval": wilson(len(false), len(strangers)),
        "threshold": faces[0]["threshold"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="scratch folder; emptied first")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    data = arguments.work / "data"
    references, probes, known = split(arguments.people, arguments.work)
    run(["models", "build"], data)
    enrolment = run(["enrol-folder", str(references), "--gallery", GALLERY, "--face", "prominent"], data)
    whole, resumed = arguments.work / "whole.jsonl", arguments.work / "resumed.jsonl"
    identify = ["identify", str(probes), "--gallery", GALLERY, "--face", "prominent", "--top-k", "3", "--output"]
    seconds = run([*identify, str(whole)], data)
    killed_at = run_killed([*identify, str(resumed)], data, Path(f"{resumed}.partial"), count(whole) // 2)
    run([*identify, str(resumed), "--resume"], data)
    enrolled = len(list(references.glob("*/*")))
    figures = score(whole, known) | {
        "subjects": len(known),
        "photographs_enrolled": enrolled,
        "enrolled_per_second": enrolled / enrolment,
        "faces_per_second": count(whole) / seconds,
        "killed_at_row": killed_at,
        "resumed_equals_whole": whole.read_bytes() == resumed.read_bytes(),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    table = Table("figure", "value", title="identification")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
