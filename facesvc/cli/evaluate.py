"""`facesvc evaluate`: the error rates of a pack on labelled pairs."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from facesvc.config import Settings


def evaluate(
    context: typer.Context,
    pairs: Annotated[Path, typer.Option(help="Pair list in LFW's format.", exists=True, dir_okay=False)],
    images: Annotated[Path, typer.Option(help="Folder of NAME/NAME_0001.jpg.", exists=True, file_okay=False)],
    report: Annotated[Path | None, typer.Option(help="Folder to write report.json and scores.csv into.")] = None,
    pack: Annotated[str | None, typer.Option(help="Model pack; default: the one in use.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Default: the pack's.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, as is done where stdout is no terminal.")
    ] = False,
) -> None:
    """Measure a pack on labelled pairs: accuracy, TAR at fixed FMR, and FMR and FNMR at the threshold.

    Example: facesvc evaluate --pairs pairs.txt --images lfw --report out
    """
    from facesvc.bootstrap import load_pack, open_extractor
    from facesvc.evaluation.pairs import read_pairs
    from facesvc.evaluation.verification import score_pairs, summarise

    settings: Settings = context.obj.model_copy(update={"pack": pack} if pack else {})
    listed = read_pairs(pairs)
    total = len({pair.first for pair in listed} | {pair.second for pair in listed})
    loaded = load_pack(settings)
    with open_extractor(settings, loaded) as extractor, _progress() as progress:
        task = progress.add_task("photographs", total=total)
        scores = score_pairs(extractor, listed, images, settings.workers, advance=lambda: progress.advance(task))
        figures = summarise(scores, threshold or extractor.threshold)
    figures = {"pack": loaded.manifest.name, "template_version": loaded.template_version, **figures}
    if report:
        _write(report, figures, listed, scores.distances)
    if as_json or not sys.stdout.isatty():
        print(json.dumps(figures, indent=2))
    else:
        Console().print(_table(figures))


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def _write(folder: Path, figures: dict[str, Any], pairs: list[Any], distances: Any) -> None:
    import csv

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(figures, indent=2) + "\n")
    with (folder / "scores.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["first", "second", "mated", "fold", "distance"])
        rows.writerows([p.first, p.second, int(p.mated), p.fold, d] for p, d in zip(pairs, distances, strict=True))


def _table(figures: dict[str, Any]) -> Table:
    table = Table(title=f"{figures['pack']}: {figures['pairs']} pairs", show_header=False)
    at = figures["at_threshold"]
    error = f" ± {figures['accuracy_se']:.2%}" if figures["accuracy_se"] is not None else ""
    table.add_row("accuracy", f"{figures['accuracy']:.2%}{error} ({figures['folds']} folds)")
    table.add_row("equal error rate", f"{figures['eer']:.2%}")
    table.add_row("area under ROC", f"{figures['auc']:.5f}")
    for rate, share in figures["tar"].items():
        table.add_row(f"TAR at FMR {rate}", f"{share:.2%}")
    for name in ("fmr", "fnmr"):
        low, high = at[f"{name}_interval"]
        table.add_row(f"{name.upper()} at {at['threshold']:g}", f"{at[name]:.2%} (95 % {low:.2%} to {high:.2%})")
    table.add_row("failures to enrol", f"{figures['failures_to_enrol']} of {figures['photographs']} photographs")
    return table
