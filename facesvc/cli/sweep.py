"""`facesvc sweep`: is anything left of what was deleted?"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from facesvc.cli import options
from facesvc.cli.console import answer, answer_json, answer_table, say
from facesvc.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facesvc.index.sweep import Compared


def sweep(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Look for what is left of deleted people, and delete it: in the database, in the galleries' indexes and vector
    engines, and in snapshots on disk.

    Every index is compared with the database, reference by reference. An index or snapshot that holds too much or too
    little is deleted, and made again when it is next needed. The service may be running.
    Exit code: 0 nothing was left, 1 something was and is deleted now, 2 error.

    Example: facesvc sweep
    """
    from facesvc.indexing import open_sweep

    with open_sweep(context.obj) as (residue, galleries), progress("sweep", unit="galleries") as advance:
        rows, kept, compared = residue.sweep(), galleries.residue(), []
        for found in galleries.galleries():
            compared.append(found)
            advance()
    clean = not rows and not kept and all(found.clean for found in compared)
    if as_json:
        answer_json(report(rows, kept, compared) | {"clean": clean})
    else:
        show(rows, kept, compared)
        say("nothing is left of what was deleted" if clean else "what was left is deleted now")
    raise typer.Exit(0 if clean else 1)


def report(rows: dict[str, int], kept: list[str], compared: "Sequence[Compared]") -> dict[str, Any]:
    return {"database": rows, "kept": kept, "galleries": [asdict(found) for found in compared]}


def show(rows: dict[str, int], kept: list[str], compared: "Sequence[Compared]") -> None:
    columns = ("Gallery", "Template version", "References", "Index", "Too many", "Missing", "On disk", "Too many there")
    answer_table(columns, (cells(found) for found in compared))
    for what, count in rows.items():
        answer(f"database: {count} {what}")
    for what in kept:
        answer(what)


def cells(found: "Compared") -> tuple[str, ...]:
    counts = (found.surplus, found.missing, found.on_disk, found.surplus_on_disk)
    return (found.gallery, found.template_version, str(found.references), found.kind, *map(str, counts))
