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
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sqlalchemy import Engine, insert, update

from benchmarks.galleries import Population
from facesvc.core.types import Gallery, NewGallery
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.growing import storable
from facesvc.index.local import SnapshotHome
from facesvc.storage.engine import open_engine
from facesvc.storage.migrate import upgrade
from facesvc.storage.references import SqlReferenceStore
from facesvc.storage.tables import GalleryRow, ReferenceRow, RevisionRow, SubjectRow, TemplateRow
from facesvc.storage.templates import pack
from tests.support.databases import open_store

EACH = 3
STARTS = 3
DELETIONS = 20
VERSION = "sha256:benchmark"
QUALITY = {
    "face_size": 112.0,
    "sharpness": 40.0,
    "yaw": 0.0,
    "pitch": 0.0,
    "roll": 0.0,
    "brightness": 120.0,
    "contrast": 50.0,
    "reasons": [],
}


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
    """A gallery "people" of ``size`` references, by plain insertion: enrolment is measured elsewhere."""
    store = open_store(engine)
    home = store.create_gallery(NewGallery("people"), VERSION)
    task = progress.add_task(f"{size:,} references", total=size)
    done = 0
    for piece in Population().templates(size):
        keys = range(done + 1, done + 1 + len(piece))
        with engine.begin() as connection:
            owners = sorted({(key - 1) // EACH + 1 for key in keys} - {done // EACH + 1 if done % EACH else 0})
            connection.execute(insert(SubjectRow), [subject(home, key) for key in owners])
            connection.execute(insert(ReferenceRow), [reference(home, key) for key in keys])
            rows = [template(home, key, row.tobytes()) for key, row in zip(keys, piece, strict=True)]
            connection.execute(insert(TemplateRow), rows)
            connection.execute(insert(RevisionRow), [logged(home, key) for key in keys])
        done += len(piece)
        progress.advance(task, len(piece))
    with engine.begin() as connection:
        counts = {"revision": size, "references": size, "templates": size, "subjects": -(-size // EACH)}
        connection.execute(update(GalleryRow).values(counts))


def subject(home: Gallery, key: int) -> dict[str, object]:
    now = datetime.now(UTC)
    named = {"key": key, "id": f"subject {key}", "display_name": None, "references": EACH, "metadata": {}}
    return named | {"tenant": "default", "gallery_key": home.key, "created_at": now, "updated_at": now}


def reference(home: Gallery, key: int) -> dict[str, object]:
    import numpy as np

    numbers = np.zeros(10, np.float32)
    return {
        "tenant": "default",
        "key": key,
        "id": f"ref_{key:026x}",
        "gallery_key": home.key,
        "subject_key": (key - 1) // EACH + 1,
        "image_sha256": f"{key:064x}",
        "box": pack(numbers[:4]),
        "landmarks": pack(numbers),
        "score": 1.0,
        "quality": QUALITY,
        "has_photograph": False,
        "created_at": datetime.now(UTC),
    }


def template(home: Gallery, key: int, vector: bytes) -> dict[str, object]:
    return logged(home, key, op=None) | {"vector": vector}


def logged(home: Gallery, key: int, op: str | None = "add") -> dict[str, object]:
    row = {"tenant": "default", "gallery_key": home.key, "reference_key": key, "revision": key}
    return row | {"template_version": VERSION} | ({"op": op} if op else {})


def home(store: SqlReferenceStore, folder: Path, least: int) -> SnapshotHome:
    return SnapshotHome(lambda _: storable("auto", 1.0), store, folder, least)


def start(url: str, folder: Path, least: int) -> tuple[float, str]:
    """Seconds until the gallery is in memory, and the kind of its index."""
    engine = open_engine(url)
    store = open_store(engine)
    gallery = store.gallery("people")
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
        indexes.caught_up(store.gallery("people"))
        written = time.perf_counter()
        indexes.follow(lambda: False)
        written = time.perf_counter() - written
        progress.advance(task)
        snapshot = [begin(url, folder / "snapshots", progress, task) for _ in range(STARTS)]
        used = sum(path.stat().st_size for path in (folder / "snapshots").rglob("*"))
        deleting = [delete(store, indexes, number) for number in range(1, DELETIONS + 1)]
        engine.dispose()
    slow, fast = median(s for s, _ in database), median(s for s, _ in snapshot)
    kind = snapshot[0][1]
    return Figures(size, kind, slow, fast, slow / fast, written, 1000 * median(deleting), used / size)


def begin(url: str, folder: Path, progress: Progress, task: object) -> tuple[float, str]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(start, (url, folder, 1))
    progress.advance(task)  # type: ignore[arg-type]
    return found


def delete(store: SqlReferenceStore, indexes: GalleryIndexes, number: int) -> float:
    """Seconds in which a deleted subject's codes leave the snapshot, and memory."""
    store.delete_subject("people", f"subject {number}")
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
