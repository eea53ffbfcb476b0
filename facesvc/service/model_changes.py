"""The use cases of moving a gallery to another model pack while it is served.

::

    start -> FILLING --run--> ... --cut_over--> STANDBY --finish--> LEAVING -> (one version again)
                ^                                  |
                |------------ roll_back -----------|          abandon: FILLING -> LEAVING

While two versions are held, enrolments get templates of both (``facesvc.service.enrolment``) and ``run`` gives them to
what was there before, from the photographs that were kept. All answers come from one version alone, with its pack's
threshold; cut_over and roll_back exchange the two in one row, and requests that had begun before end with whichever is
in use.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import numpy as np

from facesvc.core.agreement import Agreement, Comparison, Held, sampled
from facesvc.core.ports import Extractor, VersionedExtractors
from facesvc.core.types import Gallery, LeftBehind, Page, Shadow, ShadowState, Template, Unembedded
from facesvc.errors import (
    ImageError,
    ModelChangeConflict,
    Overloaded,
    PackInvalid,
    PackNotFound,
    PhotographNotFound,
    ReferenceNotFound,
    RequestError,
    SampleError,
    SubjectNotFound,
)
from facesvc.service.audit import Outcome, Trail
from facesvc.service.enrolment import template_of
from facesvc.storage.store import Store

AT_ONCE = 24
"""References embedded and stored in one transaction: what a kill costs."""
DELETED_AT_ONCE = 1_000
"""Templates deleted in one transaction, for which enrolments into the gallery wait."""
SAMPLE, WORST = 1_000, 10
"""References of an agreement report, and disagreements that it names."""
PAUSE_SECONDS = 0.5
"""Before a photograph is given again to a pipeline that is busy."""

Made = Template | str | None
"""Of a reference: its template, the code of the error that there is none, or nothing where it is gone."""


def nothing(count: int) -> None:
    """Progress that nobody watches."""


class ModelChanges:
    """Change the models of one tenant's galleries, for one caller. Each step writes its lines in the audit log. All
    raise GalleryNotFound and StoreUnavailable; what is not possible at the moment raises ModelChangeConflict."""

    def __init__(self, extractors: VersionedExtractors, store: Store, audit: Trail) -> None:
        self.extractors, self.store, self.audit = extractors, store, audit

    def start(self, gallery: str, pack: str) -> Gallery:
        """Embed enrolments by both packs from now on. Started again, nothing changes. Raises RequestError for a pack
        that is not here, ModelError for one that can't be loaded."""
        with self.audit.change("start_model_change", gallery) as outcome:
            self.store.galleries.get(gallery)  # first: building a pack takes a while
            try:
                template_version = self.extractors.version_of(pack)
            except (PackNotFound, PackInvalid) as error:
                raise RequestError(error.detail) from error
            return _noted(outcome, self.store.model_changes.start(gallery, template_version))

    def run(
        self,
        gallery: str,
        advance: Callable[[int], None] = nothing,
        workers: int = 1,
        patience: float | None = None,
    ) -> Gallery:
        """Give templates of the other version to all references that lack one and have a photograph; where there is
        none to be had, notes why. Killed or stopped, it goes on when it is run again: what has a template is done.

        One process at a time does so for a gallery; raises StoreUnavailable where it is not this one's turn within
        ``patience`` seconds. Raises TemplateVersionMismatch where the other version's pack is not here. advance: is
        told the number of references after each transaction; workers: photographs in work at once.
        """
        with self.store.locks.alone(f"model change of {gallery}", patience):
            current, shadow = self._changing(gallery)
            pack, after = self.extractors.of(shadow.template_version), 0
            with ThreadPoolExecutor(workers, "re-embed") as pool:
                while batch := self.store.model_changes.unembedded(current, after, AT_ONCE):
                    outcomes = pool.map(lambda reference: self._made(gallery, pack, reference), batch)
                    self._store(current, pack.template_version, batch, list(outcomes))
                    after = batch[-1].key
                    advance(len(batch))
        return self.store.galleries.get(gallery)

    def agreement(self, gallery: str, sample: int = SAMPLE, seed: int = 0, worst: int = WORST) -> Agreement:
        """Compare how the two models decide about references that have templates of both: about ``sample`` of them, of
        whole subjects, drawn by ``seed``. Old is the model before the cut-over, whichever answers now."""
        current, shadow = self._changing(gallery)
        versions = (current.template_version, shadow.template_version)
        old, new = versions if shadow.state is ShadowState.FILLING else versions[::-1]
        keys, subjects = self.store.model_changes.paired_references(current)
        chosen = sampled(keys, subjects, sample, seed)
        held = self._held(current, (old, new), chosen, dict(zip(keys.tolist(), subjects.tolist(), strict=True)))
        packs = self.extractors.of(old), self.extractors.of(new)
        found = Comparison(held, (packs[0].threshold, packs[1].threshold), worst).run()
        return Agreement(
            old_version=old,
            new_version=new,
            old_threshold=packs[0].threshold,
            new_threshold=packs[1].threshold,
            references=len(held.ids),
            mated=found.mated,
            non_mated=found.non_mated,
            rank_1=found.rank_1,
            worst=tuple(disagreement for _, disagreement in found.worst),
        )

    def cut_over(self, gallery: str, leave_behind: bool = False) -> Gallery:
        """Let the new version answer from now on; the old one is held beside it. Raises ModelChangeIncomplete while
        references lack the new version, unless they are to be left behind."""
        with self.audit.change("cut_over", gallery) as outcome:
            return _noted(outcome, self.store.model_changes.swap_versions(gallery, ShadowState.FILLING, leave_behind))

    def roll_back(self, gallery: str, leave_behind: bool = False) -> Gallery:
        """Let the old version answer again; the new one is held beside it, to be cut over to or abandoned. Raises
        ModelChangeIncomplete while references lack the old version (imported since), unless they are to be left."""
        with self.audit.change("roll_back", gallery) as outcome:
            return _noted(outcome, self.store.model_changes.swap_versions(gallery, ShadowState.STANDBY, leave_behind))

    def finish(self, gallery: str) -> Gallery:
        """Delete the old version's templates after a cut-over: there is no way back then. Killed, run it again."""
        with self.audit.change("finish_model_change", gallery) as outcome:
            return _noted(outcome, self._delete(self.store.model_changes.release_shadow(gallery, ShadowState.STANDBY)))

    def abandon(self, gallery: str) -> Gallery:
        """Delete the new version's templates before a cut-over, or after a roll-back. Killed, run it again."""
        with self.audit.change("abandon_model_change", gallery) as outcome:
            return _noted(outcome, self._delete(self.store.model_changes.release_shadow(gallery, ShadowState.FILLING)))

    def left_behind(self, gallery: str, limit: int, cursor: str | None = None) -> Page[LeftBehind]:
        """Return a page of the references that a cut-over would leave behind, or earlier ones did, with the reason."""
        return self.store.model_changes.left_behind(gallery, limit, cursor)

    # --- parts ---------------------------------------------------------------------------------------

    def _changing(self, gallery: str) -> tuple[Gallery, Shadow]:
        current = self.store.galleries.get(gallery)
        if current.shadow is None or current.shadow.state is ShadowState.LEAVING:
            raise ModelChangeConflict(f"gallery {gallery!r}: no model change is under way")
        return current, current.shadow

    def _made(self, gallery: str, pack: Extractor, reference: Unembedded) -> Made:
        if not reference.has_photograph:
            return PhotographNotFound.code
        try:
            kept = self.store.references.photograph(gallery, reference.subject, reference.id)
            return self._template(pack, kept.content, reference)
        except (ImageError, SampleError, PhotographNotFound) as error:
            return error.code
        except (SubjectNotFound, ReferenceNotFound):
            return None

    def _template(self, pack: Extractor, photograph: bytes, reference: Unembedded) -> Template:
        while True:
            try:
                return template_of(pack, photograph, reference.box)
            except Overloaded:  # whoever waits for an answer comes first
                sleep(PAUSE_SECONDS)

    def _store(self, gallery: Gallery, version: str, batch: Sequence[Unembedded], outcomes: Sequence[Made]) -> None:
        pairs = [(reference.key, outcome) for reference, outcome in zip(batch, outcomes, strict=True)]
        made = {key: outcome for key, outcome in pairs if isinstance(outcome, Template)}
        failed = {key: outcome for key, outcome in pairs if isinstance(outcome, str)}
        self.store.model_changes.add_templates(gallery, version, made, failed)

    def _held(self, gallery: Gallery, versions: tuple[str, str], keys: Sequence[int], subjects: dict[int, int]) -> Held:
        old, new = ({r.key: r for r in self.store.references.by_key(gallery.of(v), keys)} for v in versions)
        both = [key for key in keys if key in old and key in new]
        vectors = (
            np.array([found[key].sample.template.vector for key in both], np.float32).reshape(len(both), -1)
            for found in (old, new)
        )
        return Held([old[key].id for key in both], np.array([subjects[key] for key in both], np.int64), *vectors)

    def _delete(self, gallery: Gallery) -> Gallery:
        while not self.store.model_changes.delete_shadow(gallery, DELETED_AT_ONCE):
            pass
        return self.store.galleries.get(gallery.name)


def _noted(outcome: Outcome, changed: Gallery) -> Gallery:
    """The gallery, whose version that answers is said in the line."""
    outcome.told = {"template_version": changed.template_version}
    return changed
