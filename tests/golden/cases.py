"""The golden cases as networks, images and embeddings; each network is built once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import yaml

import fastrt
from fastrt.arrays import Array
from golden.recipe import load_case

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.json")) + sorted(path.stem for path in FOLDER.glob("eras/*.json"))
ZOO = sorted(
    f"{path.parent.name}/{path.stem}" for kind in ("zoo", "torchreid") for path in FOLDER.glob(f"{kind}/*.json")
)
"""Cases of the other families, and of torchreid's OSNet."""
with np.load(FOLDER / "float64.npz") as _file:
    FLOAT64: dict[str, Array] = dict(_file)
"""What FastReID computes for the same images in float64, where rounding plays no part."""


@dataclass(frozen=True, eq=False)
class Case:
    """A network, its images ``(n, H, W, 3)`` uint8 BGR, and its raw embeddings in float32 and in float64."""

    network: fastrt.Network
    images: Array
    embeddings: Array
    exact: Array

    @property
    def planes(self) -> Array:
        """The images as the network takes them: ``(n, 3, H, W)`` float32 RGB."""
        return self.images[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)

    @property
    def noise(self) -> float:
        """How far FastReID's own float32 lies from its float64, divided by the largest value."""
        return distance(self.embeddings, self.exact)


@cache
def load_golden(name: str) -> Case:
    folder = FOLDER if (FOLDER / f"{name}.json").is_file() else FOLDER / "eras"
    case = load_case(folder, name)
    config = yaml.safe_load(case["yaml"]) if "yaml" in case else case["config"]
    spec = fastrt.load_spec(config)
    network = fastrt.build_network(spec, case["state_dict"])
    return Case(network, case["images"], case["embeddings"], FLOAT64[name])


@dataclass(frozen=True, eq=False)
class ZooCase:
    """As `Case`; ``gap``: how far the float32 embeddings lie from float64's, divided by the largest value."""

    network: fastrt.Network
    images: Array
    embeddings: Array
    gap: float

    @property
    def planes(self) -> Array:
        """The images as the network takes them: ``(n, 3, H, W)`` float32 RGB."""
        return self.images[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)


@lru_cache(2)  # networks of this size are not all kept
def load_zoo(name: str) -> ZooCase:
    folder, _, stem = name.partition("/")
    case = load_case(FOLDER / folder, stem)
    spec = fastrt.load_spec(yaml.safe_load(case["yaml"]) if "yaml" in case else case["config"])
    network = fastrt.build_network(spec, case["state_dict"])
    return ZooCase(network, case["images"], case["embeddings"], case["float64_gap"])


def distance(got: Array, want: Array) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())
