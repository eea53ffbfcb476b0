"""The composition root: the only file that names concrete edges. Nothing is opened before it is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import cv2

from facesvc.config import Settings
from facesvc.index.faiss import FlatIndex
from facesvc.index.projection import Projection
from facesvc.models.packs import Pack, Packs
from facesvc.pipeline.batch import BatchingEmbedder
from facesvc.pipeline.decode import DecodeLimits, decode
from facesvc.pipeline.detect import open_detector
from facesvc.pipeline.embed import OnnxEmbedder
from facesvc.pipeline.extract import PhotographExtractor
from facesvc.pipeline.gate import Gate, GatedExtractor
from facesvc.service import FaceService
from facesvc.storage.engine import open_engine
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
            service = FaceService(gated, store, Projection(store, FlatIndex))
            service.ensure_gallery(settings.default_gallery)
            yield service
    finally:
        engine.dispose()
