"""Heads over several networks: their arithmetic longhand, their training on simulated people, and the one we ship."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from facesvc.errors import RequestError, TargetFmrUnsupported
from facesvc.evaluation.datasets import Pair
from facesvc.models import calibration as calibrations
from facesvc.models import head as heads
from facesvc.models import manifest as manifests
from facesvc.models.assembly import HEADS
from facesvc.models.packs import MANIFESTS
from training import contest, head
from training.features import Features, Sides, unit
from training.heads.baselines import discriminants, linear_head, principal_components, rotated_sum, whitening
from training.heads.entrants import entrants
from training.heads.judging import judge
from training.heads.moments import moments
from training.heads.placing import STEP, cross_fit, place
from training.heads.recipe import SHIPPED, HeadRecipe, read_recipe
from training.heads.triplets import inputs, train_head

RECIPE = HeadRecipe(networks=("a", "b"), identities=12, photographs=4, steps=30, leash=1.0)
RECORD = Path(head.__file__).parent / "records" / "head.json"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def people(seed: int, count: int = 40, each: int = 6, noise: float = 1.2, prefix: str = "p") -> Features:
    """Two networks see the same people: b is a fixed rotation of what a sees, each with an error of its own; all of
    a network's vectors crowd around a mean."""
    fixed = np.random.default_rng(99)
    rotation = np.linalg.qr(fixed.standard_normal((128, 128)))[0]
    means = 0.7 * unit(fixed.standard_normal((2, 128)).astype(np.float32))
    random = np.random.default_rng(seed)
    faces = np.repeat(unit(random.standard_normal((count, 128)).astype(np.float32)), each, axis=0)

    def seen(ideal: NDArray[np.float64], mean: NDArray[np.float32]) -> Sides:
        errors = noise * random.standard_normal((2, *faces.shape)) / np.sqrt(64)
        return Sides(*(np.float32(ideal + mean + error) for error in errors))

    names = [f"{prefix}{i:03d}" for i in range(count) for _ in range(each)]
    landmarks = np.tile(np.float32([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]]), (len(names), 1, 1))
    landmarks[::each, 2, 0] = 75  # everybody's first photograph is in profile: the nose points aside
    return Features(
        outputs={"a": seen(faces, means[0]), "b": seen(faces @ rotation, means[1])},
        subjects=np.array(names),
        files=np.array([f"{name}/{name}_{i % each + 1:04d}.jpg" for i, name in enumerate(names)]),
        landmarks=landmarks,
        failures={},
        fingerprint="sha256:simulated",
    )


def fnmr_at_1e_3(vectors: NDArray[np.float32], subjects: NDArray[np.str_]) -> float:
    apart = 2 - 2 * vectors @ vectors.T
    same = subjects[:, None] == subjects[None]
    upper = np.triu(np.ones_like(same), 1)
    threshold = np.quantile(apart[upper & ~same], 1e-3)
    return float((apart[upper & same] >= threshold).mean())


def test_moments_equal_loops_over_people() -> None:
    data = people(0, count=5)
    rows = data.unit("a")[:-3]  # the last person has fewer photographs
    subjects = data.subjects[:-3]
    groups = [rows[subjects == name].astype(np.float64) for name in sorted(set(subjects))]
    means = np.stack([group.mean(axis=0) for group in groups])
    within = np.mean([np.cov(group.T, ddof=1) for group in groups], axis=0)
    found = moments(rows, subjects)
    np.testing.assert_allclose(found.mean, means.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.within, within, atol=1e-12)
    np.testing.assert_allclose(found.between, np.cov(means.T), atol=1e-12)


def test_the_rotated_sum_finds_the_rotation() -> None:
    data = people(1, count=300, noise=0.05)
    known = moments(inputs(data, RECIPE), data.subjects)
    projection = rotated_sum(0.5)(known)
    np.testing.assert_array_equal(projection[:, :128], np.eye(128))
    turned = projection[:, 128:] / 0.5
    scale = np.trace(known.total[:128, :128]) / np.trace(known.total[128:, 128:])
    np.testing.assert_allclose(turned @ turned.T, scale * np.eye(128), atol=1e-8)
    a, b = np.split(inputs(data, RECIPE) - known.mean, 2, axis=1)
    cosine = (unit(a) * unit(b @ turned.T)).sum(axis=1)
    assert cosine.min() > 0.95


def test_fusing_errs_less_than_either_network() -> None:
    seen, strangers = people(2, count=200), people(3, count=60, prefix="q")
    known = moments(inputs(seen, RECIPE), seen.subjects)
    fused = unit(linear_head(rotated_sum(1.0)(known), known.mean, 1.0)(inputs(strangers, RECIPE)))
    alone = min(fnmr_at_1e_3(strangers.unit(name), strangers.subjects) for name in "ab")
    assert fnmr_at_1e_3(fused, strangers.subjects) < alone / 2


@pytest.mark.parametrize(
    "projection", [principal_components((1.0, 1.0)), whitening(0.6, (1.0, 1.0)), discriminants(0.8, (1.0, 1.0))]
)
def test_projections_decorrelate_the_people_they_were_made_of(projection) -> None:  # type: ignore[no-untyped-def]
    data = people(4, count=200)
    known = moments(inputs(data, RECIPE), data.subjects)
    made = projection(known)
    total = made @ (known.between if projection.__qualname__.startswith("discriminants") else known.total) @ made.T
    off_diagonal = total - np.diag(np.diag(total))
    assert made.shape == (128, 256)
    assert np.abs(off_diagonal).max() < 1e-6 * np.diag(total).max()
    assert (np.diff(np.diag(total)) <= 1e-9).all()


def test_the_centre_is_taken_away_before_the_projection() -> None:
    random = np.random.default_rng(5)
    projection, mean = random.standard_normal((128, 256)), random.standard_normal(256)
    rows = random.standard_normal((3, 256)).astype(np.float32)
    expected = (rows - 0.25 * mean) @ projection.T
    np.testing.assert_allclose(linear_head(projection, mean, 0.25)(rows), expected, atol=1e-3)


def test_training_is_the_same_every_time_and_a_tight_leash_holds_it_at_the_start() -> None:
    data = people(6)
    rows = inputs(data, RECIPE)
    start = rotated_sum(RECIPE.share)(moments(rows, data.subjects))
    first, again = (train_head(rows, data.subjects, RECIPE).projection for _ in range(2))
    np.testing.assert_array_equal(first, again)
    held, free = (train_head(rows, data.subjects, RECIPE.model_copy(update={"leash": leash})) for leash in (1e4, 0.0))
    strayed = [np.square(made - start).sum() for made in (held.projection, first, free.projection)]
    assert strayed[0] < 0.01 * strayed[1] < 0.01 * strayed[2]
    assert free.losses.shape == free.active.shape == (30,)
    objective = [(made.losses * made.active)[-10:].mean() for made in (free, held)]
    assert objective[0] < 0.9 * objective[1]


def test_too_few_people_for_a_batch() -> None:
    data = people(7, count=5)
    with pytest.raises(RequestError, match="5 people have two photographs or more: too few for 12 a batch"):
        train_head(inputs(data, RECIPE), data.subjects, RECIPE)


@pytest.mark.slow
def test_placing_meets_the_target_on_people_unseen_and_not_by_more_than_a_step() -> None:
    data = people(8, count=80, each=5)
    fitted = cross_fit(inputs(data, RECIPE), data.subjects, RECIPE)
    sides = {part: set(data.subjects[fitted.parts == part]) for part in fitted.heads}
    assert sorted(sides) == [0, 1]
    assert not sides[0] & sides[1]
    centre = place(fitted, 0.01, at=1.3)
    version = f"sha256:{'0' * 64}"
    upper = [fitted.calibration(c, version, "", 400).claimed_interval(1.3)[1] for c in (centre - STEP, centre)]
    assert upper[1] <= 0.01 < upper[0]
    with pytest.raises(TargetFmrUnsupported, match=r"no centre puts an FMR of 1e-06 at 1\.3"):
        place(fitted, 1e-6, at=1.3)


def test_the_contest_ranks_what_is_known_to_be_better(capsys: pytest.CaptureFixture[str]) -> None:
    seen, unseen, studio = people(9, count=60), people(10, count=60, prefix="q"), people(11, count=20, noise=0.1)
    names = [f"q{i:03d}" for i in range(60)]
    pairs = [
        *(Pair(Path(f"{n}/{n}_0001.jpg"), Path(f"{n}/{n}_0002.jpg"), True, i % 5) for i, n in enumerate(names)),
        *(
            Pair(Path(f"{n}/{n}_0001.jpg"), Path(f"{o}/{o}_0002.jpg"), False, i % 5)
            for i, (n, o) in enumerate(zip(names, names[1:] + names[:1], strict=True))
        ),
    ]
    chosen = {e.name: e for e in entrants(RECIPE) if e.name in ("a", "a + mirror", "triplets, leash 1 (shipped)")}
    judged = [judge(entrant, seen, unseen, pairs, studio, resamples=20) for entrant in chosen.values()]
    fnmr = [each.people["fnmr"] for each in judged]
    assert fnmr[2] < fnmr[1] < fnmr[0]
    assert [each.people["profiles"] for each in judged] == [60 * 5] * 3
    assert judged[0].people["profiles_fnmr"] == pytest.approx(fnmr[0], abs=0.1)
    accuracies = [each.pairs["accuracy"] for each in judged]
    assert accuracies[2] >= accuracies[0]
    assert [each.studio["fnmr"].value for each in judged][2] == 0
    rows = contest.table(judged).splitlines()
    assert rows[0].startswith("| head | threshold at FMR 1e-3 |")
    assert rows[4].startswith(f"| triplets, leash 1 (shipped) | {judged[2].threshold:.2f} |")


def test_recipes_are_checked(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("leash = -1")
    with pytest.raises(RequestError, match=r"bad.toml: leash: Input should be greater than or equal to 0"):
        read_recipe(tmp_path / "bad.toml")
    with pytest.raises(RequestError, match=r"none.toml can't be read"):
        read_recipe(tmp_path / "none.toml")


def test_a_head_is_shipped_with_its_digest_calibration_and_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("manifests", "heads", "calibrations"):
        (tmp_path / name).mkdir()
    (tmp_path / "manifests" / "fusion.json").write_bytes((MANIFESTS / "fusion.json").read_bytes())
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('networks = ["a", "b"]\nidentities = 12\nphotographs = 4\nsteps = 5\ntarget_fmr = 0.01\n')
    people(12, count=80, each=5).save(tmp_path / "people.npz")
    options = {"--recipe": recipe, "--output": tmp_path, "--record": tmp_path / "record.json", "--data": "simulated"}
    arguments = [str(part) for option in options.items() for part in option]
    monkeypatch.setattr("sys.argv", ["head", str(tmp_path / "people.npz"), *arguments])
    head.main()
    manifest = manifests.read(tmp_path / "manifests" / "fusion.json")
    layer = heads.load(tmp_path / "heads" / "fusion.safetensors", 256)
    record = json.loads((tmp_path / "record.json").read_text())
    found = calibrations.find(manifest.template_version, [tmp_path / "calibrations"])
    assert manifest.head
    assert manifest.head.sha256 == heads.digest(layer) == record["head"]
    assert found
    assert found.data == record["data"] == "simulated, cross-fitted: 80 people, 400 photographs"
    assert record["at_threshold"]["fmr_interval"][1] <= 0.01
    assert json.loads(capsys.readouterr().out) == record


def test_the_shipped_head_is_the_one_on_record_and_keeps_its_promise() -> None:
    record, recipe = json.loads(RECORD.read_text()), read_recipe(SHIPPED)
    manifest = manifests.read(MANIFESTS / "fusion.json")
    assert manifest.head
    layer = heads.load(HEADS / str(manifest.head.file), 256)
    assert heads.digest(layer) == manifest.head.sha256 == record["head"]
    assert record["recipe"] == json.loads(recipe.model_dump_json())
    assert record["template_version"] == manifest.template_version
    found = calibrations.find(manifest.template_version, [calibrations.COMMITTED])
    assert found
    assert found.claimed_interval(1.1)[1] <= recipe.target_fmr == 1e-3
    assert found.fmr_at(1.1) == record["at_threshold"]["fmr"]
    assert replace(manifest.head, sha256=None).features == layer.weight.shape[1] == 256
