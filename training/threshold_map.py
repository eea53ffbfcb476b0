"""The map of distances that puts a wanted false match rate at a wanted threshold."""

import numpy as np
from numpy.typing import NDArray

from facesvc.core.decide import DEFAULT_THRESHOLD
from facesvc.errors import TargetFmrUnsupported


def fit_scale(
    distances: NDArray[np.float64],
    fmr: NDArray[np.float64],
    target_fmr: float = 1e-3,
    at: float = DEFAULT_THRESHOLD,
) -> float:
    """The factor on squared distances that moves the threshold of ``target_fmr`` to ``at``.

    distances (k,) squared L2 ascending; fmr (k,) not falling, linear between its points: a measured curve, or
    ``Calibration.fmr_high`` where the luck of the sample must not let the rate exceed the target.
    One factor for all distances keeps their order, and with it every trade-off of FMR and FNMR; it only moves where
    the threshold falls. On vectors it is a factor of sqrt(scale) on their length. Up to 1 their length can be kept
    instead: a constant component of sqrt(1 - scale) beside the unit vector times sqrt(scale).
    Raises TargetFmrUnsupported where the curve doesn't cross the target above distance 0.
    """
    last = int(np.searchsorted(fmr, target_fmr, side="right")) - 1
    if last < 0 or last + 1 >= len(fmr):
        raise TargetFmrUnsupported(f"the FMR goes from {fmr[0]:g} to {fmr[-1]:g} and never crosses {target_fmr:g}")
    threshold = float(np.interp(target_fmr, fmr[last : last + 2], distances[last : last + 2]))
    if threshold <= 0:
        raise TargetFmrUnsupported(f"no distance above 0 has an FMR of {target_fmr:g} or less")
    return at / threshold
