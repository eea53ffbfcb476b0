"""``facesvc models``: the packs of detector, alignment, embedder, head and calibration."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facesvc.cli.console import answer, answer_json, answer_table
from facesvc.cli.options import AsJson
from facesvc.errors import FaceServiceError, ModelError

if TYPE_CHECKING:
    from facesvc.models.packs import Packs

app = typer.Typer(no_args_is_help=True, help="List, build, check and choose model packs.")
Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Pack; by default the one in use.")]


def source(name: str, text: str) -> Any:
    """An option that names an existing file."""
    return typer.Option(name, metavar="FILE", exists=True, dir_okay=False, help=text)


def packs_of(context: typer.Context) -> "Packs":
    """The packs of the data folder that this run's settings name."""
    from facesvc.models.packs import Packs

    return Packs(context.obj.packs)


def name_or_chosen(context: typer.Context, name: str | None) -> str:
    return name or context.obj.pack or packs_of(context).chosen()


@app.command("list")
def list_packs(context: typer.Context, as_json: AsJson = False) -> None:
    """List packs: which is in use (*), which are built, and what is known of their errors.

    Example: facesvc models list
    """
    packs = packs_of(context)
    rows = [describe(packs, name, name == name_or_chosen(context, None)) for name in packs.names()]
    if as_json:
        return answer_json(rows)
    columns = ("", "Pack", "State", "Model", "Detector", "Threshold", "FMR there", "Version")
    answer_table(columns, (as_cells(row) for row in rows))


@app.command()
def build(
    context: typer.Context,
    name: Name = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Your copy of the published weights file; once for each network, in order."),
    ] = None,
    manifest: Annotated[Path | None, typer.Option(metavar="FILE", help="Manifest of a pack of your own.")] = None,
    head: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Trained head: safetensors with weight and bias.")
    ] = None,
    allow_url: Annotated[bool, typer.Option("--allow-url", help="Weights may be downloaded.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build a pack from weights on this machine; done at once where it is built and intact.

    Example: facesvc models build sface
    """
    packs = packs_of(context)
    wanted = name_or_chosen(context, name)
    pack = packs.build(wanted, weights=weights or (), manifest=manifest, head=head, allow_url=allow_url)
    if as_json:
        return answer_json(describe(packs, wanted, wanted == packs.chosen()))
    answer(f"{wanted} is built: {pack.template_version}")


@app.command()
def check(context: typer.Context, name: Name = None, as_json: AsJson = False) -> None:
    """Check a pack, by default every built one: digests, a run of its networks, its calibration.

    Exit code 1 where one is unusable.

    Example: facesvc models check fusion
    """
    packs = packs_of(context)
    reports = [report(packs, each) for each in ([name] if name else packs.built())]
    if as_json:
        answer_json(reports)
    else:
        answer_table(("Pack", "Result", "Detail"), ((r["name"], r["code"], r["detail"]) for r in reports))
    raise typer.Exit(0 if all(r["code"] == "ok" for r in reports) else 1)


@app.command()
def use(context: typer.Context, name: Annotated[str, typer.Argument(help="A built pack.")]) -> None:
    """Make a built pack the default; galleries made with another keep their templates and refuse this one's.

    Example: facesvc models use sface
    """
    pack = packs_of(context).use(name)
    answer(f"{name} is in use: {pack.template_version}")


def describe(packs: "Packs", name: str, is_chosen: bool) -> dict[str, Any]:
    """One pack as ``list --json`` shows it; what isn't known yet is null, as is all that a manifest that can't be
    read would say."""
    manifest, state, calibration = None, "not built", None
    try:
        manifest = packs.manifest(name)
        if name in packs.built():
            state, calibration = "built", packs.load(name).calibration
    except ModelError as error:
        state = error.code
    return {
        "name": name,
        "in_use": is_chosen,
        "state": state,
        "fmr_at_threshold": calibration.claimed_fmr(manifest.threshold) if manifest and calibration else None,
        "calibration": calibration.id if calibration else None,
        "template_version": manifest.template_version if manifest and manifest.complete else None,
        "networks": [network.source.file for network in manifest.networks] if manifest else [],
        **{field: getattr(manifest, field, None) for field in ("title", "detector", "threshold", "licence", "notes")},
    }


def as_cells(row: dict[str, Any]) -> tuple[object, ...]:
    rate = row["fmr_at_threshold"]
    version = row["template_version"]
    return (
        "*" if row["in_use"] else "",
        *(row[key] for key in ("name", "state", "title", "detector", "threshold")),
        "unknown" if rate is None else f"{rate:.2%}",
        version.removeprefix("sha256:")[:12] if version else "when built",
    )


def report(packs: "Packs", name: str) -> dict[str, str]:
    try:
        return {"name": name, "code": "ok", "detail": packs.check(name).template_version}
    except FaceServiceError as error:
        return {"name": name, "code": error.code, "detail": error.detail}
