"""Convolutions that are excluded from int8 for speed, by the times that a device measures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.passes import prepare
from fastrt.passes.fold import fold_scales
from fastrt.passes.quantize import list_layers
from fastrt.quantization import layer_timing
from fastrt.quantization.layer_timing import SpeedSelection, attribute, exclude_slower, find_slower, own_names
from fastrt.targets.base import LayerTime
from fastrt.targets.engine_info import EngineInfo, Precision
from fastrt.testing.untrained import draw_weights

BATCHES = (1, 8)
INFO = EngineInfo(target="tensorrt", io="u8_nhwc_bgr", image_size=(64, 32), embedding_dim=512)


@pytest.fixture(scope="module")
def network() -> fastrt.Network:
    spec = fastrt.load_spec("kd-r18-r101_ibn", ["INPUT.SIZE_TEST", [64, 32], "MODEL.BACKBONE.WITH_IBN", True])
    return fastrt.build_network(spec, draw_weights(spec))


class Device:
    """Stands in for one: convolutions take as long as they are told to, and engines are as fast as they are told."""

    def __init__(self, network: fastrt.Network, slow: Sequence[str], rates: dict[str, float]) -> None:
        self.network, self.slow, self.rates = network, slow, rates
        self.built: dict[str, tuple[str, tuple[str, ...]]] = {}

    def build(self, path: Path, precision: Precision, kept: Collection[str]) -> EngineInfo:
        self.built[path.stem] = (precision, tuple(kept))
        path.write_text(precision)
        return INFO.model_copy(update={"batches": BATCHES})

    def time_layers(self, precision: str) -> dict[str, float]:
        """As TensorRT names them: a layer by all tensors that it makes."""
        times = {"{ForeignNode[images.float]}": 5.0}
        for name in list_layers(fold_scales(self.network)):
            times[f"{name}.1 + {name} + {name}.relu" if precision == "int8" else f"{name} + {name}.relu"] = (
                {"int8": 6.0, "fp16": 9.0}[precision] if name not in self.slow else 8.9
            )
            if name in self.slow and precision == "int8":
                times[f"Reformatting CopyNode for Input Tensor 0 to {name}.1 + {name} + {name}.relu"] = 2.0
        return times


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    """The device that the code under test finds."""
    devices: list[Device] = []

    class Runner:
        def __init__(self, path: Path) -> None:
            self.precision = path.read_text()

        def time_layers(self, size: int) -> list[LayerTime]:
            assert size in BATCHES
            return [LayerTime(name, "", us) for name, us in devices[0].time_layers(self.precision).items()]

        def __enter__(self) -> Runner:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def close(self) -> None:
            pass

    monkeypatch.setattr(layer_timing, "open_runner", Runner)
    monkeypatch.setattr(layer_timing, "load", Runner)

    def compare(sessions: dict[str, Runner], images: Array, advance: object, batches: Sequence[int]) -> object:
        return {name: dict.fromkeys(batches, devices[0].rates[name]) for name in sessions}

    monkeypatch.setattr(layer_timing, "compare_speed", compare)
    return devices


def measure(plugged: list[Device], device: Device, kept: Sequence[str] = ()) -> SpeedSelection:
    plugged.append(device)
    return exclude_slower(device.network, "tensorrt", kept, device.build)


def test_slower_layers_are_excluded_if_the_engine_gets_faster(network: fastrt.Network, plugged: list[Device]) -> None:
    one, two, *_ = list_layers(fold_scales(network))
    device = Device(network, [two], {layer_timing.HALF: 100, layer_timing.INT8: 110, layer_timing.MIXED: 120})
    selection = measure(plugged, device, [one])
    assert selection.slower == (two,)
    assert selection.kept == (one, two)
    assert device.built["mixed"] == ("int8", (one, two))
    assert f"slower in int8 by themselves: {two}; fastest is int8, the slower ones in fp16" in str(selection)
    assert "120 images/s at batch 8" in str(selection)


def test_a_mix_that_is_no_faster_is_not_taken(network: fastrt.Network, plugged: list[Device]) -> None:
    _, two, *_ = list_layers(fold_scales(network))
    device = Device(network, [two], {layer_timing.HALF: 100, layer_timing.INT8: 110, layer_timing.MIXED: 110})
    assert measure(plugged, device).kept == ()


def test_all_layers_are_excluded_where_int8_gains_nothing(network: fastrt.Network, plugged: list[Device]) -> None:
    names = list_layers(fold_scales(network))
    device = Device(network, names[:1], {layer_timing.HALF: 100, layer_timing.INT8: 90, layer_timing.MIXED: 95})
    selection = measure(plugged, device)
    assert selection.kept == tuple(names)
    assert "fastest is fp16, so no layer is in int8" in str(selection)


def test_nothing_more_is_built_if_none_is_slower(network: fastrt.Network, plugged: list[Device]) -> None:
    device = Device(network, [], {layer_timing.HALF: 100, layer_timing.INT8: 130})
    selection = measure(plugged, device)
    assert (selection.slower, selection.kept) == ((), ())
    assert set(device.built) == {"half", "int8"}


def test_a_convolution_is_found_in_both_variants_of_an_ibn(network: fastrt.Network) -> None:
    names = own_names(network)
    for split in (False, True):
        made = {tensor.name for tensor in prepare(network, INFO, split=split)}
        found = {names[name] for name in made if name in names}
        assert found == set(list_layers(fold_scales(network)))
    halves = attribute({"layer.IN": 3.0, "layer.BN + relu": 4.0}, {"layer.IN": "layer", "layer.BN": "layer"})
    assert halves == {"layer": 7.0}


def test_batches_count_alike() -> None:
    half = [{"a": 1.0, "b": 9.0}, {"a": 100.0, "b": 900.0}]
    assert find_slower(half, [{"a": 2.0, "b": 9.0}, {"a": 90.0, "b": 900.0}]) == ["a"]
    assert find_slower(half, [{"a": 1.2, "b": 9.0}, {"a": 70.0, "b": 900.0}]) == []
    assert find_slower(half, [{"b": 9.0}, {"a": 200.0, "b": 900.0}]) == []  # timed for one batch only
