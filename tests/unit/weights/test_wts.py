from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastrt


def gen_wts(arrays: dict[str, np.ndarray]) -> bytes:
    """Write as FastReID's gen_wts, value by value."""
    lines = [f"{len(arrays)}\n"]
    for key, array in arrays.items():
        values = array.reshape(-1)
        words = "".join(" " + struct.pack(">f", float(value)).hex() for value in values)
        lines.append(f"{key} {len(values)}{words}\n")
    return "".join(lines).encode()


ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) - 7.3,
    "bn.num_batches_tracked": np.array(1000, np.int64),
    "odd": np.array([np.inf, -np.inf, -0.0, 1e-45, 3.4e38], np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "half": np.array([1.5, 2.25], np.float16),
    "wide": np.array([np.pi]),
}


def test_the_bytes_equal_those_of_gen_wts(tmp_path: Path) -> None:
    fastrt.save_weights(ARRAYS, tmp_path / "m.wts")
    assert (tmp_path / "m.wts").read_bytes() == gen_wts(ARRAYS)


def test_arrays_are_read_flat(tmp_path: Path) -> None:
    (tmp_path / "m.wts").write_bytes(gen_wts(ARRAYS))
    weights = fastrt.load_weights(tmp_path / "m.wts")
    assert list(weights) == list(ARRAYS)
    for key, array in ARRAYS.items():
        assert weights[key].dtype == np.float32
        np.testing.assert_array_equal(weights[key], array.reshape(-1).astype(np.float32))


@given(hnp.arrays(np.uint32, st.integers(0, 40)))
def test_every_bit_pattern_survives(bits: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.wts"
        fastrt.save_weights({"a": bits.view(np.float32)}, path)
        np.testing.assert_array_equal(fastrt.load_weights(path)["a"].view(np.uint32), bits)


def test_more_than_a_chunk(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(1 << 20) + 5).astype(np.float32)
    fastrt.save_weights({"a": array, "b": array[:3]}, tmp_path / "m.wts")
    weights = fastrt.load_weights(tmp_path / "m.wts")
    np.testing.assert_array_equal(weights["a"], array)
    np.testing.assert_array_equal(weights["b"], array[:3])


@pytest.mark.parametrize("change", ["upper", "crlf", "no end", "blank end"])
def test_other_spellings_are_read(change: str, tmp_path: Path) -> None:
    data = gen_wts({"A": np.array([1.7, -2.6], np.float32), "B": np.array([5.5], np.float32)})
    data = {
        "upper": data.upper(),
        "crlf": data.replace(b"\n", b"\r\n"),
        "no end": data.rstrip(b"\n"),
        "blank end": data + b"\n \n",
    }[change]
    (tmp_path / "m.wts").write_bytes(data)
    weights = fastrt.load_weights(tmp_path / "m.wts")
    np.testing.assert_array_equal(weights["A"], np.array([1.7, -2.6], np.float32))
    np.testing.assert_array_equal(weights["B"], np.array([5.5], np.float32))


def test_a_cut_at_every_byte_is_refused(tmp_path: Path) -> None:
    data = gen_wts(ARRAYS)
    path = tmp_path / "m.wts"
    for length in range(len(data) - 1):  # without the last line's end, which may be missing
        path.write_bytes(data[:length])
        with pytest.raises(fastrt.CheckpointError):
            fastrt.load_weights(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hello\n", "{}, line 1: 'hello'; expected the number of arrays. Check that it is a .wts."),
        ("2\na 1 3f800000\n", "{}: ends after 1 arrays; expected 2. Copy the file again."),
        ("1\na 2 3f800000\n", "{}, line 2: a has another length; expected 2 values of 8 digits. Copy it again."),
        ("1\na 1 3f80000\n", "{}, line 2: a has other values; expected 8 hexadecimal digits each. Copy it again."),
        ("1\na 1 3f80000g\n", "{}, line 2: a has other values; expected 8 hexadecimal digits each. Copy it again."),
        (
            "1\na 1 3f800000 3f800000\n",
            "{}, line 2: a has another length; expected 1 values of 8 digits. Copy it again.",
        ),
        ("2\na 1 3f800000\na 1 3f800000\n", "{}, line 3: second array a; expected unique names. Write the file again."),
        ("1\na 1 3f800000\nb 1 3f800000\n", "{}: more lines than arrays; expected 1 arrays by line 1. Copy it again."),
        ("1\n\na 1 3f800000\n", "{}, line 2: '\\na 1 3f800000\\n'; expected a name and a size. Copy the file again."),
        ("1\na x\n", "{}, line 2: 'a x\\n'; expected a name and a size. Copy the file again."),
        (
            "1\na 99999999999999\n",
            "{}, line 2: 'a 99999999999999\\n'; expected a name and a size. Copy the file again.",
        ),
        ("0\n", "{}: no arrays; expected a checkpoint. Check the file."),
    ],
)
def test_the_damaged_line_is_named(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "m.wts"
    path.write_text(text)
    with pytest.raises(fastrt.CheckpointError) as caught:
        fastrt.load_weights(path)
    assert str(caught.value) == sentence.format(path)


@pytest.mark.parametrize("key", ["", "a b", "a\nb"])
def test_an_unsupported_name_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(fastrt.OutputError, match="expected a name without spaces"):
        fastrt.save_weights({key: np.zeros(1, np.float32)}, tmp_path / "m.wts")
    assert list(tmp_path.iterdir()) == []
