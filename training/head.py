"""Trains the head of the fusion pack, places its decision at 1.1 and calibrates it.

    python -m training.head people.npz --data "people in the wild" --output facesvc/models

PEOPLE is what ``training.features`` made of a folder per person. Written into OUTPUT: the head into
heads/NAME.safetensors, its digest into manifests/NAME.json, the curve into calibrations/NAME.json; and the training
record beside the recipes. Takes about a minute on one core.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from facesvc.core.decide import DEFAULT_THRESHOLD, Calibration
from facesvc.errors import FaceServiceError
from facesvc.models import calibration as calibrations
from facesvc.models import head as heads
from facesvc.models import manifest as manifests
from training.features import Features, load
from training.heads.placing import CrossFit, cross_fit, place
from training.heads.recipe import SHIPPED, HeadRecipe, read_recipe
from training.heads.triplets import TrainedHead, inputs, train_head


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """centre: where placing put it, from ``fitted``; trained: on everyone."""

    centre: float
    fitted: CrossFit
    trained: TrainedHead

    @property
    def head(self) -> heads.LinearHead:
        return self.trained.at(self.centre)


def make(features: Features, recipe: HeadRecipe) -> Outcome:
    """Cross-fits, places, then trains on everyone. Progress goes to stderr. Raises RequestError,
    TargetFmrUnsupported."""
    rows, subjects = inputs(features, recipe), features.subjects
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("training heads", total=recipe.steps * (recipe.folds + 1))
        fitted = cross_fit(rows, subjects, recipe, lambda: progress.advance(task))
        trained = train_head(rows, subjects, recipe, lambda: progress.advance(task))
    return Outcome(place(fitted, recipe.target_fmr), fitted, trained)


def ship(outcome: Outcome, name: str, data: str, folder: Path) -> Calibration:
    """Writes head, digest and calibration of pack ``name`` into ``folder`` (facesvc/models). Raises PackInvalid."""
    path = folder / "manifests" / f"{name}.json"
    content = json.loads(path.read_bytes())
    heads.save(folder / "heads" / content["head"]["file"], outcome.head)
    content["head"]["sha256"] = heads.digest(outcome.head)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    version = manifests.read(path).template_version
    measured = outcome.fitted.calibration(outcome.centre, version, f"{data}, cross-fitted")
    calibrations.save(folder / "calibrations" / f"{name}.json", measured)
    return measured


def record(outcome: Outcome, features: Features, recipe: HeadRecipe, measured: Calibration) -> dict[str, Any]:
    """What one needs to know to judge the head, or to train it again."""
    at = DEFAULT_THRESHOLD
    losses, active = outcome.trained.losses, outcome.trained.active
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "recipe": recipe.model_dump(),
        "data": measured.data,
        "features": features.fingerprint,
        "without_a_face": len(features.failures),
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "head": heads.digest(outcome.head),
        "template_version": measured.template_version,
        "centre": outcome.centre,
        "loss_over_all_candidates": {
            "first_50": _mean((losses * active)[:50]),
            "last_50": _mean((losses * active)[-50:]),
        },
        "loss_of_active_triplets": {"first_50": _mean(losses[:50]), "last_50": _mean(losses[-50:])},
        "active_triplets": {"first_50": _mean(active[:50]), "last_50": _mean(active[-50:])},
        "at_threshold": {
            "threshold": at,
            "fmr": measured.fmr_at(at),
            "fmr_interval": measured.claimed_interval(at),
            "fnmr": measured.fnmr_at(at),
            "fnmr_interval": measured.fnmr_interval(at),
        },
    }


def _mean(values: Any) -> float | None:
    return round(float(np.mean(values)), 5) if len(values) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path, help="features of a folder per person (training.features)")
    parser.add_argument("--recipe", type=Path, default=SHIPPED)
    parser.add_argument("--pack", default="fusion", help="pack whose head this is")
    parser.add_argument("--data", default="labelled people", help="name of the data, kept in the calibration")
    parser.add_argument("--output", type=Path, required=True, help="folder with manifests/, heads/ and calibrations/")
    parser.add_argument("--record", type=Path, default=SHIPPED.parents[1] / "records" / "head.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        manifests.read(arguments.output / "manifests" / f"{arguments.pack}.json")  # it fails now, not a minute later
        recipe, features = read_recipe(arguments.recipe), load(arguments.people)
        outcome = make(features, recipe)
        measured = ship(outcome, arguments.pack, arguments.data, arguments.output)
    except FaceServiceError as error:
        sys.exit(f"{error.code}: {error.detail}")
    kept = record(outcome, features, recipe, measured)
    arguments.record.parent.mkdir(parents=True, exist_ok=True)
    arguments.record.write_text(json.dumps(kept, indent=2) + "\n")
    print(json.dumps(kept, indent=2))


if __name__ == "__main__":
    main()
