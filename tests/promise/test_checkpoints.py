"""A checkpoint is read as it is meant, or refused with what it is and what to do."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import pickle
import tarfile
import zipfile
from collections import OrderedDict, UserDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrt
from conftest import Run, Small
from fastrt.arrays import Array
from fastrt.weights import write_weights

NAMES = ("backbone.conv1.weight", "backbone.bn1.bias", "heads.weight")


def write_torch(path: Path, content: object, protocol: int = 2) -> Path:
    """Write a file as of torch.save, whose tensors are NumPy arrays."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(content, protocol))
        file.writestr("archive/version", "3\n")
    return path


def state(prefix: str = "", value: float = 1) -> dict[str, Array]:
    return {f"{prefix}{name}": np.full(2, value, np.float32) for name in NAMES}


# A7: a value that also means "missing"


@pytest.mark.parametrize("p", [0.0, -0.0, 1e-42, np.nan, np.inf])
def test_an_exponent_that_cannot_be_computed_with_is_refused(small: Small, p: float) -> None:
    arrays = {**small.arrays, "heads.pool_layer.p": np.array([p], np.float32)}
    with pytest.raises(fastrt.WeightsError, match=r"heads\.pool_layer\.p"):
        fastrt.build_network(fastrt.load_spec(small.config), arrays)


def test_a_missing_exponent_is_still_named_as_missing(small: Small) -> None:
    arrays = {name: array for name, array in small.arrays.items() if name != "heads.pool_layer.p"}
    with pytest.raises(fastrt.WeightsError, match=r"1 missing, first heads\.pool_layer\.p \(1,\)"):
        fastrt.build_network(fastrt.load_spec(small.config), arrays)


def test_complex_weights_are_refused(small: Small) -> None:
    arrays = {**small.arrays, "backbone.bn1.bias": np.full(64, 1 + 1j, np.complex64)}
    with pytest.raises(fastrt.WeightsError, match=r"1 unusable, first backbone\.bn1\.bias is complex64"):
        fastrt.build_network(fastrt.load_spec(small.config), arrays)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("backbone.bn1.bias", [0.0] * 64, "backbone.bn1.bias is list"),
        ("heads.pool_layer.p", 3.0, "heads.pool_layer.p is float"),
        ("backbone.bn1.bias", None, "backbone.bn1.bias is NoneType"),
        ("backbone.bn1.bias", np.full(64, 0.0, object), "backbone.bn1.bias is object"),
        ("backbone.bn1.bias", np.full(64, "0"), "backbone.bn1.bias is <U1"),
        ("backbone.bn1.bias", np.zeros(64, "M8[s]"), "backbone.bn1.bias is datetime64[s]"),
        ("backbone.bn1.bias", np.zeros(64, [("a", "f4")]), "backbone.bn1.bias is [('a', '<f4')]"),
        ("pixel_mean", ["a", "b", "c"], "pixel_mean is list"),
        (3, np.zeros(64, np.float32), "the name 3 of an array"),
    ],
)
def test_what_is_not_an_array_of_numbers_is_named(
    small: Small, name: Any, value: Any, found: str, tmp_path: Path
) -> None:
    weights: Any = {**small.arrays, name: value}
    for use in (
        lambda: fastrt.build_network(fastrt.load_spec(small.config), weights),
        lambda: fastrt.save_weights(weights, tmp_path / "m.pth", spec=fastrt.load_spec(small.config)),
        lambda: fastrt.save_weights(weights, tmp_path / "m.safetensors"),
    ):
        with pytest.raises(fastrt.WeightsError) as caught:
            use()
        assert str(caught.value).startswith(f"weights: {found}; expected")
    assert not list(tmp_path.iterdir())


def test_boolean_weights_are_refused(small: Small) -> None:
    arrays = {**small.arrays, "backbone.bn1.bias": np.zeros(64, bool)}
    with pytest.raises(fastrt.WeightsError, match=r"1 unusable, first backbone\.bn1\.bias is bool"):
        fastrt.build_network(fastrt.load_spec(small.config), arrays)


def test_weights_that_are_no_mapping_are_refused(small: Small) -> None:
    weights: Any = list(small.arrays.values())
    with pytest.raises(fastrt.WeightsError, match="weights: a list; expected arrays by name"):
        fastrt.build_network(fastrt.load_spec(small.config), weights)


def test_an_empty_spec_in_a_file_is_not_taken_for_the_defaults(tmp_path: Path) -> None:
    write_weights(state(), tmp_path / "m.safetensors", {})
    with pytest.raises(fastrt.CheckpointError, match=r"fastrt\.spec"):
        fastrt.load_weights(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    "config", [{"INPUT": [384, 128]}, {"MODEL": {"BACKBONE": 50}}, {"MODEL.HEADS": "EmbeddingHead"}]
)
def test_a_value_in_place_of_keys_is_not_taken_for_the_defaults(config: dict[str, Any]) -> None:
    with pytest.raises(fastrt.SpecError, match="expected keys below it"):
        fastrt.load_spec(config)


@pytest.mark.parametrize(
    "key", ["INPUT.SIZE_TSET", "MODEL.PIXEL_MEANS", "MODEL.BACKBON.DEPTH", "MODEL.HEAD.POOL_LAYER"]
)
def test_a_key_with_a_typing_mistake_is_not_ignored(key: str) -> None:
    with pytest.raises(fastrt.SpecError, match=f"^{key}: unknown key"):
        fastrt.load_spec(None, [key, 3])
    assert fastrt.load_spec(None, ["INPUT.SIZE_TRAIN", [1, 1]]) == fastrt.load_spec()


# B7: names of Python 2

HARMLESS = [
    *(range(3), slice(1, 2), 3j, bytearray(b"x"), {1}, frozenset((1,)), iter([1]), b"x", int),
    *(UserDict(a=1), OrderedDict(a=1)),
]


@pytest.mark.parametrize("value", HARMLESS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_python_2_names_of_harmless_types_are_read(value: object, protocol: int, tmp_path: Path) -> None:
    path = write_torch(tmp_path / "m.pth", {"model": state(), "x": value}, protocol)
    assert list(fastrt.load_weights(path)) == list(NAMES)


class _Call:
    def __init__(self, function: Any, *arguments: object) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize(
    "call", [_Call(eval, "1"), _Call(os.system, "touch x"), _Call(itertools.filterfalse, None, [])]
)
def test_python_2_names_of_functions_are_never_called(call: _Call, tmp_path: Path) -> None:
    path = write_torch(tmp_path / "m.pth", {"model": state(), "x": call})
    with pytest.raises(fastrt.CheckpointError, match="when it is unpickled; expected tensors only"):
        fastrt.load_weights(path)


# B9: prefixes


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "student.", "_orig_mod.module.", "a.b.model."])
@pytest.mark.parametrize("suffix", [".pth", ".wts", ".safetensors"])
def test_any_common_prefix_is_removed_and_logged(
    prefix: str, suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fastrt.save_weights(state(prefix) | {"optimizer.step": np.ones(1, np.float32)}, tmp_path / f"m{suffix}")
    assert list(fastrt.load_weights(tmp_path / f"m{suffix}")) == [*NAMES, "optimizer.step"]
    assert f"{prefix}{NAMES[0]} is read as {NAMES[0]}" in caplog.text


def test_a_wrapper_of_one_part_is_removed(tmp_path: Path) -> None:
    arrays = {name.replace("backbone.", "backbone._orig_mod."): array for name, array in state("module.").items()}
    fastrt.save_weights(arrays, tmp_path / "m.pth")
    assert list(fastrt.load_weights(tmp_path / "m.pth")) == list(NAMES)


def test_several_models_in_one_file_keep_their_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fastrt.save_weights(state("student.") | state("teacher."), tmp_path / "m.pth")
    assert next(iter(fastrt.load_weights(tmp_path / "m.pth"))) == f"student.{NAMES[0]}"
    assert "names of several models, behind student., teacher.; all names are kept" in caplog.text


# B10: files that are no checkpoint


def _packed(write: Any) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _tar(buffer: io.BytesIO) -> None:
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("model_best.pth"), io.BytesIO())


def _zip(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return buffer.getvalue()


OTHERS = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer", "git lfs pull"),
    "html": (b"<!DOCTYPE html>\n<html><title>Google Drive</title>", "HTML page", "Download"),
    "html with blanks": (b"\n  <HTML lang=en>", "HTML page", "Download"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML file", "Download"),
    "gzip": (gzip.compress(b"x"), "gzip", "Unpack"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "7z", "Unpack"),
    "rar": (b"Rar!\x1a\x07\x01\0", "rar", "Unpack"),
    "tar": (_packed(_tar), "tar archive, first model_best.pth", "Unpack"),
    "zip": (_zip("model_best.pth"), "zip archive of 1 files, first model_best.pth", "Unpack"),
    "torchscript": (_zip("m/data.pkl", "m/constants.pkl", "m/code/x.py"), "TorchScript", "state_dict"),
    "pickle": (pickle.dumps({"model": [1]}), "pickle that torch.save did not write", "torch.save"),
    "npz": (_zip("a.npy"), "NumPy", "save_weights"),
    "keras": (_zip("config.json", "model.weights.h5"), "Keras", "FastReID"),
    "npy": (_packed(lambda buffer: np.save(buffer, np.ones(3))), "NumPy array", "save_weights"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5", "FastReID"),
    "onnx": (b"\x08\x07\x12\x07pytorch\x1a\x032.0:\x10", "ONNX model", ".pth"),
    "saved model": (b"\x08\x01\x12\x9b\x01", "SavedModel", "weights file"),
    "frozen graph": (b"\n\x2b\n\x05image\x12\x0bPlaceholder*", "frozen graph of TensorFlow", "weights file"),
    "tflite": (b"\x1c\0\0\0TFL3", "TensorFlow Lite", "weights file"),
    "json": (json.dumps({"error": "not found"}).encode(), "JSON that begins with", "Download"),
    "text": (b"404: Not Found", "text that begins with '404: Not Found'", "Download"),
    "chinese": ("文件不存在".encode() * 99, "text that begins with", "Download"),
    "zeros": (bytes(4096), "zeros", "Download"),
    "macos": (b"\0\x05\x16\x07\0\2\0\0", "metadata of macOS", "._"),
}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_that_is_no_checkpoint_is_named(kind: str, suffix: str, tmp_path: Path) -> None:
    content, what, advice = OTHERS[kind]
    (tmp_path / f"m{suffix}").write_bytes(content)
    with pytest.raises(fastrt.CheckpointError) as caught:
        fastrt.load_weights(tmp_path / f"m{suffix}")
    assert what in str(caught.value)
    assert advice in str(caught.value)
    assert "damaged" not in str(caught.value)


def test_a_checkpoint_may_have_any_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "code.pth", "w") as file:  # torch names the folder in the zip after the file
        file.writestr("code/data.pkl", pickle.dumps({"model": state()}, 2))
    assert list(fastrt.load_weights(tmp_path / "code.pth")) == list(NAMES)


def test_unknown_content_is_not_called_a_damaged_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "m.pth").write_bytes(b"\x07\xc3\x11" * 99)
    with pytest.raises(
        fastrt.CheckpointError, match=r"m\.pth: neither a zip nor a pickle of torch; expected a checkpoint"
    ):
        fastrt.load_weights(tmp_path / "m.pth")


def test_the_weights_of_an_openvino_engine_are_named(small: Small, run: Run) -> None:
    done = run("inspect", small.engine.with_suffix(".bin"))
    assert done.code == 2
    assert "the weights of an OpenVINO engine" in done.err
    assert small.engine.name in done.err


def test_a_checkpoint_with_another_suffix_is_named(tmp_path: Path) -> None:
    write_torch(tmp_path / "m.ckpt", {"model": state()})
    with pytest.raises(
        fastrt.CheckpointError, match=r"suffix \.ckpt; expected .* The content is that of a \.pth: rename"
    ):
        fastrt.load_weights(tmp_path / "m.ckpt")


# B16: state dicts under other keys

PLACES: dict[str, Any] = {
    "net": {"net": state(), "epoch": 3},
    "model_state_dict": {"model_state_dict": state(), "loss": 0.5},
    "state_dict.model": {"state_dict": {"model": state(), "optimizer": {}}},
    "a.b": {"a.b": state()},
    "ema.module": {"ema": {"module": state()}, "model": None},
}


@pytest.mark.parametrize("key", PLACES)
def test_a_state_dict_is_asked_for_by_name(key: str, run: Run, tmp_path: Path) -> None:
    path = write_torch(tmp_path / "m.pth", PLACES[key])
    with pytest.raises(fastrt.CheckpointError, match=f"Tensors are under {key}: choose one with --key {key}"):
        fastrt.load_weights(path)
    assert list(fastrt.load_weights(path, key)) == list(NAMES)
    assert run("convert", path, tmp_path / "n.safetensors", "--key", key).code == 0
    assert list(fastrt.load_weights(tmp_path / "n.safetensors")) == list(NAMES)


@pytest.mark.parametrize("other", ["ema_state_dict", "state_dict", "net", "model_ema"])
def test_one_of_several_models_is_never_guessed(other: str, tmp_path: Path) -> None:
    path = write_torch(
        tmp_path / "m.pth", {"model": state(), other: state("module.", 2), "center": {"centers": np.ones(2)}}
    )
    with pytest.raises(fastrt.CheckpointError, match=f"state dicts of one model under model, {other}; expected one"):
        fastrt.load_weights(path)
    assert fastrt.load_weights(path, "model")[NAMES[0]][0] == 1
    assert fastrt.load_weights(path, other)[NAMES[0]][0] == 2


@pytest.mark.parametrize("key", ["", "nope", "model.nope", "epoch"])
def test_a_key_without_state_dict_is_refused(key: str, tmp_path: Path) -> None:
    path = write_torch(tmp_path / "m.pth", {"model": state(), "epoch": 3})
    with pytest.raises(fastrt.CheckpointError, match="Tensors are under model"):
        fastrt.load_weights(path, key)


def test_other_formats_have_no_keys(tmp_path: Path) -> None:
    fastrt.save_weights(state(), tmp_path / "m.safetensors")
    with pytest.raises(fastrt.CheckpointError, match="--key model; expected a .pth"):
        fastrt.load_weights(tmp_path / "m.safetensors", "model")


# B20: outputs and inputs


@pytest.mark.parametrize("link", ["same", "symbolic", "hard", "dots"])
def test_convert_never_writes_its_input(link: str, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "m.pth"
    fastrt.save_weights(state(), path)
    before = path.read_bytes()
    out = tmp_path / "n.pth"
    if link == "symbolic":
        out.symlink_to(path)
    elif link == "hard":
        out.hardlink_to(path)
    else:
        out = path if link == "same" else tmp_path / "." / ".." / tmp_path.name / "m.pth"
    done = run("convert", path, out)
    assert done.code == 2
    assert "is the input" in done.err
    assert path.read_bytes() == before


def test_build_never_writes_its_inputs(run: Run, small: Small, tmp_path: Path) -> None:
    checkpoint = tmp_path / "m.bin"  # the name of the weights that OpenVINO writes beside m.xml
    checkpoint.write_bytes(small.checkpoint.read_bytes())
    done = run("build", checkpoint, "--config", small.config, "-o", tmp_path / "m.xml")
    assert done.code == 2
    assert "is the input" in done.err
    assert checkpoint.read_bytes() == small.checkpoint.read_bytes()
    assert not (tmp_path / "m.xml").exists()


def test_an_existing_output_is_replaced_as_a_whole(run: Run, small: Small, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    out.write_bytes(b"old")
    assert run("convert", small.checkpoint, out).code == 0
    assert list(fastrt.load_weights(out)) == list(small.arrays)


# B24: YAML


def _load(text: bytes, tmp_path: Path) -> fastrt.ModelSpec:
    (tmp_path / "c.yml").write_bytes(text)
    return fastrt.load_spec(tmp_path / "c.yml")


@pytest.mark.parametrize("encoding", ["gbk", "shift_jis", "utf-16"])
def test_yaml_in_another_encoding_is_named_as_such(encoding: str, tmp_path: Path) -> None:
    with pytest.raises(fastrt.SpecError, match=r"c\.yml, line \d: not UTF-8; .* Save it as UTF-8\."):
        _load("MODEL:\n  # 骨干\n  BACKBONE: {DEPTH: 34x}\n".encode(encoding), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"SEED: &h 64\nINPUT: {SIZE_TEST: [*h, 32]}",
        b"INPUT: {SIZE_TRAIN: &s [64, 32], SIZE_TEST: *s}",
        b"INPUT: {SIZE_TEST: !!python/tuple [64, 32]}",
        b"INPUT:\n  SIZE_TEST: !!python/tuple\n  - !!python/int 64\n  - !!python/long 32\n",
        b"DATASETS: &d {SIZE_TEST: [64, 32]}\nINPUT: {<<: *d}",
        b"\xef\xbb\xbfINPUT: {SIZE_TEST: [64, 32]}\r\n",
        "INPUT: {SIZE_TEST: [64, 32]} # 高 宽".encode(),
    ],
)
def test_what_yaml_files_of_fastreid_contain_is_read(text: bytes, tmp_path: Path) -> None:
    assert _load(text, tmp_path).image_size == (64, 32)


def _bomb(first: bytes, line: bytes) -> bytes:
    """YAML in which each line has nine aliases of the line above."""
    names = b"abcdefghi"
    lines = [line % (new, new, b", ".join([b"*%c" % old] * 9)) for old, new in itertools.pairwise(names)]
    return first + b"".join(lines)


@pytest.mark.parametrize(
    "text",
    [_bomb(b"a: &a [x]\n", b"%c: &%c [%s]\n"), _bomb(b"a: &a {k: 1}\n", b"%c: &%c {<<: [%s]}\n"), b"a: &a [*a]"],
    ids=["lists", "merges", "loop"],
)
def test_aliases_that_grow_without_bound_are_refused(text: bytes, tmp_path: Path) -> None:
    with pytest.raises(fastrt.SpecError, match="aliases"):
        _load(text, tmp_path)


@pytest.mark.parametrize("tag", [b"!!python/object/apply:os.system [ls]", b"!!python/name:os.system ''", b"!mine 3"])
def test_other_tags_are_refused_with_their_line(tag: bytes, tmp_path: Path) -> None:
    with pytest.raises(fastrt.SpecError, match="line 2: the tag .* is not a plain value"):
        _load(b"MODEL:\n  X: " + tag, tmp_path)


@pytest.mark.parametrize("size", ["[256]", "256", "[256, 128, 3]", "256x128", "[]", "[true, 128]", "", "{H: 256}"])
def test_a_size_that_is_not_two_numbers_is_refused(size: str, tmp_path: Path) -> None:
    with pytest.raises(fastrt.SpecError, match=r"two numbers: \[height, width\]|expected"):
        _load(f"INPUT: {{SIZE_TEST: {size}}}".encode(), tmp_path)
