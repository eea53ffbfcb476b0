"""Indexes hold templates that were turned by a secret rotation. Within one gallery accuracy is what it was, to the
last digit printed; templates of one person from two tenants, or from two issues of one gallery, match by chance."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.galleries import Population
from drills.ground import Real, prepared
from facesvc.bootstrap import load_pack, open_extractor
from facesvc.bootstrap.database import Database
from facesvc.config import Settings
from facesvc.core.compare import squared_l2
from facesvc.core.metrics import area_under_roc, equal_error_rate, fmr, fnmr, tar_at_fmr
from facesvc.core.types import FaceChoice, Vectors
from facesvc.crypto.codec import Codec
from facesvc.crypto.keyring import Keyring
from facesvc.crypto.master import MasterKey
from facesvc.storage.engine import open_engine
from facesvc.storage.keys import SqlKeyRows
from facesvc.storage.migrate import upgrade

THRESHOLD = 1.1
PEOPLE = 500
"""Of the synthetic population, with two photographs each: spread as templates of real photographs are."""
PAIRS = ("obama", "obama2"), ("obama", "biden")
"""Real photographs: of one person, and of two."""
OTHERS = 20
"""Tenants, and issues, that are compared with one. Each turn leaves all people's comparisons a little nearer or farther
together, by chance: no area under the ROC is exactly one half, their mean is."""
SIGMAS = 3.5


@dataclass(frozen=True)
class Found:
    """plain, turned: accuracy as printed; difference: the largest of any distance; linked, reissued: areas under the
    ROC of one person's templates across two tenants, and across two issues; matching: share below THRESHOLD across
    tenants, of one person and of two; real: distances of PAIRS, plain, turned alike, and across tenants."""

    plain: str
    turned: str
    difference: float
    linked: NDArray[np.float64]
    reissued: NDArray[np.float64]
    matching: tuple[float, float]
    real: list[list[float]]


def drill(folder: Path, real: Real, people: int = PEOPLE) -> Found:
    ours, *theirs = (codec(folder, f"tenant {n}") for n in range(1 + OTHERS))
    first, second = (next(Population().templates(people, photograph=n)) for n in (0, 1))
    turned = [ours.issued(1, 0, vectors) for vectors in (first, second)]
    plain, alike = (distances(*pair) for pair in ((first, second), turned))
    across = [distances(turned[0], other.issued(1, 0, second)) for other in theirs]
    issues = [distances(turned[0], ours.issued(1, issue, second)) for issue in range(1, 1 + OTHERS)]
    mated, non_mated = (np.concatenate(found) for found in zip(*across, strict=True))
    return Found(
        plain=accuracy(*plain),
        turned=accuracy(*alike),
        difference=max(float(np.abs(a - b).max()) for a, b in zip(plain, alike, strict=True)),
        linked=np.array([area_under_roc(*found) for found in across]),
        reissued=np.array([area_under_roc(*found) for found in issues]),
        matching=(1 - fnmr(mated, THRESHOLD), fmr(non_mated, THRESHOLD)),
        real=photographs(real, folder, ours, theirs[0]),
    )


def codec(folder: Path, tenant: str) -> Codec:
    url = f"sqlite:///{folder / 'keys.db'}"
    upgrade(url)
    master = folder / "master"
    master.write_bytes(master.read_bytes() if master.exists() else os.urandom(32))
    engine = open_engine(url)
    database = Database(engine, Keyring(MasterKey(master.read_bytes()), partial(SqlKeyRows, engine)))
    return database.codec(database.register.create(tenant).id)


def distances(first: Vectors, second: Vectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared L2: (n,) mated, of one person each; (n (n - 1),) non-mated."""
    every = squared_l2(first, second).astype(np.float64)
    return np.diag(every).copy(), every[~np.eye(len(every), dtype=bool)]


def accuracy(mated: NDArray[np.float64], non_mated: NDArray[np.float64]) -> str:
    return (
        f"EER {equal_error_rate(mated, non_mated):.4%}, TAR at FMR 1e-4 {tar_at_fmr(mated, non_mated, 1e-4):.4%}, at "
        f"{THRESHOLD} FMR {fmr(non_mated, THRESHOLD):.4%} FNMR {fnmr(mated, THRESHOLD):.4%}"
    )


def photographs(real: Real, folder: Path, ours: Codec, theirs: Codec) -> list[list[float]]:
    settings = Settings(data=folder, pack=real.pack)
    (folder / "packs").symlink_to(real.packs)
    with open_extractor(settings, load_pack(settings)) as pipeline:
        made = {
            name: pipeline.extract(real.photographs[name], FaceChoice.PROMINENT).samples[0].template.vector[None]
            for name in {name for pair in PAIRS for name in pair}
        }
    found = []
    for a, b in PAIRS:
        alike = ours.issued(1, 0, made[a]), ours.issued(1, 0, made[b])
        compared = ((made[a], made[b]), alike, (alike[0], theirs.issued(1, 0, made[b])))
        found.append([float(squared_l2(*pair)[0, 0]) for pair in compared])
    return found


def require(found: Found) -> None:
    assert found.turned == found.plain, (found.plain, found.turned)
    assert found.difference < 1e-6, found.difference
    for areas in (found.linked, found.reissued):
        error = float(areas.std(ddof=1)) / len(areas) ** 0.5
        assert abs(float(areas.mean()) - 0.5) < SIGMAS * error, f"templates link: areas {areas}"
    assert found.matching[0] <= 10 * found.matching[1] + 1e-4, found.matching
    assert abs(found.real[0][0] - found.real[0][1]) < 1e-6
    assert found.real[0][1] < THRESHOLD < min(found.real[0][2], found.real[1][2])


def line(found: Found) -> str:
    (plain, alike, across), _ = found.real
    mated, non_mated = found.matching
    linked, reissued = (f"{areas.mean():.3f} +- {areas.std(ddof=1):.3f}" for areas in (found.linked, found.reissued))
    return (
        f"plain {found.plain}; turned {found.turned}: the same; distances differ by {found.difference:.1e} at most. "
        f"One person's templates of {OTHERS} pairs of tenants: area under the ROC {linked}, below {THRESHOLD} "
        f"{mated:.3%} (two people's {non_mated:.3%}); of {OTHERS} pairs of issues {reissued}. Two photographs of a "
        f"person: {plain:.4f}, turned {alike:.4f}, across tenants {across:.2f}"
    )


def run(folder: Path) -> str:
    found = drill(folder, prepared())
    require(found)
    return line(found)
