"""From a distance to a decision, with the error rate that the threshold was measured to have."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from facesvc.errors import CalibrationMissing, InvalidThreshold, TargetFmrUnsupported

DEFAULT_THRESHOLD = 1.1
"""Squared L2 below which two templates match; fixed by the product, and what each pack is calibrated for."""


class Decision(StrEnum):
    MATCH = "match"
    NO_MATCH = "no_match"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Error rates of one template version, measured on labelled comparisons.

    id: digest of what follows; distances: (k,) float64 ascending, squared L2;
    fmr, fnmr: (k,) float64, shares of non-mated comparisons below, of mated ones at or above each distance;
    fmr_low, fmr_high, fnmr_low, fnmr_high: (k,) float64, ends of their 95 % intervals over people, so what another
    sample of as many people from the same population might have shown. All curves are monotone.
    non_mated, mated: numbers of comparisons behind them; data: what they were measured on;
    independent: how many of the non-mated ones are of different pairs of people, None where it isn't known.
    """

    id: str
    template_version: str
    distances: NDArray[np.float64]
    fmr: NDArray[np.float64]
    fnmr: NDArray[np.float64]
    fmr_low: NDArray[np.float64]
    fmr_high: NDArray[np.float64]
    fnmr_low: NDArray[np.float64]
    fnmr_high: NDArray[np.float64]
    non_mated: int
    mated: int
    data: str
    independent: int | None = None

    def fmr_at(self, distance: float) -> float:
        """False match rate with the threshold at ``distance``, interpolated between measured points."""
        return self._at(distance, self.fmr)

    def fnmr_at(self, distance: float) -> float:
        """False non-match rate with the threshold at ``distance``."""
        return self._at(distance, self.fnmr)

    def fnmr_interval(self, distance: float) -> tuple[float, float]:
        """95 % interval of ``fnmr_at``: low, high."""
        return self._at(distance, self.fnmr_low), self._at(distance, self.fnmr_high)

    def _at(self, distance: float, curve: NDArray[np.float64]) -> float:
        return float(np.interp(distance, self.distances, curve))

    @property
    def smallest_fmr(self) -> float:
        """The lowest rate that can be claimed: 3 / comparisons, the "rule of three" (95 % upper bound when no error
        was seen; ISO/IEC 19795-1, B.1). Comparisons of the same two people count once, where that is known:
        more photographs of them say little about strangers in general."""
        return min(1.0, 3.0 / (self.independent or self.non_mated))

    def claimed_fmr(self, distance: float) -> float:
        """The FMR that may be told to callers: as measured, but never below ``smallest_fmr``."""
        return max(self.fmr_at(distance), self.smallest_fmr)

    def claimed_interval(self, distance: float) -> tuple[float, float]:
        """95 % interval of ``claimed_fmr``: low, high; its high end, too, is never below ``smallest_fmr``."""
        return self._at(distance, self.fmr_low), max(self._at(distance, self.fmr_high), self.smallest_fmr)

    def threshold_for(self, target_fmr: float, *, upper: bool = False) -> float:
        """Largest measured distance above 0 whose FMR is at most ``target_fmr``.

        By the measured curve, so that a target means the same rate on every calibration, and thresholds don't move
        with the number of people behind it; how sure that rate is, the interval beside it says. upper: by the high
        end of the interval instead, for whoever must not exceed the target by the luck of the sample.
        Raises TargetFmrUnsupported outside what the number of comparisons can support.
        """
        if not self.smallest_fmr <= target_fmr < 1:
            raise TargetFmrUnsupported(
                f"target FMR {target_fmr:g} is outside {self.smallest_fmr:.2g}..1: "
                f"the calibration has {self.independent or self.non_mated} independent non-mated comparisons"
            )
        curve = self.fmr_high if upper else self.fmr
        within = np.flatnonzero((curve <= target_fmr) & (self.distances > 0))  # nothing lies below 0
        if not len(within):
            raise TargetFmrUnsupported(f"no measured threshold has an FMR of {target_fmr:g} or less")
        return float(self.distances[within[-1]])


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold that never travels without its contract.

    fmr_interval: 95 %, low and high. fmr, fmr_interval and calibration are None where the pack was never calibrated:
    an unknown rate is said, not guessed.
    """

    value: float
    template_version: str
    fmr: float | None = None
    fmr_interval: tuple[float, float] | None = None
    calibration: str | None = None

    def matches(self, distance: float) -> bool:
        """``distance < threshold``, strictly."""
        return distance < self.value

    def decide(self, distance: float, conclusive: bool = True) -> Decision:
        """INCONCLUSIVE where a sample failed its quality checks, whatever the distance."""
        if not conclusive:
            return Decision.INCONCLUSIVE
        return Decision.MATCH if self.matches(distance) else Decision.NO_MATCH


def false_positive_identification_rate(fmr: float, references: int) -> float:
    """FPIR: how often a stranger matches at least one of so many references, 1 - (1 - FMR)^references.

    As if references were independent (ISO/IEC 19795-1); those of one subject are not, so it errs on the safe side.
    """
    return 1.0 - (1.0 - fmr) ** references


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """How a caller asks for a threshold: by value, by target FMR, or not at all (the pack's own)."""

    threshold: float | None = None
    target_fmr: float | None = None


OWN_THRESHOLD = DecisionRule()
"""Asks for the pack's own."""


def choose_threshold(
    rule: DecisionRule,
    template_version: str,
    calibration: Calibration | None,
    default: float = DEFAULT_THRESHOLD,
    norm: float = 1.0,
) -> Threshold:
    """The threshold that ``rule`` asks for, with its false match rate.

    norm: length of the pack's vectors, so 4 norm^2 is the largest possible distance.
    Raises InvalidThreshold, TargetFmrUnsupported, CalibrationMissing.
    """
    if rule.threshold is not None and rule.target_fmr is not None:
        raise InvalidThreshold("give a threshold or a target FMR, not both")
    value = default if rule.threshold is None else rule.threshold
    if rule.target_fmr is not None:
        if calibration is None:
            raise CalibrationMissing("a target FMR needs a calibrated model pack")
        value = calibration.threshold_for(rule.target_fmr)
    if not 0 < value <= 4 * norm * norm:
        raise InvalidThreshold(f"threshold {value:g} is outside 0..{4 * norm * norm:g}")
    if calibration is None:
        return Threshold(value, template_version)
    return Threshold(
        value, template_version, calibration.claimed_fmr(value), calibration.claimed_interval(value), calibration.id
    )
