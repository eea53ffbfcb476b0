"""`facesvc galleries model`: a gallery moves to another model pack while it is served."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from facesvc.cli import options
from facesvc.cli.console import Advance, answer, answer_json, answer_table, confirm, progress, say

if TYPE_CHECKING:
    from facesvc.config import Settings
    from facesvc.core.types import Gallery
    from facesvc.schemas.model_changes import DecisionTable
    from facesvc.service import FaceService

app = typer.Typer(no_args_is_help=True, help="Move a gallery to another model pack while it is served.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the gallery.")]
LeaveBehind = Annotated[
    bool, typer.Option("--leave-behind", help="Go on although references lack a template: they will not answer.")
]


@contextmanager
def opened(settings: "Settings") -> Iterator["FaceService"]:
    from facesvc.bootstrap import open_service  # here: loads the networks' runtime and the database driver

    with open_service(settings) as service:
        yield service


@app.command()
def start(
    context: typer.Context,
    name: Name,
    to: Annotated[str, typer.Option("--to", metavar="PACK", help="Model pack to change to; see `facesvc models`.")],
    as_json: options.AsJson = False,
) -> None:
    """Begin a change: from now on enrolments get templates of both packs.

    `facesvc galleries model run` gives templates to what is enrolled already.

    Example: facesvc galleries model start staff --to fusion
    """
    with opened(context.obj) as service:
        describe(service.model_changes.start(name, to), as_json)


@app.command()
def run(context: typer.Context, name: Name, workers: options.Workers = None, as_json: options.AsJson = False) -> None:
    """Embed the kept photographs with the other pack. Stopped or killed, it goes on when it is run again.

    One process at a time does so for a gallery; a second one waits. Exit code: 0 every reference has a template of
    the other pack, 1 some can't have one (`facesvc galleries model left-behind`), 2 error.

    Example: facesvc galleries model run staff
    """
    with opened(context.obj) as service:
        found = service.galleries.get(name)
        done = found.shadow.templates if found.shadow else 0
        with progress("embed", done, count=lambda: found.references, unit="references") as advance:
            reached = service.model_changes.run(
                name, lambda count: repeat(advance, count), workers or context.obj.workers
            )
    describe(reached, as_json)
    raise typer.Exit(1 if missing(reached) else 0)


@app.command()
def status(context: typer.Context, name: Name, as_json: options.AsJson = False) -> None:
    """Show where the change is.

    Example: facesvc galleries model status staff --json
    """
    with opened(context.obj) as service:
        describe(service.galleries.get(name), as_json)


@app.command()
def agreement(
    context: typer.Context,
    name: Name,
    sample: Annotated[
        int, typer.Option("--sample", min=2, max=5_000, help="References to compare, of whole subjects.")
    ] = 1_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draw of subjects.")] = 0,
    as_json: options.AsJson = False,
) -> None:
    """Compare the decisions of both packs about references that have templates of both, each at its own threshold.

    Example: facesvc galleries model agreement staff
    """
    from facesvc.schemas.model_changes import Agreement

    with opened(context.obj) as service:
        found = Agreement.of(service.model_changes.agreement(name, sample, seed))
    if as_json:
        return answer_json(found)
    answer(f"{found.references} references, thresholds {found.old.threshold} and {found.new.threshold}")
    columns = ("Comparisons", "Both yes", "Old only", "New only", "Both no", "Changed", "95 %")
    tables = {"mated": found.mated, "non-mated": found.non_mated, "rank-1": found.rank_1}
    answer_table(columns, [cells(table, kind) for kind, table in tables.items()])
    for pair in found.worst:
        mated = "mated" if pair.mated else "non-mated"
        answer(f"{mated} {' '.join(pair.references)} {pair.old_distance:.3f} -> {pair.new_distance:.3f}")


@app.command("cut-over")
def cut_over(
    context: typer.Context, name: Name, leave_behind: LeaveBehind = False, as_json: options.AsJson = False
) -> None:
    """Let the other pack answer from now on, in every process at once. The templates before stay for a roll-back.

    Example: facesvc galleries model cut-over staff
    """
    with opened(context.obj) as service:
        describe(service.model_changes.cut_over(name, leave_behind), as_json)


@app.command("roll-back")
def roll_back(
    context: typer.Context, name: Name, leave_behind: LeaveBehind = False, as_json: options.AsJson = False
) -> None:
    """Let the pack before the cut-over answer again.

    Example: facesvc galleries model roll-back staff
    """
    with opened(context.obj) as service:
        describe(service.model_changes.roll_back(name, leave_behind), as_json)


@app.command()
def finish(context: typer.Context, name: Name, yes: options.Yes = False, as_json: options.AsJson = False) -> None:
    """Delete the templates before the cut-over: there is no way back then.

    Example: facesvc galleries model finish staff --yes
    """
    confirm(f"Delete the templates of gallery {name} from before its cut-over?", yes)
    with opened(context.obj) as service:
        describe(service.model_changes.finish(name), as_json)


@app.command()
def abandon(context: typer.Context, name: Name, yes: options.Yes = False, as_json: options.AsJson = False) -> None:
    """Delete the templates of the pack that was to follow.

    Example: facesvc galleries model abandon staff --yes
    """
    confirm(f"Delete the templates of gallery {name} that do not answer?", yes)
    with opened(context.obj) as service:
        describe(service.model_changes.abandon(name), as_json)


@app.command("left-behind")
def left_behind(context: typer.Context, name: Name, as_json: options.AsJson = False) -> None:
    """List references that a cut-over would leave without template, or that one has left so, with the reason.

    Example: facesvc galleries model left-behind staff
    """
    from facesvc.core.types import every
    from facesvc.schemas.model_changes import LeftBehind

    with opened(context.obj) as service:
        found = [LeftBehind.of(one) for one in every(partial(service.model_changes.left_behind, name))]
    if as_json:
        return answer_json(found)
    answer_table(("Reference", "Subject", "Reason"), [(f.reference, f.subject, f.code) for f in found])
    say(f"{len(found)} references")


def describe(gallery: "Gallery", as_json: bool) -> None:
    from facesvc.schemas.model_changes import ModelChange

    shown = ModelChange.of(gallery)
    if as_json:
        return answer_json(shown)
    answer(f"answers: {shown.template_version}, {shown.templates} of {shown.references} references")
    other = shown.other
    answer(f"{other.state}: {other.template_version}, {other.templates}" if other else "no change under way")


def missing(gallery: "Gallery") -> int:
    return gallery.references - gallery.shadow.templates if gallery.shadow else 0


def repeat(advance: Advance, count: int) -> None:
    for _ in range(count):
        advance()


def cells(table: "DecisionTable", kind: str) -> tuple[object, ...]:
    changed = "" if table.changed is None else f"{table.changed:.2%}"
    low, high = table.changed_interval
    return kind, table.both, table.old_only, table.new_only, table.neither, changed, f"{low:.2%} to {high:.2%}"
