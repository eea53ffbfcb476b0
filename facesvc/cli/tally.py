"""What a batch run came to."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from facesvc.cli.rows import Row


@dataclass(slots=True)
class Tally:
    """files, faces: numbers seen, resumed_faces by an earlier run; decisions, errors: numbers by decision and code."""

    files: int = 0
    faces: int = 0
    resumed_faces: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, rows: Iterable[Row]) -> None:
        """Counts the rows of one file."""
        self.files += 1
        for row in rows:
            if row["code"] is not None:
                self.errors[row["code"]] += 1
            else:
                self.faces += 1
                self.decisions[row["decision"]] += 1

    def __str__(self) -> str:
        text = (
            f"{self.files} files, {self.faces} faces: {numbers(self.decisions, ('match', 'unknown', 'inconclusive'))}"
        )
        return text + (f"; not processed: {numbers(self.errors)}" if self.errors else "")


def numbers(counted: Counter[str], names: Iterable[str] = ()) -> str:
    """ "3 match, 1 unknown"; the most frequent first where no names are given."""
    return ", ".join(f"{counted[name]} {name}" for name in (names or [name for name, _ in counted.most_common()]))
