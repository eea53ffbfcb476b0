"""1:N search by size of gallery: our whole search beside bare FAISS on the same index, in turns, on one thread.

    python -m benchmarks.search --sizes 1e4 1e5 1e6 --engines pgvector-scan pgvector-hnsw milvus-lite \\
        --output search.json --plot search.png

Galleries hold two photographs of each person; half of the probes are a third photograph of somebody in it, half are
strangers. Ours is the service's search without the database: lock, shortlist, keys, and exact rescoring of the
shortlist from an array. FAISS is asked for the rows of 20 neighbours on the very index that ours holds: flat and
compressed scan everything, as ours do; large is set against a scan of all its 8-bit codes. With --engines the same
searches are asked of pgvector and Milvus Lite, each a server of its own process.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.galleries import CHUNK, Population
from facesvc.core.ports import TemplateIndex
from facesvc.core.types import Vectors
from facesvc.index.compressed import CompressedIndex
from facesvc.index.flat import DenseIndex, FlatIndex
from facesvc.index.large import LargeIndex

KINDS: dict[str, Callable[[], DenseIndex]] = {"flat": FlatIndex, "compressed": CompressedIndex, "large": LargeIndex}
K = 20
"""Neighbours that the service asks for when it is asked for five subjects."""
FLAT_AT_MOST = 2_000_000
"""A larger gallery's own vectors are not put into a flat index: at ten million they take 5 GB."""
LARGE_FROM = 100_000
ENGINES_AT_MOST = 100_000
"""A hundred thousand take pgvector four minutes of a busy core to build a graph of; a million were left out."""
STRANGERS_START = 50_000_000
WRITES = 200


@dataclass(frozen=True)
class Figures:
    """Of one kind at one size. Times in ms; recall of ours, of FAISS's own first neighbours on these codes."""

    kind: str
    size: int
    bytes_a_face: float
    resident_a_face: float
    build_s: float
    ours_p50: float
    ours_p99: float
    faiss_p50: float
    faiss_p99: float
    ratio_p50: float
    ratio_p99: float
    recall_1: float
    recall_10: float
    faiss_recall_1: float
    shortlist: float
    add_ms: float
    delete_ms: float
    delete_p99_ms: float


class Gallery:
    """size templates, the probes, and what the oracle answers."""

    def __init__(self, size: int, probes: int, progress: Progress) -> None:
        self.population, self.size = Population(), size
        self.vectors = np.empty((size, 128), np.float32)
        task = progress.add_task(f"{size:,} templates", total=size)
        filled = 0
        for photograph in (0, 1):
            for piece in self.population.templates(size // 2, photograph=photograph):
                self.vectors[filled : filled + len(piece)] = piece
                filled += len(piece)
                progress.advance(task, len(piece))
        known = next(self.population.templates(min(size // 2, CHUNK), photograph=2))
        chosen = np.random.default_rng(1).choice(len(known), probes // 2, replace=False)
        strangers = next(self.population.templates(probes // 2, start=STRANGERS_START))
        self.probes = np.random.default_rng(2).permutation(np.concatenate([known[chosen], strangers]))
        self.nearest = self._oracle(progress)

    def _oracle(self, progress: Progress) -> NDArray[np.int64]:
        """(n 10): exact neighbours, by piecewise brute force."""
        import faiss

        heap = faiss.ResultHeap(len(self.probes), 10)
        for start in progress.track(range(0, self.size, CHUNK), description="exact neighbours"):
            distances, rows = faiss.knn(self.probes, self.vectors[start : start + CHUNK], 10)
            heap.add_result(distances, rows + start)
        heap.finalize()
        return heap.I


def rescored(gallery: Gallery, probe: Vectors, shortlist: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The k nearest keys of a shortlist, by the vectors themselves; key i is row i of the gallery."""
    found = shortlist[shortlist >= 0]
    distances = np.square(gallery.vectors[found].astype(np.float64) - probe).sum(axis=1)
    return found[np.argsort(distances, kind="stable")[:k]]


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds, and what was returned."""
    start = time.perf_counter()
    result = call()
    return (time.perf_counter() - start) * 1000, result


def resident() -> int:
    """Bytes of this process that lie in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize()


def build(kind: str, gallery: Gallery, progress: Progress) -> tuple[DenseIndex, float, float]:
    """The index, the seconds it took, the resident bytes a face."""
    index, before, start = KINDS[kind](), resident(), time.perf_counter()
    for first in progress.track(range(0, gallery.size, CHUNK), description=f"{kind}: adding"):
        last = min(first + CHUNK, gallery.size)
        index.add(np.arange(first, last), gallery.vectors[first:last])
    return index, time.perf_counter() - start, (resident() - before) / gallery.size


def measure(kind: str, gallery: Gallery, progress: Progress) -> Figures:
    index, build_s, resident_a_face = build(kind, gallery, progress)
    size_a_face = index.nbytes / gallery.size
    bare, scale = index._index, getattr(index, "step", 1)
    ours, faiss, answers, rows, lengths = [], [], [], [], []
    for probe in progress.track(gallery.probes, description=f"{kind}: searching"):
        spent, (shortlist, best) = timed(lambda probe=probe: whole_search(index, gallery, probe))
        ours.append(spent)
        answers.append(best[:10])
        lengths.append(int((shortlist >= 0).sum()))
        spent, (_, found) = timed(lambda probe=probe: bare.search(probe[None] / scale, K))
        faiss.append(spent)
        rows.append(found[0])
    percentiles = [float(np.percentile(values, at)) for values in (ours, faiss) for at in (50, 99)]
    return Figures(
        kind,
        gallery.size,
        size_a_face,
        resident_a_face,
        build_s,
        *percentiles,
        ratio_p50=percentiles[0] / percentiles[2],
        ratio_p99=percentiles[1] / percentiles[3],
        faiss_recall_1=recall(rows, gallery)["recall_1"],
        shortlist=float(np.median(lengths)),
        **recall(answers, gallery),
        **writes(index, gallery),
    )


def recall(answers: Sequence[NDArray[np.int64]], gallery: Gallery) -> dict[str, float]:
    """How often the nearest comes first, and how many of the ten nearest are among the first ten."""
    pairs = list(zip(answers, gallery.nearest, strict=True))
    return {
        "recall_1": float(np.mean([found[0] == wanted[0] for found, wanted in pairs])),
        "recall_10": float(np.mean([len(set(found[:10]) & set(wanted)) / 10 for found, wanted in pairs])),
    }


def whole_search(index: TemplateIndex, gallery: Gallery, probe: Vectors) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The shortlist's keys, and the nearest K of them."""
    shortlist = index.search(probe[None], K)[1][0]
    return shortlist, rescored(gallery, probe, shortlist, K)


def writes(index: TemplateIndex, gallery: Gallery) -> dict[str, float]:
    """One reference at a time: removed from anywhere, and added again."""
    keys = np.random.default_rng(3).choice(gallery.size, WRITES, replace=False)
    removed = [timed(lambda key=key: index.remove(np.array([key])))[0] for key in keys]
    added = [timed(lambda key=key: index.add(np.array([key]), gallery.vectors[key : key + 1]))[0] for key in keys]
    return {
        "add_ms": float(np.median(added)),
        "delete_ms": float(np.median(removed)),
        "delete_p99_ms": float(np.percentile(removed, 99)),
    }


def kinds_at(size: int) -> list[str]:
    left_out = {"flat": size > FLAT_AT_MOST, "large": size < LARGE_FROM}
    return [kind for kind in KINDS if not left_out.get(kind)]


def show(reports: Sequence[Figures]) -> None:
    table = Table(title=f"search of {K} neighbours, one thread; ms, ours / FAISS")
    columns = (
        "kind",
        "faces",
        "bytes a face",
        "build s",
        "p50",
        "p99",
        "ratio p50, p99",
        "recall@1, @10",
        "add, delete",
    )
    for name in columns:
        table.add_column(name, no_wrap=True)
    for f in reports:
        table.add_row(
            f.kind,
            f"{f.size:,}",
            f"{f.bytes_a_face:.0f}",
            f"{f.build_s:.1f}",
            f"{f.ours_p50:.2f} / {f.faiss_p50:.2f}",
            f"{f.ours_p99:.2f} / {f.faiss_p99:.2f}",
            f"{f.ratio_p50:.2f}, {f.ratio_p99:.2f}",
            f"{f.recall_1:.4f}, {f.recall_10:.4f}",
            f"{f.add_ms:.3f}, {f.delete_ms:.3f}",
        )
    Console(width=140).print(table)


def plot(reports: Sequence[Any], path: Path) -> None:
    """reports: Figures, and benchmarks.engines.EngineFigures."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.5), layout="constrained")
    latency, memory, changes = figure.subplots(1, 3)
    for number, kind in enumerate(dict.fromkeys(f.kind for f in reports)):
        own, colour = [f for f in reports if f.kind == kind], f"C{number}"
        sizes = [f.size for f in own]
        latency.plot(sizes, [f.ours_p50 for f in own], "o-", color=colour, label=kind)
        latency.plot(sizes, [f.ours_p99 for f in own], ":", color=colour)
        if isinstance(own[0], Figures):
            latency.plot(sizes, [f.faiss_p50 for f in own], "x", color=colour)
        memory.plot(sizes, [f.bytes_a_face for f in own], "o-", color=colour)
        changes.plot(sizes, [f.add_ms for f in own], "o-", color=colour)
        changes.plot(sizes, [f.delete_ms for f in own], ":", color=colour)
    latency.set(xscale="log", yscale="log", xlabel="faces", ylabel="ms", title="search (dotted: 99 %; x: bare FAISS)")
    memory.set(xscale="log", yscale="log", xlabel="faces", ylabel="bytes", title="memory, or disk, a face")
    changes.set(xscale="log", yscale="log", xlabel="faces", ylabel="ms", title="adding one (dotted: deleting one)")
    figure.legend(*latency.get_legend_handles_labels(), loc="outside right center")
    figure.savefig(path, dpi=110)


def main() -> None:
    from benchmarks.engines import ENGINES, measure_engine, show_engines  # here: it is built on this module

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=lambda text: int(float(text)), default=[10**4, 10**5, 10**6])
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--engines", nargs="*", choices=list(ENGINES), default=[], help="vector engines, too")
    parser.add_argument("--probes", type=int, default=1000)
    parser.add_argument("--output", type=Path, help="figures as JSON")
    parser.add_argument("--plot", type=Path, help="latency, memory and the cost of writes by size, as PNG")
    arguments = parser.parse_args()
    reports: list[Figures] = []
    engines: list[Any] = []
    with Progress(console=Console(stderr=True)) as progress:
        for size in arguments.sizes:
            gallery = Gallery(size, arguments.probes, progress)
            reports += [measure(kind, gallery, progress) for kind in kinds_at(size) if kind in arguments.kinds]
            asked = arguments.engines if size <= ENGINES_AT_MOST else []
            engines += [measure_engine(name, gallery, progress) for name in asked]
    if reports:
        show(reports)
    if engines:
        show_engines(engines)
    if arguments.output:
        arguments.output.write_text(json.dumps([asdict(f) for f in (*reports, *engines)], indent=1) + "\n")
    if arguments.plot:
        plot([*reports, *engines], arguments.plot)


if __name__ == "__main__":
    main()
