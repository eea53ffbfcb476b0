"""How good an entrant is: cross-validated over the people, and on sets that nothing was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core import metrics
from facesvc.core.decide import DEFAULT_THRESHOLD, Calibration
from facesvc.core.quality import pose
from facesvc.evaluation.datasets import Pair
from facesvc.evaluation.intervals import Fmr, Fnmr, Statistic, TarAtFmr, pair_bootstrap, rates_at_interval
from training.calibration.fit import measure
from training.data.splits import folds
from training.features import Features, Floats
from training.heads.entrants import Entrant, Fitted

FOLDS = 5
TARGET = 1e-3
PROFILE = 0.5
"""Yaw (``core.quality.pose``) from which a face counts as a profile: some 30 degrees."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """threshold: where the FMR is 1e-3 over held-out people; the others are rows of the table."""

    name: str
    threshold: float
    people: dict[str, Any]
    pairs: dict[str, Any]
    studio: dict[str, Any]


def judge(
    entrant: Entrant, people: Features, unseen: Features, pairs: Sequence[Pair], studio: Features, resamples: int
) -> Judged:
    """people: cross-validated; unseen with its pair list, and studio: by the entrant fitted on all people."""
    held_out, parts = _held_out(entrant, people)
    measured = measure(
        held_out,
        people.subjects.tolist(),
        template_version=f"sha256:{'0' * 64}",
        norm=1.0,
        data="cross-validation",
        folds=parts.tolist(),
        resamples=resamples,
    )
    threshold = float(measured.distances[measured.fmr <= TARGET][-1])
    fitted = entrant.fit(people)
    return Judged(
        name=entrant.name,
        threshold=threshold,
        people=_over_people(measured, threshold, held_out, people),
        pairs=_over_pairs(fitted, unseen, pairs, threshold, resamples),
        studio=_over_studio(fitted(studio), studio, threshold, resamples),
    )


def _held_out(entrant: Entrant, people: Features) -> tuple[Floats, NDArray[np.int64]]:
    part_of = folds(np.unique(people.subjects).tolist(), FOLDS, 1)  # other folds than placing's
    parts = np.array([part_of[subject] for subject in people.subjects.tolist()], np.int64)
    templates: list[tuple[NDArray[np.intp], Floats]] = []
    for part in range(FOLDS):
        own = np.flatnonzero(parts == part)
        templates.append((own, entrant.fit(people.take(parts != part))(people.take(own))))
    vectors = np.zeros((len(parts), templates[0][1].shape[1]), np.float32)
    for own, made in templates:
        vectors[own] = made
    return vectors, parts


def _over_people(measured: Calibration, threshold: float, vectors: Floats, people: Features) -> dict[str, Any]:
    yaws = np.array([abs(pose(points)[0]) for points in people.landmarks])
    mated: list[NDArray[np.float64]] = []
    for subject in np.unique(people.subjects):
        own = np.flatnonzero(people.subjects == subject)
        first, second = np.triu_indices(len(own), 1)
        is_profile = np.maximum(yaws[own[first]], yaws[own[second]]) > PROFILE
        apart = np.square(vectors[own[first]] - vectors[own[second]]).sum(axis=1, dtype=np.float64)
        mated.append(apart[is_profile])
    return {
        "fnmr": measured.fnmr_at(threshold),
        "fnmr_interval": measured.fnmr_interval(threshold),
        "profiles_fnmr": metrics.fnmr(np.concatenate(mated), threshold),
        "profiles": int(sum(map(len, mated))),
    }


def _over_pairs(
    fitted: Fitted, unseen: Features, pairs: Sequence[Pair], threshold: float, resamples: int
) -> dict[str, Any]:
    templates = fitted(unseen)
    row = {file: i for i, file in enumerate(unseen.files.tolist())}
    distances = np.array([_distance(templates, row.get(str(p.first)), row.get(str(p.second))) for p in pairs])
    mated, fold = np.array([p.mated for p in pairs]), np.array([p.fold for p in pairs])
    accuracy = metrics.fold_accuracy(distances, mated, fold)
    wanted: dict[str, Statistic] = {"tar_1e-2": TarAtFmr(1e-2), "tar_1e-3": TarAtFmr(1e-3)}
    for name, at in (("at_1.1", DEFAULT_THRESHOLD), ("at_threshold", threshold)):
        wanted |= {f"fmr_{name}": Fmr(at), f"fnmr_{name}": Fnmr(at)}
    return {
        "accuracy": accuracy.mean,
        "accuracy_se": accuracy.standard_error,
        "errors": round((1 - accuracy.mean) * len(pairs)),
        **pair_bootstrap(distances, mated, wanted, fold, resamples=resamples),
    }


def _distance(templates: Floats, first: int | None, second: int | None) -> float:
    if first is None or second is None:
        return float("inf")  # a failure to enrol matches nothing
    return float(np.square(templates[first] - templates[second]).sum(dtype=np.float64))


def _over_studio(templates: Floats, studio: Features, threshold: float, resamples: int) -> dict[str, Any]:
    return dict(rates_at_interval(templates, studio.subjects, threshold, resamples=resamples))
