"""`facesvc galleries export` and `import`: a gallery as a Parquet file, and galleries of other systems.

Galleries of other systems. Their vectors come from other networks and can't be compared with ours, so what moves
is people and photographs: every photograph is enrolled anew.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from facesvc.cli import options
from facesvc.cli.console import answer, answer_json, output_file, progress, say
from facesvc.cli.folders import (
    Enroller,
    FolderEnrolment,
    People,
    Source,
    count_photographs,
    folder_people,
    people,
    shown,
)
from facesvc.cli.opening import open_backend
from facesvc.cli.rows import numbers
from facesvc.errors import (
    FaceServiceError,
    FileUnreadable,
    ImportInvalid,
    RequestError,
    TemplateVersionMismatch,
)
from facesvc.pipeline.folders import is_photograph

if TYPE_CHECKING:
    from facesvc.config import Settings

PICKLES = (".pkl", ".pickle")


@dataclass(frozen=True, slots=True)
class Foreign:
    """Another system's people. photographs: their number; left: what can't move, and how many of it there are."""

    people: People
    photographs: int
    left: dict[str, int] = field(default_factory=dict)


def enrol_from(
    origin: str,
    source: str,
    collection: str | None,
    settings: "Settings",
    gallery: str,
    face: str,
    strict: bool,
    as_json: bool,
    server: str | None,
) -> bool:
    """Enrols everybody and reports; True where nothing was left behind. Raises ImportInvalid, StoreUnavailable."""
    opened = compreface(source, collection) if origin == "compreface" else deepface(Path(source))
    with opened as found, open_backend(settings, server) as backend:
        enroller = Enroller(backend, gallery, face, strict, settings.max_image_bytes)
        enroller.ensure_gallery()
        run = FolderEnrolment(enroller)
        with progress("import", count=lambda: found.photographs) as advance:
            run.run(found.people, settings.workers, advance)
    if as_json:
        answer_json({**run.summary, "left_behind": found.left})
    else:
        for result in sorted(run.rejected, key=lambda result: result.code):
            answer(str(result))
    say(str(run))
    return not run.rejected and not any(found.left.values())


@contextmanager
def compreface(url: str, collection: str | None) -> Iterator[Foreign]:
    """The people of one collection of CompreFace's database. Embeddings without a photograph are left."""
    from facesvc.exchange.compreface import CompreFace

    with closing(CompreFace(url)) as store:
        chosen = store.collection(collection)
        found = store.photographs(chosen)
        left = store.embeddings_without_photograph(chosen)
        if left:
            say(f"{left} embeddings have no photograph: CompreFace did not keep them, and its vectors can't be used")

        def groups() -> People:
            for name, ids in found.items():
                yield name, (Source(f"img {id_}", partial(store.content, id_)) for id_ in ids)

        total = sum(map(len, found.values()))
        yield Foreign(groups(), total, {"embeddings_without_photograph": left})


@contextmanager
def deepface(folder: Path) -> Iterator[Foreign]:
    """DeepFace's folder of people. Its pickles are never opened: a pickle can run any code."""
    if folder.suffix.lower() in PICKLES:
        raise ImportInvalid(f"{folder}: a pickle is never read, since it can run code; give the folder it lies in")
    if not folder.is_dir():
        raise ImportInvalid(f"{folder} is no folder of <person>/<photographs>")
    people(folder)
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    for pickle in (path for path in files if path.suffix.lower() in PICKLES):
        say(f"{shown(str(pickle))} is not read: a pickle can run code, and its vectors are another network's")
    loose = [path for path in files if is_photograph(path)]
    if loose:
        say(f"{len(loose)} photographs lie in {folder} itself, so whose they are is not known: such as {loose[0].name}")
    yield Foreign(folder_people(folder), count_photographs(folder), {"photographs_without_person": len(loose)})


if TYPE_CHECKING:
    from facesvc.config import Settings
    from facesvc.exchange.reader import Import
    from facesvc.exchange.sealing import Sealing

PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="File with the passphrase that encrypts the export."),
]


def export_gallery(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the gallery.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Parquet file to write: .parquet.")],
    photographs: Annotated[
        bool, typer.Option("--photographs", help="Export kept photographs too, not only their templates.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Don't encrypt: whoever has FILE has everybody's templates.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Export a gallery of the local store: subjects, templates and metadata, as they were at one moment.

    FILE appears when all is written, readable by you alone. Templates are biometric data: it is encrypted with a
    passphrase (Parquet Modular Encryption), unless you say --plain.

    Example: facesvc galleries export staff --output staff.parquet --passphrase-file secret
    """
    from facesvc.bootstrap import open_service

    require_new(output, force)
    if plain == (passphrase_file is not None):
        raise RequestError("give either --passphrase-file, or --plain for a file that anybody can read")
    seal = sealing(passphrase_file)
    with open_service(context.obj) as service, output_file(output) as stream:
        found = service.galleries.get(name)
        with progress("export", count=lambda: found.references, unit="rows") as advance:
            written = service.transfers.export(name, stream, photographs, seal, advance)
    if photographs and not written.photographs:
        say(f"gallery {name} has no photographs: there are none in {output}")
    summary = {"subjects": written.subjects, "references": written.references, "photographs": written.photographs}
    if as_json:
        return answer_json(
            {"gallery": name, "file": str(output), **summary, "template_version": found.template_version}
        )
    answer(f"{name}: {written.subjects} subjects, {written.references} references written to {output}")


def sealing(passphrase_file: Path | None) -> "Sealing | None":
    """What a file is encrypted or opened with; None where that is not asked for. Raises FileUnreadable, RequestError
    for too short a passphrase."""
    if passphrase_file is None:
        return None
    from facesvc.crypto.envelope import Passphrase
    from facesvc.exchange.sealing import Sealing

    try:
        return Sealing(Passphrase(passphrase_file.read_text().strip()))
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise FileUnreadable(f"{passphrase_file}: {reason}") from error


def require_new(output: Path, force: bool) -> None:
    if output.suffix.lower() != ".parquet":
        raise RequestError(f"--output {output}: use a name that ends with .parquet")
    if output.exists() and not force:
        raise RequestError(f"{output} exists: --force replaces it")


def import_gallery(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="File, folder or database URL to read; see --from.")],
    gallery: options.Gallery,
    origin: Annotated[
        Literal["facesvc", "compreface", "deepface"],
        typer.Option(
            "--from",
            help="What SOURCE is: a file of `galleries export`, the postgresql:// URL of CompreFace's database, "
            "or DeepFace's folder of people. The last two are enrolled anew from their photographs.",
        ),
    ] = "facesvc",
    collection: Annotated[
        str | None,
        typer.Option("--collection", metavar="NAME", help="CompreFace's recognition service, where it has several."),
    ] = None,
    passphrase_file: PassphraseFile = None,
    face: options.Face = "only",
    allow_low_quality: options.AllowLowQuality = False,
    workers: options.Workers = None,
    as_json: options.AsJson = False,
    server: options.Server = None,
) -> None:
    """Import a gallery. It is made if it is new; what it has already is passed over, so run again to continue.

    A file's templates are taken as they are: its template version must be the gallery's. --face, --allow-low-quality,
    --workers and --server are for photographs that are enrolled anew. Exit code: 0 all imported, 1 some of it could
    not be, 2 error.

    Example: facesvc galleries import staff.parquet --gallery staff
    """
    if origin != "facesvc":
        settings = context.obj.model_copy(update={"workers": workers} if workers else {})
        complete = enrol_from(
            origin, source, collection, settings, gallery, face, not allow_low_quality, as_json, server
        )
        raise typer.Exit(0 if complete else 1)
    if server:
        raise RequestError("--server: a file is imported into the local store, run this where the database is")
    run = import_file(context.obj, Path(source), gallery, passphrase_file)
    if as_json:
        answer_json(summary_of(run, source, gallery))
    else:
        for refused in run.named:
            answer(f"{refused['code']} row {refused['row']} ({refused['subject']}): {refused['detail']}")
    say(told(run))
    raise typer.Exit(1 if run.refused else 0)


def import_file(settings: "Settings", path: Path, gallery: str, passphrase_file: Path | None = None) -> "Import":
    """Raises ImportInvalid, FileUnreadable, TemplateVersionMismatch, RequestError for a wrong passphrase or none."""
    from facesvc.bootstrap import open_service
    from facesvc.exchange.reader import GalleryFile

    with closing(GalleryFile(path, sealing(passphrase_file))) as file, open_service(settings) as service:
        run = service.transfers.reading(file.header, settings.max_image_bytes)
        try:
            with progress("import", count=lambda: file.rows, unit="rows") as advance:
                service.transfers.import_file(gallery, file, run, advance, say)
        except (TemplateVersionMismatch, RequestError):  # nothing was begun
            raise
        except (KeyboardInterrupt, FaceServiceError):
            say(f"stopped: {told(run)}. What was imported stays, the same command continues")
            raise
    return run


def summary_of(run: "Import", source: str, gallery: str) -> dict[str, Any]:
    return {
        "gallery": gallery,
        "file": source,
        "template_version": run.rules.template_version,
        "subjects": run.added.subjects,
        "references": run.added.references,
        "already": run.added.already,
        "rejected": dict(run.refused),
        "rejected_rows": run.named,
    }


def told(run: "Import") -> str:
    added = run.added
    text = f"{added.subjects} subjects, {added.references} references imported"
    already = f", {added.already} rows were there" if added.already else ""
    return text + already + (f", {run.refused.total()} rejected ({numbers(run.refused)})" if run.refused else "")
