"""`facesvc evaluate`: the error rates of a pack on labelled photographs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facesvc.cli import options
from facesvc.cli.console import answer_json, answer_table, progress
from facesvc.errors import RequestError

if TYPE_CHECKING:
    from facesvc.config import Settings
    from facesvc.evaluation.experiments import Grouping
    from facesvc.evaluation.sources import Source


def evaluate(
    context: typer.Context,
    pairs: Annotated[
        Path | None, typer.Option(help="Pair list in LFW's format, with --images.", exists=True, dir_okay=False)
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of NAME/NAME_0001.jpg.", exists=True, file_okay=False)
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="All pairs of DIR/<subject>/<photographs>.", exists=True, file_okay=False)
    ] = None,
    gallery: Annotated[
        Path | None, typer.Option(help="1:N in DIR/<subject>/<photographs>.", exists=True, file_okay=False)
    ] = None,
    probes: Annotated[
        Path | None,
        typer.Option(help="Whom to search in the gallery; default: split it by hash.", exists=True, file_okay=False),
    ] = None,
    references: Annotated[int, typer.Option(min=1, help="Enrolled for each subject of a split gallery.")] = 1,
    groups: Annotated[
        Path | None, typer.Option(help="CSV of subjects and their groups.", exists=True, dir_okay=False)
    ] = None,
    subject_column: Annotated[str, typer.Option(help="Column of --groups with the subject.")] = "subject",
    group_by: Annotated[
        list[str] | None, typer.Option(help="Column of --groups, or NAME=COLUMN; repeatable. Default: all fit ones.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for report.html, report.json and scores.csv.")] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Show the worst mistakes' faces in the report.")
    ] = True,
    threshold: options.Threshold = None,
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap behind the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and of the gallery's split.")] = 0,
    as_json: options.AsJson = False,
) -> None:
    """Measure a pack on labelled pairs, a folder's people, or a gallery: error rates with their intervals.

    Example: facesvc evaluate --pairs pairs.txt --images lfw --report out
    """
    groupings = read_groupings(groups, subject_column, group_by)
    source = choose_source(pairs, images, folder, gallery, probes, references, seed)
    asked = {"resamples": resamples, "seed": seed, "groupings": groupings}
    figures = measure(context.obj, source, threshold, asked, report, pictures)
    if as_json:
        return answer_json(figures)
    answer_table(("Figure", f"{figures['pack']} on {figures['data']}"), headline(figures))


def choose_source(
    pairs: Path | None,
    images: Path | None,
    folder: Path | None,
    gallery: Path | None,
    probes: Path | None,
    references: int,
    seed: int,
) -> "Source":
    """The one source that the options name. Raises RequestError for none or several."""
    if [pairs, folder, gallery].count(None) != 2:
        raise RequestError("give one of --pairs (with --images), --folder and --gallery")
    if (pairs is None) != (images is None):
        raise RequestError("--pairs and --images go together")
    if probes and not gallery:
        raise RequestError("--probes are searched for in a --gallery")
    from facesvc.evaluation import sources

    if pairs and images:
        return sources.from_pairs(pairs, images)
    return sources.from_gallery(gallery, probes, references, seed) if gallery else sources.from_folder(folder or Path())


def read_groupings(file: Path | None, subject: str, wanted: list[str] | None) -> "list[Grouping]":
    """The groupings that --groups, --subject-column and --group-by name. Raises RequestError."""
    if file is None:
        if wanted:
            raise RequestError("--group-by names columns of --groups")
        return []
    from facesvc.evaluation.experiments import read_groups

    columns = {word.partition("=")[0]: word.rpartition("=")[2] for word in wanted} if wanted else None
    return read_groups(file, subject, columns)


def measure(
    settings: "Settings",
    source: "Source",
    threshold: float | None,
    asked: Mapping[str, Any],
    folder: Path | None,
    pictures: bool,
) -> dict[str, Any]:
    """Runs the photographs through the pipeline and the experiment over their templates; writes the report."""
    from facesvc.bootstrap import load_pack, open_extractor
    from facesvc.evaluation import report
    from facesvc.evaluation.datasets import enrol_files
    from facesvc.evaluation.experiments import Question
    from facesvc.pipeline.decode import DecodeLimits

    pack = load_pack(settings)
    with open_extractor(settings, pack) as extractor, progress("photographs", count=lambda: len(source.files)) as step:
        templates = enrol_files(extractor, source.folder, source.files, settings.workers, advance=step)
        ask = Question(threshold or extractor.threshold, extractor.norm, **asked)
        calibration = extractor.calibration
    with progress("resampling"):
        experiment = source.experiment(templates, ask)
    contract = {
        "pack": pack.manifest.name,
        "template_version": pack.template_version,
        "calibration": calibration.id if calibration else None,
        "detector": pack.manifest.detector,
        "data": source.name,
    }
    figures = report.complete(contract, experiment)
    if folder:
        limits = DecodeLimits(max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
        report.write(folder, figures, experiment, templates, limits if pictures else None)
    return figures


def headline(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and value of the figures that matter most, those that this experiment has."""
    from facesvc.evaluation.report import interval, percent

    at = figures["at_threshold"]
    if "accuracy" in figures:
        error = "" if figures["accuracy_se"] is None else f" ± {figures['accuracy_se']:.2%}"
        yield "accuracy", f"{percent(figures['accuracy'])}{error} ({figures['folds']} folds)"
    if "rank_1" in figures:
        yield "rank 1", f"{percent(figures['rank_1'])} (95 % {interval(figures['rank_1_interval'])})"
    for name, rates in (("TAR at FMR", figures.get("tar")), ("FNIR at FPIR", figures.get("fnir_at_fpir"))):
        bounds = figures.get("tar_interval") or figures.get("fnir_at_fpir_interval") or {}
        yield from ((f"{name} {at_rate}", f"{percent(rate)} (95 % {interval(bounds[at_rate])})")
                    for at_rate, rate in (rates or {}).items())  # fmt: skip
    if "eer" in figures:
        yield "equal error rate", f"{percent(figures['eer'])} (95 % {interval(figures['eer_interval'])})"
        yield "area under ROC", f"{figures['auc']:.5f}"
    for name in ("fmr", "fnmr", "fpir", "fnir"):
        if at.get(name) is not None:
            row = f"{percent(at[name])} (95 % {interval(at[f'{name}_interval'])})"
            yield f"{name.upper()} at {at['threshold']:g}", row
    yield "failures to enrol", f"{figures['failures_to_enrol']} of {figures['photographs']} photographs"
