"""`facesvc doctor`: does this installation work, and what to do where it does not?"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from facesvc.cli import options
from facesvc.cli.checks import Finding, examine
from facesvc.cli.console import answer, answer_json


def doctor(
    context: typer.Context,
    samples: Annotated[
        Path, typer.Option("--samples", metavar="DIR", help="Sample photographs to verify, see `facesvc samples`.")
    ] = Path("samples"),
    as_json: options.AsJson = False,
) -> None:
    """Check the installation: packages, folders, model pack, database, and a verification from end to end.

    Nothing is changed. Exit code: 0 all is well (there may be warnings), 1 something failed.

    Example: facesvc doctor
    """
    findings: list[Finding] = []
    for finding in examine(context.obj, samples):
        findings.append(finding)
        if not as_json:
            answer(f"{finding.status:<4}  {finding.check}: {finding.detail}")
            if finding.advice:
                answer(f"      {finding.advice}")
    if as_json:
        answer_json([asdict(finding) for finding in findings])
    raise typer.Exit(1 if any(finding.status == "fail" for finding in findings) else 0)
