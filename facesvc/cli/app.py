"""The root command: global options, and every command by name."""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer

from facesvc.cli import (
    api_keys,
    audit,
    doctor,
    enrol,
    galleries,
    identify,
    keys,
    models,
    samples,
    serve,
    subjects,
    sweep,
    tenants,
    verify,
)
from facesvc.cli.evaluate import evaluate

app = typer.Typer(
    name="facesvc",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # main() prints errors; locals in a traceback could show photographs
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    rich_markup_mode="rich",
)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"facesvc {version('facesvc')}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Folder of packs and database (FACESVC_DATA).")
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option("--database-url", metavar="URL", help="SQLite or PostgreSQL (FACESVC_DATABASE_URL)."),
    ] = None,
    pack: Annotated[
        str | None, typer.Option("--pack", metavar="NAME", help="Model pack, see `facesvc models` (FACESVC_PACK).")
    ] = None,
    detector: Annotated[
        Literal["yunet", "mtcnn", "yunet-onet", "haar"] | None,
        typer.Option("--detector", help="Detector in place of the pack's; makes another template version."),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", metavar="FILE", help="API key for --server (FACESVC_API_KEY, or its file)."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done, on stderr.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Self-hosted face verification: same person or not, and who is it, with the error rate said.

    Settings: option, else FACESVC_* in the environment, else ./facesvc.toml, else the default.

    Example: facesvc verify a.jpg b.jpg
    """
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    given = {
        "data": data,
        "database_url": database_url,
        "pack": pack,
        "detector": detector,
        "api_key_file": api_key_file,
    }
    from facesvc.config import read_settings  # here: `--help` does without pydantic

    context.obj = read_settings({name: value for name, value in given.items() if value is not None})


app.command("verify", rich_help_panel="Ask")(verify.verify)
app.command("identify", rich_help_panel="Ask")(identify.identify)
app.command("enrol", rich_help_panel="Enrol")(enrol.enrol)
app.command("enrol-folder", rich_help_panel="Enrol")(enrol.enrol_folder)
app.add_typer(galleries.app, name="galleries", rich_help_panel="Enrol")
app.add_typer(subjects.app, name="subjects", rich_help_panel="Enrol")
app.command("serve", rich_help_panel="Service")(serve.serve)
app.add_typer(api_keys.app, name="api-keys", rich_help_panel="Service")
app.add_typer(keys.app, name="keys", rich_help_panel="Service")
app.add_typer(tenants.app, name="tenants", rich_help_panel="Service")
app.add_typer(models.app, name="models", rich_help_panel="Service")
app.command("evaluate", rich_help_panel="Service")(evaluate)
app.command("samples", rich_help_panel="Service")(samples.samples)
app.add_typer(audit.app, name="audit", rich_help_panel="Service")
app.add_typer(audit.receipts, name="receipts", rich_help_panel="Service")
app.command("sweep", rich_help_panel="Service")(sweep.sweep)
app.command("doctor", rich_help_panel="Service")(doctor.doctor)
