"""The service over parts that a test brings."""

from facesvc.bootstrap.database import Database
from facesvc.core.ports import Extractors
from facesvc.index.galleries import GalleryIndexes
from facesvc.service import FaceService, Resources
from facesvc.service.disclosure import Alarms, Watch
from facesvc.storage.bulk import SqlExchange
from facesvc.storage.disclosures import SqlDisclosures
from facesvc.storage.store import Store
from tests.support.databases import process


def make_service(
    extractors: Extractors, store: Store, indexes: GalleryIndexes, database: Database | None = None
) -> FaceService:
    """Return the service of the store's tenant, for a caller on this machine, with a real audit log. database: with
    another master key than that of all tests."""
    rows = (store.engine, store.tenant, store.codec)
    database = database or process(store.engine)
    resources = Resources(
        extractors=extractors,
        store=store,
        indexes=indexes,
        exchange=SqlExchange(*rows),
        watch=Watch(SqlDisclosures(*rows), Alarms()),
        signer=database.signer(store.tenant),
        api_keys=database.api_keys,
        pack_of=lambda _: None,
    )
    return FaceService(resources, database.trail(store.tenant))
