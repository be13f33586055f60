"""Mutations that keep a format's structure: zip entries, pickle opcodes, JSON values, XML elements, lines of text."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import random
import re
import struct
import warnings
import zipfile
from typing import Any

from fuzz.mutate import BIG_NUMBERS, BYTES, WORDS, Mutation

VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "x", "-1", "\ud800", "\0", "nan", [], {}, [[]], {"": None}, [1, 2, 3], 0.5, -0.0),
    *(float("nan"), float("inf"), 1e308, 10**4000, *BIG_NUMBERS),
)
"""Values of JSON that readers may not expect."""


def change_json(rng: random.Random, data: bytes) -> bytes:
    """Change a value, a key or the order of a JSON document."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return data
    box = [tree]
    places: list[tuple[Any, Any]] = [(box, 0)]
    for container, key in places:
        value = container[key]
        items = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        places += [(value, item) for item in items]
    container, key = rng.choice(places)
    action = rng.randrange(6)
    if action == 0 and isinstance(container, dict):
        del container[key]
    elif action == 1 and isinstance(container, dict):
        container[str(rng.choice((*VALUES, *container)))] = container.pop(key)
    elif action == 2:
        other, place = rng.choice(places)
        container[key] = json.loads(json.dumps(other[place]))
    elif action == 3:
        container[key] = [container[key]] * rng.choice((1, 2, 3, 100))
    else:
        container[key] = rng.choice(VALUES)
    return json.dumps(box[0], ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")


def nest(rng: random.Random, data: bytes) -> bytes:
    """Nest a chunk of text deeply in brackets."""
    place = rng.randrange(len(data) + 1)
    start, stop = rng.choice(
        ((b"[", b"]"), (b'{"a":', b"}"), (b"(", b")"), (b"-", b""), (b"<a>", b"</a>"), (b"- ", b""))
    )
    depth = rng.choice((2, 10, 100, 1000, 5000))
    return data[:place] + start * depth + data[place : place + 4] + stop * depth + data[place + 4 :]


def change_lines(rng: random.Random, data: bytes) -> bytes:
    """Delete, copy, swap or join lines, or change a field of one."""
    lines = data.split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    action = rng.randrange(6)
    if action == 0:
        del lines[i]
    elif action == 1:
        lines.insert(j, lines[i])
    elif action == 2:
        lines[i], lines[j] = lines[j], lines[i]
    elif action == 3:
        lines[i] = lines[i] + lines[j]
    else:
        fields = re.split(rb"([\s,;:_/=.\"<>]+)", lines[i])
        fields[rng.randrange(len(fields))] = rng.choice((*WORDS, *re.split(rb"[\s,;:_/=]+", lines[j])))
        lines[i] = b"".join(fields)
    return b"\n".join(lines)


def inside_lines(inner: Mutation) -> Mutation:
    """Return a mutation that changes one line by ``inner``."""

    def change(rng: random.Random, data: bytes) -> bytes:
        lines = data.split(b"\n")
        i = rng.randrange(len(lines))
        lines[i] = inner(rng, lines[i])
        return b"\n".join(lines)

    return change


def change_xml(rng: random.Random, data: bytes) -> bytes:
    """Delete, copy, swap or replace tags, or change an attribute."""
    parts = re.split(rb"(<[^>]*>)", data)
    i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
    action = rng.randrange(5)
    if action == 0:
        del parts[i : i + rng.choice((1, 2, 5))]
    elif action == 1:
        parts[j:j] = parts[min(i, j) : max(i, j)][:50]
    elif action == 2:
        parts[i], parts[j] = parts[j], parts[i]
    else:
        values = [*re.finditer(rb'"[^"]*"', data)]
        if values:
            chosen, other = rng.choice(values), rng.choice(values)
            word = (
                other.group()
                if rng.random() < 0.4
                else b'"' + rng.choice((*WORDS, b"%d" % rng.choice(BIG_NUMBERS))) + b'"'
            )
            return data[: chosen.start()] + word + data[chosen.end() :]
    return b"".join(parts)


def inside_zip(*inner: Mutation) -> Mutation:
    """Return a mutation that changes an entry of a zip by ``inner``, or the zip's list of entries."""

    def change(rng: random.Random, data: bytes) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                entries = [(entry.filename, file.read(entry)) for entry in file.infolist() if entry.file_size < 1 << 20]
        except Exception:  # already damaged; zipfile raises many types
            return data
        if not entries:
            return data
        i, j = rng.randrange(len(entries)), rng.randrange(len(entries))
        compression = zipfile.ZIP_STORED
        action = rng.randrange(60)
        if action < 4:
            del entries[i]
        elif action < 8:
            entries.append((entries[i][0], entries[j][1]))
        elif action < 12:
            entries[i] = (rng.choice((entries[j][0] + "x", "../" + entries[i][0], "a/data.pkl", "\0")), entries[i][1])
        elif action == 12:
            compression = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        elif action == 13:
            compression = zipfile.ZIP_DEFLATED
            entries[i] = (entries[i][0], entries[i][1] + bytes(1 << 20))
        else:
            entries[i] = (entries[i][0], rng.choice(inner)(rng, entries[i][1]))
        return _zip(entries, compression)

    return change


def inside_npy(inner: Mutation) -> Mutation:
    """Return a mutation that changes the bytes of a ``.npy`` by ``inner``, with the header that fits them."""

    def change(rng: random.Random, data: bytes) -> bytes:
        content = inner(rng, data[128:])
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(content)},), }}"
        return data[:10] + header.ljust(117).encode() + b"\n" + content

    return change


def _zip(entries: list[tuple[str, bytes]], compression: int) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that occur twice
        with zipfile.ZipFile(buffer, "w", compression) as file:
            for name, content in entries:
                file.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()


ARGUMENTS = (
    b"",
    b"\0",
    b"\1",
    b"\xff",
    b"\0\0\0\0",
    b"\xff\xff\xff\x7f",
    b"\1\0\0\0a",
    b"0\n",
    b"os\nsystem\n",
    b"a\n",
)
GLOBALS = tuple(
    b"c" + name
    for name in (
        *(b"collections\nOrderedDict\n", b"torch._utils\n_rebuild_tensor_v2\n", b"torch._utils\n_rebuild_tensor_v3\n"),
        *(b"torch._utils\n_rebuild_parameter\n", b"torch._tensor\n_rebuild_from_type_v2\n", b"torch\nFloatStorage\n"),
        *(b"numpy\ndtype\n", b"numpy._core.multiarray\nscalar\n", b"numpy._core.multiarray\n_reconstruct\n"),
        *(b"numpy._core.numeric\n_frombuffer\n", b"_codecs\nencode\n", b"torch\nSize\n", b"torch\ndevice\n"),
        *(
            b"copyreg\n_reconstructor\n",
            b"builtins\nbytearray\n",
            b"torch\nfloat16\n",
            b"os\nsystem\n",
            b"torch\nQInt8Storage\n",
        ),
    )
)


def change_pickle(rng: random.Random, data: bytes) -> bytes:
    """Delete, copy, swap or insert opcodes of the first pickles in ``data``, or change an argument."""
    steps: list[bytes] = []
    place = 0
    file = io.BytesIO(data)
    try:
        while place < len(data) and len(steps) < 5000:
            positions = [position for _, _, position in pickletools.genops(file)]
            ends = [*positions[1:], file.tell()]
            steps += [data[start:stop] for start, stop in zip(positions, ends, strict=True)]
            place = file.tell()
    except Exception:  # the end of the pickles
        pass
    if not steps:
        return data
    i, j = rng.randrange(len(steps)), rng.randrange(len(steps))
    action = rng.randrange(7)
    if action == 0:
        del steps[i : i + rng.choice((1, 1, 2, 5))]
    elif action == 1:
        steps[j:j] = steps[i : i + rng.choice((1, 2, 5, 20))]
    elif action == 2:
        steps[i], steps[j] = steps[j], steps[i]
    elif action == 3:
        steps.insert(i, rng.choice(_OPCODES) + rng.choice(ARGUMENTS))
    elif action == 4:
        steps.insert(i, rng.choice(GLOBALS))
    elif action == 5:
        steps[i] = pickle.dumps(rng.choice(VALUES[6:]), 2)[2:-1]
    else:
        steps[i] = steps[i][:1] + rng.choice(BYTES)(rng, steps[i][1:])
    return b"".join(steps) + data[place:]


_OPCODES = tuple(opcode.code.encode("latin-1") for opcode in pickletools.opcodes)


def change_header(rng: random.Random, data: bytes) -> bytes:
    """Change the JSON header of a ``.safetensors``, and mostly its length with it."""
    size = int.from_bytes(data[:8], "little")
    header = rng.choice((change_json, change_json, nest, *BYTES))(rng, data[8 : 8 + size])
    length = len(header) if rng.random() < 0.95 else size
    return struct.pack("<Q", length) + header + data[8 + size :]
