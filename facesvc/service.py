"""The use cases: verify, identify, detect; enrolment and the care of what is kept are in ``facesvc.enrolment`` and
``facesvc.holdings``. Stages and ports come by argument.

Whatever concerns a gallery is answered by the model pack of that gallery, with that pack's threshold.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from time import perf_counter
from typing import Self, TypeVar

from facesvc.core.answers import Identification, IdentifiedFace, Verification
from facesvc.core.compare import distance, similarity
from facesvc.core.decide import OWN_THRESHOLD, DecisionRule, Threshold, choose_threshold
from facesvc.core.model_change import ModelChangeStore
from facesvc.core.ports import Extractor, Extractors, GalleryIndexes
from facesvc.core.types import (
    Candidate,
    Capture,
    FaceChoice,
    Gallery,
)
from facesvc.enrolment import Enrolments
from facesvc.errors import FaceServiceError, RequestError, SubjectNotFound
from facesvc.holdings import Holdings
from facesvc.model_change import ModelChanges
from facesvc.search import Search, nearest_reference

Answer = TypeVar("Answer")


@contextmanager
def blame(source: str) -> Iterator[None]:
    """Notes on a passing error which of the caller's inputs it is about."""
    try:
        yield
    except FaceServiceError as error:
        error.source = source
        raise


class FaceService(Enrolments, Holdings):
    """Everything the edges (HTTP, CLI) may ask for, for one tenant's store."""

    def __init__(
        self,
        extractors: Extractors,
        store: ModelChangeStore,
        indexes: GalleryIndexes,
        max_references: int | None = None,
    ) -> None:
        Enrolments.__init__(self, extractors, store, max_references)
        Holdings.__init__(self, extractors, store, indexes)
        self.changing = store

    @property
    def model_changes(self) -> ModelChanges:
        return ModelChanges(self.extractors, self.changing)

    def seen_by(self, galleries: frozenset[str] | None) -> Self:
        """The same service for who may use these galleries only, None for all: others are not there."""
        if galleries is None:
            return self
        mine = copy(self)
        mine.store = mine.changing = self.changing.seen_by(galleries)
        return mine

    # --- decisions ---------------------------------------------------------------------------------

    def verify(
        self,
        probe: bytes,
        reference: bytes,
        choice: FaceChoice = FaceChoice.PROMINENT,
        rule: DecisionRule = OWN_THRESHOLD,
    ) -> Verification:
        """Do two photographs show one person, by the pack in use? Raises ImageError, SampleError, DecisionError with
        their source."""
        pack = self.extractors.default
        threshold = _threshold(pack, rule)
        a, b = _sample(pack, probe, choice, "probe"), _sample(pack, reference, choice, "reference")
        start = perf_counter()
        value = distance(a.samples[0].template, b.samples[0].template)
        timings = {**_add(a.timings, b.timings), "compare": (perf_counter() - start) * 1000}
        acceptable = a.samples[0].quality.acceptable and b.samples[0].quality.acceptable
        return _verification(pack, value, threshold, acceptable, a, b, timings)

    def verify_subject(
        self,
        probe: bytes,
        gallery: str,
        subject: str,
        choice: FaceChoice = FaceChoice.PROMINENT,
        rule: DecisionRule = OWN_THRESHOLD,
    ) -> Verification:
        """Is the person of the photograph this subject? The subject's references fuse by minimum distance.

        Raises GalleryNotFound, SubjectNotFound (also for a subject without references), TemplateVersionMismatch where
        the gallery's model pack is not here.
        """

        def ask(pack: Extractor) -> Verification:
            threshold = _threshold(pack, rule)
            current = self.store.gallery(gallery)
            references = self._comparable(current, subject)
            capture = _sample(pack, probe, choice, "probe")
            sample = capture.samples[0]
            start = perf_counter()
            nearest = nearest_reference(self.store, current, references, sample.template)
            if nearest is None:
                raise _nothing_to_compare(gallery, subject, "no references any more")
            timings = {**capture.timings, "compare": (perf_counter() - start) * 1000}
            acceptable = sample.quality.acceptable
            return _verification(pack, nearest.distance, threshold, acceptable, capture, nearest, timings)

        return self._by_pack_of(gallery, ask)

    def identify(
        self,
        photograph: bytes,
        gallery: str,
        top_k: int = 5,
        choice: FaceChoice = FaceChoice.ALL,
        rule: DecisionRule = OWN_THRESHOLD,
    ) -> Identification:
        """Who is it? The top_k nearest subjects for each face; unknown where none is below the threshold.

        Raises GalleryNotFound, ImageError, NoFace, SeveralFaces, DecisionError, TemplateVersionMismatch where the
        gallery's model pack is not here.
        """
        if top_k < 1:
            raise RequestError("top_k must be at least 1")

        def ask(pack: Extractor) -> Identification:
            threshold = _threshold(pack, rule)
            capture = _sample(pack, photograph, choice, "image")
            start = perf_counter()
            current = self.store.gallery(gallery)  # read after the pipeline, so that a fresh enrolment is seen
            found = self._search(current, capture, top_k)
            faces = tuple(
                IdentifiedFace(sample, candidates, threshold)
                for sample, candidates in zip(capture.samples, found, strict=True)
            )
            timings = {**capture.timings, "search": (perf_counter() - start) * 1000}
            return Identification(faces, capture, gallery, current.templates, threshold, _with_total(timings))

        return self._by_pack_of(gallery, ask)

    def model(self, gallery: str | None = None) -> Extractor:
        """The pack in use, or that of a gallery. Raises GalleryNotFound, TemplateVersionMismatch for one that is not
        here."""
        return self.extractors.default if gallery is None else self._by_pack_of(gallery, lambda pack: pack)

    def detect(self, photograph: bytes) -> Capture:
        """All faces with box, landmarks and quality. Raises ImageError, TooManyFaces."""
        with blame("image"):
            return self.extractors.default.detect(photograph)

    # --- parts ---------------------------------------------------------------------------------------

    def _by_pack_of(self, gallery: str, ask: Callable[[Extractor], Answer]) -> Answer:
        """What ``ask`` answers with the pack of the gallery. Where the gallery was cut over to another meanwhile, it is
        asked again with that one: the answer, or the lack of one, may rest on templates that were going."""
        while True:
            used = self.store.gallery(gallery).template_version
            try:
                answer = ask(self.extractors.of(used))
            except FaceServiceError:
                if self.store.gallery(gallery).template_version == used:
                    raise
            else:
                if self.store.gallery(gallery).template_version == used:
                    return answer

    def _comparable(self, gallery: Gallery, subject: str) -> list[int]:
        """Keys of the subject's references that have a template. Raises SubjectNotFound where there is none."""
        found = self.store.comparable(gallery, subject)
        if not found:
            kept = self.store.subject(gallery.name, subject).references
            what = "left behind by a model change: enrol it again" if kept else "no references"
            raise _nothing_to_compare(gallery.name, subject, what)
        return found

    def _search(self, gallery: Gallery, capture: Capture, top_k: int) -> list[tuple[Candidate, ...]]:
        """The nearest subjects of each sample."""
        probes = [sample.template for sample in capture.samples]
        return Search(self.store, self.indexes, gallery, probes).nearest(top_k)


def _nothing_to_compare(gallery: str, subject: str, what: str) -> SubjectNotFound:
    return SubjectNotFound(f"subject {subject!r} in gallery {gallery!r} has {what}")


def _threshold(pack: Extractor, rule: DecisionRule) -> Threshold:
    """The threshold ``rule`` asks for, with its FMR. Raises DecisionError."""
    return choose_threshold(rule, pack.template_version, pack.calibration, pack.threshold, pack.norm)


def _sample(pack: Extractor, photograph: bytes, choice: FaceChoice, source: str) -> Capture:
    with blame(source):
        return pack.extract(photograph, choice)


def _verification(
    pack: Extractor,
    value: float,
    threshold: Threshold,
    acceptable: bool,
    probe: Capture,
    reference: Capture | Candidate,
    timings: Mapping[str, float],
) -> Verification:
    return Verification(
        decision=threshold.decide(value, acceptable),
        match=threshold.matches(value),
        distance=value,
        similarity=similarity(value, pack.norm),
        threshold=threshold,
        probe=probe,
        reference=reference,
        timings=_with_total(timings),
    )


def _add(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    return {stage: a.get(stage, 0.0) + b.get(stage, 0.0) for stage in {**a, **b}}


def _with_total(timings: Mapping[str, float]) -> dict[str, float]:
    return {**timings, "total": sum(timings.values())}
