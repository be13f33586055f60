"""A small model and its engines, made once a worker; and the command line, as a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.cli import main
from fastrt.testing.untrained import draw_weights

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


class Result:
    """Exit code, stdout and stderr of a command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: object) -> Result:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        code = caught.value.code
        captured = capsys.readouterr()
        return Result(code if isinstance(code, int) else 0, captured.out, captured.err)

    return call
