from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import fastrt
from fastrt.demo.demonstrate import load_demo_model
from fastrt.weights.safetensors_file import DTYPES

ARRAYS = {
    "flag": np.array([True]),
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "counter": np.array(9, np.int64),
    "half": np.array([1.5], np.float16),
}


def test_the_library_reads_the_files(tmp_path: Path) -> None:
    fastrt.save_weights(ARRAYS, tmp_path / "m.safetensors")
    found = safetensors.numpy.load_file(tmp_path / "m.safetensors")
    assert set(found) == set(ARRAYS)
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(found[key], array)
        assert found[key].dtype == array.dtype


def test_files_of_the_library_are_read(tmp_path: Path) -> None:
    safetensors.numpy.save_file(ARRAYS, tmp_path / "m.safetensors", {"format": "np"})
    weights = fastrt.load_weights(tmp_path / "m.safetensors")
    assert set(weights) == set(ARRAYS)
    assert weights.spec is None
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(weights[key], array)


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=9), st.sampled_from(sorted(DTYPES)), st.integers(0, 5)), min_size=1)
)
def test_order_dtypes_and_bytes_survive(entries: list[tuple[str, str, int]]) -> None:
    arrays = {f"x{key}": np.arange(size).astype(DTYPES[dtype]) for key, dtype, size in entries}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        fastrt.save_weights(arrays, path)
        weights = fastrt.load_weights(path)
    assert list(weights) == list(arrays)
    for key, array in arrays.items():
        assert (weights[key].dtype, weights[key].tobytes()) == (array.dtype, array.tobytes())


def test_the_spec_is_stored(tmp_path: Path) -> None:
    spec = fastrt.load_spec("sbs_R50").model_dump(mode="json")
    fastrt.save_weights(ARRAYS, tmp_path / "one.safetensors", spec=spec)
    weights = fastrt.load_weights(tmp_path / "one.safetensors")
    assert weights.spec == spec
    fastrt.save_weights(weights, tmp_path / "two.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


@pytest.mark.parametrize("text", ["no json", "[1]", "null"])
def test_an_invalid_spec_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file(ARRAYS, path, {"fastrt.spec": text})
    with pytest.raises(fastrt.CheckpointError) as caught:
        fastrt.load_weights(path)
    assert (
        str(caught.value)
        == f"{path}: metadata fastrt.spec is not a JSON object; expected a spec. Convert the checkpoint again."
    )


def test_a_cut_at_every_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    fastrt.save_weights(ARRAYS, path)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(fastrt.CheckpointError):
            fastrt.load_weights(path)


def test_flipped_bits_are_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    fastrt.save_weights(ARRAYS, path)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(1000):
        flipped = bytearray(data)
        flipped[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        with contextlib.suppress(fastrt.CheckpointError):
            fastrt.load_weights(path)


def test_unsupported_arrays_are_refused(tmp_path: Path) -> None:
    for arrays in ({"a": np.zeros(1, np.complex128)}, {"__metadata__": np.zeros(1)}):
        with pytest.raises(fastrt.OutputError, match="expected a dtype and name that .safetensors has"):
            fastrt.save_weights(arrays, tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_the_header_is_json_and_all_is_aligned(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    fastrt.save_weights(ARRAYS, path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert list(header) == list(ARRAYS)
    for key, entry in header.items():
        assert (8 + length + entry["data_offsets"][0]) % ARRAYS[key].itemsize == 0


def test_the_demo_model_has_its_spec() -> None:
    model = load_demo_model()
    assert model.spec.image_size == (256, 128)
