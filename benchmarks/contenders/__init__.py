"""One file a contender: each compares two photographs from their files to a distance, on one thread.

A contender is a process: it loads its models, prints "ready", then for every line "A<tab>B" on stdin
answers one JSON line {"ms": total, "stages": {...}, "distance": ...}.
"""
