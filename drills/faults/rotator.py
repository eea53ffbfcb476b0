"""Rotates the default tenant's data key: a process to be killed. A line for each step it has made."""

import sys

from facesvc.storage.engine import open_engine
from tests.support.databases import process

if __name__ == "__main__":
    for rows in process(open_engine(sys.argv[1])).encryption("default").rotate_data_key():
        print(rows, flush=True)
