"""A small model and its engines, made once a worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.untrained import draw_weights

CONFIG = """\
MODEL:
  BACKBONE:
    NAME: build_resnet_backbone
    DEPTH: 18x
    WITH_IBN: True
  HEADS:
    POOL_LAYER: GeneralizedMeanPoolingP
    WITH_BNNECK: True
INPUT:
  SIZE_TEST: [64, 32]
"""


@dataclass(frozen=True, eq=False)
class Small:
    """A ResNet-18 with IBN-a at 64x32: its files, and what they hold."""

    folder: Path
    checkpoint: Path
    config: Path
    engine: Path
    arrays: dict[str, Array]
    network: fastrt.Network


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("small")
    checkpoint, config, engine = (folder / name for name in ("model_best.pth", "config.yml", "small.xml"))
    config.write_text(CONFIG)
    spec = fastrt.load_spec(config)
    arrays = draw_weights(spec)
    fastrt.save_weights(arrays, checkpoint)
    network = fastrt.build_network(spec, arrays)
    fastrt.build(network, engine)
    return Small(folder, checkpoint, config, engine, arrays, network)
