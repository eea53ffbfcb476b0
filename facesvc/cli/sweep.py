"""`facesvc sweep`: is anything left of what was deleted?"""

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from facesvc.cli import options
from facesvc.cli.console import answer, answer_json, answer_table, progress, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facesvc.index.sweep import Compared


def sweep(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Look for what is left of deleted people, and delete it: in the database, in the galleries' indexes and vector
    engines, and in snapshots on disk.

    Of all tenants. Every index is compared with the database, reference by reference. An index or snapshot that holds
    too much or too little is deleted, and made again when it is next needed. The service may be running.
    Exit code: 0 nothing was left, 1 something was and is deleted now, 2 error.

    Example: facesvc sweep
    """
    from facesvc.bootstrap.indexes import sweep_tenants, sweeps

    rows: Counter[str] = Counter()
    kept, compared = sweep_tenants(context.obj), list[tuple[str, "Compared"]]()
    with progress("sweep", unit="galleries") as advance:
        for tenant, residue, galleries in sweeps(context.obj):
            rows.update(residue.sweep())
            kept += galleries.residue()
            for found in galleries.galleries():
                compared.append((tenant, found))
                advance()
    clean = not rows and not kept and all(found.clean for _, found in compared)
    if as_json:
        answer_json(report(rows, kept, compared) | {"clean": clean})
    else:
        show(rows, kept, compared)
        say("nothing is left of what was deleted" if clean else "what was left is deleted now")
    raise typer.Exit(0 if clean else 1)


def report(rows: "Mapping[str, int]", kept: list[str], compared: "Sequence[tuple[str, Compared]]") -> dict[str, Any]:
    galleries = [{"tenant": tenant, **asdict(found)} for tenant, found in compared]
    return {"database": dict(rows), "kept": kept, "galleries": galleries}


def show(rows: "Mapping[str, int]", kept: list[str], compared: "Sequence[tuple[str, Compared]]") -> None:
    columns = ("Tenant", "Gallery", "Template version", "References", "Index", "Too many", "Missing")
    answer_table((*columns, "On disk", "Too many there"), ((tenant, *cells(found)) for tenant, found in compared))
    for what, count in rows.items():
        answer(f"database: {count} {what}")
    for what in kept:
        answer(what)


def cells(found: "Compared") -> tuple[str, ...]:
    counts = (found.surplus, found.missing, found.on_disk, found.surplus_on_disk)
    return (found.gallery, found.template_version, str(found.references), found.kind, *map(str, counts))
