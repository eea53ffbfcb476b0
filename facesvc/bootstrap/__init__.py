"""The composition root: the only file that names concrete edges. Nothing is opened before it is asked for."""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache, partial

import cv2

from facesvc.bootstrap.database import Database, open_database
from facesvc.bootstrap.indexes import in_memory, open_home
from facesvc.config import Settings, environment
from facesvc.core.ports import Extractor, Extractors
from facesvc.core.types import NewGallery
from facesvc.crypto.envelope import Ed25519Signer
from facesvc.errors import ClusterUnavailable, TemplateVersionMismatch
from facesvc.index.galleries import GalleryIndexes, following, settling
from facesvc.models.network import resolve_runtime
from facesvc.models.packs import Pack, Packs
from facesvc.pipeline import ray
from facesvc.pipeline.decode import DecodeLimits, decode
from facesvc.pipeline.detect import open_detector
from facesvc.pipeline.embed import BatchingEmbedder, OnnxEmbedder
from facesvc.pipeline.extract import PhotographExtractor
from facesvc.pipeline.gate import Gate, GatedExtractor
from facesvc.pipeline.packs import LazyPacks, LoadedPacks, OpenVersion
from facesvc.pipeline.ray import ClusterExtractor, Pipeline, Workers
from facesvc.service import FaceService, Resources
from facesvc.service.disclosure import Alarms, Watch
from facesvc.service.tenants import Opened, Tenants
from facesvc.storage.audit import SqlAuditLog

OpenExtractor = Callable[[Settings, Pack], AbstractContextManager[Extractor]]
CALLERS = 2
"""Photographs on their way for each worker of a cluster: while one is in work, another is read or searched for."""


def load_pack(settings: Settings) -> Pack:
    """The pack in use, built on first need. Raises ModelError."""
    packs = Packs(settings.packs)
    pack = packs.build(settings.pack or packs.chosen())
    return pack.with_detector(settings.detector) if settings.detector else pack


@contextmanager
def open_extractor(settings: Settings, pack: Pack) -> Iterator[PhotographExtractor]:
    """The pipeline over ``pack``, with its embedding queue running until the context ends."""
    cv2.setNumThreads(1)  # photographs run side by side; threads within each would fight for the same cores
    limits = DecodeLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    detector = open_detector(pack.manifest.detector, Packs(settings.packs).detector_file, settings.runtime)
    embedder = BatchingEmbedder(
        OnnxEmbedder(pack, settings.runtime, streams=settings.workers), workers=settings.workers
    )
    try:
        yield PhotographExtractor(
            decode=partial(decode, limits=limits),
            detector=detector,
            embedder=embedder,
            pack=pack.manifest.name,
            title=pack.manifest.title,
            norm=pack.manifest.norm,
            threshold=settings.threshold or pack.manifest.threshold,
            calibration=pack.calibration,
            max_faces=settings.max_faces,
        )
    finally:
        embedder.close()


def open_on_node(settings: Settings, runtime: str) -> AbstractContextManager[PhotographExtractor]:
    """The pipeline of a cluster's worker, on whichever node that is. Raises ModelError, and ClusterUnavailable where
    its networks would run on another runtime than ``runtime``: templates of two differ in their last digits."""
    if (found := resolve_runtime(settings.runtime)) != runtime:
        raise ClusterUnavailable(f"a node has the runtime {found}, not {runtime}: install the same extras everywhere")
    return open_extractor(settings, load_pack(settings))


@contextmanager
def open_on_cluster(workers: Workers, settings: Settings, pack: Pack) -> Iterator[ClusterExtractor]:
    """The pipeline over ``pack`` in the workers of a cluster; at least one is ready.

    They do what this process would: with the same pack, detector, runtime and limits. More than that, such as the
    database's address, they are not told.
    """
    told = Settings.model_construct(
        data=settings.data.absolute(),
        pack=pack.manifest.name,
        detector=pack.manifest.detector,
        runtime=settings.runtime,
        workers=1,
        max_image_bytes=settings.max_image_bytes,
        max_image_pixels=settings.max_image_pixels,
        max_faces=settings.max_faces,
    )
    opener = partial(open_on_node, told, resolve_runtime(settings.runtime))
    pipeline = Pipeline(pack.template_version, opener)
    workers.open(pipeline)
    yield ClusterExtractor(
        workers=workers,
        pipeline=pipeline,
        pack=pack.manifest.name,
        title=pack.manifest.title,
        norm=pack.manifest.norm,
        threshold=settings.threshold or pack.manifest.threshold,
        calibration=pack.calibration,
    )


def other_packs(
    settings: Settings, open_extractor: OpenExtractor, gate: Gate
) -> tuple[OpenVersion, Callable[[str], str]]:
    """How packs are opened by their template version, and the version found by their name."""
    packs = Packs(settings.packs)

    @contextmanager
    def open_version(template_version: str) -> Iterator[Extractor]:
        known = packs.of_version(template_version)
        if known is None:
            raise TemplateVersionMismatch(f"no model pack here makes template version {template_version}")
        with open_extractor(settings, packs.build(known.name).with_detector(known.detector)) as extractor:
            yield GatedExtractor(extractor, gate)

    def version_of(name: str) -> str:
        return load_pack(settings.model_copy(update={"pack": name})).template_version

    return open_version, version_of


@contextmanager
def open_packs(
    settings: Settings,
    pack: Pack,
    open_extractor: OpenExtractor,
    held_versions: Callable[[], Collection[str]],
    serving: bool,
) -> Iterator[LoadedPacks]:
    """Load ``pack``, and when they are needed those of galleries of other packs, behind one gate."""
    gate = Gate(settings.workers, settings.queue, settings.queue_seconds if serving else None)
    others = other_packs(settings, open_extractor, gate)
    with (
        open_extractor(settings, pack) as extractor,
        closing(LoadedPacks(GatedExtractor(extractor, gate), *others, held_versions)) as loaded,
    ):
        yield loaded


def lazy_packs(settings: Settings, database: Database) -> LazyPacks:
    """Return packs of which each is loaded when it is first needed."""
    others = other_packs(settings, open_extractor, Gate(settings.workers, settings.queue, None))
    return LazyPacks(cache(lambda: load_pack(settings).template_version), *others, database.held_versions)


@contextmanager
def bootstrap(
    settings: Settings, open_extractor: OpenExtractor = open_extractor, serving: bool = False, lazily: bool = False
) -> Iterator[FaceService]:
    """Open the running service of the tenant that the settings name; see ``open_tenants``. Raises TenantNotFound."""
    with open_tenants(settings, open_extractor, serving, lazily) as tenants:
        yield tenants.of(tenants.register.find(settings.tenant).id)


@contextmanager
def open_tenants(
    settings: Settings, open_extractor: OpenExtractor = open_extractor, serving: bool = False, lazily: bool = False
) -> Iterator[Tenants]:
    """Open the running services of all tenants: pack loaded, database migrated, the default gallery of the tenant that
    the settings name there; closed when the context ends.

    serving: for a process that stays, whose indexes follow the database; others open those that they search; lazily:
    for a process that needs no photograph, which loads no pack before it is needed. Raises TenantNotFound.
    """
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    pack = None if lazily else load_pack(settings)
    with (
        open_database(settings, serving) as database,
        closing(lazy_packs(settings, database))
        if pack is None
        else open_packs(settings, pack, open_extractor, database.held_versions, serving) as packs,
    ):
        alarms = Alarms()
        opener = partial(open_tenant, settings, database, packs, alarms)
        with closing(Tenants(database.register, database.api_keys, packs, alarms, opener)) as tenants:
            own = tenants.register.find(settings.tenant)
            tenants.of(own.id).galleries.ensure(NewGallery(settings.default_gallery))
            with following(tenants, settings.follow_seconds) if serving else settling(tenants):
                yield tenants


@contextmanager
def open_tenant(
    settings: Settings, database: Database, packs: Extractors, alarms: Alarms, tenant: str
) -> Iterator[Opened]:
    """The service of one tenant. Nothing is written: it may be deleted at this moment."""
    store = database.store(tenant)
    with open_home(settings, store, in_memory(settings, store, database.snapshots(tenant))) as home:
        indexes = GalleryIndexes(store, home)
        resources = Resources(
            extractors=packs,
            store=store,
            indexes=indexes,
            exchange=database.exchange(tenant),
            watch=Watch(database.disclosures(tenant), alarms),
            signer=database.signer(tenant),
            api_keys=database.api_keys,
            pack_of=Packs(settings.packs).of_version,
            max_references=settings.max_references,
        )
        yield Opened(FaceService(resources, database.trail(tenant)), indexes)


@contextmanager
def open_audit(settings: Settings) -> Iterator[tuple[SqlAuditLog, Ed25519Signer]]:
    """The audit log of the tenant that the settings name, and what signs its receipts. Raises TenantNotFound."""
    with open_database(settings) as database:
        tenant = database.register.find(settings.tenant).id
        yield database.audit(tenant), database.signer(tenant)


@contextmanager
def bootstrap_on_cluster(
    settings: Settings, address: str | None, workers: int | None
) -> Iterator[tuple[FaceService, int]]:
    """The running service with its pipeline on a Ray cluster, and the number of photographs to give it at once.

    address, workers: as in ``session.connect``, which says what is raised, and ``Workers.open``.
    """
    with (
        environment(ray.variables(address)),
        ray.connect(address, workers) as size,
        closing(Workers(size)) as started,
    ):
        callers = size * CALLERS
        with bootstrap(settings.model_copy(update={"workers": callers}), partial(open_on_cluster, started)) as service:
            yield service, callers


@contextmanager
def open_service(settings: Settings) -> Iterator[FaceService]:
    """Open the service of the tenant that the settings name, database migrated, with its galleries as they are: nothing
    is written, and no model is loaded before it is needed. Raises TenantNotFound, MasterKeyUnavailable."""
    with open_database(settings) as database, closing(lazy_packs(settings, database)) as packs:
        tenant = database.register.find(settings.tenant).id
        with open_tenant(settings, database, packs, Alarms(), tenant) as opened:
            yield opened.service
