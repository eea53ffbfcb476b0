"""Compares the shipped head with every alternative, on people that none of them was trained on.

    python -m training.contest people.npz --unseen lfw.npz --pairs lfw/pairs.txt --studio london.npz --output docs

The three feature files are ``training.features``' of folders per person. Each alternative's threshold is where the
FMR is 1e-3 over held-out people (five folds); the rates on the other sets are at that threshold.
"""

import argparse
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from facesvc.errors import FaceServiceError
from facesvc.evaluation.datasets import read_pairs
from training.features import load
from training.heads.entrants import entrants
from training.heads.judging import Judged, judge
from training.heads.recipe import SHIPPED, read_recipe

COLUMNS = (
    "head",
    "threshold at FMR 1e-3",
    "held-out people: FNMR",
    "profiles: FNMR",
    "pairs: accuracy",
    "errors",
    "TAR at FMR 1e-2",
    "TAR at FMR 1e-3",
    "FMR at threshold",
    "FNMR at threshold",
    "studio: FMR",
    "studio: FNMR",
)

HEADER = """# Heads over frozen networks

Made by `python -m training.contest`, {date}. In brackets 95 % intervals. *Held-out people*: five-fold cross-validation
over the training people, each judged by a head that never saw them; *profiles*: their mated comparisons with a face
turned away by some 30 degrees or more. The other sets are of people that no head saw: *pairs*, an LFW-style list, and
*studio*. The threshold is where the FMR is 1e-3 over held-out people, and used for the rates on all sets.
"""


def _row(judged: Judged) -> list[str]:
    people, pairs, studio = judged.people, judged.pairs, judged.studio
    return [
        judged.name,
        f"{judged.threshold:.2f}",
        _with_interval(people["fnmr"], *people["fnmr_interval"]),
        f"{people['profiles_fnmr']:.1%}",
        f"{pairs['accuracy']:.2%} ± {pairs['accuracy_se']:.2%}",
        str(pairs["errors"]),
        *(_with_interval(*pairs[name]) for name in ("tar_1e-2", "tar_1e-3", "fmr_at_threshold", "fnmr_at_threshold")),
        *(_with_interval(*studio[name]) for name in ("fmr", "fnmr")),
    ]


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{value:.2%} ({low:.2%} to {high:.2%})"


def table(results: list[Judged]) -> str:
    """Markdown."""
    rows = [COLUMNS, ["---"] * len(COLUMNS), *map(_row, results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path, help="features of the training people")
    parser.add_argument("--unseen", type=Path, required=True, help="features of the pair list's photographs")
    parser.add_argument("--pairs", type=Path, required=True, help="pair list in LFW's format")
    parser.add_argument("--studio", type=Path, required=True, help="features of a set where nothing should go wrong")
    parser.add_argument("--recipe", type=Path, default=SHIPPED)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--only", default="", help="only heads whose name contains this")
    parser.add_argument("--output", type=Path, default=None, help="folder to write heads.json and heads.md into")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        people, unseen, studio = (load(path) for path in (arguments.people, arguments.unseen, arguments.studio))
        pairs = read_pairs(arguments.pairs)
        chosen = [entrant for entrant in entrants(read_recipe(arguments.recipe)) if arguments.only in entrant.name]
        shown = track(chosen, "heads", console=Console(stderr=True))
        results = [judge(entrant, people, unseen, pairs, studio, arguments.resamples) for entrant in shown]
    except FaceServiceError as error:
        sys.exit(f"{error.code}: {error.detail}")
    print(table(results))
    if arguments.output:
        _write(arguments.output, results)


def _write(folder: Path, results: list[Judged]) -> None:
    content: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "heads": [asdict(judged) for judged in results],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "heads.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "heads.md").write_text(f"{HEADER.format(**content)}\n{table(results)}\n")


if __name__ == "__main__":
    main()
