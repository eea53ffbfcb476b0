"""`facesvc identify`: who is on these photographs? Any number of them, into a file that survives interruption."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from facesvc.cli import options
from facesvc.cli.batch import Identifier, Question, journal_of, run_to_file
from facesvc.cli.console import Advance, answer, progress, say
from facesvc.cli.folders import STDIN, expand
from facesvc.cli.opening import open_backend
from facesvc.cli.rows import Row, Tally, jsonl, writer
from facesvc.errors import RequestError


def identify(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Photographs, folders, quoted patterns, or - for a list on stdin."),
    ],
    gallery: options.Gallery,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write rows to FILE: .jsonl, .csv or .parquet."),
    ] = None,
    top_k: options.TopK = 5,
    threshold: options.Threshold = None,
    target_fmr: options.TargetFmr = None,
    face: options.Faces = "all",
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run of the same command.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start over; replace --output if it exists.")] = False,
    null: Annotated[bool, typer.Option("--null", "-0", help="The list on stdin is separated by zero bytes.")] = False,
    workers: options.Workers = None,
    engine: options.Engine = "local",
    ray_address: options.RayAddress = None,
    as_json: options.AsJson = False,
    server: options.Server = None,
) -> None:
    """Identify the faces on photographs against a gallery. A bad file never stops the run.

    One row for each face, and one with an error code for each file that could not be processed, in the order of
    the paths: into --output, else JSON lines on stdout (a short form on a terminal). With --output a run that was
    killed is continued by the same command with --resume, without a row lost or repeated.
    --engine ray spreads the work over a cluster; the output is the same.
    Exit code: 0 all files processed, 1 some could not be, 2 the run could not be done.

    Example: facesvc identify photos/ --gallery staff --output rows.csv --resume

    Example: facesvc identify photos/ --gallery staff --output rows.csv --engine ray --ray-address 10.0.0.1:6379
    """
    cluster = options.cluster(engine, ray_address, workers, server, context.obj)
    if not must_run(output, resume, force):
        return
    settings = context.obj.model_copy(update={"workers": workers} if workers else {})
    question = Question(gallery, top_k, face, options.rule(threshold, target_fmr))
    batch = Batch(tuple(paths), null, Tally())
    with open_backend(settings, server, cluster) as backend:
        backend.gallery(gallery)  # raises GalleryNotFound now, not at the first photograph
        batch.run(Identifier(backend, question, settings.max_image_bytes, backend.workers), output, resume, as_json)
    raise typer.Exit(1 if batch.tally.errors else 0)


def must_run(output: Path | None, resume: bool, force: bool) -> bool:
    """Return whether ``output`` lacks rows; delete the journal for --force. Raises RequestError if in doubt."""
    if output is None:
        if resume or force:
            raise RequestError("--resume and --force need --output")
        return True
    writer(output)
    journal = journal_of(output)
    if resume and force:
        raise RequestError("--resume continues, --force starts over: give one of them")
    if force:
        journal.unlink(missing_ok=True)
    elif journal.exists() and not resume:
        raise RequestError(f"{journal} is there from an interrupted run: --resume continues it, --force starts over")
    elif output.exists() and not journal.exists():
        if not resume:
            raise RequestError(f"{output} exists: --force replaces it")
        say(f"{output} is complete, there is nothing to resume")
        return False
    return True


@dataclass(frozen=True, slots=True)
class Batch:
    """The run of one command: its paths as given, and what came of them."""

    arguments: tuple[str, ...]
    null: bool
    tally: Tally

    def run(self, identifier: Identifier, output: Path | None, resume: bool, as_json: bool) -> None:
        paths, start = expand(self.arguments, self.null), perf_counter()
        if output:
            run_to_file(identifier, paths, output, resume, self.tally, self.show)
        else:
            self.print(identifier, paths, as_json or not sys.stdout.isatty())
        new = self.tally.faces - self.tally.resumed_faces
        say(
            f"{self.tally}; {new / (perf_counter() - start):.1f} faces/s" + (f"; written to {output}" if output else "")
        )

    def print(self, identifier: Identifier, paths: Iterator[str], as_json: bool) -> None:
        with self.show(0) as advance:
            for _, rows in identifier.run(paths, self.tally):
                for row in rows:
                    print(jsonl(row)) if as_json else answer(line(row))
                advance()

    def show(self, done: int) -> AbstractContextManager[Advance]:
        countable = STDIN not in self.arguments
        return progress("identify", done, partial(count, self.arguments) if countable else None)


def count(arguments: tuple[str, ...]) -> int:
    return sum(1 for _ in expand(arguments))


def line(row: Row) -> str:
    """A row for a person."""
    if row["code"]:
        return f"{row['code']:<14} {'':28} {row['path']}: {row['detail']}"
    distance = "" if row["distance"] is None else f"{row['distance']:.3f}"
    reasons = f" ({', '.join(row['quality_reasons'])})" if row["quality_reasons"] else ""
    return f"{row['decision']:<14} {row['subject'] or '':<20} {distance:>7} {row['path']} face {row['face']}{reasons}"
