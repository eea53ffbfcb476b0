"""How long a new process takes until a gallery can be searched: from the database alone, and from a snapshot.

    python -m benchmarks.startup --sizes 1e4 1e5 1e6 --output startup.json --plot startup.png

The database is SQLite, in a folder of its own, filled with templates that are spread as those of real faces are, three
references of each subject. Every start is that of a new process, without the imports; files lie in the system's cache,
as they do when a service is started again. Deleting: one subject's references out of the snapshot on disk.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sqlalchemy import Engine

from benchmarks.galleries import Population
from facesvc.core.types import Entry, Face, KeptReference, NewGallery, NewReference, Quality, Sample, Template
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.growing import storable
from facesvc.index.local import SnapshotHome
from facesvc.storage.bulk import SqlExchange
from facesvc.storage.engine import open_engine
from facesvc.storage.migrate import upgrade
from facesvc.storage.store import Store
from tests.support.databases import open_store

EACH = 3
STARTS = 3
DELETIONS = 20
VERSION = "sha256:benchmark"
BATCH = 500
"""References stored in one transaction."""
FACE = Face(np.zeros(4, np.float32), np.zeros((5, 2), np.float32), 1.0)
QUALITY = Quality(112.0, 40.0, 0.0, 0.0, 0.0, 120.0, 50.0, ())


@dataclass(frozen=True)
class Figures:
    """Of one size; seconds are medians of STARTS starts, milliseconds of DELETIONS deletions."""

    size: int
    kind: str
    database_s: float
    snapshot_s: float
    ratio: float
    write_s: float
    delete_ms: float
    bytes_a_face: float


def fill(engine: Engine, size: int, progress: Progress) -> None:
    """Fill a new gallery "people" with ``size`` references in bulk: enrolment is measured elsewhere."""
    store = open_store(engine)
    store.galleries.create(NewGallery("people"), VERSION)
    exchange = SqlExchange(engine, store.tenant, store.codec)
    task = progress.add_task(f"{size:,} references", total=size)
    vectors = (vector for piece in Population().templates(size) for vector in piece)
    entries = map(entry, count(), vectors)
    while batch := list(islice(entries, BATCH)):
        exchange.add("people", batch)
        progress.advance(task, len(batch))


def entry(number: int, vector: NDArray[np.float32]) -> Entry:
    """Return a subject's reference. vector: its template's, (128,) float32."""
    now = datetime.now(UTC)
    sample = Sample(FACE, QUALITY, Template(vector, VERSION))
    reference = KeptReference(f"ref_{number:026x}", NewReference(sample, f"{number:064x}"), now)
    return Entry(f"subject {number // EACH}", None, {}, now, reference)


def home(store: Store, folder: Path, least: int) -> SnapshotHome:
    return SnapshotHome(lambda _: storable("auto", 1.0), store, folder, least)


def start(url: str, folder: Path, least: int) -> tuple[float, str]:
    """Seconds until the gallery is in memory, and the kind of its index."""
    engine = open_engine(url)
    store = open_store(engine)
    gallery = store.galleries.get("people")
    storable("auto", 1.0)  # loads the library
    begun = time.perf_counter()
    index = GalleryIndexes(store, home(store, folder, least)).caught_up(gallery).index
    seconds = time.perf_counter() - begun
    assert len(index) == gallery.references
    engine.dispose()
    return seconds, index.kind


def measure(size: int, progress: Progress) -> Figures:
    with tempfile.TemporaryDirectory() as name:
        folder, url = Path(name), f"sqlite:///{name}/facesvc.db"
        upgrade(url)
        engine = open_engine(url)
        fill(engine, size, progress)
        task = progress.add_task("starts", total=2 * STARTS + 1)
        database = [begin(url, folder / "none", progress, task) for _ in range(STARTS)]
        store = open_store(engine)
        kept = home(store, folder / "snapshots", 1)
        indexes = GalleryIndexes(store, kept)
        indexes.caught_up(store.galleries.get("people"))
        written = time.perf_counter()
        indexes.follow(lambda: False)
        written = time.perf_counter() - written
        progress.advance(task)
        snapshot = [begin(url, folder / "snapshots", progress, task) for _ in range(STARTS)]
        used = sum(path.stat().st_size for path in (folder / "snapshots").rglob("*"))
        deleting = [delete(store, indexes, number) for number in range(DELETIONS)]
        engine.dispose()
    slow, fast = median(s for s, _ in database), median(s for s, _ in snapshot)
    kind = snapshot[0][1]
    return Figures(size, kind, slow, fast, slow / fast, written, 1000 * median(deleting), used / size)


def begin(url: str, folder: Path, progress: Progress, task: object) -> tuple[float, str]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(start, (url, folder, 1))
    progress.advance(task)  # type: ignore[arg-type]
    return found


def delete(store: Store, indexes: GalleryIndexes, number: int) -> float:
    """Seconds in which a deleted subject's codes leave the snapshot, and memory."""
    store.subjects.delete("people", f"subject {number}")
    begun = time.perf_counter()
    indexes.follow(lambda: False)
    return time.perf_counter() - begun


def table(found: Sequence[Figures]) -> Table:
    heads = ("References", "Index", "From the database s", "From a snapshot s", "Ratio", "Writing it s")
    shown = Table(*heads, "Deleting from it ms", "Bytes a face")
    for f in found:
        times = (f"{f.database_s:.2f}", f"{f.snapshot_s:.2f}", f"{f.ratio:.0f}", f"{f.write_s:.2f}")
        shown.add_row(f"{f.size:,}", f.kind, *times, f"{f.delete_ms:.1f}", f"{f.bytes_a_face:.0f}")
    return shown


def plot(found: Sequence[Figures], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4))
    sizes = [f.size for f in found]
    axes.loglog(sizes, [f.database_s for f in found], "o-", label="from the database")
    axes.loglog(sizes, [f.snapshot_s for f in found], "s-", label="from a snapshot")
    axes.set(xlabel="references", ylabel="seconds until the gallery can be searched")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=lambda text: int(float(text)), nargs="+", default=[10_000, 100_000])
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a plot, .png or .svg")
    asked = parser.parse_args()
    with Progress(console=Console(stderr=True)) as progress:
        found = [measure(size, progress) for size in asked.sizes]
    if asked.output:
        asked.output.write_text(json.dumps([asdict(figures) for figures in found], indent=1) + "\n")
    if asked.plot:
        plot(found, asked.plot)
    Console(width=140).print(table(found))


if __name__ == "__main__":
    main()
