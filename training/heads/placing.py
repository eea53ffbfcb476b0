"""Where 1.1 falls: how much of the mean the head takes away, found on people that it never saw.

Cross-fitting: the people are cut into parts by hash; each part is judged by a head trained on all others, and only
photographs of one part are compared. The shipped head is then trained on everyone with the centre found.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesvc.core.decide import DEFAULT_THRESHOLD, Calibration
from facesvc.errors import TargetFmrUnsupported
from training.calibration.fit import measure
from training.data.splits import folds
from training.features import Floats, Labels, unit
from training.heads.recipe import HeadRecipe
from training.heads.triplets import TrainedHead, train_head

STEP = 0.005
"""Steps in which the centre is sought; one moves the FMR at 1.1 by about a tenth."""


@dataclass(frozen=True, slots=True, eq=False)
class CrossFit:
    """rows (n k), subjects (n,), parts (n,): which part each photograph is of; heads: part -> the head that never saw
    it."""

    rows: Floats
    subjects: Labels
    parts: NDArray[np.int64]
    heads: dict[int, TrainedHead]

    def templates(self, centre: float) -> Floats:
        """(n 128), unit length, each by the head that never saw its person."""
        vectors = np.zeros((len(self.rows), 128), np.float32)
        for part, head in self.heads.items():
            own = self.parts == part
            vectors[own] = unit(head.at(centre)(self.rows[own]))
        return vectors

    def calibration(self, centre: float, template_version: str, data: str, resamples: int = 1000) -> Calibration:
        return measure(
            self.templates(centre),
            self.subjects.tolist(),
            template_version=template_version,
            norm=1.0,
            data=data,
            folds=self.parts.tolist(),
            resamples=resamples,
        )


def cross_fit(
    rows: Floats, subjects: Labels, recipe: HeadRecipe, advance: Callable[[], object] = lambda: None
) -> CrossFit:
    """Trains a head for each part on the people of all others. Raises RequestError where these are too few."""
    part_of = folds(np.unique(subjects).tolist(), recipe.folds, recipe.seed)
    parts = np.array([part_of[subject] for subject in subjects.tolist()], np.int64)
    heads = {
        part: train_head(rows[parts != part], subjects[parts != part], recipe, advance)
        for part in sorted(set(parts.tolist()))
    }
    return CrossFit(rows, subjects, parts, heads)


def place(fitted: CrossFit, target_fmr: float, at: float = DEFAULT_THRESHOLD) -> float:
    """The smallest centre with which the upper end of the FMR's interval at ``at`` is within the target.

    Smallest, since the false non-matches grow with it. Raises TargetFmrUnsupported where none does.
    """
    steps = round(1 / STEP)
    low, high = -1, steps + 1  # low: too little, high: enough
    while high - low > 1:
        middle = (low + high) // 2
        measured = fitted.calibration(middle * STEP, "sha256:" + "0" * 64, "placing", resamples=400)
        if measured.claimed_interval(at)[1] <= target_fmr:
            high = middle
        else:
            low = middle
    if high > steps:
        raise TargetFmrUnsupported(f"no centre puts an FMR of {target_fmr:g} at {at:g}")
    return high * STEP
