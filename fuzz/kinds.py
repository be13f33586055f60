"""The kinds of inputs: how a file of each kind is made and read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import fastrt
from fastrt.datasets.table import read_data_set
from fastrt.engine.load import describe, list_layers
from fastrt.errors import FastrtError
from fastrt.evaluation.threshold import read_threshold
from fastrt.extraction import Store
from fastrt.images.preprocess import read_resized
from fastrt.models.load import load_model
from fastrt.targets.engine_info import parse_info, read_info
from fuzz import image_seeds, seeds
from fuzz.mutate import Mutation
from fuzz.structures import (
    change_header,
    change_json,
    change_lines,
    change_pickle,
    change_xml,
    inside_lines,
    inside_npy,
    inside_zip,
    nest,
)

SMALL = 1 << 16
"""Weights up to this number of bytes are written again, in each format."""


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes:
        suffix: the suffix of its files.
        seeds: makes valid files.
        read: reads a file, as the commands do.
        own: the mutations that keep its structure.
    """

    suffix: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], object]
    own: Sequence[Mutation] = ()


def _read_weights(path: Path) -> None:
    weights = fastrt.load_weights(path)
    if sum(array.nbytes for array in weights.values()) <= SMALL:
        for suffix in (".pth", ".wts", ".safetensors"):
            path.with_name("again.yml").unlink(missing_ok=True)
            _refused(partial(fastrt.save_weights, weights, path.with_name(f"again{suffix}")))
    load_model(path, guess=True)


def _refused(call: Callable[[], object]) -> None:
    """Call a function that may refuse what it is given, and go on."""
    with suppress(FastrtError):
        call()


def _read_spec(path: Path) -> None:
    """The spec that was written beside a checkpoint."""
    path.with_suffix(".wts").write_bytes(seeds.wts_with_spec()[0])
    load_model(path.with_suffix(".wts"))


def _read_config(path: Path) -> None:
    path.with_name("base.yml").write_text(
        "MODEL: {BACKBONE: {DEPTH: 50x}, HEADS: {NAME: EmbeddingHead}}\nTEST: {X: 1}\n"
    )
    spec = fastrt.load_spec(path)
    fastrt.load_spec(spec.model_dump())


def _read_table(path: Path) -> None:
    table = fastrt.read_table(path)
    table.save(path.with_name("again.json"))


def _read_info(path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    _refused(partial(parse_info, text, path))
    read_info(text, "reference", path, [("images", (-1, 8, 4, 3), "uint8")], [(-1, 4)])


def _read_engine(path: Path) -> None:
    describe(path)
    if path.suffix not in (".engine", ".rtx"):
        list_layers(path)


def _read_ir(path: Path) -> None:
    weights = path.with_suffix(".bin")
    if not weights.exists():
        weights.write_bytes(seeds.weights_of_ir())
    _read_engine(path)


def _read_journal(path: Path) -> None:
    """The unfinished job of `seeds.journals`, with the rows beside it."""
    output = path.with_name("rows.npy")
    path.replace(output.with_name("rows.npy.journal"))
    output.with_name("rows.npy.part").write_bytes(seeds.unfinished_rows())
    with Store(output, seeds.INFO, seeds.FILES) as store:
        if store.files == len(seeds.FILES):
            store.finish()


def _read_names(path: Path) -> None:
    """The names beside finished embeddings."""
    output = path.with_suffix(".npy")
    output.touch()
    with Store(output, seeds.INFO, seeds.FILES):
        pass


def _read_threshold(path: Path) -> None:
    path.with_name("input.xml").touch()
    read_threshold(path.with_name("input.xml"))


def _read_image(path: Path) -> None:
    _refused(partial(fastrt.read_image, path))
    read_resized(path, (16, 8), "pil-bicubic")


def _new_folder(path: Path) -> Path:
    folder = path.with_name("data")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _read_msmt17(path: Path) -> None:
    folder = _new_folder(path)
    (folder / "test").mkdir()
    for name in ("list_query.txt", "list_gallery.txt"):
        shutil.copyfile(path, folder / name)
    fastrt.datasets.MSMT17(folder)


def _read_vehicle_id(path: Path) -> None:
    folder = _new_folder(path)
    (folder / "image").mkdir()
    (folder / "train_test_split").mkdir()
    shutil.copyfile(path, folder / "train_test_split" / "test_list_800.txt")
    fastrt.datasets.VehicleID(folder)


def _read_veri_wild(path: Path) -> None:
    folder = _new_folder(path)
    (folder / "images").mkdir()
    (folder / "train_test_split").mkdir()
    images, _, info = path.read_bytes().partition(b"\n\n")
    for name, content in (("test_3000_query", images), ("test_3000", images), ("vehicle_info", info)):
        (folder / "train_test_split" / f"{name}.txt").write_bytes(content)
    fastrt.datasets.VERIWild(folder)


def _read_market(path: Path) -> None:
    folder = _new_folder(path)
    for part in ("query", "bounding_box_test"):
        (folder / part).mkdir()
        for line in path.read_bytes().split(b"\n")[:20]:
            name = line.replace(b"/", b"").replace(b"\0", b"")[:200]
            if name not in (b"", b".", b".."):
                Path(os.fsdecode(os.fsencode(folder / part) + b"/" + name)).touch()
    fastrt.datasets.Market1501(folder)


KINDS = {
    "pth": Kind(".pth", seeds.pth, _read_weights, [inside_zip(change_pickle, change_pickle, nest)]),
    "pth-stream": Kind(".pth", seeds.stream, _read_weights, [change_pickle]),
    "wts": Kind(".wts", seeds.wts, _read_weights, [change_lines]),
    "safetensors": Kind(".safetensors", seeds.safetensors, _read_weights, [change_header]),
    "config": Kind(".yml", seeds.configs, _read_config, [change_lines, change_lines, change_json, nest]),
    "spec": Kind(".yml", lambda: [seeds.wts_with_spec()[1]], _read_spec, [change_lines]),
    "calibration-table": Kind(".json", seeds.tables, _read_table, [change_json, change_json, nest]),
    "engine-description": Kind(".json", seeds.infos, _read_info, [change_json, change_json, nest]),
    "openvino": Kind(".xml", partial(seeds.engine, ".xml"), _read_ir, [change_xml, change_xml, nest]),
    "onnx": Kind(".onnx", partial(seeds.engine, ".onnx"), _read_engine),
    "reference": Kind(
        ".npz", partial(seeds.engine, ".npz"), _read_engine, [inside_zip(inside_npy(change_json), change_lines, nest)]
    ),
    "tensorrt": Kind(".engine", seeds.plans, _read_engine, [nest]),
    "image": Kind(".jpg", image_seeds.images, _read_image),
    "data-table": Kind(".csv", seeds.data_tables, read_data_set, [change_lines]),
    "threshold": Kind(".threshold.json", seeds.thresholds, _read_threshold, [change_json, change_json, nest]),
    "journal": Kind(".journal", seeds.journals, _read_journal, [change_lines, inside_lines(change_json)]),
    "embeddings": Kind(".json", seeds.names_of_embeddings, _read_names, [change_json, change_json, nest]),
    "msmt17": Kind(".txt", seeds.lists_of_msmt17, _read_msmt17, [change_lines]),
    "vehicle-id": Kind(".txt", seeds.lists_of_vehicle_id, _read_vehicle_id, [change_lines]),
    "veri-wild": Kind(".txt", seeds.lists_of_veri_wild, _read_veri_wild, [change_lines]),
    "market": Kind(".txt", seeds.names_of_market, _read_market, [change_lines]),
}
