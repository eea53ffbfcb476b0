"""Which file format some bytes are, told by their first bytes alone: names, types and extensions lie.

Decoders are never tried in turn: one small allow-list keeps what a stranger's file can reach small.
"""

import re

from facesvc.errors import NotAnImage, UnsupportedFormat

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
