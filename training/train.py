"""Trains an embedder with triplets on an aligned set of people.

    python -m training.aligned people/ --output aligned/
    python -m training.train scratch-small --data aligned/ --output runs/one
    torchrun --nproc-per-node 2 -m training.train scratch-small --data aligned/ --output runs/two

CONFIG is a TOML file or the name of a recipe of training/recipes. SIGTERM and Ctrl-C save a checkpoint and stop;
--resume goes on from it. Exit codes: 0 done, 2 error, 128 + signal where a signal stopped it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from facesvc.errors import FaceServiceError
from training.aligned import AlignedSet
from training.config import load_config
from training.run.loop import Summary, train


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    try:
        config = load_config(asked.config, asked.set)
        summary = train(config, AlignedSet.load(asked.data), asked.output, asked.resume)
    except FaceServiceError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)
        return 2
    print(json.dumps(asdict(summary)) if asked.json else _told(summary, asked.output))
    return 0 if summary.signal is None else 128 + summary.signal


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="a TOML file, or a recipe's name")
    parser.add_argument("--data", type=Path, required=True, help="folder that python -m training.aligned wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder of this run")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --output, if there is one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. batch.steps=10")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


def _told(summary: Summary, output: Path) -> str:
    lines = [f"{summary.ending} after {summary.steps} steps in {summary.seconds:.0f} s, {output}"]
    if summary.best_tar is not None and summary.untrained_tar is not None:
        interval = "" if summary.best_interval is None else "[{:.3f}, {:.3f}] ".format(*summary.best_interval)
        people = f"{summary.validation_people} held-out people"
        lines.append(
            f"TAR at FMR {summary.fmr:g} on {people}: {summary.best_tar:.3f} {interval}"
            f"(step {summary.best_step}), untrained {summary.untrained_tar:.3f}"
        )
    if summary.ending == "interrupted":
        lines.append("--resume goes on from here")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
