"""Outputs that appear completely written or not at all.

An output is written to a temporary folder beside it, named ``.NAME.RANDOM.fastrt-part``, and then moved. If it consists
of several files, the folder is first renamed to ``.NAME.RANDOM.fastrt-whole``: from then on the new files count, and
the next run completes the moves of a run that was killed (ADR 18). A running process holds a lock on its folder, so
folders without a lock are leftovers of killed runs.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastrt.errors import FastrtError, OutputError

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger("fastrt")

ESCAPED = "backslashreplace"
"""Codec error handler for file names that are not valid UTF-8. JSON escapes them in the same way."""

PART, WHOLE = ".fastrt-part", ".fastrt-whole"
"""Suffixes of a temporary folder: being written, and complete."""

TEMPORARY = re.compile(r"\..+\.[a-z0-9_]+(\.fastrt-part|\.fastrt-whole)", re.DOTALL)
"""Name of a temporary folder. Others are not deleted."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors of a file system that takes no more data."""

MOST_BYTES = 150
"""Bytes of an output's name that stand in the name of its temporary folder; file systems allow 255 in all."""


def check_suffix(path: Path, *suffixes: str) -> None:
    """Raise `OutputError` if an output is a folder, or its suffix is not one of ``suffixes``, in any case."""
    _refuse_folder(path)
    if path.suffix.lower() not in suffixes:
        found = f"suffix {path.suffix}" if path.suffix else "no suffix"
        *most, last = suffixes
        expected = f"{', '.join(most)} or {last}" if most else last
        raise OutputError(f"{path}: {found}; expected {expected}. Rename the output.")


def check_place(path: Path) -> None:
    """Raise `OutputError` if ``path`` cannot be created. Call it before work whose result would be lost."""
    _check_folders(path)
    with writing(path), temporary_folder(path.parent, path.name):
        pass  # permissions do not tell whether a folder is writable: it may be read-only for other reasons


def _check_folders(path: Path) -> None:
    if not os.path.isdir(path.parent):  # noqa: PTH112 (takes names that are too long for a file)
        raise OutputError(f"{path}: folder {path.parent} does not exist; expected an existing folder. Create it first.")
    _refuse_folder(path)


def _refuse_folder(path: Path) -> None:
    """Refuse a folder as an output, also one without a name: ``.`` and ``/``."""
    if os.path.isdir(path):  # noqa: PTH112
        raise OutputError(f"{path}: is a folder; expected a file. Name a file in it.")


def hash_file(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[str | os.PathLike[str] | None]) -> None:
    """Raise `OutputError` if an output is the file of an input, also through links or another case of its name.

    Outputs that a user names are replaced as a whole, but never an input of the same command.
    """
    given = [path for path in inputs if path is not None]
    # os.path takes names that are too long for a file, such as patterns.
    for output in outputs:
        for path in given:
            if os.path.exists(output) and os.path.exists(path) and os.path.samefile(output, path):  # noqa: PTH110, PTH121
                raise OutputError(f"{output}: is the input {path}; expected another file. Name another output.")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into an `OutputError` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({_reason(error)}); expected a writable folder with free space."
        ) from error


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return reason[:1].lower() + reason[1:]


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path in a temporary folder; move what was written there to ``path`` when the block ends without error.

    Companion files written beside the temporary path are moved too, before it. Errors of the block name ``path``, not
    the temporary path.

    Raises:
        OutputError: the folder does not exist, or a file cannot be written or moved.
    """
    path = Path(path)
    _check_folders(path)
    with writing(path):
        clear_leftovers(path.parent)
        with temporary_folder(path.parent, path.name) as folder:
            temporary = folder / path.name
            with _naming(temporary, path):
                yield temporary
            _move_whole(folder, path)


def finish_interrupted(path: Path) -> None:
    """Complete the replacement of ``path`` and its companions that a killed run began, or wait for a running one."""
    for folder in path.parent.glob(f".{glob.escape(_shortened(path.name))}.*{WHOLE}"):
        _clear_leftover(folder, wait=True)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder in the system's folder for temporary files; it is deleted at the end.

    Raises:
        OutputError: the block cannot write its files.
    """
    folder = None
    try:
        root = Path(tempfile.gettempdir())
        clear_leftovers(root)
        with temporary_folder(root, "scratch") as folder:
            yield folder
    except OSError as error:
        ours = folder is None or str(error.filename or "").startswith(str(folder))
        if not ours and error.errno not in FULL:
            raise  # of something else that the block does
        raise OutputError(
            f"temporary files: cannot be written ({_reason(error)}); expected a writable folder with free space. Set"
            " TMPDIR to one."
        ) from error


@contextmanager
def _naming(temporary: Path, path: Path) -> Iterator[None]:
    """Replace the temporary path and those of its companions in the messages of errors."""
    try:
        yield
    except FastrtError as error:
        text = str(error).replace(str(temporary.with_suffix("")), str(path.with_suffix("")))
        text = text.replace(str(temporary.parent), str(path.parent))
        if text == str(error):
            raise
        raise type(error)(text) from error


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make a folder that this process holds a lock on; delete it at the end."""
    folder, lock = None, None
    try:
        while folder is None:
            folder = Path(tempfile.mkdtemp(PART, f".{_shortened(name)}.", parent))
            try:
                lock = _lock(folder, wait=True)
            except FileNotFoundError:
                folder = None  # another process took it for a leftover, before it was locked
        yield folder
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # not empty after an interruption between the moves: the next run completes them
                folder.with_suffix(WHOLE).rmdir()
        if lock is not None:
            os.close(lock)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder.

    Raises:
        OutputError: another process holds it.
    """
    try:
        lock = _lock(folder, wait=False)
    except BlockingIOError:
        raise OutputError(
            f"{folder}: in use by another process; expected one process. Wait until it ends, or name another folder."
        ) from None
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _shortened(name: str) -> str:
    """Shorten a name, so that the name of its temporary folder is not too long for the file system."""
    return os.fsdecode(os.fsencode(name)[:MOST_BYTES])


def _lock(folder: Path, *, wait: bool) -> int | None:
    """Lock a folder; returns the open descriptor, or None if the system has no locks for folders.

    Raises:
        BlockingIOError: another process holds the lock, and ``wait`` is False.
        FileNotFoundError: the folder was deleted.
    """
    if sys.platform == "win32":
        return None  # so leftovers of killed runs stay
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        folder.stat()
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)
        raise
    except OSError:  # a network file system without locks
        os.close(descriptor)
        return None
    return descriptor


def _move_whole(folder: Path, path: Path) -> None:
    """Move the files of a temporary folder to those beside ``path``, which is moved last."""
    files = list(folder.iterdir())
    for file in files:
        if file.is_file():
            _check_folders(path.parent / file.name)
            with file.open("rb") as written:
                os.fsync(written.fileno())
    if len(files) > 1:
        folder = folder.rename(folder.with_suffix(WHOLE))
    _move(folder, path.name)


def _move(folder: Path, last: str) -> None:
    for file in sorted(folder.iterdir(), key=lambda file: _shortened(file.name) == _shortened(last)):
        file.replace(folder.parent / file.name)


def clear_leftovers(parent: Path) -> None:
    """Delete the temporary folders of killed runs in a folder, after moving the files of those that were complete."""
    with os.scandir(parent) as entries:
        folders = [Path(entry.path) for entry in entries if TEMPORARY.fullmatch(entry.name) and entry.is_dir()]
    for folder in folders:
        _clear_leftover(folder)


def _clear_leftover(folder: Path, *, wait: bool = False) -> None:
    with suppress(OSError):  # another process works in it or has deleted it, or the folder is another user's
        lock = _lock(folder, wait=wait)
        if lock is None:
            return
        try:
            if folder.suffix == WHOLE:
                _complete(folder)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _complete(folder: Path) -> None:
    """Move the rest of the files of a killed run, unless files there are newer."""
    committed = folder.stat().st_ctime_ns
    files = [folder.parent / file.name for file in folder.iterdir()]
    newer = [file for file in files if file.exists() and file.stat().st_ctime_ns > committed]
    if not newer:
        name = folder.name.removeprefix(".").removesuffix(WHOLE).rpartition(".")[0]
        _move(folder, name)
        logger.warning("%s: an interrupted run had written it completely; its files are now in place", name)
