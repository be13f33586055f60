"""Mutations of bytes: bits, cuts, splices, copied and swapped chunks, lengths, interesting numbers and words."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

MAX_BYTES = 1 << 20
"""Inputs are smaller than this."""

Mutation = Callable[[random.Random, bytes], bytes]
"""Returns a changed copy; the input unchanged if the mutation does not apply to it."""

NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    8,
    127,
    128,
    255,
    256,
    32767,
    65535,
    65536,
    1 << 24,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
)
BIG_NUMBERS = (*NUMBERS, 1 << 32, 1 << 40, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, -(1 << 63), (1 << 64) - 1)
FORMATS = ("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")

WORDS = (
    *(b"", b"\0", b" ", b"\n", b"\r", b"\r\n", b"\t", b'"', b"'", b"\\", b"/", b"../", b"%s", b"\x80", b"\xff\xfe"),
    *(b"-1", b"0", b"1e999", b"-1e999", b"nan", b"NaN", b"inf", b"Infinity", b"null", b"None", b"true", b"0x10"),
    *(b"99999999999999999999", b"-9223372036854775809", b"4294967296", b"1_0", b"1.5", b"\xc2\xb2", b"\xd9\xa1"),
    *(b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\xed\xb2\x80", b"\x1a", b"9" * 5000, b"0x" + b"f" * 5000),
)
"""Words that parsers treat in their own ways: separators, numbers of many kinds, byte order marks, Unicode digits."""


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def set_bytes(rng: random.Random, data: bytes) -> bytes:
    start, stop = _chunk(rng, data, 4)
    return data[:start] + rng.randbytes(stop - start) + data[stop:]


def cut(rng: random.Random, data: bytes) -> bytes:
    start, stop = _chunk(rng, data)
    return data[:start] if rng.random() < 0.2 else data[:start] + data[stop:]


def copy_chunk(rng: random.Random, data: bytes) -> bytes:
    start, stop = _chunk(rng, data)
    place = rng.randrange(len(data) + 1)
    return data[:place] + data[start:stop] * rng.choice((1, 1, 2, 8)) + data[place:]


def swap_chunks(rng: random.Random, data: bytes) -> bytes:
    a, b, c, d = sorted(rng.randrange(len(data) + 1) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def set_number(rng: random.Random, data: bytes) -> bytes:
    """Set an interesting integer, or change the one that is there a little: lengths and offsets are such fields."""
    code = rng.choice(FORMATS)
    size = struct.calcsize(code)
    if len(data) < size:
        return data
    place = rng.randrange(len(data) - size + 1)
    (value,) = struct.unpack_from(code, data, place)
    value = rng.choice(BIG_NUMBERS) if rng.random() < 0.7 else value + rng.choice((-16, -2, -1, 1, 2, 16))
    return data[:place] + struct.pack(code, value % (1 << 8 * size)) + data[place + size :]


def insert_word(rng: random.Random, data: bytes) -> bytes:
    start, stop = _chunk(rng, data, 4)
    return data[:start] + rng.choice(WORDS) + data[stop if rng.random() < 0.5 else start :]


def grow(rng: random.Random, data: bytes) -> bytes:
    """Repeat a chunk up to the size limit, to find what is not linear in the size of the input."""
    start, stop = _chunk(rng, data, 200)
    room = MAX_BYTES - 1 - len(data)
    return data[:start] + data[start:stop] * max(room // max(stop - start, 1), 1) + data[stop:]


def splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    start, stop = _chunk(rng, other)
    place = rng.randrange(len(data) + 1)
    return data[:place] + other[start:stop] + data[place + rng.choice((0, stop - start)) :]


BYTES: tuple[Mutation, ...] = (flip_bits, set_bytes, cut, copy_chunk, swap_chunks, set_number, insert_word)


def mutate(rng: random.Random, corpus: Sequence[bytes], own: Sequence[Mutation]) -> bytes:
    """Draw an input: one of the corpus after a few mutations, half of them by the structure of its kind."""
    data = rng.choice(corpus)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        if rng.random() < 0.05:
            data = splice(rng, data, rng.choice(corpus))
        else:
            data = rng.choice(own if own and rng.random() < 0.6 else BYTES)(rng, data)
    if rng.random() < 0.0005:
        data = grow(rng, data)
    return data[: MAX_BYTES - 1]


def _chunk(rng: random.Random, data: bytes, longest: int = MAX_BYTES) -> tuple[int, int]:
    """Draw the start and the end of a chunk; short ones are as likely as long ones."""
    start = rng.randrange(len(data) + 1)
    room = min(len(data) - start, longest)
    return start, start + min(room, int(2 ** rng.uniform(0, 1 + room.bit_length())))
