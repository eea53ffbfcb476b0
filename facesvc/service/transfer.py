"""The use cases of moving a gallery: written into a Parquet file, and read from one."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, BinaryIO

from facesvc.core.types import Gallery, NewGallery
from facesvc.errors import TemplateVersionMismatch
from facesvc.models.manifest import Manifest
from facesvc.service.audit import Trail
from facesvc.service.expiry import Expiry
from facesvc.service.galleries import Galleries
from facesvc.storage.bulk import SqlExchange
from facesvc.storage.store import Store

if TYPE_CHECKING:  # they load pyarrow, which a server has no use for
    from facesvc.exchange.layout import Header
    from facesvc.exchange.reader import GalleryFile, Import
    from facesvc.exchange.sealing import Sealing
    from facesvc.exchange.writer import Written

PackOf = Callable[[str], Manifest | None]
"""The manifest of the pack that makes templates of this version, if there is one here."""


class Transfers:
    """Move one tenant's galleries out of its store and into it, for one caller. Each writes its lines in the audit log.
    All raise StoreUnavailable."""

    def __init__(
        self,
        store: Store,
        exchange: SqlExchange,
        galleries: Galleries,
        expiry: Expiry,
        audit: Trail,
        pack_of: PackOf,
    ) -> None:
        self.store, self.exchange, self.galleries, self.expiry = store, exchange, galleries, expiry
        self.audit, self.pack_of = audit, pack_of

    def export(
        self,
        gallery: str,
        stream: BinaryIO,
        photographs: bool = False,
        sealing: "Sealing | None" = None,
        advance: Callable[[], None] = lambda: None,
    ) -> "Written":
        """Write a gallery as it is at one moment into a file, and return the numbers of what is in it. photographs:
        with those that are kept; sealing: encrypts it; advance: is called for each row. Raises GalleryNotFound."""
        from facesvc.exchange.writer import write  # here: see above

        found = self.store.galleries.get(gallery)
        with (
            self.audit.question("export_gallery", gallery) as outcome,
            closing(self.exchange.entries(gallery, photographs, found.template_version)) as entries,
        ):
            written = write(entries, self._header(found, photographs), stream, advance, sealing)
            sealed = sealing is not None
            outcome.told = {"references": written.references, "photographs": written.photographs, "sealed": sealed}
        return written

    def reading(self, header: "Header", max_image_bytes: int) -> "Import":
        """Return what reads the rows of a file, with the norm of its pack, where that is here. max_image_bytes: of a
        photograph."""
        from facesvc.exchange.reader import Import, RowRules  # here: see above
        from facesvc.pipeline.decode import sniff

        pack = self.pack_of(header.template_version)
        return Import(RowRules(header.template_version, pack.norm if pack else header.norm, max_image_bytes, sniff))

    def import_file(
        self,
        gallery: str,
        file: "GalleryFile",
        run: "Import",
        advance: Callable[[], None] = lambda: None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Store what a file has and the gallery has not; the gallery is created if it is new. run: reads its rows, and
        counts what came of them; advance: is called for each row; tell: with what is worth knowing of the gallery.
        Raises TemplateVersionMismatch, RequestError for a bad name, and what ``file`` raises."""
        with self.audit.change("import_gallery", gallery) as outcome:
            while self.expiry.purge():  # where no server runs that does it: what came to their ids would go with them
                pass
            self._ensure_target(gallery, file.header, tell)
            run.run(file, partial(self.exchange.add, gallery), advance)
            outcome.told = {"references": run.added.references}

    def _ensure_target(self, name: str, header: "Header", tell: Callable[[str], None]) -> None:
        """Creates the gallery, with the file's template version, if it is new. Raises TemplateVersionMismatch where it
        has another one."""
        new = NewGallery(name, header.keep_photographs, header.metadata)
        found, created = self.galleries.ensure(new, header.template_version)
        if created:
            tell(f"gallery {name} created")
        if found.template_version != header.template_version:
            raise TemplateVersionMismatch(
                f"gallery {name!r} has template version {found.template_version}, the file has "
                f"{header.template_version}: import it into a new gallery"
            )
        if header.photographs and not found.keep_photographs:
            tell(f"gallery {name} keeps no photographs: those of the file are left out")
        if self.pack_of(header.template_version) is None:
            needed = header.pack or "of its templates"
            tell(f"searching gallery {name} needs the pack {needed}: its template version is {header.template_version}")

    def _header(self, found: Gallery, photographs: bool) -> "Header":
        from facesvc.exchange.layout import FORMAT, Header

        pack = self.pack_of(found.template_version)
        return Header(
            format=FORMAT,
            facesvc=version("facesvc"),
            gallery=found.name,
            template_version=found.template_version,
            keep_photographs=found.keep_photographs,
            photographs=photographs and found.keep_photographs,
            metadata=found.metadata,
            pack=pack.name if pack else None,
            norm=pack.norm if pack else None,
        )
