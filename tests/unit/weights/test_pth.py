from __future__ import annotations

import argparse
import collections
import contextlib
import datetime as dt
import hashlib
import json
import os
import pathlib
import pickle
import struct
import subprocess
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastrt
from fastrt.weights.dtypes import TORCH_DTYPES
from unit.weights.torch_files import TorchFile, dictionary, integers, name, state, storage, tensor, text

GOLDEN = Path(__file__).parents[2] / "golden" / "checkpoints"
OLD = pytest.mark.parametrize("old", [False, True], ids=["zip", "stream"])


@pytest.mark.parametrize("leaf", ["model_best.pth", "model_best_legacy.pth"])
def test_files_of_fastreid_are_read_exactly(leaf: str) -> None:
    wanted = json.loads((GOLDEN / "model_best.json").read_text())
    weights = fastrt.load_weights(GOLDEN / leaf)
    assert list(weights) == list(wanted)
    for key, array in weights.items():
        found = {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        }
        assert found == wanted[key], key


@OLD
@pytest.mark.parametrize("big_endian", [False, True])
def test_views_of_a_storage_are_read(old: bool, big_endian: bool, tmp_path: Path) -> None:
    path = state(old=old, big_endian=big_endian).write(tmp_path / "m.pth", old=old, big_endian=big_endian)
    weights = fastrt.load_weights(path)
    np.testing.assert_array_equal(weights["weight"], np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(weights["transposed"], weights["weight"].T)
    assert weights["scalar"].shape == ()
    assert weights["scalar"] == 5
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in weights.values())


class _Config(dict[str, Any]):
    """As yacs' CfgNode: a dictionary subclass with attributes, unknown to fastrt."""

    def __init__(self) -> None:
        super().__init__(LR=0.1)
        self.frozen = True


class _Plain:
    def __init__(self) -> None:
        self.anything = [1, {"deep": (2, 3)}]


OTHER_ENTRIES = {
    "optimizer": {
        "state": {0: {"step": 3, "exp": (1.5, None)}},
        "param_groups": [{"lr": np.float64(0.1), "params": [0]}],
    },
    "metric": np.float32(93.5),
    "array": np.arange(3),
    "date": dt.datetime(2021, 3, 23),
    "path": pathlib.PurePosixPath("a/b"),
    "arguments": argparse.Namespace(a=1),
    "counter": collections.OrderedDict(a=1),
    "default": collections.defaultdict(list, a=[1]),
    "sets": [{1, 2}, frozenset((3,))],
    "config": _Config(),
    "plain": _Plain(),
    "bytes": b"raw",
}


@OLD
@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize("key", OTHER_ENTRIES)
def test_other_entries_are_ignored(key: str, protocol: int, old: bool, tmp_path: Path) -> None:
    pickled = pickle.dumps(OTHER_ENTRIES[key], protocol)
    body = pickled[: -len(pickle.STOP)]
    if protocol >= 2:
        body = body[2:]  # the protocol's number; a file has it once, at the beginning
    path = state({key: body}, old=old).write(tmp_path / "m.pth", old=old)
    assert list(fastrt.load_weights(path)) == ["weight", "transposed", "scalar"]


def test_numpy_arrays_in_the_model_are_read(tmp_path: Path) -> None:
    model = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.asfortranarray(np.eye(3)),
        "c": np.array([], np.int64),
    }
    path = TorchFile(pickle.dumps({"model": model}, 2)[2:-1], {}).write(tmp_path / "m.pth", old=False)
    weights = fastrt.load_weights(path)
    for key, array in model.items():
        np.testing.assert_array_equal(weights[key], array)


@OLD
@pytest.mark.parametrize("wrap", ["model", "state_dict", None])
def test_the_model_is_found_and_a_common_prefix_removed(wrap: str | None, old: bool, tmp_path: Path) -> None:
    one = tensor(storage("0", "FloatStorage", 6, old=old), integers(0)[1:-1], integers(6), integers(1))
    inner = dictionary({"module.a": one, "module.b": one})
    content = inner if wrap is None else dictionary({wrap: inner, "epoch": pickle.BININT1 + b"\x07"})
    path = TorchFile(content, {"0": bytes(24)}).write(tmp_path / "m.pth", old=old)
    assert list(fastrt.load_weights(path)) == ["a", "b"]


class _Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


HOSTILE = {
    f"{os.system.__module__}.system": _Calls(os.system, "touch touched"),
    "builtins.eval": _Calls(eval, "1"),
    "subprocess.Popen": _Calls(subprocess.Popen, ["touch", "touched"]),
    "builtins.getattr": _Calls(getattr, "", "join"),
}


@OLD
@pytest.mark.parametrize("called", HOSTILE)
@pytest.mark.parametrize("where", ["beside", "inside"])
def test_a_file_that_calls_a_function_is_refused(
    called: str, where: str, old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    body = pickle.dumps({"x": HOSTILE[called]}, 2, fix_imports=False)[2:-1]
    file = state({"optimizer": body}, old=old) if where == "beside" else TorchFile(dictionary({"model": body}), {})
    path = file.write(tmp_path / "m.pth", old=old)
    with pytest.raises(fastrt.CheckpointError) as caught:
        fastrt.load_weights(path)
    assert str(caught.value) == (
        f"{path}: calls {called} when it is unpickled; expected tensors only, as fastrt runs no code of a file. Do"
        " not trust it."
    )
    assert not (tmp_path / "touched").exists()


CALLING_OPCODES = {
    "inst": pickle.MARK + text("x") + pickle.INST + b"os\nsystem\n",
    "obj": pickle.MARK + name("os", "system") + text("x") + pickle.OBJ,
    "stack global": text("os") + text("system") + pickle.STACK_GLOBAL + text("x") + pickle.TUPLE1 + pickle.REDUCE,
}


@pytest.mark.parametrize("kind", CALLING_OPCODES)
def test_every_calling_opcode_is_refused(kind: str, tmp_path: Path) -> None:
    path = state({"x": CALLING_OPCODES[kind]}, old=False).write(tmp_path / "m.pth", old=False)
    with pytest.raises(fastrt.CheckpointError, match=r"calls os\.system when it is unpickled"):
        fastrt.load_weights(path)


BROKEN = {
    "extension": pickle.EXT1 + b"\x01",
    "name of numbers": pickle.BININT1 + b"\1" + pickle.BININT1 + b"\2" + pickle.STACK_GLOBAL,
    "call of a number": pickle.BININT1 + b"\1" + pickle.EMPTY_TUPLE + pickle.REDUCE,
    "no mark": pickle.TUPLE,
    "mark as value": pickle.MARK + pickle.TUPLE1,
    "memo": pickle.BINGET + b"\x63",
    "odd items": pickle.EMPTY_DICT + pickle.MARK + text("a") + pickle.SETITEMS,
    "invalid persistent id": text("storage") + pickle.BINPERSID,
    "object without class": pickle.NONE + pickle.EMPTY_TUPLE + pickle.NEWOBJ,
    "endless text": pickle.BINUNICODE8 + struct.pack("<Q", 1 << 62),
    "endless number": pickle.LONG4 + struct.pack("<i", 1 << 30),
    "rebuild without arguments": name("torch._utils", "_rebuild_tensor_v2") + pickle.EMPTY_TUPLE + pickle.REDUCE,
    "deep": pickle.EMPTY_TUPLE + pickle.TUPLE1 * 100_000 + pickle.BUILD,
}


@OLD
@pytest.mark.parametrize("kind", BROKEN)
def test_an_inconsistent_pickle_is_refused(kind: str, old: bool, tmp_path: Path) -> None:
    path = state({"x": BROKEN[kind]}, old=old).write(tmp_path / "m.pth", old=old)
    with pytest.raises(fastrt.CheckpointError, match="damaged or not a .pth"):
        fastrt.load_weights(path)


def test_recursive_containers_are_read(tmp_path: Path) -> None:
    loop = pickle.EMPTY_LIST + pickle.BINPUT + b"\1" + pickle.BINGET + b"\1" + pickle.APPEND
    path = state({"loop": loop}, old=False).write(tmp_path / "m.pth", old=False)
    assert len(fastrt.load_weights(path)) == 3


ZERO = integers(0)[1:-1]
VIEWS = {
    "beyond the end": (integers(1)[1:-1], integers(2, 3), integers(3, 1)),
    "strides beyond": (ZERO, integers(2, 3), integers(4, 1)),
    "huge": (ZERO, integers(1 << 40, 1 << 40), integers(0, 0)),
    "repeated": (ZERO, integers(1000, 6), integers(0, 1)),
    "negative stride": (integers(5)[1:-1], integers(6), integers(-1)),
    "negative offset": (integers(-1)[1:-1], integers(1), integers(1)),
    "negative shape": (ZERO, integers(-1), integers(1)),
    "strides missing": (ZERO, integers(2, 3), integers(3)),
    "shape of text": (ZERO, text("shape"), integers(3)),
}


@OLD
@pytest.mark.parametrize("kind", VIEWS)
def test_a_view_beyond_its_storage_is_refused(kind: str, old: bool, tmp_path: Path) -> None:
    view = tensor(storage("0", "FloatStorage", 6, old=old), *VIEWS[kind])
    path = TorchFile(dictionary({"model": dictionary({"w": view})}), {"0": bytes(24)}).write(
        tmp_path / "m.pth", old=old
    )
    with pytest.raises(fastrt.CheckpointError, match=r"damaged or not a .pth \(w: "):
        fastrt.load_weights(path)


def test_a_sparse_tensor_is_refused(tmp_path: Path) -> None:
    sparse = name("torch._utils", "_rebuild_sparse_tensor") + pickle.EMPTY_TUPLE + pickle.REDUCE
    good = tensor(storage("0", "FloatStorage", 6, old=False), ZERO, integers(6), integers(1))
    content = dictionary({"model": dictionary({"good": good, "bad": sparse})})
    path = TorchFile(content, {"0": bytes(24)}).write(tmp_path / "m.pth", old=False)
    with pytest.raises(
        fastrt.CheckpointError, match="bad is torch._utils._rebuild_sparse_tensor; expected a dense tensor"
    ):
        fastrt.load_weights(path)


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    module = name("mymodels", "ReID") + pickle.EMPTY_TUPLE + pickle.NEWOBJ + pickle.EMPTY_DICT + pickle.BUILD
    path = TorchFile(dictionary({"model": module}), {}).write(tmp_path / "m.pth", old=False)
    with pytest.raises(fastrt.CheckpointError) as caught:
        fastrt.load_weights(path)
    assert str(caught.value) == (
        f"{path}: object of class mymodels.ReID; expected a state dict. Save the model's state_dict() with torch.save."
    )


@OLD
def test_a_cut_at_every_byte_is_refused(old: bool, tmp_path: Path) -> None:
    path = state({"epoch": pickle.BININT1 + b"\7"}, old=old).write(tmp_path / "m.pth", old=old)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(fastrt.CheckpointError):
            fastrt.load_weights(path)


@OLD
def test_flipped_bits_are_refused_or_harmless(old: bool, tmp_path: Path) -> None:
    path = state({"epoch": pickle.BININT1 + b"\7"}, old=old).write(tmp_path / "m.pth", old=old)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(1500):
        flipped = bytearray(data)
        flipped[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        with contextlib.suppress(fastrt.CheckpointError):
            fastrt.load_weights(path)


DTYPES = sorted(TORCH_DTYPES)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=12),
        st.sampled_from(DTYPES).flatmap(
            lambda dtype: hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3).map(
                lambda shape: np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(TORCH_DTYPES[dtype])
            )
        ),
        min_size=1,
        max_size=4,
    )
)
def test_written_arrays_are_read_again(arrays: dict[str, np.ndarray]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.pth"
        fastrt.save_weights({f"x{key}": array for key, array in arrays.items()}, path)
        weights = fastrt.load_weights(path)
    assert list(weights) == [f"x{key}" for key in arrays]
    for key, array in arrays.items():
        assert weights[f"x{key}"].dtype == array.dtype
        assert weights[f"x{key}"].shape == array.shape
        assert weights[f"x{key}"].tobytes() == array.tobytes()


def test_equal_arrays_make_equal_files(tmp_path: Path) -> None:
    arrays = {"a": np.ones((3, 4), ml_dtypes.bfloat16), "b": np.array(7)}
    for leaf in ("one.pth", "two.pth"):
        fastrt.save_weights(arrays, tmp_path / leaf)
    assert (tmp_path / "one.pth").read_bytes() == (tmp_path / "two.pth").read_bytes()


def test_a_dtype_unknown_to_torch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(fastrt.OutputError, match=r"a is \S+; expected a dtype of torch"):
        fastrt.save_weights({"a": np.array([1], np.longdouble)}, tmp_path / "m.pth")
    assert list(tmp_path.iterdir()) == []
