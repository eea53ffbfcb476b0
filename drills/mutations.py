"""Damage to files and requests: what a fuzzer does blindly, and what somebody does who knows the formats.

Every mutation follows from a seeded generator, so that a finding can be repeated by its number.
"""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from random import Random

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers at which sizes overflow, change sign or run out."""
WIDTHS = (1, 2, 4)
MOST = 6
"""Mutations of one file."""
LONGEST = 2_000_000
"""Bytes of a mutated file."""

Mutation = Callable[[Random, bytes], bytes]


def truncate(chance: Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data))]


def flip_bits(chance: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 4, 16, 64))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def lie_in_header(chance: Random, data: bytes) -> bytes:
    """An interesting number where sizes are kept: within the first 256 bytes."""
    width, order = chance.choice(WIDTHS), chance.choice(("big", "little"))
    at = chance.randrange(min(256, len(data)))
    return _over(data, at, (chance.choice(INTERESTING) % (1 << 8 * width)).to_bytes(width, order))


def lie_anywhere(chance: Random, data: bytes) -> bytes:
    width, order = chance.choice(WIDTHS), chance.choice(("big", "little"))
    value = chance.choice(INTERESTING) % (1 << 8 * width)
    return _over(data, chance.randrange(len(data)), value.to_bytes(width, order))


def repeat_part(chance: Random, data: bytes) -> bytes:
    """A part many times over: segments, chunks, frames and boxes without end."""
    start = chance.randrange(len(data))
    part = data[start : start + chance.choice((1, 12, 64, 600))]
    times = chance.choice((2, 20, 400))
    return (data[:start] + part * times + data[start:])[:LONGEST]


def drop_part(chance: Random, data: bytes) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.choice((1, 4, 64, 1024)) :]


def noise(chance: Random, data: bytes) -> bytes:
    length = chance.choice((4, 64, 1024))
    return _over(data, chance.randrange(len(data)), chance.randbytes(length))


def swap_parts(chance: Random, data: bytes) -> bytes:
    a, b = sorted((chance.randrange(len(data)), chance.randrange(len(data))))
    length = chance.choice((4, 32, 256))
    return data[:a] + data[b : b + length] + data[a + length : b] + data[a : a + length] + data[b + length :]


def mend_png(chance: Random, data: bytes) -> bytes:
    """Recomputes a PNG's checksums, so that a decoder believes what another mutation wrote."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return flip_bits(chance, data)
    at, changed = 8, bytearray(data)
    while at + 12 <= len(changed):
        end = at + 8 + int.from_bytes(changed[at : at + 4], "big")
        if end + 4 > len(changed):
            break
        changed[end : end + 4] = struct.pack(">I", zlib.crc32(changed[at + 4 : end]))
        at = end + 4
    return bytes(changed)


def bomb_png(chance: Random, data: bytes) -> bytes:
    """A chunk that inflates to megabytes, in a PNG; elsewhere padding."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data + bytes(chance.choice((1, 1000, 100_000)))
    kind, head = chance.choice(((b"zTXt", b"Comment\0\0"), (b"iCCP", b"profile\0\0"), (b"iTXt", b"c\0\1\0\0\0")))
    content = head + zlib.compress(bytes(chance.choice((10_000, 2_000_000))))
    bomb = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return data[:33] + bomb * chance.choice((1, 3)) + data[33:]


MUTATIONS: Sequence[Mutation] = (
    truncate, flip_bits, flip_bits, lie_in_header, lie_in_header, lie_anywhere, repeat_part, drop_part, noise,
    swap_parts, mend_png, bomb_png,
)  # fmt: skip


def polyglot(chance: Random, files: Sequence[bytes]) -> bytes:
    """The beginning of one file and the end of another."""
    a, b = chance.choice(files), chance.choice(files)
    return a[: chance.choice((4, 12, 64, len(a) // 2, len(a)))] + b[chance.choice((0, 4, 64, len(b) // 2)) :]


def mutated(number: int, seed: int, files: Mapping[str, bytes]) -> bytes:
    """The ``number``-th damaged file of this seed. files: good ones by name."""
    chance = Random(f"{seed}/{number}")
    known = list(files.values())
    data = polyglot(chance, known) if chance.random() < 0.05 else chance.choice(known)
    for _ in range(chance.randint(1, MOST)):
        data = chance.choice(MUTATIONS)(chance, data) or chance.randbytes(16)
    return mend_png(chance, data) if chance.random() < 0.3 else data


def _over(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]
