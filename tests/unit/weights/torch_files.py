"""Makes files in both formats of torch from a pickle and its storages, hostile ones too."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def text(value: str) -> bytes:
    encoded = value.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def name(module: str, leaf: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{leaf}\n".encode()


def integers(*values: int) -> bytes:
    return pickle.MARK + b"".join(pickle.dumps(value, 2)[2:-1] for value in values) + pickle.TUPLE


def storage(key: str, kind: str, count: int, *, old: bool) -> bytes:
    parts = [pickle.MARK, text("storage"), name("torch", kind), text(key), text("cpu"), integers(count)[1:-1]]
    return b"".join([*parts, *([pickle.NONE] if old else []), pickle.TUPLE, pickle.BINPERSID])


def tensor(source: bytes, offset: bytes, shape: bytes, strides: bytes) -> bytes:
    """Pickle a call of ``_rebuild_tensor_v2``."""
    hooks = name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    arguments = pickle.MARK + source + offset + shape + strides + pickle.NEWFALSE + hooks + pickle.TUPLE
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + pickle.REDUCE


def dictionary(items: Mapping[str, bytes]) -> bytes:
    body = b"".join(text(key) + value for key, value in items.items())
    return pickle.EMPTY_DICT + pickle.MARK + body + pickle.SETITEMS


@dataclass(frozen=True)
class TorchFile:
    """An object's pickle, without its frame, and the bytes of its storages."""

    content: bytes
    storages: Mapping[str, bytes]

    def write(self, path: Path, *, old: bool, big_endian: bool = False) -> Path:
        path.write_bytes(self._stream(big_endian) if old else self._zip(big_endian))
        return path

    def _whole(self) -> bytes:
        return pickle.PROTO + b"\x02" + self.content + pickle.STOP

    def _zip(self, big_endian: bool) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("model/data.pkl", self._whole())
            file.writestr("model/byteorder", b"big" if big_endian else b"little")
            for key, content in self.storages.items():
                file.writestr(f"model/data/{key}", content)
            file.writestr("model/version", b"3\n")
        return buffer.getvalue()

    def _stream(self, big_endian: bool) -> bytes:
        system = {"protocol_version": PROTOCOL, "little_endian": not big_endian, "type_sizes": {"int": 4}}
        heads = b"".join(pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, system))
        tail = pickle.dumps(sorted(self.storages), 2)
        order = ">q" if big_endian else "<q"
        bodies = (
            struct.pack(order, len(self.storages[key]) // 4) + self.storages[key] for key in sorted(self.storages)
        )
        return heads + self._whole() + tail + b"".join(bodies)


def state(extra: Mapping[str, bytes] | None = None, *, old: bool, big_endian: bool = False) -> TorchFile:
    """Make a model with three views of one storage of six float32, 0 to 5; ``extra`` are other entries."""
    source = storage("0", "FloatStorage", 6, old=old)
    zero = integers(0)[1:-1]
    model = {
        "weight": tensor(source, zero, integers(2, 3), integers(3, 1)),
        "transposed": tensor(source, zero, integers(3, 2), integers(1, 3)),
        "scalar": tensor(source, integers(5)[1:-1], pickle.EMPTY_TUPLE, pickle.EMPTY_TUPLE),
    }
    values = struct.pack(">6f" if big_endian else "<6f", *range(6))
    return TorchFile(dictionary({"model": dictionary(model), **(extra or {})}), {"0": values})
