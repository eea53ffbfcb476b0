"""The captures of a whole list of files, side by side."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from facesvc.core.ports import Extractor
from facesvc.core.types import Capture, FaceChoice
from facesvc.errors import FaceServiceError
from facesvc.threads import ordered_map


def extract_files(
    extractor: Extractor, files: Iterable[Path], choice: FaceChoice, workers: int
) -> Iterator[tuple[Path, Capture | FaceServiceError]]:
    """Each file with its capture, or with the error that refused it; in the order given."""

    def extract(file: Path) -> Capture | FaceServiceError:
        try:
            return extractor.extract(file.read_bytes(), choice)
        except FaceServiceError as error:
            return error

    return ordered_map(extract, files, workers)
