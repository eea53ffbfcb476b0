"""Hostile and odd files, made from the sample photographs, each with the code that the service owes it.

"ok": a face is found. Codes of ``errors.ImageError`` come from decoding; "no_face" from detection.
"""

import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image
from PIL.Image import Transpose
from pillow_heif import from_pillow

from facesvc.core.types import Pixels

Files = dict[str, "HostileFile"]
LAID_DOWN = {
    1: None,
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}
"""How a camera that writes this EXIF orientation stores an upright picture: the inverse of the turn it asks for."""


class HostileFile(NamedTuple):
    data: bytes
    code: str


def hostile_files(photographs: dict[str, bytes]) -> Files:
    """Name (with a plausible extension) -> file and code; needs ``obama2``, ``biden``, ``astronaut``, ``group``,
    ``no_face`` of ``photographs``."""
    portrait = opened(photographs["obama2"]).resize((313, 600))
    return {
        **odd_jpegs(portrait),
        **turned(portrait),
        **odd_pngs(portrait),
        **other_formats(portrait),
        **truncated(portrait),
        **damaged(portrait),
        **foreign(portrait),
        **bombs(portrait),
        **odd_sizes(portrait),
        **faceless(portrait, photographs["no_face"]),
        **crowds(photographs),
    }


def opened(data: bytes) -> Image.Image:
    with Image.open(BytesIO(data)) as picture:
        return picture.convert("RGB")


def encoded(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    content = BytesIO()
    picture.save(content, file_format, **options)
    return content.getvalue()


def jpeg(picture: Image.Image, **options: Any) -> bytes:
    return encoded(picture, "JPEG", **({"quality": 90} | options))


def heic(picture: Image.Image) -> bytes:
    content = BytesIO()
    from_pillow(picture).save(content, quality=90)
    return content.getvalue()


# --- odd, but right ---------------------------------------------------------------------------------


def odd_jpegs(portrait: Image.Image) -> Files:
    cmyk = portrait.convert("CMYK")
    files = {
        "plain.jpg": jpeg(portrait),
        "progressive.jpg": jpeg(portrait, progressive=True),
        "grey.jpg": jpeg(portrait.convert("L")),
        "cmyk.jpg": jpeg(cmyk),
        "ycck.jpg": ycck(cmyk),
        "subsampled.jpg": jpeg(portrait, subsampling="4:2:0", quality=40),
        "garbage_after_end.jpg": jpeg(portrait) + b"\xff\xda\0garbage" * 1000,
        "exif_garbage.jpg": jpeg(portrait, exif=b"Exif\0\0" + bytes(range(256)) * 8),
        "exif_bomb.jpg": jpeg(portrait, exif=exif_bomb()),
        "long_comment.jpg": jpeg(portrait, comment=b"x" * 65_000),
        "phone_12_megapixels.jpg": jpeg(upscaled(portrait, (3000, 4000))),
    }
    return {name: HostileFile(data, "ok") for name, data in files.items()}


def upscaled(portrait: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The head and shoulders of ``portrait`` at ``size``."""
    return portrait.crop((0, 80, 313, 497)).resize(size)


def ycck(cmyk: Image.Image) -> bytes:
    """Adobe's YCCK JPEG, which Pillow reads but can't write: CMY as YCbCr, K as it is, transform flag 2."""
    bands = cmyk.split()
    luma_chroma = Image.merge("RGB", bands[:3]).convert("YCbCr").split()
    inverted = [band.point([255 - v for v in range(256)]) for band in luma_chroma]  # Pillow inverts on writing
    data = bytearray(jpeg(Image.merge("CMYK", (*inverted, bands[3])), quality=95))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def exif_bomb() -> bytes:
    """4,000 entries that all claim the same 60,000 bytes."""
    entries = b"".join(struct.pack("<HHII", 0x8000 + i, 7, 60_000, 8) for i in range(4000))
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 4000) + entries + bytes(4 + 10_000)


def turned(portrait: Image.Image) -> Files:
    """The portrait stored in each of the eight EXIF orientations."""
    files: Files = {}
    for orientation, turn in LAID_DOWN.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = portrait if turn is None else portrait.transpose(turn)
        files[f"orientation_{orientation}.jpg"] = HostileFile(jpeg(stored, exif=exif), "ok")
    return files


def odd_pngs(portrait: Image.Image) -> Files:
    grey = np.asarray(portrait.convert("L"), np.uint16) * 257
    colour = np.asarray(portrait, np.uint16)[..., ::-1] * 257
    rgba = portrait.copy()
    rgba.putalpha(Image.linear_gradient("L").resize(portrait.size).point([255 if v < 200 else 0 for v in range(256)]))
    still = [portrait.transpose(Transpose.ROTATE_180)]
    files = {
        "grey_16_bit.png": cv2.imencode(".png", grey)[1].tobytes(),
        "colour_16_bit.png": cv2.imencode(".png", colour)[1].tobytes(),
        "alpha.png": encoded(rgba, "PNG"),
        "grey_alpha.png": encoded(rgba.convert("LA"), "PNG"),
        "palette.png": encoded(portrait.quantize(64), "PNG"),
        "palette_alpha.png": encoded(rgba.quantize(64), "PNG"),
        "one_bit.png": encoded(upscaled(portrait, (900, 1200)).convert("1"), "PNG"),
        "interlaced.png": interlaced(np.asarray(portrait)),
        "animated.png": encoded(portrait, "PNG", save_all=True, append_images=still),
        "png_named_jpg.jpg": encoded(portrait, "PNG"),
    }
    return {name: HostileFile(data, "ok") for name, data in files.items()}


def interlaced(pixels: Pixels) -> bytes:
    """An Adam7 PNG (ISO/IEC 15948, 8.2), which Pillow reads but can't write."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = (row for top, left, down, across in passes for row in pixels[top::down, left::across])
    image_data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return png(pixels.shape[1], pixels.shape[0], image_data, interlace=1)


def png(width: int, height: int, image_data: bytes, interlace: int = 0, extra: bytes = b"") -> bytes:
    """An 8-bit RGB PNG of these parts."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlace))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", image_data) + chunk(b"IEND", b"")


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def other_formats(portrait: Image.Image) -> Files:
    frames = [portrait.transpose(Transpose.ROTATE_180)] * 3
    files = {
        "plain.webp": encoded(portrait, "WEBP", quality=85),
        "lossless.webp": encoded(portrait.convert("RGBA"), "WEBP", lossless=True),
        "animated.webp": encoded(portrait, "WEBP", save_all=True, append_images=frames),
        "animated.gif": encoded(portrait, "GIF", save_all=True, append_images=frames),
        "phone.heic": heic(portrait),
        "plain.avif": encoded(portrait, "AVIF", quality=80),
        "plain.bmp": encoded(portrait, "BMP"),
    }
    return {name: HostileFile(data, "ok") for name, data in files.items()}


# --- damaged ----------------------------------------------------------------------------------------


def truncated(portrait: Image.Image) -> Files:
    whole = jpeg(portrait)
    files = {f"truncated_at_{share}_percent.jpg": whole[: len(whole) * share // 100] for share in (1, 10, 50, 90, 99)}
    writers: dict[str, Callable[[Image.Image], bytes]] = {
        "png": lambda picture: encoded(picture, "PNG"),
        "webp": lambda picture: encoded(picture, "WEBP"),
        "gif": lambda picture: encoded(picture, "GIF"),
        "bmp": lambda picture: encoded(picture, "BMP"),
        "avif": lambda picture: encoded(picture, "AVIF"),
        "heic": heic,
    }
    for name, write in writers.items():
        data = write(portrait)
        files[f"truncated.{name}"] = data[: len(data) // 2]
    return {name: HostileFile(data, "corrupt_image") for name, data in files.items()}


def damaged(portrait: Image.Image) -> Files:
    good = encoded(portrait, "PNG")
    header = jpeg(portrait)
    files = {
        "bad_header_checksum.png": good[:29] + b"\0\0\0\0" + good[33:],
        "damaged_data.png": good[: len(good) // 2] + bytes(2000) + good[len(good) // 2 + 2000 :],
        "no_data.png": good[:33],
        "signature_only.jpg": b"\xff\xd8\xff\xe0",
        "zeroed_tables.jpg": header[:20] + bytes(400) + header[420:],
        "signature_only.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        "signature_only.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    }
    return {name: HostileFile(data, "corrupt_image") for name, data in files.items()}


# --- something else ---------------------------------------------------------------------------------


def foreign(portrait: Image.Image) -> Files:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("portrait.jpg", jpeg(portrait))
    neither = {
        "empty.jpg": b"",
        "one_byte.jpg": b"\xff",
        "text.jpg": b"This is not a photograph.\n" * 100,
        "page.jpg": b"<!DOCTYPE html><html><body><p>404 Not Found</p></body></html>",
        "script.jpg": b"#!/bin/sh\nexec cat /etc/passwd\n",
        "archive.jpg": archive.getvalue(),
        "program.jpg": b"\x7fELF\x02\x01\x01" + bytes(5000),
        "random.jpg": np.random.default_rng(0).bytes(50_000),
        "base64.jpg": b"data:image/jpeg;base64,/9j/4AAQSkZJRg==",
    }
    unsupported = {
        "document.pdf": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n",
        "drawing.svg": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><image href="a.jpg"/></svg>',
        "film.mp4": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(1000),
        "film.mkv": b"\x1a\x45\xdf\xa3" + bytes(1000),
        "layers.psd": b"8BPS\0\1" + bytes(1000),
        "scan.tiff": encoded(portrait, "TIFF"),
        "raw.nef": b"MM\0*\0\0\0\x08" + bytes(1000),
        "still.jxl": b"\xff\x0a" + bytes(1000),
        "still.jp2": encoded(portrait, "JPEG2000"),
        "icon.ico": encoded(portrait, "ICO"),
        "portable.ppm": encoded(portrait, "PPM"),
    }
    return {name: HostileFile(data, "not_an_image") for name, data in neither.items()} | {
        name: HostileFile(data, "unsupported_format") for name, data in unsupported.items()
    }


# --- attacks ----------------------------------------------------------------------------------------


def bombs(portrait: Image.Image) -> Files:
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000)))
    wide_gif = b"GIF89a\x10\0\x10\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\x01\0\0;"
    canvas = b"WEBPVP8X\x0a\0\0\0\0\0\0\0\x0f\x75\0\x0f\x75\0"  # 29968 x 29968
    too_large = {
        "declares_900_megapixels.png": png(30_000, 30_000, zlib.compress(bytes(1000))),
        "declares_4_gigapixels.jpg": declared(jpeg(portrait), 65_500, 65_500),
        "declares_4_gigapixels.gif": wide_gif,
        "declares_900_megapixels.webp": b"RIFF" + struct.pack("<I", len(canvas)) + canvas,
        "padded_to_21_megabytes.jpg": jpeg(portrait) + bytes(21 * 2**20),
    }
    corrupt = {
        "text_inflates_to_20_megabytes.png": png(64, 64, zlib.compress(bytes(64 * 193)), extra=text),
        "thousands_of_scans.jpg": repeated_scans(jpeg(portrait, progressive=True), 5000),
    }
    return {name: HostileFile(data, "image_too_large") for name, data in too_large.items()} | {
        name: HostileFile(data, "corrupt_image") for name, data in corrupt.items()
    }


def declared(data: bytes, width: int, height: int) -> bytes:
    """A baseline JPEG whose frame header claims another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def repeated_scans(progressive: bytes, times: int) -> bytes:
    last = progressive.rindex(b"\xff\xda")
    return progressive[:-2] + progressive[last:-2][:20] * times + b"\xff\xd9"


def odd_sizes(portrait: Image.Image) -> Files:
    files = {
        "one_pixel.png": (encoded(Image.new("RGB", (1, 1)), "PNG"), "image_too_small"),
        "one_pixel.gif": (encoded(Image.new("L", (1, 1)), "GIF"), "image_too_small"),
        "narrow.jpg": (jpeg(portrait.resize((15, 600))), "image_too_small"),
        "smallest.png": (encoded(portrait.resize((16, 16)), "PNG"), "no_face"),
        "strip.jpg": (jpeg(portrait.resize((20_000, 20))), "no_face"),
        "needle.png": (encoded(Image.new("L", (3_000_000, 16)), "PNG"), "no_face"),
        "column.png": (encoded(portrait.resize((16, 10_000)), "PNG"), "no_face"),
    }
    return {name: HostileFile(*file) for name, file in files.items()}


# --- faces ------------------------------------------------------------------------------------------


def faceless(portrait: Image.Image, landscape: bytes) -> Files:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    speck = Image.new("RGB", (600, 600), (90, 120, 90))
    speck.paste(portrait.resize((10, 20)), (300, 300))
    files = {
        "landscape.jpg": landscape,
        "noise.png": encoded(Image.fromarray(noise), "PNG"),
        "flat.png": encoded(Image.new("RGB", (640, 480), (128, 128, 128)), "PNG"),
        "black.jpg": jpeg(Image.new("L", (640, 480))),
        "face_of_seven_pixels.png": encoded(speck, "PNG"),
        "more_data_than_declared.png": png(64, 64, zlib.compress(bytes(20_000_000))),
        "transparent.png": encoded(Image.new("RGBA", (200, 200), (0, 0, 0, 0)), "PNG"),
    }
    return {name: HostileFile(data, "no_face") for name, data in files.items()}


def crowds(photographs: dict[str, bytes]) -> Files:
    """Several faces: "ok" for all and largest, ``several_faces`` where only one is expected."""
    heads = (("obama2", (60, 100, 626, 800)), ("biden", (270, 60, 870, 798)), ("astronaut", (100, 10, 360, 330)))
    wall = Image.new("RGB", (5 * 200, 2 * 250))
    for place in range(10):
        name, part = heads[place % 3]
        wall.paste(opened(photographs[name]).crop(part).resize((200, 250)), (place % 5 * 200, place // 5 * 250))
    return {
        "ten_faces.jpg": HostileFile(jpeg(wall), "ok"),
        "three_faces.jpg": HostileFile(photographs["group"], "ok"),
    }
