"""The composition root: the only file that names concrete edges. Nothing is opened before it is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import cv2

from facesvc.config import Settings
from facesvc.index.keeping import MemoryKeeper
from facesvc.index.kinds import opener
from facesvc.index.projection import Projection
from facesvc.indexing import open_keeper
from facesvc.models.manifest import Manifest
from facesvc.models.packs import Pack, Packs
from facesvc.pipeline.batch import BatchingEmbedder
from facesvc.pipeline.decode import DecodeLimits, decode
from facesvc.pipeline.detect import open_detector
from facesvc.pipeline.embed import OnnxEmbedder
from facesvc.pipeline.extract import PhotographExtractor
from facesvc.pipeline.gate import Gate, GatedExtractor
from facesvc.service import FaceService
from facesvc.storage.engine import open_engine
from facesvc.storage.exchange import SqlExchange
from facesvc.storage.migrate import upgrade
from facesvc.storage.references import SqlReferenceStore


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


@contextmanager
def bootstrap(settings: Settings) -> Iterator[FaceService]:
    """The running service: pack loaded, database migrated, default gallery there; closed when the context ends."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    pack = load_pack(settings)
    upgrade(settings.url)
    engine = open_engine(settings.url)
    store = SqlReferenceStore(engine)
    try:
        with open_extractor(settings, pack) as extractor:
            gated = GatedExtractor(extractor, Gate(settings.workers, settings.queue))
            with open_keeper(settings, store, lambda kind: MemoryKeeper(opener(kind, pack.manifest.norm))) as keeper:
                service = FaceService(gated, store, Projection(store, keeper))
                service.ensure_gallery(settings.default_gallery)
                yield service
    finally:
        engine.dispose()


@contextmanager
def open_exchange(settings: Settings) -> Iterator[tuple[SqlReferenceStore, SqlExchange]]:
    """The store and the way for whole galleries out of it and into it, without any model; database migrated."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    upgrade(settings.url)
    engine = open_engine(settings.url)
    try:
        yield SqlReferenceStore(engine), SqlExchange(engine)
    finally:
        engine.dispose()


def pack_of(settings: Settings, template_version: str) -> Manifest | None:
    """The manifest of the pack that makes templates of this version, if there is one here; nothing is built."""
    return Packs(settings.packs).of_version(template_version)


def pack_in_use(settings: Settings) -> Manifest:
    """The manifest that ``load_pack`` would follow; nothing is built. Raises ModelError."""
    packs = Packs(settings.packs)
    manifest = packs.manifest(settings.pack or packs.chosen())
    return manifest.with_detector(settings.detector) if settings.detector else manifest
