"""Comparison of templates by squared L2 distance (FaceNet, Schroff et al. 2015, section 3.1)."""

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import Template, Vectors
from facesvc.errors import TemplateVersionMismatch

S = TypeVar("S", bound=Hashable)


def squared_l2(probes: Vectors, references: Vectors) -> NDArray[np.float64]:
    """Squared L2 distances, (n d), (m d) -> (n m) float64; 0 <= distance <= 4 for unit vectors.

    The exact, slow form: differences are taken in float64, so equal vectors are at exactly 0.
    Every index is tested against these values.
    """
    a = np.asarray(probes, np.float64)[:, None, :]
    b = np.asarray(references, np.float64)[None, :, :]
    return np.square(a - b).sum(axis=2)


def distance(probe: Template, reference: Template) -> float:
    """Squared L2 distance of two templates.

    Raises TemplateVersionMismatch when they were made by different packs.
    """
    require_version(reference.version, probe.version)
    return float(squared_l2(probe.vector[None], reference.vector[None])[0, 0])


def require_version(found: str, wanted: str) -> None:
    """Raises TemplateVersionMismatch unless both template versions are equal."""
    if found != wanted:
        raise TemplateVersionMismatch(f"template version {found} can't be compared with {wanted}")


def similarity(distance: float, norm: float = 1.0) -> float:
    """Cosine of two vectors of length ``norm`` at this squared L2 distance: 1 - d / (2 norm^2), -1..1."""
    return 1.0 - distance / (2.0 * norm * norm)


def fuse_minimum(subjects: Sequence[S], distances: Iterable[float]) -> list[tuple[S, int]]:
    """Score-level fusion of each subject's references by minimum distance.

    subjects[i] owns the reference at distances[i]. Returns (subject, index of its nearest reference),
    nearest subject first; ties keep the order given.
    """
    values = list(distances)
    best: dict[S, int] = {}
    for i in sorted(range(len(values)), key=values.__getitem__):
        best.setdefault(subjects[i], i)
    return list(best.items())
