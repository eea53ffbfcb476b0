"""A gallery of many people who don't exist, beside whom a drill's own stand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from drills.ground import Real, facesvc
from tests.support.galleryfiles import people, write_file


def gather(folder: Path, data: Path, real: Real, crowd: int) -> None:
    """Fills the gallery from a file, as `facesvc galleries import` does."""
    version = template_version(data, real)
    path = folder / "crowd.parquet"
    entries = [replace(entry, reference=versioned(entry.reference, version)) for entry in people(crowd)]
    write_file(path, entries, template_version=version, photographs=False, gallery="people")
    facesvc(data, real, "galleries", "import", path, "--gallery", "people")


def versioned(kept: Any, version: str) -> Any:
    sample = kept.new.sample
    return replace(
        kept, new=replace(kept.new, sample=replace(sample, template=replace(sample.template, version=version)))
    )


def template_version(data: Path, real: Real) -> str:
    return json.loads(facesvc(data, real, "galleries", "show", "people", "--json").stdout)["template_version"]
