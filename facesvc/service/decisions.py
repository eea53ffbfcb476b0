"""The use cases of decisions: verify, identify, detect.

Whatever concerns a gallery is answered by the model pack of that gallery, with that pack's threshold.

Who is nearest? Shortlists from an index, rescored exactly, until they name enough subjects.

Whose a reference is costs little to know, its vector must be opened, and all that is kept of it is told of the winners
alone. Once a subject's nearest reference is known, its further ones are not opened: many photographs of a few people
don't make everybody's search slow.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from facesvc.core.answers import Identification, IdentifiedFace, Verification
from facesvc.core.compare import distance, fuse_minimum, require_version, similarity, squared_l2
from facesvc.core.decide import OWN_THRESHOLD, DecisionRule, Threshold, choose_threshold
from facesvc.core.ports import Extractor, Extractors
from facesvc.core.types import (
    Candidate,
    Capture,
    FaceChoice,
    Gallery,
    Reference,
    Template,
    Vectors,
)
from facesvc.errors import FaceServiceError, RequestError, SubjectNotFound
from facesvc.index.galleries import GalleryIndexes
from facesvc.service.audit import Trail
from facesvc.service.disclosure import Watch
from facesvc.storage.store import Store

FIRST = 4
"""References asked for at first for each subject that is wanted, and how many times more whenever they are too few."""

Found = dict[int, tuple[float, int]]
"""By subject: squared L2 distance and key of its nearest reference; nearest subject first."""


class Search:
    """For the nearest subjects of each of these probes, in one gallery. Raises TemplateVersionMismatch, and what store
    and indexes raise."""

    def __init__(self, store: Store, indexes: GalleryIndexes, gallery: Gallery, probes: Sequence[Template]) -> None:
        for probe in probes:
            require_version(gallery.template_version, probe.version)
        self._store, self._indexes, self._gallery, self._probes = store, indexes, gallery, probes
        self._found: list[Found] = [{} for _ in probes]
        self._owners: dict[int, int | None] = {}
        self._vectors: dict[int, Vectors] = {}

    def nearest(self, top_k: int) -> list[tuple[Candidate, ...]]:
        """For each probe the top_k nearest subjects, or all of them where there are fewer."""
        wanted, size, enough = top_k * FIRST, max(self._gallery.templates, 1), top_k
        lacking = list(range(len(self._probes)))
        while lacking:
            self._widen(lacking, min(wanted, size))
            if enough == top_k and any(len(self._found[i]) < top_k for i in lacking):
                enough = self._store.search.answering(self._gallery, top_k)
            lacking = [i for i in lacking if wanted < size and len(self._found[i]) < enough]
            wanted *= FIRST
        return self._told(top_k)

    def _widen(self, which: Sequence[int], k: int) -> None:
        """Looks at a shortlist in which the k nearest references of each probe certainly are. Those that are not
        opened, of subjects that are known already or gone, may all be among the k: the rest of the k are the nearest
        of the others."""
        vectors = np.stack([self._probes[i].vector for i in which])
        shortlists = dict(zip(which, self._indexes.search(self._gallery, vectors, k), strict=True))
        self._learn(key for keys in shortlists.values() for key in keys)
        strange = {i: [key for key in keys if self._is_strange(key, i)] for i, keys in shortlists.items()}
        self._open(key for keys in strange.values() for key in keys)
        for i, keys in strange.items():
            opened = [key for key in keys if key in self._vectors]
            self._take(i, opened, k - (len(shortlists[i]) - len(opened)))

    def _is_strange(self, key: int, probe: int) -> bool:
        owner = self._owners[key]
        return owner is not None and owner not in self._found[probe]

    def _learn(self, keys: Iterable[int]) -> None:
        """Whose these references are; nobody's where they are gone."""
        new = sorted(set(keys) - self._owners.keys())
        self._owners |= dict.fromkeys(new) | self._store.search.owners(self._gallery, new)

    def _open(self, keys: Iterable[int]) -> None:
        self._vectors |= self._store.search.vectors(self._gallery, sorted(set(keys) - self._vectors.keys()))

    def _take(self, probe: int, keys: Sequence[int], certain: int) -> None:
        """Of these references, opened all, the nearest ``certain`` are nearer than any that were not looked at."""
        if not keys:
            return
        distances = squared_l2(self._probes[probe].vector[None], np.stack([self._vectors[key] for key in keys]))[0]
        order = np.argsort(distances, kind="stable")[: max(certain, 0)].tolist()
        for owner, place in fuse_minimum([self._owners[keys[i]] for i in order], distances[order].tolist()):
            assert owner is not None  # it was opened
            self._found[probe][owner] = float(distances[order[place]]), keys[order[place]]

    def _told(self, top_k: int) -> list[tuple[Candidate, ...]]:
        """The winners by their names."""
        winners = [list(found.values())[:top_k] for found in self._found]
        keys = sorted({key for found in winners for _, key in found})
        known = {reference.key: reference for reference in self._store.references.by_key(self._gallery, keys)}
        return [tuple(_candidate(known[key], value) for value, key in found if key in known) for found in winners]


def nearest_reference(store: Store, gallery: Gallery, keys: Sequence[int], probe: Template) -> Candidate | None:
    """Of references that have these keys, the one nearest to the probe; None where all are gone meanwhile. Raises
    TemplateVersionMismatch."""
    require_version(gallery.template_version, probe.version)
    vectors = store.search.vectors(gallery, keys)
    if not vectors:
        return None
    there = list(vectors)
    distances = squared_l2(probe.vector[None], np.stack(list(vectors.values())))[0]
    for i in np.argsort(distances, kind="stable").tolist():
        for reference in store.references.by_key(gallery, [there[i]]):
            return _candidate(reference, float(distances[i]))
    return None


def _candidate(reference: Reference, distance: float) -> Candidate:
    return Candidate(reference.subject, reference.display_name, distance, reference.id)


Answer = TypeVar("Answer")


@contextmanager
def blame(source: str) -> Iterator[None]:
    """Notes on a passing error which of the caller's inputs it is about."""
    try:
        yield
    except FaceServiceError as error:
        error.source = source
        raise


class Decisions:
    """Decide whose faces are on photographs, for one caller. Each decision writes its line in the audit log."""

    def __init__(
        self, extractors: Extractors, store: Store, indexes: GalleryIndexes, audit: Trail, watch: Watch
    ) -> None:
        self.extractors, self.store, self.indexes = extractors, store, indexes
        self.audit, self.watch = audit, watch

    def verify(
        self,
        probe: bytes,
        reference: bytes,
        choice: FaceChoice = FaceChoice.PROMINENT,
        rule: DecisionRule = OWN_THRESHOLD,
    ) -> Verification:
        """Decide whether two photographs show one person, by the pack in use. Raises ImageError, SampleError,
        DecisionError with their source."""
        with self.audit.question("verify") as outcome:
            pack = self.extractors.default
            threshold = _threshold(pack, rule)
            a, b = _sample(pack, probe, choice, "probe"), _sample(pack, reference, choice, "reference")
            start = perf_counter()
            value = distance(a.samples[0].template, b.samples[0].template)
            timings = {**_add(a.timings, b.timings), "compare": (perf_counter() - start) * 1000}
            acceptable = a.samples[0].quality.acceptable and b.samples[0].quality.acceptable
            answer = _verification(pack, value, threshold, acceptable, a, b, timings)
            outcome.told = _decided(answer)
        return answer

    def verify_subject(
        self,
        probe: bytes,
        gallery: str,
        subject: str,
        choice: FaceChoice = FaceChoice.PROMINENT,
        rule: DecisionRule = OWN_THRESHOLD,
    ) -> Verification:
        """Decide whether the person of a photograph is a subject, whose references fuse by minimum distance.

        Raises GalleryNotFound, SubjectNotFound (also for a subject without references), TemplateVersionMismatch where
        the gallery's model pack is not here.
        """

        def ask(pack: Extractor) -> Verification:
            threshold = _threshold(pack, rule)
            current = self.store.galleries.get(gallery)
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

        with self.audit.question("verify", gallery, subject) as outcome:
            answer = self._by_pack_of(gallery, ask)
            canary = self.watch.verified(answer, self.audit.caller, self.audit.request)
            outcome.told = _decided(answer) | _alarm(canary)
        return answer

    def identify(
        self,
        photograph: bytes,
        gallery: str,
        top_k: int = 5,
        choice: FaceChoice = FaceChoice.ALL,
        rule: DecisionRule = OWN_THRESHOLD,
    ) -> Identification:
        """Find the top_k nearest subjects of each face; a face is unknown where none is below the threshold.

        Raises GalleryNotFound, ImageError, NoFace, SeveralFaces, DecisionError, TemplateVersionMismatch where the
        gallery's model pack is not here.
        """

        def ask(pack: Extractor) -> Identification:
            threshold = _threshold(pack, rule)
            capture = _sample(pack, photograph, choice, "image")
            start = perf_counter()
            current = self.store.galleries.get(gallery)  # read after the pipeline, so that a fresh enrolment is seen
            found = self._search(current, capture, top_k)
            faces = tuple(
                IdentifiedFace(sample, candidates, threshold)
                for sample, candidates in zip(capture.samples, found, strict=True)
            )
            timings = {**capture.timings, "search": (perf_counter() - start) * 1000}
            return Identification(faces, capture, gallery, current.templates, threshold, _with_total(timings))

        with self.audit.question("identify", gallery) as outcome:
            if top_k < 1:
                raise RequestError("top_k must be at least 1")
            answer = self._by_pack_of(gallery, ask)
            canary = self.watch.identified(answer, self.audit.caller, self.audit.request)
            outcome.told = {**self._identified(gallery, answer), **_alarm(canary)}
        return answer

    def model(self, gallery: str | None = None) -> Extractor:
        """Return the pack in use, or that of a gallery. Raises GalleryNotFound, TemplateVersionMismatch for one that is
        not here."""
        return self.extractors.default if gallery is None else self._by_pack_of(gallery, lambda pack: pack)

    def detect(self, photograph: bytes) -> Capture:
        """Find all faces, with box, landmarks and quality. Raises ImageError, TooManyFaces."""
        with blame("image"):
            return self.extractors.default.detect(photograph)

    # --- parts ---------------------------------------------------------------------------------------

    def _by_pack_of(self, gallery: str, ask: Callable[[Extractor], Answer]) -> Answer:
        """What ``ask`` answers with the pack of the gallery. Where the gallery was cut over to another meanwhile, it is
        asked again with that one: the answer, or the lack of one, may rest on templates that were going."""
        while True:
            used = self.store.galleries.get(gallery).template_version
            try:
                answer = ask(self.extractors.of(used))
            except FaceServiceError:
                if self.store.galleries.get(gallery).template_version == used:
                    raise
            else:
                if self.store.galleries.get(gallery).template_version == used:
                    return answer

    def _comparable(self, gallery: Gallery, subject: str) -> list[int]:
        """Keys of the subject's references that have a template. Raises SubjectNotFound where there is none."""
        found = self.store.search.comparable(gallery, subject)
        if not found:
            kept = self.store.subjects.get(gallery.name, subject).references
            what = "left behind by a model change: enrol it again" if kept else "no references"
            raise _nothing_to_compare(gallery.name, subject, what)
        return found

    def _search(self, gallery: Gallery, capture: Capture, top_k: int) -> list[tuple[Candidate, ...]]:
        """The nearest subjects of each sample."""
        probes = [sample.template for sample in capture.samples]
        return Search(self.store, self.indexes, gallery, probes).nearest(top_k)

    def _identified(self, gallery: str, answer: Identification) -> dict[str, Any]:
        """What a line says of it."""
        faces = [
            {
                "decision": face.decision,
                "candidates": [self.audit.subject(gallery, candidate.subject) for candidate in face.candidates],
                "matches": sum(face.threshold.matches(candidate.distance) for candidate in face.candidates),
            }
            for face in answer.faces
        ]
        return {"faces": faces, **_by(answer.threshold)}


def _by(threshold: Threshold) -> dict[str, Any]:
    """What a decision rests on."""
    return {
        "threshold": threshold.value,
        "fmr": threshold.fmr,
        "template_version": threshold.template_version,
        "calibration": threshold.calibration,
    }


def _alarm(canary: bool) -> dict[str, Any]:
    return {"alarm": "canary"} if canary else {}


def _decided(answer: Verification) -> dict[str, Any]:
    return {"decision": answer.decision.value, "match": answer.match, **_by(answer.threshold)}


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
