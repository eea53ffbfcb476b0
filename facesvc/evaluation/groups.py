"""Error rates by group of people: do the threshold's promises hold for everyone?

Non-mated comparisons are of two people of one group, which are the hard ones: whoever borrows an identity borrows
that of someone alike (ISO/IEC 19795-10 asks for rates within groups; NIST IR 8280 shows why).
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Vectors
from facesvc.errors import RequestError
from facesvc.evaluation.comparisons import AllPairs
from facesvc.evaluation.intervals import RESAMPLES, Fmr, Fnmr, Interval, bootstrap

SMALL = 30
"""A group of fewer people is flagged: with so few, one look-alike or one bad photograph decides. A rule of thumb."""
MOST_VALUES = 20
"""A column with more different values (a name, an age in years) makes no groups unless it is asked for."""
NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class Grouping:
    """A way to group: its name, and the group of each subject."""

    name: str
    groups: Mapping[str, str]


def read_groups(file: Path, subject: str = "subject", columns: Mapping[str, str] | None = None) -> list[Grouping]:
    """Groupings from a CSV file with a head line: column ``subject`` and one column per grouping.

    columns: name of the grouping -> its column; without it, every other column with few enough values.
    Raises RequestError for a file or a column that isn't there.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{file} can't be read as CSV: {error}") from error
    there = [name for name in (rows[0] if rows else {}) if name is not None]
    wanted = columns if columns is not None else _groupable(rows, there, subject)
    for column in (subject, *wanted.values()):
        if column not in there:
            raise RequestError(f"{file} has no column {column!r}; it has {', '.join(there) or 'no rows'}")
    return [
        Grouping(name, {row[subject]: row[column] or NOT_STATED for row in rows}) for name, column in wanted.items()
    ]


def _groupable(rows: Sequence[Mapping[str, str]], columns: Sequence[str], subject: str) -> dict[str, str]:
    few = (name for name in columns if name != subject and len({row[name] for row in rows}) <= MOST_VALUES)
    return {name: name for name in few}


def group_rates(
    vectors: Vectors,
    subjects: NDArray[Any],
    grouping: Grouping,
    threshold: float,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """FMR and FNMR at the threshold within each group, over all pairs of its photographs, intervals over people.

    vectors (n d), subjects (n,). largest_ratio: of the highest to the lowest rate among groups that are not small;
    None where the lowest is 0 or fewer than two groups are left.
    """
    group = np.array([grouping.groups.get(str(subject), NOT_STATED) for subject in subjects])
    rows = [
        _one_group(str(name), vectors[group == name], subjects[group == name], threshold, resamples, seed)
        for name in np.unique(group)
    ]
    ratios = {rate: _ratio([row[rate] for row in rows if not row["small"]]) for rate in ("fmr", "fnmr")}
    return {"name": grouping.name, "threshold": threshold, "groups": rows, "largest_ratio": ratios}


def _one_group(
    name: str, vectors: Vectors, subjects: NDArray[Any], threshold: float, resamples: int, seed: int
) -> dict[str, Any]:
    people = len(np.unique(subjects))
    told: dict[str, Any] = {"group": name, "subjects": people, "photographs": len(subjects), "small": people < SMALL}
    rates = dict.fromkeys(("fmr", "fnmr"), Interval(float("nan"), 0.0, 1.0))
    mated = non_mated = 0
    if people > 1:
        comparisons = AllPairs(vectors, subjects)
        mated, non_mated = len(comparisons.mated), len(comparisons.non_mated)
        wanted = {"fmr": Fmr(threshold), "fnmr": Fnmr(threshold)}
        rates = bootstrap(comparisons, wanted, resamples=resamples, seed=seed)
    for rate, (value, low, high) in rates.items():
        told |= {rate: None if np.isnan(value) else value, f"{rate}_interval": (low, high)}
    return {**told, "mated": mated, "non_mated": non_mated}


def _ratio(rates: Sequence[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return max(known) / min(known) if len(known) > 1 and min(known) > 0 else None
