"""Decoding: pixel values of every kind of file, limits, and damaged files that give ImageError and nothing else."""

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from pillow_heif import from_bytes

from facesvc.core.types import Image, Pixels
from facesvc.errors import CorruptImage, ImageError, ImageTooLarge, ImageTooSmall, NotAnImage, UnsupportedFormat
from facesvc.pipeline.decode import BRANDS, SIGNATURES, DecodeLimits, decode, sniff
from facesvc.pipeline.folders import ENDINGS, is_photograph
from tests.conftest import LIMITS
from tests.support.hostile import LAID_DOWN, HostileFile, encoded, heic, jpeg, opened, repeated_scans, ycck

pytestmark = pytest.mark.xdist_group("hostile")  # one worker: the files are made once

AFTER_DECODING = {"ok", "no_face"}
"""Codes that decoding knows nothing of: it succeeds."""


@pytest.fixture(scope="session")
def portrait(photographs: dict[str, bytes]) -> Pillow.Image:
    """The picture behind the hostile files, 313 x 600 px."""
    return opened(photographs["obama2"]).resize((313, 600))


def difference(image: Image, expected: Pillow.Image) -> float:
    """Mean absolute difference of all values, 0..255."""
    return float(np.abs(image.pixels.astype(int) - np.asarray(expected).astype(int)).mean())


def test_folders_are_searched_for_just_the_formats_that_are_decoded() -> None:
    assert ENDINGS.keys() == {*SIGNATURES, *BRANDS.values()}
    names = ("a.jpg", "A.JPEG", "b.hif", "c.webp", "scan.tif", "scan.tiff", "notes.txt", "jpg")
    assert [name for name in names if is_photograph(name)] == ["a.jpg", "A.JPEG", "b.hif", "c.webp"]


def outcome(data: bytes) -> str:
    try:
        decode(data, LIMITS)
    except ImageError as error:
        return error.code
    return "decoded"


# --- every hostile and odd file -------------------------------------------------------------------


def test_every_hostile_file_gets_its_code(hostile: dict[str, HostileFile]) -> None:
    owed = {name: "decoded" if file.code in AFTER_DECODING else file.code for name, file in hostile.items()}
    assert {name: outcome(file.data) for name, file in hostile.items()} == owed
    assert len(owed) >= 90


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("plain.jpg", 2.5),
        ("progressive.jpg", 2.5),
        ("cmyk.jpg", 2.5),
        ("ycck.jpg", 3.5),
        ("subsampled.jpg", 6.0),
        ("garbage_after_end.jpg", 2.5),
        ("exif_bomb.jpg", 2.5),
        *[(f"orientation_{n}.jpg", 2.5) for n in range(1, 9)],
        ("colour_16_bit.png", 0.0),
        ("interlaced.png", 0.0),
        ("animated.png", 0.0),
        ("palette.png", 8.0),
        ("plain.webp", 4.0),
        ("lossless.webp", 0.0),
        ("animated.webp", 6.0),
        ("animated.gif", 8.0),
        ("phone.heic", 3.5),
        ("plain.avif", 4.0),
        ("plain.bmp", 0.0),
    ],
)
def test_odd_files_decode_to_the_picture(
    hostile: dict[str, HostileFile], portrait: Pillow.Image, name: str, tolerance: float
) -> None:
    image = decode(hostile[name].data, LIMITS)
    assert image.pixels.shape == (600, 313, 3)
    assert image.pixels.dtype == np.uint8
    assert (image.width, image.height, image.scale) == (313, 600, 1.0)
    assert difference(image, portrait) <= tolerance


def test_grey_pictures_have_three_equal_channels(hostile: dict[str, HostileFile], portrait: Pillow.Image) -> None:
    grey = Pillow.merge("RGB", [portrait.convert("L")] * 3)
    assert difference(decode(hostile["grey.jpg"].data, LIMITS), grey) < 2
    assert difference(decode(hostile["grey_16_bit.png"].data, LIMITS), grey) == 0


# --- values, longhand -----------------------------------------------------------------------------


def one_colour(mode: str, colour: object, file_format: str = "PNG") -> list[int]:
    """The decoded colour of a flat 16 x 16 picture."""
    pixels = decode(encoded(Pillow.new(mode, (16, 16), colour), file_format), LIMITS).pixels  # type: ignore[arg-type]
    assert np.array_equal(pixels, np.broadcast_to(pixels[0, 0], (16, 16, 3)))
    return pixels[0, 0].tolist()


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", (200, 100, 50), [200, 100, 50]),
        ("RGBA", (200, 100, 50, 255), [200, 100, 50]),
        ("RGBA", (200, 100, 50, 0), [255, 255, 255]),
        ("RGBA", (200, 100, 50, 51), [244, 224, 214]),  # a fifth of the colour, four fifths of white
        ("LA", (100, 51), [224, 224, 224]),
        ("L", 77, [77, 77, 77]),
        ("1", 1, [255, 255, 255]),
        ("I;16", 65535, [255, 255, 255]),
        ("I;16", 0x8080, [128, 128, 128]),
        ("I;16", 300, [1, 1, 1]),  # 300 / 257 = 1.17: clipping would give 255
        ("I;16", 386, [2, 2, 2]),  # 386 / 257 = 1.502
    ],
)
def test_png_colours(mode: str, colour: object, expected: list[int]) -> None:
    assert one_colour(mode, colour) == expected


def test_transparent_palette_entries_are_white() -> None:
    picture = Pillow.new("P", (16, 16), 1)
    picture.putpalette([10, 20, 30, 40, 50, 60])
    assert decode(encoded(picture, "GIF"), LIMITS).pixels[3, 3].tolist() == [40, 50, 60]
    assert decode(encoded(picture, "GIF", transparency=1), LIMITS).pixels[3, 3].tolist() == [255, 255, 255]
    assert decode(encoded(picture, "PNG", transparency=1), LIMITS).pixels[3, 3].tolist() == [255, 255, 255]


def test_cmyk_black_white_and_cyan() -> None:
    for colour, expected in (((0, 0, 0, 255), 0), ((0, 0, 0, 0), 255)):
        assert one_colour("CMYK", colour, "JPEG") == [expected] * 3
    assert one_colour("CMYK", (255, 0, 0, 0), "JPEG") == pytest.approx([0, 255, 255], abs=2)
    flat = Pillow.new("CMYK", (32, 32), (200, 100, 50, 25))
    direct, by_ycck = decode(jpeg(flat, quality=100), LIMITS), decode(ycck(flat), LIMITS)
    assert by_ycck.pixels[5, 5].tolist() == pytest.approx(direct.pixels[5, 5].tolist(), abs=3)


# --- orientation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_other_formats(file_format: str, orientation: int) -> None:
    upright = Pillow.new("RGB", (48, 32), (0, 0, 250))
    upright.paste((250, 0, 0), (0, 0, 24, 16))
    turn = LAID_DOWN[orientation]
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    stored = upright if turn is None else upright.transpose(turn)
    image = decode(encoded(stored, file_format, exif=exif.tobytes(), quality=100), LIMITS)
    assert (image.width, image.height) == (48, 32)
    assert difference(image, upright) < 6


def test_heic_is_turned_once(portrait: Pillow.Image) -> None:
    """As phones write it: the turn as a property of the picture and again in its EXIF."""
    exif = Pillow.Exif()
    exif[0x0112] = 6
    stored = portrait.transpose(Pillow.Transpose.ROTATE_90)
    file, content = from_bytes("RGB", stored.size, stored.tobytes()), BytesIO()
    file.save(content, quality=90, exif=exif.tobytes())
    image = decode(content.getvalue(), LIMITS)
    assert (image.width, image.height, image.format) == (313, 600, "HEIC")
    assert difference(image, portrait) < 3.5


def test_unreadable_orientation_means_upright(hostile: dict[str, HostileFile], portrait: Pillow.Image) -> None:
    assert difference(decode(hostile["exif_garbage.jpg"].data, LIMITS), portrait) < 2.5
    exif = Pillow.Exif()
    exif[0x0112] = 9
    assert difference(decode(jpeg(portrait, exif=exif), LIMITS), portrait) < 2.5


# --- reduced decoding -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "decoded"),
    [
        ((3999, 3000), (3000, 3999, 3)),
        ((4000, 3000), (1500, 2000, 3)),
        ((3000, 4001), (2001, 1500, 3)),
        ((8000, 1999), (1000, 4000, 3)),  # a quarter would leave less than 500 px of the short side
        ((8000, 2000), (500, 2000, 3)),
        ((20_000, 40), (10, 5000, 3)),
    ],
)
def test_large_jpegs_are_decoded_smaller(size: tuple[int, int], decoded: tuple[int, int, int]) -> None:
    image = decode(jpeg(Pillow.new("L", size, 99)), LIMITS)
    assert image.pixels.shape == decoded
    assert (image.width, image.height) == size
    assert image.scale == max(decoded) / max(size)
    assert np.all(image.pixels == 99)


def test_no_side_is_longer_than_a_detector_can_put_a_border_around() -> None:
    strip = decode(encoded(Pillow.new("L", (3_000_000, 16), 99), "PNG"), LIMITS)
    assert strip.pixels.shape == (1, 5860, 3)
    assert (strip.width, strip.height) == (3_000_000, 16)
    assert strip.scale == 5860 / 3_000_000
    assert np.all(strip.pixels == 99)
    assert decode(encoded(Pillow.new("L", (8000, 100)), "PNG"), LIMITS).scale == 1.0


def test_a_reduced_photograph_on_its_side_keeps_its_own_size() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    image = decode(jpeg(Pillow.new("RGB", (4000, 3000)), exif=exif), LIMITS)
    assert image.pixels.shape == (2000, 1500, 3)
    assert (image.width, image.height, image.scale) == (3000, 4000, 0.5)


# --- limits ---------------------------------------------------------------------------------------


def test_limits_are_inclusive() -> None:
    data = encoded(Pillow.new("RGB", (40, 30)), "PNG")
    limits = DecodeLimits(max_bytes=len(data), max_pixels=1200, min_side=30)
    assert decode(data, limits).pixels.shape == (30, 40, 3)
    with pytest.raises(ImageTooLarge, match=rf"{len(data)} bytes, at most {len(data) - 1}"):
        decode(data, DecodeLimits(len(data) - 1, 1200, 30))
    with pytest.raises(ImageTooLarge, match=r"40x30 pixels, at most 1199"):
        decode(data, DecodeLimits(len(data), 1199, 30))
    with pytest.raises(ImageTooSmall, match=r"40x30 pixels, each side needs 31"):
        decode(data, DecodeLimits(len(data), 1200, 31))


def test_sizes_are_refused_before_pixels_are_read(hostile: dict[str, HostileFile]) -> None:
    """A header without any pixels is too large, not damaged: nothing beyond it was asked for."""
    header = hostile["declares_900_megapixels.png"].data[:41]
    with pytest.raises(ImageTooLarge, match="30000x30000"):
        decode(header, LIMITS)


def test_a_gif_frame_larger_than_its_screen_is_measured() -> None:
    """10,000 x 10,000 px lie in the range for which Pillow only warns; warnings fail this suite."""
    frame = b"GIF89a\x10\0\x10\0\0\0\0,\0\0\0\0\x10\x27\x10\x27\0\x08\x01\0\0;"
    with pytest.raises(ImageTooLarge, match="10000x10000"):
        decode(frame, LIMITS)


def test_scans_are_bounded_but_what_follows_the_end_is_not_counted(portrait: Pillow.Image) -> None:
    progressive = jpeg(portrait, progressive=True)
    assert progressive.count(b"\xff\xda") == 10
    assert decode(repeated_scans(progressive, 90), LIMITS).pixels.shape == (600, 313, 3)
    with pytest.raises(CorruptImage, match="more scans"):
        decode(repeated_scans(progressive, 91), LIMITS)
    film = b"\xff\xda\0\0" * 500
    assert np.array_equal(decode(progressive + film, LIMITS).pixels, decode(progressive, LIMITS).pixels)


@pytest.mark.parametrize("flood", [b"\xff" * 2_000_000, b"\xff\xe5\0\2" * 500_000, b"\0" * 2_000_000])
def test_floods_of_headers_are_refused_without_reading_on(flood: bytes) -> None:
    with pytest.raises(CorruptImage, match="damaged headers"):
        decode(b"\xff\xd8\xff" + flood, LIMITS)


# --- formats --------------------------------------------------------------------------------------


def box(major: bytes, *compatible: bytes) -> bytes:
    return (16 + 4 * len(compatible)).to_bytes(4, "big") + b"ftyp" + major + bytes(4) + b"".join(compatible) + b"rest"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (box(b"heic", b"mif1"), "HEIC"),
        (box(b"mif1", b"heic"), "HEIC"),
        (box(b"mif1", b"miaf", b"avif"), "AVIF"),
        (box(b"avif", b"mif1"), "AVIF"),
        (b"GIF87a", "GIF"),
        (b"\xff\xd8\xff\xe1", "JPEG"),
        (b"RIFF\1\2\3\4WEBPVP8L", "WEBP"),
    ],
)
def test_formats_are_told_by_their_first_bytes(data: bytes, name: str) -> None:
    assert sniff(data) == name


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (box(b"isom", b"mp42"), "video"),
        (box(b"qt  "), "video"),
        (b"RIFF\1\2\3\4AVI LIST", "video"),
        (b"II*\0\x10\0\0\0CR\2", "TIFF or camera raw"),
        (b"  <svg width='1'>", "SVG"),
        (b"<!-- a --><svg>", "SVG"),
        (b"\0\0\1\0\1\0\x20\x20", "icon"),
        (b"P5 2 2 255\n", "Netpbm"),
    ],
)
def test_known_but_unsupported_formats_are_named(data: bytes, name: str) -> None:
    with pytest.raises(UnsupportedFormat, match=name):
        sniff(data)


@pytest.mark.parametrize(
    "data", [b"", b"BM", b"BMW is a car, not a bitmap", b"RIFF\1\2\3\4WAVEfmt ", b"PNG", b"<html>"]
)
def test_other_bytes_are_not_an_image(data: bytes) -> None:
    with pytest.raises(NotAnImage):
        sniff(data)


def test_run_length_bitmaps_are_refused() -> None:
    plain = bytearray(encoded(Pillow.new("P", (16, 16)), "BMP"))
    assert outcome(bytes(plain)) == "decoded"
    plain[30] = 1  # BI_RLE8
    assert outcome(bytes(plain)) == "unsupported_format"


# --- anything at all ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def small_files(portrait: Pillow.Image) -> list[bytes]:
    small = portrait.resize((48, 64))
    exif = Pillow.Exif()
    exif[0x0112], exif[0x010E] = 6, "a portrait"
    return [
        jpeg(small, exif=exif),
        jpeg(small, progressive=True),
        jpeg(small.convert("CMYK")),
        encoded(small, "PNG", exif=exif),
        encoded(small.quantize(16), "PNG"),
        encoded(small, "PNG", save_all=True, append_images=[small.rotate(90)]),
        encoded(small, "GIF", save_all=True, append_images=[small.rotate(90)]),
        encoded(small, "WEBP", exif=exif),
        encoded(small, "AVIF", exif=exif),
        encoded(small, "BMP"),
        heic(small),
    ]


def attempt(data: bytes, limits: DecodeLimits) -> Image | None:
    try:
        return decode(data, limits)
    except ImageError:
        return None


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_files_give_an_image_or_an_image_error(small_files: list[bytes], data: st.DataObject) -> None:
    file = bytearray(data.draw(st.sampled_from(small_files)))
    header = min(len(file), 200) - 1  # half of the hits go where the structure is
    places = st.one_of(st.integers(0, header), st.integers(0, len(file) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=12)):
        file[place] = value
    end = data.draw(st.one_of(st.just(len(file)), st.integers(0, len(file))))
    image = attempt(bytes(file[:end]), DecodeLimits(2**20, 10**6))
    if image is not None:
        assert image.pixels.dtype == np.uint8
        assert image.pixels.shape == (image.height, image.width, 3)
        assert min(image.width, image.height) >= 16
        assert image.width * image.height <= 10**6


@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused_with_an_image_error(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode(data, LIMITS)


def test_threads_do_not_disturb_each_other(hostile: dict[str, HostileFile]) -> None:
    files = [file.data for file in hostile.values() if file.code == "ok"]
    alone = [decode(data, LIMITS).pixels for data in files]

    def decoded(data: bytes) -> Pixels:
        return decode(data, LIMITS).pixels

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(decoded, files * 2))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 2, together, strict=True))


def test_pillow_s_registry_is_left_alone(photographs: dict[str, bytes]) -> None:
    decode(photographs["obama"], LIMITS)
    decode(heic(Pillow.new("RGB", (32, 32))), LIMITS)
    with pytest.raises(Pillow.UnidentifiedImageError):
        Pillow.open(BytesIO(heic(Pillow.new("RGB", (32, 32)))))
