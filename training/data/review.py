"""What people decided on after looking at a data set's suspected label noise; ``training.clean`` drafts it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from facesvc.errors import RequestError


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Review:
    """merge: pairs of subjects (folder names) that are one person; drop: photographs to leave out, ``folder/file``;
    exclude: subjects to leave out whole."""

    merge: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def names(self) -> Mapping[str, str]:
        """Folder name -> subject, for those that ``merge`` renames: each group takes its first name in order."""
        parents: dict[str, str] = {}

        def root(name: str) -> str:
            while name in parents:
                name = parents[name]
            return name

        for first, second in self.merge:
            low, high = sorted((root(first), root(second)))
            if low != high:
                parents[high] = low
        return {name: root(name) for name in parents}


def read_review(path: Path) -> Review:
    """Raises RequestError where the file can't be read or is no review."""
    try:
        return TypeAdapter(Review).validate_json(path.read_bytes())
    except OSError as error:
        raise RequestError(f"{path} can't be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise RequestError(f"{path} is no review: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
