"""Measures a file of vectors that some network gave; packs are measured by `facesvc evaluate`.

    python -m training.evaluate --vectors vectors.npy --subjects subjects.txt [--threshold 1.1]

vectors.npy: (n 128) float, unit rows, NaN where a photograph failed to enrol; subjects.txt: n lines. All pairs are
compared; the figures are printed as JSON.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facesvc.core.decide import DEFAULT_THRESHOLD
from facesvc.errors import FaceServiceError, RequestError
from facesvc.evaluation.comparisons import AllPairs
from facesvc.evaluation.intervals import RESAMPLES
from facesvc.evaluation.verification import summarise_all_pairs


def main(arguments: Sequence[str]) -> None:
    try:
        print(json.dumps(of_vectors(arguments), indent=2))
    except (FaceServiceError, OSError, ValueError) as error:  # ValueError: numpy's for what is no .npy file
        sys.exit(f"training.evaluate: {error}")


def of_vectors(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the figures of cached vectors. Raises RequestError for files that don't fit each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--subjects", type=Path, required=True)
    parser.add_argument("--threshold", type=float, default=DEFAULT_THRESHOLD)
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    vectors = np.load(asked.vectors, allow_pickle=False)
    subjects = asked.subjects.read_text().splitlines()
    if vectors.ndim != 2 or len(vectors) != len(subjects):
        raise RequestError(f"{asked.vectors} is {vectors.shape}, {asked.subjects} names {len(subjects)} subjects")
    failures = {Path(f"row {i}"): "failed" for i in np.flatnonzero(np.isnan(vectors).any(axis=1))}
    comparisons = AllPairs(vectors, np.array(subjects))
    return summarise_all_pairs(comparisons, asked.threshold, failures, asked.resamples, asked.seed)


if __name__ == "__main__":
    main(sys.argv[1:])
