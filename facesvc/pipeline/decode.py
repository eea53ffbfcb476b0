"""First stage: a stranger's bytes -> an upright 8-bit RGB image, or a named error and nothing else.

Pillow's and pillow-heif's decoders are called by name, not through ``PIL.Image.open``: no plugin is registered,
no decoder is tried that the first bytes did not ask for.

Which file format some bytes are, told by their first bytes alone: names, types and extensions lie.

Decoders are never tried in turn: one small allow-list keeps what a stranger's file can reach small.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image as Pillow
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from facesvc.core.types import Image
from facesvc.errors import CorruptImage, ImageError, ImageTooLarge, ImageTooSmall, NotAnImage, UnsupportedFormat

SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF....WEBP",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
}
"""Formats that can be decoded, with the pattern that their files start with."""

BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "HEIC"
)
"""ISO base media brands of still pictures (ISO/IEC 23008-12 annex B, AVIF 1.1 section 6)."""

REFUSED = {
    "TIFF or camera raw": rb"II\*\0|MM\0\*|II\+\0|MM\0\+|IIRO|IIRS|IIU\0|FUJIFILMCCD-RAW",
    "PDF": rb"%PDF-",
    "PostScript": rb"%!PS|\xc5\xd0\xd3\xc6",
    "SVG": rb"(?:\xef\xbb\xbf)?\s*<(?:svg|[?!].*<svg)[\s>]",
    "Photoshop": rb"8BPS",
    "GIMP": rb"gimp xcf",
    "icon": rb"\0\0[\x01\x02]\0.\0|icns",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "JPEG XR": rb"II\xbc",
    "OpenEXR": rb"v/1\x01",
    "Radiance": rb"#\?RADIANCE|#\?RGBE",
    "Netpbm": rb"P[1-7FfH]\s",
    "QOI": rb"qoif",
    "DDS": rb"DDS ",
    "DjVu": rb"AT&TFORM",
    "Windows metafile": rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF",
    "video": rb"....ftyp|....moov|RIFF....AVI |\x1a\x45\xdf\xa3|\0\0\x01[\xb3\xba]|FLV\x01|OggS",
}
"""Pictures and videos that are recognised in order to say so, but never decoded."""

HEAD = 2048
"""Bytes looked at."""


def sniff(data: bytes) -> str:
    """Name of the format of ``data``: a key of SIGNATURES, or a value of BRANDS.

    Raises UnsupportedFormat for the formats of REFUSED, NotAnImage for anything else.
    """
    head = bytes(data[:HEAD])
    for name, pattern in SIGNATURES.items():
        if re.match(pattern, head, re.DOTALL):
            return name
    if (name := _brand(head)) is not None:
        return name
    for name, pattern in REFUSED.items():
        if re.match(pattern, head, re.DOTALL):
            raise UnsupportedFormat(f"{name} files are not supported; send JPEG, PNG, WebP, HEIC, AVIF, GIF or BMP")
    raise NotAnImage("the file is empty" if not data else "the file is of no known image format")


def _brand(head: bytes) -> str | None:
    """Format named by the file type box: the major brand first, then the compatible ones, as generic brands
    (``mif1``) come first in files of either format. None where there is no such box or brand."""
    if head[4:8] != b"ftyp":
        return None
    box = head[8 : min(int.from_bytes(head[:4], "big"), len(head))]
    brands = [box[i : i + 4] for i in range(0, len(box) - 3, 4) if i != 4]  # 4: the minor version
    return next((BRANDS[brand] for brand in brands if brand in BRANDS), None)


REDUCED_SIDE = 2000
"""A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where its longest side keeps this many px: a 12 MP photograph
(4000 x 3000) is halved. Detectors work on less, and a face of 40 px there still fills a 112 px chip's landmarks."""
REDUCED_SHORT_SIDE = 500
"""What reduction leaves of the short side of a panorama, px."""
LONGEST_SIDE = 8000
"""px: whatever is longer, of any format, is halved until it is not. Detectors put a border of a share of the longer
side around a photograph: around a strip of 3 million x 16 px, of which a file of a few kilobytes may consist, that
would take terabytes; so it takes 0.3 GB at most."""
MAX_SCANS, MAX_SEGMENTS, MAX_PADDING = 100, 5000, 4096
"""Of one JPEG; padding in bytes before a header. Encoders write 1 to about 20 scans; each costs a pass over all pixels
though a scan of a few bytes is legal ("Two Issues with the JPEG Standard", libjpeg-turbo 2014), and Pillow reads
headers byte by byte in Python: so kilobytes of the one, or megabytes of the other, could keep a worker busy."""
BACKGROUND = (255, 255, 255)
"""What shows through transparent pixels: white, as viewers and printers do."""

ORIENTATION_TAG = 0x0112
ORIENTATIONS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
"""What makes a photograph upright, by its EXIF orientation (CIPA DC-008, 4.6.5.1); 1 is upright."""
JPEG_SEGMENT = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
"""A JPEG marker that starts a segment or ends the image: neither stuffing, restart nor start (ITU-T T.81, B.1.1.3)."""
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
PILLOW = re.compile(r"PIL\.")


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """max_bytes: of the file; max_pixels: width x height as declared; min_side: of the shorter side, px."""

    max_bytes: int
    max_pixels: int
    min_side: int = 16


def decode(data: bytes, limits: DecodeLimits) -> Image:
    """The photograph in ``data`` (JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP) as (h w 3) uint8 RGB, upright.

    Of an animation, the first frame. Alpha is laid on white, CMYK and 16 bit are converted by scaling. Colour
    profiles are not applied: for the wide gamuts of cameras the difference is a slight loss of saturation, which
    embedders are trained to overlook, and the transform would cost more than the decoding. Size limits are checked
    on what the header declares, before any pixel is decoded. Thread-safe.

    Raises NotAnImage, UnsupportedFormat, CorruptImage, ImageTooLarge, ImageTooSmall; nothing else.
    """
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"the file has {len(data)} bytes, at most {limits.max_bytes} are accepted")
    name = sniff(data)
    silence_pillow()
    try:
        with OPENERS[name](data) as source:
            _check_size(source.size, limits)
            return _read(source, name)
    except ImageError:
        raise
    except (MemoryError, Pillow.DecompressionBombError) as error:
        raise ImageTooLarge(f"the {name} image does not fit into memory") from error
    except Exception as error:  # decoders raise whatever a damaged file makes them meet, struct.error to IndexError
        raise CorruptImage(f"the {name} file is truncated or damaged") from error


def silence_pillow() -> None:
    """Drops Pillow's warnings on odd files (broken EXIF, malformed animation): they concern the sender, not the
    operator. Process-wide, as warning filters are; does nothing when it is done already."""
    if ("ignore", None, Warning, PILLOW, 0) not in warnings.filters:
        warnings.filterwarnings("ignore", module=PILLOW.pattern)


def _check_size(size: tuple[int, int], limits: DecodeLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageTooLarge(f"the image has {width}x{height} pixels, at most {limits.max_pixels} are accepted")
    if min(size) < limits.min_side:
        raise ImageTooSmall(f"the image has {width}x{height} pixels, each side needs {limits.min_side} or more")


def _read(source: ImageFile, name: str) -> Image:
    width, height = source.size
    if name == "JPEG":
        wide = width >= height
        source.draft(None, (REDUCED_SIDE, REDUCED_SHORT_SIDE) if wide else (REDUCED_SHORT_SIDE, REDUCED_SIDE))
    source.load()
    picture, orientation = _shortened(_rgb(source)), _orientation(source)
    if orientation in ORIENTATIONS:
        picture = picture.transpose(ORIENTATIONS[orientation])
    if orientation >= 5:  # these four lie on their side
        width, height = height, width
    return Image(np.array(picture), width, height, name)


def _shortened(picture: Pillow.Image) -> Pillow.Image:
    while max(picture.size) > LONGEST_SIDE:
        picture = picture.reduce(2)
    return picture


def _orientation(source: ImageFile) -> int:
    """EXIF (or XMP) orientation, 1..8; 1 where that metadata is absent or unreadable, as in viewers."""
    try:
        orientation = source.getexif().get(ORIENTATION_TAG)
    except Exception:  # a photograph is not refused for its metadata
        return 1
    return orientation if orientation in ORIENTATIONS else 1


def _rgb(picture: Pillow.Image) -> Pillow.Image:
    if picture.mode.startswith("I;16"):
        deep = np.asarray(picture).astype(np.uint32)
        return Pillow.fromarray(((deep * 255 + 32895) >> 16).astype(np.uint8)).convert("RGB")  # round(v / 257)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    overlay = picture.convert("RGBA")
    canvas = Pillow.new("RGB", overlay.size, BACKGROUND)
    canvas.paste(overlay, mask=overlay)
    return canvas


def _open_jpeg(data: bytes) -> ImageFile:
    at, scans = 2, 0
    for _ in range(MAX_SEGMENTS):
        marker = JPEG_SEGMENT.search(data, at)
        if not scans and (marker is None or marker.start() - at > MAX_PADDING):
            break
        if marker is None or marker[0] == END_OF_IMAGE:  # what follows the end (a video, say) is nobody's business
            return JpegImageFile(BytesIO(data))
        scans += marker[0] == START_OF_SCAN
        if scans > MAX_SCANS:
            break
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    raise CorruptImage("the JPEG file has damaged headers, or more scans or segments than any encoder writes")


def _open_bmp(data: bytes) -> ImageFile:
    source = BmpImageFile(BytesIO(data))
    if source.info.get("compression") in (BmpImageFile.COMPRESSIONS["RLE8"], BmpImageFile.COMPRESSIONS["RLE4"]):
        raise UnsupportedFormat("run-length compressed BMP files are not supported")  # unpacked in slow Python
    return source


def _open_heic(data: bytes) -> ImageFile:
    from pillow_heif import HeifImageFile  # loads libheif: only for those who send HEIC

    return HeifImageFile(BytesIO(data))


OPENERS: dict[str, Callable[[bytes], ImageFile]] = {
    "JPEG": _open_jpeg,
    "PNG": lambda data: PngImageFile(BytesIO(data)),
    "WEBP": lambda data: WebPImageFile(BytesIO(data)),
    "AVIF": lambda data: AvifImageFile(BytesIO(data)),
    "HEIC": _open_heic,
    "GIF": lambda data: GifImageFile(BytesIO(data)),
    "BMP": _open_bmp,
}
"""Reads a file's header and leaves the pixels for later, by the format's name in ``formats``."""
