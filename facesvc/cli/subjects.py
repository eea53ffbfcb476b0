"""`facesvc subjects`: the people of a gallery."""

import json
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facesvc.cli import options
from facesvc.cli.console import answer, answer_json, answer_table, confirm, json_value, output_file, quality_text, say
from facesvc.cli.opening import open_backend

if TYPE_CHECKING:
    from facesvc.schemas.galleries import Reference, Subject

app = typer.Typer(no_args_is_help=True, help="List, show, change, export and erase the subjects of a gallery.")
Id = Annotated[str, typer.Argument(metavar="ID", help="Your identifier of the person.")]


@app.command("list")
def list_subjects(
    context: typer.Context,
    gallery: options.Gallery,
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="At most N. [default: all]")] = None,
    as_json: options.AsJson = False,
    server: options.Server = None,
) -> None:
    """List the subjects of a gallery.

    Example: facesvc subjects list --gallery staff
    """
    with open_backend(context.obj, server, photographs=False) as backend:
        found = list(islice(backend.subjects(gallery), limit))
    if as_json:
        return answer_json(found)
    rows = ((s.id, s.display_name, s.references, s.updated_at) for s in found)
    answer_table(("Subject", "Name", "References", "Last change"), rows)


@app.command()
def show(
    context: typer.Context,
    subject: Id,
    gallery: options.Gallery,
    as_json: options.AsJson = False,
    server: options.Server = None,
) -> None:
    """Show a subject and its references. Vectors are never shown.

    Example: facesvc subjects show ada --gallery staff
    """
    with open_backend(context.obj, server, photographs=False) as backend:
        found = backend.subject(gallery, subject)
        references = list(backend.references(gallery, subject))
    if as_json:
        return answer_json(dict(found) | {"references": references})
    describe(found)
    columns = ("Reference", "Quality", "Face px", "Created")
    answer_table(columns, (as_cells(reference) for reference in references))


@app.command()
def rename(
    context: typer.Context,
    subject: Id,
    name: Annotated[str, typer.Argument(metavar="NAME", help="New display name.")],
    gallery: options.Gallery,
    as_json: options.AsJson = False,
    server: options.Server = None,
) -> None:
    """Give a subject another display name; its id stays.

    Example: facesvc subjects rename ada "Ada Lovelace" --gallery staff
    """
    with open_backend(context.obj, server, photographs=False) as backend:
        found = backend.rename_subject(gallery, subject, name)
    if as_json:
        return answer_json(found)
    describe(found)


@app.command()
def retain(
    context: typer.Context,
    subject: Id,
    gallery: options.Gallery,
    consent: Annotated[
        str | None, typer.Option("--consent", metavar="TEXT", help="Your reference to what allows it to be kept.")
    ] = None,
    expires: Annotated[
        datetime | None,
        typer.Option("--expires", metavar="DATE", help="From then on (UTC) it does not answer, and is erased."),
    ] = None,
    as_json: options.AsJson = False,
    server: options.Server = None,
) -> None:
    """Note what allows a subject to be kept, and until when.

    Example: facesvc subjects retain ada --gallery staff --consent "form 117" --expires 2027-12-31
    """
    at = expires.replace(tzinfo=UTC) if expires else None
    with open_backend(context.obj, server, photographs=False) as backend:
        found = backend.retain_subject(gallery, subject, consent, at)
    if as_json:
        return answer_json(found)
    describe(found)


@app.command()
def export(
    context: typer.Context,
    subject: Id,
    gallery: options.Gallery,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Archive to write (zip).")],
    server: options.Server = None,
) -> None:
    """Write all that is kept of a subject into an archive, for the person it is about.

    Example: facesvc subjects export ada --gallery staff --output ada.zip
    """
    with open_backend(context.obj, server, photographs=False) as backend, output_file(output) as file:
        backend.export_subject(gallery, subject, file)
    say(f"all that is kept of subject {subject} is in {output}")


@app.command()
def erase(
    context: typer.Context,
    subject: Id,
    gallery: options.Gallery,
    receipt: Annotated[
        Path | None, typer.Option("--receipt", metavar="FILE", help="Where to write the receipt. [default: stdout]")
    ] = None,
    yes: options.Yes = False,
    server: options.Server = None,
) -> None:
    """Erase a subject from database, indexes and snapshots, and get a signed receipt of it.

    Exit code: 0 nothing is left, 1 something is, as the receipt says (run `facesvc sweep`), 2 error.

    Example: facesvc subjects erase ada --gallery staff --receipt ada-erased.json --yes
    """
    confirm(f"Erase subject {subject} of gallery {gallery} with all that is kept of it?", yes)
    with open_backend(context.obj, server, photographs=False) as backend:
        made = backend.erase_subject(gallery, subject)
    if receipt is None:
        answer_json(made)
    else:
        with output_file(receipt) as file:
            file.write(json.dumps(made, ensure_ascii=False, indent=2, default=json_value).encode() + b"\n")
        say(f"subject {subject} erased; the receipt is in {receipt}")
    raise typer.Exit(1 if any(made.statement.remaining.values()) else 0)


@app.command()
def canary(
    context: typer.Context,
    subject: Id,
    gallery: options.Gallery,
    off: Annotated[bool, typer.Option("--off", help="A subject as any other again.")] = False,
    server: options.Server = None,
) -> None:
    """Raise an alarm where this subject matches: somebody who is nobody, enrolled for thieves to find.

    Example: facesvc subjects canary p-20931 --gallery staff
    """
    with open_backend(context.obj, server, photographs=False) as backend:
        backend.mark_canary(gallery, subject, not off)
    say(f"subject {subject} of gallery {gallery} is {'no canary any more' if off else 'a canary'}")


@app.command()
def delete(
    context: typer.Context,
    subject: Id,
    gallery: options.Gallery,
    yes: options.Yes = False,
    server: options.Server = None,
) -> None:
    """Delete a subject with its references and photographs, for good.

    Example: facesvc subjects delete ada --gallery staff --yes
    """
    with open_backend(context.obj, server, photographs=False) as backend:
        found = backend.subject(gallery, subject)
        confirm(f"Delete subject {subject} of gallery {gallery} with {found.references} references?", yes)
        backend.delete_subject(gallery, subject)
    say(f"subject {subject} deleted from gallery {gallery}")


def describe(subject: "Subject") -> None:
    for name in ("id", "display_name", "gallery", "consent", "expires_at", "created_at", "updated_at"):
        answer(f"{name.replace('_', ' ')}: {getattr(subject, name) or ''}")


def as_cells(reference: "Reference") -> tuple[object, ...]:
    quality = reference.quality
    return reference.id, quality_text(quality), quality.face_size, reference.created_at
