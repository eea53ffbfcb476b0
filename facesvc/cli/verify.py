"""`facesvc verify`: do two photographs show one person?"""

from typing import TYPE_CHECKING, Annotated

import typer

from facesvc.cli import options
from facesvc.cli.console import answer, answer_json, quality_text
from facesvc.cli.folders import STDIN, read_photograph
from facesvc.cli.opening import open_backend
from facesvc.errors import FaceServiceError, RequestError

if TYPE_CHECKING:
    from facesvc.schemas.decisions import Verification


def verify(
    context: typer.Context,
    probe: Annotated[str, typer.Argument(metavar="A", help="A photograph, or - to read it from stdin.")],
    reference: Annotated[str, typer.Argument(metavar="B", help="The photograph to compare it with, or -.")],
    threshold: options.Threshold = None,
    target_fmr: options.TargetFmr = None,
    face: options.Face = "prominent",
    as_json: options.AsJson = False,
    server: options.Server = None,
) -> None:
    """Compare two photographs: do they show one person?

    Exit code: 0 match, 1 no match or inconclusive (a photograph is too poor to tell), 2 error.

    Example: facesvc verify passport.jpg selfie.jpg --target-fmr 1e-4
    """
    if probe == reference == STDIN:
        raise RequestError("only one of the photographs can come from stdin")
    named = {"probe": probe, "reference": reference}
    photographs = {source: read(source, path, context.obj.max_image_bytes) for source, path in named.items()}
    with open_backend(context.obj, server) as backend:
        found = backend.verify(**photographs, face=face, rule=options.rule(threshold, target_fmr))
    if as_json:
        answer_json(found)
    else:
        describe(found)
    raise typer.Exit(0 if found.decision == "match" else 1)


def read(source: str, path: str, limit: int) -> bytes:
    try:
        return read_photograph(path, limit)
    except FaceServiceError as error:
        error.source = f"{source} {path}"
        raise


def describe(found: "Verification") -> None:
    """Print the verdict, then what it rests on."""
    from facesvc.schemas.decisions import ComparedFace

    verdicts = {"match": "match: one person", "no_match": "no match: two people"}
    rate = found.fmr_at_threshold
    measured = f"false match rate {rate:.2g} there" if rate is not None else "its false match rate was never measured"
    if interval := found.fmr_interval:
        measured += f", 95 % interval {interval[0]:.2g} to {interval[1]:.2g}"
    answer(verdicts.get(found.decision, "inconclusive: a photograph is too poor to tell"))
    answer(f"distance {found.distance:.4f}, threshold {found.threshold:g} ({measured})")
    for source, face in (("probe", found.probe), ("reference", found.reference)):
        assert isinstance(face, ComparedFace)  # two photographs were compared
        answer(f"{source}: quality {quality_text(face.quality)}, {face.faces_found} face(s) found")
