"""Files that once broke a reader: each is read or refused, within seconds, and with less than 1 GB of memory.

``make fuzz`` finds such files. The folder's name is the kind, one of ``fuzz.kinds``.
"""

from __future__ import annotations

import pickle
import shutil
import time
from pathlib import Path

import pytest
from fuzz.kinds import KINDS
from fuzz.worker import SECONDS, is_failure, read

from unit.weights.torch_files import TorchFile, dictionary, integers, name, storage, text

FILES = sorted(path for path in (Path(__file__).parent / "fuzz").glob("*/*") if path.is_file())


def check(kind: str, path: Path) -> None:
    begin = time.process_time()
    error = read(KINDS[kind], path)
    if error is not None and is_failure(error):
        raise error
    assert time.process_time() - begin < SECONDS, error


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_that_broke_a_reader_is_read_or_refused(path: Path, tmp_path: Path) -> None:
    kind = path.parent.name
    copy = tmp_path / f"input{KINDS[kind].suffix}"
    shutil.copyfile(path, copy)
    check(kind, copy)


def test_thousands_of_views_of_one_storage_take_little_memory(tmp_path: Path) -> None:
    """15,000 transposed tensors of 480 kB each, in a file of 860 kB."""
    source, zero = storage("0", "FloatStorage", 120_000, old=False), integers(0)[1:-1]
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    memo = source + b"q\0" + integers(300, 400) + b"q\1" + integers(1, 300) + b"q\2" + rebuild + b"q\3" + 4 * pickle.POP
    call = (
        b"h\3" + pickle.MARK + b"h\0" + zero + b"h\1h\2" + pickle.NEWFALSE + pickle.NONE + pickle.TUPLE + pickle.REDUCE
    )
    items = b"".join(text(f"a{i}") + call for i in range(15_000))
    content = memo + pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS
    check("pth", TorchFile(content, {"0": bytes(480_000)}).write(tmp_path / "input.pth", old=False))


def test_thousands_of_entries_below_a_long_name_take_little_memory(tmp_path: Path) -> None:
    """20,000 entries below a name of 300,000 characters, in a file of 530 kB."""
    entries = dictionary({str(i): pickle.NONE for i in range(20_000)})
    check("pth", TorchFile(dictionary({"k" * 300_000: entries}), {}).write(tmp_path / "input.pth", old=False))
