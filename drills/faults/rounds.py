"""Kills the service at random moments, round after round, and looks at what is left:

    python -m drills.faults.rounds --rounds 200 --seed 1 --database both --report faults.json

Afterwards every acknowledged write must be there, nothing deleted may answer, a request in flight must be done wholly
or not at all, and every index must equal the database. Exit code 1 where anything was not so.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from platformdirs import user_cache_path

from drills.faults import commands, served  # noqa: F401  # they register their kinds
from drills.faults.ground import PACK, Outcome, Real, Stage
from drills.faults.kinds import KINDS
from tests.support.databases import migrated_sqlite, postgresql, postgresql_database

DATABASES = ("sqlite", "postgresql")
Progress = Callable[[Outcome], None]


@dataclass
class Report:
    seed: int
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def violations(self) -> list[str]:
        return [f"{o.database}, {o.kind}, {o.moment}: {wrong}" for o in self.outcomes for wrong in o.violations]

    def summary(self) -> dict[str, Any]:
        counted = {
            name: dict(Counter(str(getattr(outcome, name)) for outcome in self.outcomes).most_common())
            for name in ("database", "kind", "moment", "in_flight")
        }
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "rounds": len(self.outcomes),
            "acknowledged": sum(outcome.acknowledged for outcome in self.outcomes),
            **counted,
            "violations": self.violations,
        }

    def table(self) -> str:
        rows = [f"{'rounds':<14}{len(self.outcomes)}, {self.seconds:.0f} s, seed {self.seed}"]
        for name, counts in self.summary().items():
            if isinstance(counts, dict):
                rows.append(f"{name.replace('_', ' '):<14}" + ", ".join(f"{k} {v}" for k, v in counts.items()))
        rows.append(f"{'acknowledged':<14}{self.summary()['acknowledged']} requests")
        rows.append(f"{'violations':<14}{len(self.violations)}")
        return "\n".join([*rows, *self.violations])


def hold(
    rounds: int, seed: int, databases: Sequence[str], real: Real | None, told: Progress, only: str | None = None
) -> Report:
    """Rounds on the databases in turn; without ``real``, those with ready-made photographs. only: of this kind."""
    report, chance, start = Report(seed), Random(seed), time.perf_counter()
    with ExitStack() as exits:
        stages = [exits.enter_context(open_stage(database, real)) for database in databases]
        with suppress(KeyboardInterrupt):  # then what was done is reported
            for number in range(rounds):
                stage = stages[number % len(stages)]
                report.outcomes.append(KINDS[only or draw(chance, real)].hold(stage, chance))
                told(report.outcomes[-1])
    report.seconds = time.perf_counter() - start
    return report


def draw(chance: Random, real: Real | None) -> str:
    possible = {name: kind.share for name, kind in KINDS.items() if real or not kind.real}
    return chance.choices(list(possible), list(possible.values()))[0]


@contextmanager
def open_stage(database: str, real: Real | None) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="facesvc-faults-") as name, ExitStack() as exits:
        folder = Path(name)
        if database == "postgresql":
            admin = exits.enter_context(postgresql())
            open_url = partial(postgresql_database, admin)
        else:
            open_url = partial(sqlite_database, folder)
        yield Stage(database, folder, open_url, real, exits)


@contextmanager
def sqlite_database(folder: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        yield migrated_sqlite(Path(name))


def prepare() -> Real:
    """Fetches the samples and builds the pack, once per machine."""
    from facesvc.cli.samples import fetch
    from facesvc.models.packs import Packs

    cache = user_cache_path("facesvc")
    fetch(cache / "samples")
    Packs(cache / "fault-packs").build(PACK)
    return Real(cache / "fault-packs", cache / "samples")


@contextmanager
def bar(rounds: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as shown:
        task = shown.add_task("rounds", total=rounds)
        wrong = 0

        def told(outcome: Outcome) -> None:
            nonlocal wrong
            wrong += len(outcome.violations)
            for violation in outcome.violations:
                shown.console.print(f"{outcome.database}, {outcome.kind}: {violation}", markup=False)
            shown.update(task, advance=1, description=f"{outcome.kind}, {wrong} violations")

        yield told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=(*DATABASES, "both"), default="both")
    parser.add_argument("--kind", choices=sorted(KINDS), help="rounds of this kind alone")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write everything as JSON")
    asked = parser.parse_args()
    databases = DATABASES if asked.database == "both" else (asked.database,)
    with bar(asked.rounds) as told:
        report = hold(asked.rounds, asked.seed, databases, prepare(), told, asked.kind)
    if asked.report:
        outcomes = [asdict(outcome) for outcome in report.outcomes]
        asked.report.write_text(json.dumps(report.summary() | {"outcomes": outcomes}, indent=1) + "\n")
    print(report.table())
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
