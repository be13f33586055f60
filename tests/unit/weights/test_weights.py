from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fastrt
from fastrt.arrays import Array

ARRAYS: dict[str, Array] = {"a.weight": np.ones((2, 3), np.float32), "b": np.array(3, np.int64)}
SUFFIXES = [".pth", ".wts", ".safetensors"]


@pytest.mark.parametrize("second", SUFFIXES)
@pytest.mark.parametrize("first", SUFFIXES)
def test_every_format_converts_to_every_other(first: str, second: str, tmp_path: Path) -> None:
    one, two, direct = tmp_path / f"one{first}", tmp_path / f"two{second}", tmp_path / f"direct{second}"
    fastrt.save_weights(ARRAYS, one)
    fastrt.save_weights(fastrt.load_weights(one), two)
    fastrt.save_weights(ARRAYS, direct)
    weights = fastrt.load_weights(two)
    assert list(weights) == list(ARRAYS)
    if ".wts" not in (first, second):
        assert two.read_bytes() == direct.read_bytes()
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(weights[key].reshape(array.shape), array)


def test_a_prefix_is_removed_only_if_every_name_has_it(tmp_path: Path) -> None:
    fastrt.save_weights({"module.a": np.ones(1), "module.b": np.ones(1)}, tmp_path / "all.pth")
    fastrt.save_weights({"module.a": np.ones(1), "b": np.ones(1)}, tmp_path / "some.pth")
    assert list(fastrt.load_weights(tmp_path / "all.pth")) == ["a", "b"]
    assert list(fastrt.load_weights(tmp_path / "some.pth")) == ["module.a", "b"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "{}: does not exist; expected a checkpoint. Check the path."),
        ("folder", "{}: is a folder; expected a checkpoint. Name the file in it."),
        ("empty", "{}: empty file; expected a checkpoint. Copy it again."),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(kind: str, sentence: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    with pytest.raises(fastrt.CheckpointError) as caught:
        fastrt.load_weights(path)
    assert str(caught.value) == sentence.format(path)


@pytest.mark.parametrize("named", SUFFIXES)
@pytest.mark.parametrize("content", SUFFIXES)
def test_a_wrong_suffix_is_found_by_the_content(named: str, content: str, tmp_path: Path) -> None:
    fastrt.save_weights(ARRAYS, tmp_path / f"right{content}")
    path = tmp_path / f"wrong{named}"
    path.write_bytes((tmp_path / f"right{content}").read_bytes())
    if named == content:
        assert len(fastrt.load_weights(path)) == 2
        return
    with pytest.raises(fastrt.CheckpointError) as caught:
        fastrt.load_weights(path)
    assert str(caught.value) == f"{path}: content of a {content}; expected {named}. Rename the file."


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_bytes(b"x")
    with pytest.raises(fastrt.CheckpointError, match=r"m\.h5: suffix \.h5; expected \.pth, \.pt, \.bin, \.tar, \.wts"):
        fastrt.load_weights(tmp_path / "m.h5")
    with pytest.raises(fastrt.OutputError, match="m: no suffix; expected .pth, .pt"):
        fastrt.save_weights(ARRAYS, tmp_path / "m")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_folder_is_refused(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(fastrt.OutputError, match=r"folder .*nowhere does not exist"):
        fastrt.save_weights(ARRAYS, tmp_path / "nowhere" / f"m{suffix}")
