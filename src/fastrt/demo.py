"""The whole way on this machine: a checkpoint as FastReID writes it, converted, built, verified, used on pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from fastrt.arrays import Embeddings
from fastrt.config import load_spec
from fastrt.drawing import draw_person
from fastrt.embed import embed_files
from fastrt.engine import build, load
from fastrt.model import load_model
from fastrt.untrained import draw_weights
from fastrt.verify import Report, verify
from fastrt.weights import load_weights, save_weights

CONFIG = "kd-r18-r101_ibn"
"""The smallest of FastRT's examples: a distilled ResNet-18 with IBN-a."""

IDENTITIES = 3
VIEWS = 2
SEED = 20


@dataclass(frozen=True)
class Demonstration:
    """What the demo made: files by what they are, the report, and embeddings with the name of each row's picture."""

    files: Mapping[str, Path]
    report: Report
    names: tuple[str, ...]
    embeddings: Embeddings


def demonstrate(folder: Path) -> Demonstration:
    """Go the whole way in ``folder``.

    Raises:
        OutputError: a file cannot be written there.
    """
    spec = load_spec(CONFIG)
    files = {name: folder / leaf for name, leaf in FILES.items()}
    files["pictures"].mkdir(exist_ok=True)
    pictures = draw_pictures(files["pictures"])
    save_weights(draw_weights(spec, SEED), files["checkpoint"])
    save_weights(load_weights(files["checkpoint"]), files["converted"], spec=spec.model_dump(mode="json"))
    network = load_model(files["checkpoint"], CONFIG).network()
    build(network, files["engine"])
    with load(files["engine"]) as session:
        report = verify(session, network)
        embedded = embed_files(session, pictures)
    np.save(files["embeddings"], embedded.embeddings)
    return Demonstration(files, report, tuple(path.stem for path in embedded.paths), embedded.embeddings)


FILES = {
    "checkpoint": "model_best.pth",
    "converted": "model_best.safetensors",
    "engine": f"{CONFIG}.xml",
    "pictures": "pictures",
    "embeddings": "embeddings.npy",
}


def draw_pictures(folder: Path) -> list[Path]:
    """Write pictures of a few people, seen by two cameras each."""
    paths = []
    for identity in range(IDENTITIES):
        for view in range(VIEWS):
            paths.append(folder / f"person{identity}_camera{view}.png")
            PIL.Image.fromarray(draw_person(identity, view)[..., ::-1]).save(paths[-1])
    return paths
