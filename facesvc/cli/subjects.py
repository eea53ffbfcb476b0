"""`facesvc subjects`: the people of a gallery."""

from itertools import islice
from typing import Annotated

import typer

from facesvc.cli import options
from facesvc.cli.backends import View, open_backend
from facesvc.cli.console import answer, answer_json, answer_table, say
from facesvc.cli.galleries import confirm

app = typer.Typer(no_args_is_help=True, help="List, show, rename and delete the subjects of a gallery.")
Id = Annotated[str, typer.Argument(metavar="ID", help="Your identifier of the person.")]


@app.command("list")
def list_subjects(
    context: typer.Context,
    gallery: options.Gallery,
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="At most N. [default: all]")] = None,
    as_json: options.AsJson = False,
    server: options.Server = None,
) -> None:
    """List the subjects of a gallery, by id.

    Example: facesvc subjects list --gallery staff
    """
    with open_backend(context.obj, server) as backend:
        found = list(islice(backend.subjects(gallery), limit))
    if as_json:
        return answer_json(found)
    rows = ((s["id"], s["display_name"], s["references"], s["updated_at"]) for s in found)
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
    with open_backend(context.obj, server) as backend:
        found = backend.subject(gallery, subject)
        references = list(backend.references(gallery, subject))
    if as_json:
        return answer_json({**found, "references": references})
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
    with open_backend(context.obj, server) as backend:
        found = backend.rename_subject(gallery, subject, name)
    if as_json:
        return answer_json(found)
    describe(found)


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
    with open_backend(context.obj, server) as backend:
        found = backend.subject(gallery, subject)
        confirm(f"Delete subject {subject} of gallery {gallery} with {found['references']} references?", yes)
        backend.delete_subject(gallery, subject)
    say(f"subject {subject} deleted from gallery {gallery}")


def describe(subject: View) -> None:
    for name in ("id", "display_name", "gallery", "created_at", "updated_at"):
        answer(f"{name.replace('_', ' ')}: {subject[name] or ''}")


def as_cells(reference: View) -> tuple[object, ...]:
    quality = reference["quality"]
    verdict = "good" if quality["acceptable"] else ", ".join(quality["reasons"])
    return reference["id"], verdict, quality["face_size"], reference["created_at"]
