"""A pipeline on a Ray cluster answers and fails as the same pipeline in this process does."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from facesvc import bootstrap
from facesvc.cli.batch import Identifier, Question
from facesvc.cli.local import LocalBackend
from facesvc.cli.rows import Tally
from facesvc.config import Settings, environment
from facesvc.core.decide import DecisionRule
from facesvc.core.ports import Extractor
from facesvc.core.types import Capture, FaceChoice
from facesvc.errors import (
    ClusterUnavailable,
    FaceServiceError,
    NoFace,
    PackNotFound,
    SeveralFaces,
    TemplateVersionMismatch,
    WorkerLost,
)
from facesvc.models.packs import DEFAULT_PACK
from facesvc.pipeline.ray import ClusterExtractor, Pipeline, Workers, connect, variables
from facesvc.service.enrolment import EnrolmentRequest
from tests.support.clusters import WORKER, cluster, named
from tests.support.hostile import HostileFile
from tests.support.live import served_settings

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.slow, pytest.mark.timeout(600)]  # clusters start slowly

POISON = b"\xff\xd8 ends its worker"


@dataclass(frozen=True)
class Poisoned:
    """An extractor that one photograph kills, as a decoder's segmentation fault would, and one confuses."""

    extractor: Extractor

    @property
    def template_version(self) -> str:
        return self.extractor.template_version

    def extract(self, photograph: bytes, choice: FaceChoice) -> Capture:
        if photograph == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        if photograph == b"confusing":
            raise ZeroDivisionError("a defect")
        return self.extractor.extract(photograph, choice)


@contextmanager
def open_poisoned(settings: Settings) -> Iterator[Poisoned]:
    with bootstrap.open_extractor(settings, bootstrap.load_pack(settings)) as extractor:
        yield Poisoned(extractor)


@contextmanager
def end_at_once() -> Iterator[Extractor]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield


@pytest.fixture(scope="module")
def ray_session() -> Iterator[int]:
    with cluster(4) as address, environment(variables(None)), connect(address) as size:
        yield size


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, default_packs: Path) -> Settings:
    return served_settings(
        tmp_path_factory.mktemp("cluster") / "data", default_packs, database_url="sqlite:///no/where"
    )


@pytest.fixture(scope="module")
def workers(ray_session: int) -> Iterator[Workers]:
    """Two workers; the other CPUs are for tests with workers of their own."""
    with closing(Workers(2)) as workers:
        yield workers


@pytest.fixture(scope="module")
def spread(workers: Workers, settings: Settings) -> Iterator[ClusterExtractor]:
    with bootstrap.open_on_cluster(workers, settings, bootstrap.load_pack(settings)) as extractor:
        yield extractor


@pytest.fixture(scope="module")
def local(settings: Settings) -> Iterator[Extractor]:
    with bootstrap.open_extractor(settings, bootstrap.load_pack(settings)) as extractor:
        yield extractor


def outcome(extractor: Extractor, photograph: bytes) -> object:
    """Everything but the times, as values that can be compared; or the error's kind and words."""
    try:
        found = extractor.extract(photograph, FaceChoice.ALL)
    except FaceServiceError as error:
        return type(error), error.detail, error.source
    assert set(found.timings) == {"decode", "detect", "align", "assess", "embed"}
    samples = [
        (s.face.box.tolist(), s.face.landmarks.tolist(), s.face.score, s.quality, s.template.vector.tolist(),
         s.template.version)
        for s in found.samples
    ]  # fmt: skip
    return samples, found.faces_found, found.width, found.height, found.format


def test_as_many_workers_as_cpus(ray_session: int) -> None:
    assert ray_session == 4


def test_nothing_is_reported_to_rays_makers(ray_session: int) -> None:
    from ray._common.usage.usage_lib import usage_stats_enabled

    assert usage_stats_enabled() is False


def test_the_same_pack(spread: ClusterExtractor, local: Extractor) -> None:
    names = ("pack", "title", "template_version", "norm", "threshold")
    assert {name: getattr(spread, name) for name in names} == {name: getattr(local, name) for name in names}
    assert spread.calibration is not None
    assert spread.calibration.id == getattr(local.calibration, "id", None)


def test_photographs_have_the_same_outcome(
    spread: ClusterExtractor, local: Extractor, photographs: dict[str, bytes]
) -> None:
    assert {name: outcome(spread, data) for name, data in photographs.items()} == {
        name: outcome(local, data) for name, data in photographs.items()
    }


def test_hostile_files_have_the_same_outcome(
    spread: ClusterExtractor, local: Extractor, hostile: dict[str, HostileFile]
) -> None:
    assert {name: outcome(spread, file.data) for name, file in hostile.items()} == {
        name: outcome(local, file.data) for name, file in hostile.items()
    }


def test_detection_and_choice(spread: ClusterExtractor, local: Extractor, photographs: dict[str, bytes]) -> None:
    there, here = spread.detect(photographs["group"]), local.detect(photographs["group"])
    assert [s.face.box.tolist() for s in there.samples] == [s.face.box.tolist() for s in here.samples]
    with pytest.raises(SeveralFaces, match="3 faces found where one was expected"):
        spread.extract(photographs["group"], FaceChoice.ONLY)
    with pytest.raises(NoFace, match="no face was found in the photograph"):
        spread.extract(photographs["no_face"], FaceChoice.LARGEST)


def test_a_killed_worker_is_replaced(workers: Workers, spread: ClusterExtractor, photographs: dict[str, bytes]) -> None:
    before = named(WORKER)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert spread.extract(photographs["group"], FaceChoice.ALL).faces_found == 3
    assert not set(before) & set(named(WORKER))


def test_a_worker_of_another_template_version(workers: Workers, settings: Settings) -> None:
    pipeline = Pipeline("sha256:other", partial(open_poisoned, settings))
    with (
        closing(Workers(1)) as other,
        pytest.raises(TemplateVersionMismatch, match="can't be compared with sha256:other"),
    ):
        other.open(pipeline)


def test_a_worker_without_the_pack(ray_session: int, settings: Settings) -> None:
    pipeline = Pipeline("sha256:other", partial(open_poisoned, settings.model_copy(update={"pack": "unheard-of"})))
    with closing(Workers(1)) as other, pytest.raises(PackNotFound, match="'unheard-of'"):
        other.open(pipeline)


def test_workers_that_end_as_they_start(ray_session: int) -> None:
    with closing(Workers(1)) as other, pytest.raises(ClusterUnavailable, match="lost as they start"):
        other.open(Pipeline("sha256:other", end_at_once))


def test_another_runtime_on_a_node(settings: Settings) -> None:
    with pytest.raises(ClusterUnavailable, match="has the runtime onnxruntime, not openvino"):
        bootstrap.open_on_node(settings.model_copy(update={"runtime": "onnxruntime"}), "openvino")


def test_a_photograph_that_ends_every_worker_is_a_row_of_its_own(
    ray_session: int, tmp_path: Path, default_packs: Path, photographs: dict[str, bytes]
) -> None:
    settings = served_settings(tmp_path / "data", default_packs)
    contents = [photographs["obama2"], photographs["biden"], POISON, photographs["group"], b"confusing", b"none"]
    paths = [str(tmp_path / f"{i}.jpg") for i in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        Path(path).write_bytes(content)
    pipeline = Pipeline(bootstrap.load_pack(settings).template_version, partial(open_poisoned, settings))

    @contextmanager
    def open_extractor(_: Settings, pack: object) -> Iterator[ClusterExtractor]:
        workers.open(pipeline)
        yield ClusterExtractor(workers, pipeline, DEFAULT_PACK, "poisoned", 1.0, 1.1, None)

    with closing(Workers(2)) as workers, bootstrap.bootstrap(settings, open_extractor) as service:
        service.enrolments.enrol(EnrolmentRequest("default", "obama", [photographs["obama"]]))
        question = Question("default", 1, "all", DecisionRule())
        identifier = Identifier(LocalBackend(service, 4), question, settings.max_image_bytes, 4)
        found = [(path, row) for path, rows in identifier.run(iter(paths), Tally()) for row in rows]
    assert [(path, row["subject"], row["code"], row["detail"]) for path, row in found] == [
        (paths[0], "obama", None, None),
        (paths[1], None, None, None),
        (paths[2], None, WorkerLost.code, "3 workers came to an end over this photograph"),
        (paths[3], None, None, None),
        (paths[3], "obama", None, None),
        (paths[3], None, None, None),
        (paths[4], None, "internal_error", "unexpected ZeroDivisionError"),
        (paths[5], None, "not_an_image", found[-1][1]["detail"]),
    ]
    assert np.isclose(found[4][1]["distance"], found[0][1]["distance"], atol=0.5)
