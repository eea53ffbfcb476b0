"""10,000 damaged photographs through the real decoders and the detector: nothing crashes, nothing but the service's
own errors comes out, no file takes seconds, and memory stays flat."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drills.ground import prepared
from tests.support.hostile import crowds, encoded, heic, jpeg, odd_jpegs, odd_pngs, opened, other_formats

COUNT, SEED = 10_000, 20_260
SECONDS_EACH = 8.0
"""The most that one file may take; those that say they have 49 megapixels and nearly do are the slowest."""
GROWTH = 96 * 2**20
"""Bytes that memory may grow by after the first fifth: allocators keep some of what they had."""
SIDE = 240
"""Pixels of the good photographs: small files leave little room between the bytes that matter."""


@dataclass(frozen=True)
class Found:
    """outcomes: codes and how often; slowest: seconds and the file's number; warm, end: bytes of memory."""

    outcomes: Mapping[str, int]
    slowest: tuple[float, int]
    warm: int
    end: int

    def line(self, count: int, seed: int) -> str:
        outcomes = ", ".join(f"{code} {times}" for code, times in sorted(self.outcomes.items()))
        return (
            f"{count} damaged photographs (seed {seed}): 0 crashes; {outcomes}; slowest {self.slowest[0]:.2f} s; "
            f"memory {self.warm / 2**20:.0f} MiB after warm-up, {self.end / 2**20:.0f} MiB at the end"
        )


def good_files(photographs: Mapping[str, bytes]) -> dict[str, bytes]:
    """One of every format and kind that the service decodes, small."""
    portrait = opened(photographs["obama2"]).resize((SIDE * 313 // 600, SIDE))
    large = {"phone_12_megapixels.jpg", "long_comment.jpg", "exif_bomb.jpg", "one_bit.png"}
    families = (odd_jpegs(portrait), odd_pngs(portrait), other_formats(portrait))
    files = {name: file.data for family in families for name, file in family.items() if name not in large}
    crowd = opened(crowds(dict(photographs))["ten_faces.jpg"].data).resize((500, 250))
    files |= {"crowd.jpg": jpeg(crowd), "crowd.webp": encoded(crowd, "WEBP"), "crowd.heic": heic(crowd)}
    return files


def fuzz(folder: Path, photographs: Mapping[str, bytes], packs: Path, count: int, seed: int = SEED) -> Found:
    """Raises AssertionError for a crash, naming the file that did it."""
    (folder / "good").mkdir()
    for name, data in good_files(photographs).items():
        (folder / "good" / name).write_bytes(data)
    command = [sys.executable, "-m", "drills.image_child", folder, packs, count, seed]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=Path(__file__).parents[1])
    at = (folder / "current").read_text().strip() if (folder / "current").exists() else "none"
    assert done.returncode == 0, f"seed {seed}, file {at}: ended with {done.returncode}: {done.stderr[-800:]}"
    found: dict[str, Any] = json.loads(done.stdout)
    return Found(found["outcomes"], tuple(found["slowest"]), found["warm"], found["end"])


def require(found: Found) -> None:
    """Raises AssertionError where something else than the service's own errors came out, or resources went."""
    leaked = {code: times for code, times in found.outcomes.items() if code.startswith("LEAKED")}
    assert not leaked, f"exceptions that are not the service's own: {leaked}"
    assert found.slowest[0] < SECONDS_EACH, f"file {found.slowest[1]} took {found.slowest[0]:.1f} s"
    assert found.end - found.warm < GROWTH, f"memory grew from {found.warm} to {found.end} bytes"


def run(folder: Path) -> str:
    real = prepared()
    found = fuzz(folder, real.photographs, real.packs, COUNT)
    require(found)
    return found.line(COUNT, SEED)
