"""Enrols and erases without end, and says so after each acknowledged write. Run by test_store_kill."""

import sys

from facesvc.storage.engine import open_engine
from tests.support.databases import new_reference, open_store


def main(url: str, start: int) -> None:
    store = open_store(open_engine(url))
    for seed in range(start, start + 10**6):
        stored = store.references.add(
            "staff", f"subject {seed % 7}", [new_reference(2 * seed), new_reference(2 * seed + 1)]
        )
        print("+", *(reference.id for reference in stored), flush=True)
        if seed % 3 == 0:
            store.references.delete("staff", stored[0].subject, stored[0].id)
            print("-", stored[0].id, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
