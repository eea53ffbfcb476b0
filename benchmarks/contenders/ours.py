"""facesvc, through the same extraction chain as the service."""

import sys
from pathlib import Path

from benchmarks.contenders.loop import answer
from facesvc.bootstrap import load_pack, open_extractor
from facesvc.config import Settings
from facesvc.core.compare import distance
from facesvc.core.types import FaceChoice

settings = Settings(workers=1, **dict(option.split("=") for option in sys.argv[1:]))  # type: ignore[arg-type]
with open_extractor(settings, load_pack(settings)) as extractor:

    def compare(a: str, b: str) -> tuple[float, dict[str, float]]:
        first, second = (extractor.extract(Path(file).read_bytes(), FaceChoice.PROMINENT) for file in (a, b))
        stages = {stage: first.timings[stage] + second.timings[stage] for stage in first.timings}
        return distance(first.samples[0].template, second.samples[0].template), stages

    answer(compare)
