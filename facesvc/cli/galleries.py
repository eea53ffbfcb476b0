"""`facesvc galleries`: the named sets of subjects that photographs are identified against."""

from typing import TYPE_CHECKING, Annotated

import typer

from facesvc.cli import model_changes, options, transfer
from facesvc.cli.console import answer, answer_json, answer_table, confirm, say
from facesvc.cli.opening import open_backend

if TYPE_CHECKING:
    from facesvc.schemas.galleries import Gallery

app = typer.Typer(no_args_is_help=True, help="List, create, show, delete, export and import galleries.")
app.command("export")(transfer.export_gallery)
app.command("import")(transfer.import_gallery)
app.add_typer(model_changes.app, name="model")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the gallery.")]


@app.command("list")
def list_galleries(context: typer.Context, as_json: options.AsJson = False, server: options.Server = None) -> None:
    """List galleries.

    Example: facesvc galleries list
    """
    with open_backend(context.obj, server, photographs=False) as backend:
        found = list(backend.galleries())
    if as_json:
        return answer_json(found)
    columns = ("Gallery", "Subjects", "References", "Photographs", "Template version")
    answer_table(columns, (as_cells(gallery) for gallery in found))


@app.command()
def create(
    context: typer.Context,
    name: Name,
    keep_photographs: Annotated[
        bool, typer.Option("--keep-photographs", help="Keep enrolled photographs beside their templates.")
    ] = False,
    as_json: options.AsJson = False,
    server: options.Server = None,
) -> None:
    """Create a gallery for the templates of the pack in use.

    Example: facesvc galleries create staff
    """
    with open_backend(context.obj, server, photographs=False) as backend:
        made = backend.create_gallery(name, keep_photographs)
    describe(made, as_json)


@app.command()
def show(context: typer.Context, name: Name, as_json: options.AsJson = False, server: options.Server = None) -> None:
    """Show a gallery: its counts and its template version.

    Example: facesvc galleries show staff --json
    """
    with open_backend(context.obj, server, photographs=False) as backend:
        found = backend.gallery(name)
    describe(found, as_json)


@app.command()
def delete(context: typer.Context, name: Name, yes: options.Yes = False, server: options.Server = None) -> None:
    """Delete a gallery with its subjects, references and photographs, for good.

    Example: facesvc galleries delete staff --yes
    """
    with open_backend(context.obj, server, photographs=False) as backend:
        found = backend.gallery(name)
        confirm(f"Delete gallery {name} with {found.subjects} subjects, {found.references} references?", yes)
        backend.delete_gallery(name)
    say(f"gallery {name} deleted")


def describe(gallery: "Gallery", as_json: bool) -> None:
    if as_json:
        return answer_json(gallery)
    for name in ("name", "subjects", "references", "keep_photographs", "template_version", "created_at"):
        answer(f"{name.replace('_', ' ')}: {getattr(gallery, name)}")


def as_cells(gallery: "Gallery") -> tuple[object, ...]:
    kept = "kept" if gallery.keep_photographs else "not kept"
    return gallery.name, gallery.subjects, gallery.references, kept, gallery.template_version
