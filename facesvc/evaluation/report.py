"""The report of an experiment: report.html (one file, nothing from outside), report.json and scores.csv."""

import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from facesvc.evaluation import plots
from facesvc.evaluation.experiments import Experiment
from facesvc.evaluation.hardest import names
from facesvc.evaluation.pictures import thumbnails
from facesvc.evaluation.templates import Templates
from facesvc.pipeline.decode import DecodeLimits

TEMPLATE = "report.html.j2"


def complete(contract: Mapping[str, Any], experiment: Experiment) -> dict[str, Any]:
    """All figures of report.json: what was measured with what, today, and the experiment's own."""
    date = datetime.now(UTC).date().isoformat()
    told = {**contract, "date": date, "experiment": experiment.kind, **experiment.figures}
    return {**told, "groups": list(experiment.groups)} if experiment.groups else told


def write(
    folder: Path,
    figures: Mapping[str, Any],
    experiment: Experiment,
    templates: Templates,
    limits: DecodeLimits | None = None,
) -> Path:
    """Writes the three files and returns the HTML's path. figures: the contract and the experiment's own figures.

    limits: for decoding the photographs that are shown; None leaves pictures out, since they are personal data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = {**figures, "hardest": names(experiment.hard, templates.files)}
    (folder / "report.json").write_text(json.dumps(told, indent=2) + "\n")
    with (folder / "scores.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(experiment.columns)
        rows.writerows(experiment.rows)
    page = folder / "report.html"
    page.write_text(render(figures, experiment, templates, limits), encoding="utf-8")
    return page


def render(
    figures: Mapping[str, Any], experiment: Experiment, templates: Templates, limits: DecodeLimits | None
) -> str:
    """The page, as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("facesvc.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "interval": interval}
    places = [place for case in experiment.hard for place in (case.first, case.second)]
    return environment.get_template(TEMPLATE).render(
        figures=figures,
        experiment=experiment,
        files=[file.as_posix() for file in templates.files],
        pictures=thumbnails(templates, places, limits) if limits else {},
        plots=draw_all(figures, experiment),
    )


def draw_all(figures: Mapping[str, Any], experiment: Experiment) -> dict[str, str]:
    """The figures of this kind of experiment, by name."""
    threshold = figures["at_threshold"]["threshold"]
    mated, non_mated, labels = experiment.mated, experiment.non_mated, experiment.labels
    drawn = {"histogram": plots.histogram(mated, non_mated, threshold)}
    if len(mated) and len(non_mated):
        drawn["det"] = plots.det(mated, non_mated, threshold, labels)
        drawn["roc"] = plots.roc(mated, non_mated, threshold, labels)
    if experiment.kind == "gallery":
        drawn["cmc"] = plots.cmc(figures["cmc"], figures["cmc_interval"])
    for grouping in experiment.groups:
        for rate in ("fmr", "fnmr"):
            drawn[f"{grouping['name']}/{rate}"] = plots.groups(grouping["name"], grouping["groups"], rate)
    return drawn


def percent(rate: float | None) -> str:
    """0.99533 -> "99.53 %", with more digits near 0; "unknown" for None."""
    if rate is None:
        return "unknown"
    share = 100 * rate
    return f"{share:.2f} %" if share == 0 or share >= 0.1 else f"{share:.2g} %"


def interval(bounds: tuple[float, float] | list[float]) -> str:
    """(0.0219, 0.0388) -> "2.19 % to 3.88 %"."""
    return f"{percent(bounds[0])} to {percent(bounds[1])}"
