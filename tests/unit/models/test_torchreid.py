"""torchreid's OSNets: built from a file alone, as torchreid's users have it."""

from __future__ import annotations

import collections
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.images.drawing import draw_person
from fastrt.models.backbones.osnet import CHANNELS
from fastrt.models.backbones.table import list_families
from fastrt.models.backbones.torchreid import MODELS, TorchreidOSNet
from fastrt.testing.untrained import draw_weights
from shapes import make_shapes
from unit.weights.torch_files import TorchFile, dictionary, integers, storage, tensor

SMALL = ["INPUT.SIZE_TEST", "[64, 32]"]


@pytest.fixture(scope="module")
def arrays() -> dict[str, Array]:
    """A checkpoint of osnet_x0_25, with a classifier of MSMT17's 1041 people."""
    drawn = draw_weights(fastrt.ModelSpec(backbone="osnet_x0_25"))
    del drawn["heads.weight"]
    classifier = {"classifier.weight": np.ones((1041, 512), np.float32), "classifier.bias": np.ones(1041, np.float32)}
    return {**drawn, **classifier}


def write(arrays: Mapping[str, Array], path: Path, *, old: bool, bare: bool, prefix: str = "") -> Path:
    """Write a file as torchreid's save_checkpoint does, or a bare state dict."""
    zero, storages, state = integers(0)[1:-1], {}, {}
    for i, (name, array) in enumerate(arrays.items()):
        if array.dtype == np.float32:
            steps = [step // array.itemsize for step in array.strides]
            source = storage(str(i), "FloatStorage", array.size, old=old)
            state[prefix + name] = tensor(source, zero, integers(*array.shape), integers(*steps))
            storages[str(i)] = array.tobytes()
    if bare:
        return TorchFile(dictionary(state), storages).write(path, old=old)
    scheduler = {"milestones": collections.Counter([60]), "gamma": 0.1, "base_lrs": [0.0015]}
    moments = {name: state[prefix + name] for name in ("conv1.conv.weight", "conv1.bn.weight")}
    other = {"epoch": 150, "rank1": np.float32(0.6), "scheduler": scheduler}
    entries = {name: pickle.dumps(value, 2)[2:-1] for name, value in other.items()}
    entries |= {"state_dict": dictionary(state), "optimizer": dictionary({"state": dictionary(moments)})}
    return TorchFile(dictionary(entries), storages).write(path, old=old)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_built_and_recognised(name: str) -> None:
    spec = fastrt.load_spec({"torchreid.model": name, "torchreid.num_classes": 751, "INPUT.SIZE_TEST": [64, 32]})
    assert (spec.head, spec.embedding_dim) == ("TorchreidHead", 512)
    checkpoint = make_shapes(spec)
    network = fastrt.build_network(spec, checkpoint)
    assert network["conv5.relu"].shape == (CHANNELS[MODELS[name][0]][-1], 4, 2)
    assert network.output.shape == (512,)
    for names in (checkpoint, {key: array.reshape(-1) for key, array in checkpoint.items()}):
        found = [family.recognise(names) for family in list_families()]
        assert [backbone for backbone in found if backbone] == [TorchreidOSNet(name=name)]


def test_instance_norms_of_osnet_ain() -> None:
    spec = fastrt.ModelSpec(backbone="osnet_ain_x0_25", image_size=(64, 32))
    network = fastrt.build_network(spec, make_shapes(spec))
    norms = [tensor.name for tensor in network if tensor.operation.kind == "instance_norm"]
    assert norms == ["conv1.bn", "conv2.0.IN", "conv2.1.IN", "conv3.1.IN", "conv4.0.IN"]
    assert network["conv3.1.IN"].inputs == ("conv3.1.conv3.conv",)
    assert network["conv3.1.relu"].inputs == ("conv3.1.add",)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize(("old", "prefix"), [(False, "module."), (True, "")])
def test_a_file_needs_no_config(
    old: bool, prefix: str, bare: bool, arrays: dict[str, Array], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(arrays, tmp_path / "osnet_x0_25_msmt17.pth", old=old, bare=bare, prefix=prefix)
    model = fastrt.load_model(path)
    assert model.spec == fastrt.load_spec({"torchreid.model": "osnet_x0_25"})
    assert model.spec.image_size == (256, 128)
    assert model.notes == (
        "without a config, the spec is inferred from the checkpoint's names: torchreid osnet_x0_25, embedding_dim 512",
        (
            "names do not show these settings, so torchreid's usual ones are assumed: INPUT.SIZE_TEST [256,128],"
            " MODEL.PIXEL_MEAN [123.675,116.28,103.53], MODEL.PIXEL_STD [58.395,57.12,57.375]; give --config, or --set"
            " KEY VALUE, if the model was trained differently"
        ),
    )
    caplog.clear()
    with caplog.at_level(logging.WARNING, "fastrt"):
        network = model.network()
    assert caplog.messages == list(model.notes)
    assert network.fingerprint() == fastrt.build_network(model.spec, arrays).fingerprint()


def test_its_settings_can_be_overridden(arrays: dict[str, Array], tmp_path: Path) -> None:
    path = write(arrays, tmp_path / "model.pth", old=False, bare=False)
    model = fastrt.load_model(path, overrides=[*SMALL, "MODEL.PIXEL_MEAN", "[0, 0, 0]"])
    assert model.spec.image_size == (64, 32)
    assert "assumed: MODEL.PIXEL_STD [58.395,57.12,57.375];" in model.notes[1]
    (tmp_path / "small.yml").write_text("torchreid: {model: osnet_x0_25}\nINPUT: {SIZE_TEST: [64, 32]}\n")
    assert fastrt.load_model(path, tmp_path / "small.yml").network().input.shape == (3, 64, 32)


@pytest.mark.parametrize("suffix", [".pth", ".wts", ".safetensors"])
def test_its_spec_is_stored_and_found(suffix: str, arrays: dict[str, Array], tmp_path: Path) -> None:
    spec = fastrt.load_spec({"torchreid.model": "osnet_x0_25"}, SMALL)
    fastrt.save_weights(arrays, tmp_path / f"model{suffix}", spec=spec)
    assert fastrt.load_model(tmp_path / f"model{suffix}").spec == spec
    assert fastrt.load_spec(spec.model_dump(mode="json")) == spec


def test_its_engine_resizes_as_torchreid_does(arrays: dict[str, Array], tmp_path: Path) -> None:
    network = fastrt.build_network(fastrt.load_spec({"torchreid.model": "osnet_x0_25"}, SMALL), arrays)
    people = [draw_person(i, 0, 64, 32) for i in range(3)]
    info = fastrt.build(network, tmp_path / "e.xml").info
    assert info.resampler == fastrt.calibrate(network, people).resampler == "pil-bilinear"
    assert fastrt.ModelSpec(**(info.spec or {})).backbone == TorchreidOSNet(name="osnet_x0_25")
    assert fastrt.build(network, tmp_path / "cv2.xml", resampler="cv2-linear").info.resampler == "cv2-linear"
    with fastrt.load(tmp_path / "e.xml") as session:
        embeddings = session(people)
    assert (embeddings >= 0).all()  # of a ReLU
    assert (embeddings > 0).any(1).all()


def test_missing_arrays_are_named_as_in_the_file(arrays: dict[str, Array]) -> None:
    spec = fastrt.ModelSpec(backbone="osnet_x0_25")
    rest = {name: array for name, array in arrays.items() if name not in ("fc.1.bias", "conv5.bn.weight")}
    with pytest.raises(fastrt.WeightsError, match=r"^weights do not fit torchreid osnet_x0_25: 2 missing.*") as error:
        fastrt.build_network(spec, rest)
    assert {"  missing: conv5.bn.weight (128,)", "  missing: fc.1.bias (512,)"} <= set(str(error.value).splitlines())


def test_a_file_of_torchreid_is_not_one_of_fastreid(arrays: dict[str, Array], tmp_path: Path) -> None:
    spec = fastrt.load_spec({"MODEL.BACKBONE.NAME": "build_osnet_backbone", "MODEL.BACKBONE.DEPTH": "x0_25"})
    with pytest.raises(fastrt.WeightsError, match=r"missing, .* unexpected, first backbone\.conv1\.conv\.weight"):
        fastrt.build_network(spec, arrays)
    fastrt.save_weights(make_shapes(spec), tmp_path / "fastreid.pth")
    with pytest.raises(
        fastrt.SpecNeededError, match="as names show osnet x0_25, but not these settings, here with Fas"
    ):
        fastrt.load_model(tmp_path / "fastreid.pth")


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(fastrt.SpecError, match=r"backbone is 'osnet_x2_0', expected .*'osnet_x1_0', "):
        fastrt.load_spec({"torchreid.model": "osnet_x2_0"})
