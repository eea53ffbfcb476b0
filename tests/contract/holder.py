"""Does work alone until its input ends, and says so. Run by test_store_locks."""

import sys

from facesvc.storage.engine import open_engine
from tests.support.databases import open_store


def main(url: str, name: str) -> None:
    store = open_store(open_engine(url))
    print("started", flush=True)
    with store.locks.alone(name):
        print("alone", flush=True)
        sys.stdin.read()
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
