"""Small valid files of each kind, from which inputs are made."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import pickle
import struct
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import fastrt
from fastrt.engine.calibration_table import CalibrationTable, TensorRange
from fastrt.extraction import Embedded, Store
from fastrt.ir.builder import Builder
from fastrt.ir.network import Network
from fastrt.ir.ops import Add, Convolution, MaxPool, ReduceMean, Relu, Reshape, ScaleShift
from fastrt.ir.parameters import Parameters
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.registry import choose_target

INFO = EngineInfo(
    fastrt="0.1",
    target="reference",
    precision="fp32",
    io="u8_nhwc_bgr",
    image_size=(8, 4),
    embedding_dim=4,
    normalized=True,
    fingerprint="0" * 64,
    batches=(1, 8),
    kept=("a",),
    min_similarity=0.9,
    spec={"backbone": {"name": "build_resnet_backbone", "depth": "50x"}},
)


FILES = tuple(Path(f"{i}.jpg") for i in range(6))
"""Images of a job; they do not exist."""


def make_network() -> Network:
    """A network of one convolution, for images of 8x4 pixels."""
    b = Builder(Parameters({}))
    x = b.input("images", (3, 8, 4))
    x = b.add("pixels", ScaleShift(np.full(3, 0.02), np.full(3, -2.0)), x)
    x = b.add("stem", Convolution(np.ones((4, 3, 3, 3), np.float32), np.zeros(4, np.float32), padding=1), x)
    x = b.add("pool", MaxPool(2, 2), b.add("relu", Relu(), x))
    x = b.add("sum", Add(), x, x)
    b.add("embedding", Reshape((4,)), b.add("mean", ReduceMean(), x))
    return b.network({})


def _arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = {"backbone.conv1.weight": (2, 3, 2, 2), "backbone.bn1.weight": (2,), "heads.pool_layer.p": (1,)}
    arrays: dict[str, Any] = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    blocks = [
        f"backbone.layer{layer}.{block}.conv{i}.weight" for layer in (1, 2, 3, 4) for block in (0, 1) for i in (1, 2)
    ]
    arrays |= {name: np.ones((1, 1, 1, 1), np.float16) for name in blocks}  # a ResNet-18
    return {**arrays, "backbone.bn1.num_batches_tracked": np.asarray(7), "empty": np.empty((0, 3), np.float32)}


def _saved(name: str, **options: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        fastrt.save_weights(_arrays(), path, **options)
        return path.read_bytes()


def wts() -> list[bytes]:
    return [_saved("a.wts"), b"1\na 2 3f800000 3f800000\n", b"0\n"]


def safetensors() -> list[bytes]:
    spec = {"backbone": {"name": "build_resnet_backbone", "depth": "18x"}, "image_size": [64, 32]}
    return [_saved("a.safetensors"), _saved("a.safetensors", spec=spec)]


@cache
def wts_with_spec() -> tuple[bytes, bytes]:
    """A ``.wts`` and the ``.yml`` beside it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.wts"
        fastrt.save_weights(_arrays(), path, spec=fastrt.load_spec("sbs_R50-ibn"))
        return path.read_bytes(), path.with_suffix(".yml").read_bytes()


def _pickles() -> list[bytes]:
    """Pickles with what training checkpoints contain beside tensors."""
    values = np.arange(6, dtype="f4").reshape(2, 3)
    others = {"epoch": 3, "when": dt.datetime(2021, 3, 4), "path": Path("a"), "kinds": {1, 2}, "lr": 0.1}
    content = {"model": {"a": values, "b": np.float64(3), "c": np.asfortranarray(values)}, **others, "x": range(3)}
    return [pickle.dumps(content, protocol) for protocol in (0, 1, 2, 3, 4, 5)]


def _zip_of(content: bytes, storages: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("model/data.pkl", content)
        file.writestr("model/byteorder", b"little")
        for key, data in storages.items():
            file.writestr(f"model/data/{key}", data)
    return buffer.getvalue()


def pth() -> list[bytes]:
    return [_saved("a.pth"), *(_zip_of(content, {}) for content in _pickles())]


def stream() -> list[bytes]:
    with zipfile.ZipFile(io.BytesIO(_saved("a.pth"))) as file:
        content = next(file.read(name) for name in file.namelist() if name.endswith("data.pkl"))
        storages = {name.rpartition("/")[2]: file.read(name) for name in file.namelist() if "/data/" in name}
    items = {str(key): array.itemsize for key, array in enumerate(_arrays().values())}
    heads = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}]
    start = b"".join(pickle.dumps(head, 2) for head in heads)
    bodies = b"".join(struct.pack("<q", len(data) // items[key]) + data for key, data in storages.items())
    whole = start + content + pickle.dumps([*storages], 2) + bodies
    return [whole, *(start + content + pickle.dumps([], 2) for content in _pickles())]


def configs() -> list[bytes]:
    texts = [path.read_bytes() for path in sorted((Path(fastrt.__file__).parent / "models/presets").glob("*.yml"))]
    tricky = b"""\
_BASE_: base.yml
MODEL:
  BACKBONE: {NAME: build_resnet_backbone, DEPTH: 50x, WITH_IBN: True, LAST_STRIDE: 1}
  HEADS: {POOL_LAYER: gempool, NECK_FEAT: after, WITH_BNNECK: yes, EMBEDDING_DIM: 0x100}
  PIXEL_MEAN: &mean [123.675, 116.28, 103.53]
  PIXEL_STD: "(58.395, 57.12, 57.375)"
INPUT:
  SIZE_TEST: [2_56, 0o200]
  CROP: {ENABLED: "False"}
SOLVER: {BASE_LR: 3.5e-4, STEPS: !!python/tuple [40, 90], T: 2001-12-14 21:59:43.10 -5, X: 1:60, Y: !!float ".inf"}
TEST: {A: *mean, B: ~, ? [c] : d, <<: {E: 1}, F: !!binary aGVs, G: !!int "1", H: !!timestamp "2001-12-14", I: !!set {a}}
"""
    untagged = (
        b"MODEL: {BACKBONE: {DEPTH: !!int '18', NORM: !!str BN}}\nINPUT: {SIZE_TEST: '[64, 32]'}\nTEST: {T: 2001-1-1}\n"
    )
    flat = json.dumps({"backbone": {"name": "build_resnet_backbone", "depth": "18x"}, "image_size": [64, 32]}).encode()
    return [*texts, tricky, untagged, flat]


def tables() -> list[bytes]:
    table = CalibrationTable(
        fastrt="0.1",
        fingerprint="0" * 64,
        method="entropy",
        image_size=(8, 4),
        resampler="pil-bicubic",
        seed=0,
        images=("a.jpg", "b.jpg"),
        held_out=("c.jpg",),
        images_hash="0" * 64,
        ranges={"images": TensorRange(low=0, high=255, amax=250.5, saturated=0.01)},
        means={"images": (1.0, 2.0, 3.0)},
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        table.save(path)
        return [path.read_bytes()]


def infos() -> list[bytes]:
    return [INFO.to_text().encode(), INFO.model_copy(update={"spec": None}).to_text().encode()]


def thresholds() -> list[bytes]:
    values = {"similarity": 0.6, "false_matches": 0.001, "interval": [0.0005, 0.002], "found": 0.9, "pairs": [900, 30]}
    return [json.dumps({**values, "data_set": "x", "engine_sha256": hashlib.sha256().hexdigest()}).encode()]


def _store_job(folder: Path, *, finished: bool) -> Path:
    """Embed `FILES` but the last, with two that have no embedding; all of them for a finished job."""
    path = folder / "rows.npy"
    with Store(path, INFO, FILES) as store:
        store.append(Embedded(np.ones((2, 4), np.float32), FILES[:2], ()))
        store.append(Embedded(np.zeros((1, 4), np.float32), FILES[2:3], ((FILES[3], "damaged"), (FILES[4], "x"))))
        if finished:
            store.append(Embedded(np.ones((1, 4), np.float32), FILES[5:], ()))
            store.finish()
    return path


def journals() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return [_store_job(Path(folder), finished=False).with_name("rows.npy.journal").read_bytes()]


@cache
def unfinished_rows() -> bytes:
    """The rows that belong to `journals`."""
    with tempfile.TemporaryDirectory() as folder:
        return _store_job(Path(folder), finished=False).with_name("rows.npy.part").read_bytes()


def names_of_embeddings() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return [_store_job(Path(folder), finished=True).with_suffix(".json").read_bytes()]


def engine(suffix: str) -> list[bytes]:
    """Engine files; of OpenVINO one ``.xml``, which belongs to `weights_of_ir`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        fastrt.build(make_network(), path, check=False)
        if suffix == ".xml":
            return [path.read_bytes()]
        plain = Path(folder) / f"b{suffix}"
        target = choose_target(plain, None, "fp32")
        info = INFO.model_copy(update={"target": target.name, "io": "f32_nchw_rgb"})
        target.build(make_network(), plain, info, BuildOptions())
        return [path.read_bytes(), plain.read_bytes()]


@cache
def weights_of_ir() -> bytes:
    """The ``.bin`` beside the ``.xml`` files of `engine`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.xml"
        fastrt.build(make_network(), path, check=False)
        return path.with_suffix(".bin").read_bytes()


def plans() -> list[bytes]:
    texts = [INFO.to_text().encode(), b'{"format":1}', b"{}"]
    return [b"ftrt" + bytes(60) + b"fastrt:" + text + bytes(60) for text in texts] + [bytes(200)]


def data_tables() -> list[bytes]:
    plain = b"path,identity,camera,role\na.jpg,1,0,query\nb.jpg,1,1,gallery\nc.jpg,2,1,gallery\n"
    return [
        plain,
        b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n"),
        b'"path","identity","camera","role","x"\n"a,1.jpg",a,"b\n",query,\n',
    ]


def lists_of_msmt17() -> list[bytes]:
    lines = [b"0000/0000_000_01_0303morning_0008_0.jpg 0", b"0001/0001_000_15_0303noon_0008_0_ex.jpg 1"]
    return [b"\n".join(lines) + b"\n", b"\r\n".join(lines)]


def lists_of_vehicle_id() -> list[bytes]:
    return [b"0000001 1\n0000002 1\n0000003 2\n"]


def lists_of_veri_wild() -> list[bytes]:
    """The list of images, an empty line, and ``vehicle_info.txt``."""
    info = b"id/image;Camera ID;Time;Model;Type;Color\n1/000001;12;2018-03-11;A;B;C\n2/000002;13;2018-03-12;A;B;C\n"
    return [b"1/000001.jpg\n2/000002.jpg\n\n" + info]


def names_of_market() -> list[bytes]:
    names = [b"0001_c1s1_001051_00.jpg", b"-1_c3s1_000001_00.jpg", b"0002_c6s4_002202_01.jpg", b"Thumbs.db", b"._a.jpg"]
    return [b"\n".join(names), b"0001_c10s1_000001_00.jpg\n0000_c2s1_1.png"]
