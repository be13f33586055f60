"""Recognises a file by its first bytes: the formats that fastrt reads, and the files that people take for a checkpoint.

Source: the formats' own specifications; ``/usr/share/file/magic`` for the signatures of archives.
"""

from __future__ import annotations

import re
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

HEAD = 1024
"""Bytes that are read to recognise a file."""

OLD_STREAM = b"L119547037146038801333356L"
"""Torch's magic number in a pickle of protocols 0 and 1, the only text among torch's files."""

MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")
"""Torch's magic number in pickles of later protocols."""


@dataclass(frozen=True)
class OtherFile:
    """A file that is no checkpoint.

    Attributes:
        what: the file, as the middle of a sentence: ``a Git LFS pointer``.
        advice: what to do, as a sentence.
    """

    what: str
    advice: str


_UNPACK = "Unpack it, and name the file in it."
_STATE_DICT = "Load it with torch, and save the model's state_dict() with torch.save."
_FROM_TORCH = "Name the .pth that it was made of."
_DOWNLOAD = "Download the file itself."
_NO_CHECKPOINT = "Name a weights file."

SIGNATURES: tuple[tuple[int, bytes, OtherFile], ...] = (
    (
        0,
        b"version https://git-lfs",
        OtherFile("a Git LFS pointer, not the file", "Run git lfs pull in its repository."),
    ),
    (0, b"\x1f\x8b", OtherFile("a gzip archive", _UNPACK)),
    (0, b"BZh", OtherFile("a bzip2 archive", _UNPACK)),
    (0, b"\xfd7zXZ\0", OtherFile("an xz archive", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", OtherFile("a zstd archive", _UNPACK)),
    (0, b"\x04\x22\x4d\x18", OtherFile("an lz4 archive", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", OtherFile("a 7z archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", OtherFile("a rar archive", _UNPACK)),
    (0, b"\x89HDF\r\n\x1a\n", OtherFile("an HDF5 file, as of Keras", "Name a checkpoint of FastReID.")),
    (0, b"\x93NUMPY", OtherFile("a NumPy array", "Save the arrays by name with fastrt.save_weights.")),
    (4, b"TFL3", OtherFile("a TensorFlow Lite model", _NO_CHECKPOINT)),
    (0, b"\x08\x01\x12", OtherFile("a TensorFlow SavedModel", _NO_CHECKPOINT)),
    (0, b"GGUF", OtherFile("a GGUF file", _NO_CHECKPOINT)),
    (0, b"ftrt", OtherFile("a TensorRT plan", _FROM_TORCH)),
    (0, b"%PDF", OtherFile("a PDF document", _NO_CHECKPOINT)),
    (0, b"\x89PNG", OtherFile("a PNG image", _NO_CHECKPOINT)),
    (0, b"\xff\xd8\xff", OtherFile("a JPEG image", _NO_CHECKPOINT)),
    (0, b"\x7fELF", OtherFile("a program", _NO_CHECKPOINT)),
    (0, b"\0\x05\x16\x07", OtherFile("metadata of macOS", "Name the file without the leading ._ in its name.")),
    (0, b"MATLAB 5.0 MAT-file", OtherFile("a MATLAB file", _NO_CHECKPOINT)),
)

PATTERNS: tuple[tuple[re.Pattern[bytes], OtherFile], ...] = (
    (re.compile(rb"\x80[\2-\5]"), OtherFile("a pickle that torch.save did not write", "Save it with torch.save.")),
    (re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE), OtherFile("an HTML page", _DOWNLOAD)),
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?<net\s"), OtherFile("a network of OpenVINO", _FROM_TORCH)),
    (re.compile(rb"\s*<(\?xml|Error)"), OtherFile("an XML file", _DOWNLOAD)),
    (re.compile(rb"\x08[\x02-\x1f][\x12\x1a\x22\x28\x32\x3a\x42]"), OtherFile("an ONNX model", _FROM_TORCH)),
    (
        re.compile(rb"\n.{1,5}\n.[\w./:-]{1,200}\x12.[A-Z]\w{2,40}", re.DOTALL),
        OtherFile("a frozen graph of TensorFlow", _NO_CHECKPOINT),
    ),
    (re.compile(rb"(\.\./)*(\.git)?/annex/objects/"), OtherFile("a git-annex pointer", "Run git annex get.")),
    (re.compile(rb"\0{1024}"), OtherFile("zeros, as of an incomplete download", _DOWNLOAD)),
)  # fmt: skip


def read_head(path: Path) -> bytes:
    """Read the first bytes of a file, for the functions below."""
    with path.open("rb") as file:
        return file.read(HEAD)


def find_format(head: bytes) -> str | None:
    """Return the suffix of the format that fastrt reads: ``.pth``, ``.wts``, ``.safetensors``; None for others."""
    if head[6:9] == b"\0\0{":  # first, as it begins with a length, whose bytes may be those of any signature
        return ".safetensors"
    if head.startswith((b"PK\3\4", OLD_STREAM)) or (head.startswith(b"\x80") and MAGIC in head[:64]):
        return ".pth"
    return ".wts" if head.split(b"\n", 1)[0].strip().isdigit() else None


def find_other(path: Path, head: bytes) -> OtherFile | None:
    """Recognise a file that is no checkpoint; None for a checkpoint and for unknown content."""
    if find_format(head) is not None:
        return _find_other_zip(path) if head.startswith(b"PK\3\4") else None  # its last bytes say which
    if head[257:262] == b"ustar":
        return _find_tar(head)
    for offset, signature, other in SIGNATURES:
        if head[offset:].startswith(signature):
            return other
    for pattern, other in PATTERNS:
        if pattern.match(head):
            return other
    return None


def is_recognised(head: bytes) -> bool:
    """True for a checkpoint, a known format or text; never for plain numbers, as in the weights of an OpenVINO engine.

    Signatures of fewer than 3 bytes do not count, as numbers may begin with them.
    """
    signed = any(head[at:].startswith(signature) for at, signature, _ in SIGNATURES if len(signature) > 2)
    pickled = re.match(rb"\x80[\2-\5][\x95\x8a}\](c]", head) is not None
    archived = head[257:262] == b"ustar"
    return (
        signed or pickled or archived or find_format(head) is not None or (head != b"" and find_text(head) is not None)
    )


def find_text(head: bytes) -> OtherFile | None:
    """Recognise text, and quote its beginning."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(head) < HEAD or error.start < HEAD - 4:  # else a character is cut at the end
            return None
        text = head[: error.start].decode("utf-8-sig")
    if not all(character.isprintable() or character.isspace() for character in text):
        return None
    first = " ".join(text.split())[:40]
    return OtherFile(f"{'JSON' if first.startswith(('{', '[')) else 'text'} that begins with {first!r}", _DOWNLOAD)


def _find_other_zip(path: Path) -> OtherFile | None:
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, ValueError, EOFError, RuntimeError, LookupError, struct.error):
        return None  # damaged: the reader says where
    leaves = {name.rpartition("/")[2] for name in names}
    if "data.pkl" in leaves:
        scripted = "constants.pkl" in leaves or any(name.split("/")[1:-1][:1] == ["code"] for name in names)
        return OtherFile("a TorchScript archive", _STATE_DICT) if scripted else None
    if any(leaf.endswith(".npy") for leaf in leaves):
        return OtherFile("NumPy arrays, a .npz", "Save the arrays by name with fastrt.save_weights.")
    if "model.weights.h5" in leaves:
        return OtherFile("a Keras model", "Name a checkpoint of FastReID.")
    return OtherFile(f"a zip archive of {len(names)} files, first {next(iter(names), 'none')}", _UNPACK)


def _find_tar(head: bytes) -> OtherFile:
    first = head[:100].rstrip(b"\0").decode("utf-8", "replace")
    if first in ("sys_info", "pickle", "tensors", "storages"):
        return OtherFile("a tar file of torch 0.1 (2016)", "Load and save it with a newer torch.")
    return OtherFile(f"a tar archive, first {first}", _UNPACK)
