"""MGN: three branches from one trunk, eight heads, and strips of rows as torch.chunk makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.ir.ops import Convolution, Slice
from fastrt.models.backbones.resnet import ResNet
from fastrt.models.versions import recognise_version
from shapes import make_shapes

HEADS = ("b1", "b2", "b3", "b21", "b22", "b31", "b32", "b33")
SMALL: dict[str, object] = {"MODEL.META_ARCHITECTURE": "MGN", "INPUT.SIZE_TEST": [80, 32]}
LEARNED = {"MODEL.HEADS.POOL_LAYER": "GeneralizedMeanPoolingP", "MODEL.HEADS.EMBEDDING_DIM": 16}


def _spec(**settings: object) -> fastrt.ModelSpec:
    return fastrt.load_spec({**SMALL, **LEARNED, **settings})


def _strides(network: fastrt.Network) -> dict[str, object]:
    return {tensor.name: tensor.operation.stride for tensor in network if isinstance(tensor.operation, Convolution)}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("depth", "ibn", "se"), [("50x", True, False), ("101x", False, True)])
def test_all_parts_have_the_settings_of_the_backbone(depth: str, ibn: bool, se: bool, stride: int) -> None:
    spec = _spec(depth=depth, with_ibn=ibn, with_se=se, last_stride=stride)
    arrays = make_shapes(spec)
    network = fastrt.build_network(spec, arrays)
    assert spec.title == " ".join(["mgn resnet", depth[:-1], *["ibn"] * ibn, *["se"] * se])
    assert network.output.shape == (8 * 16,)
    rest = {"50x": 5, "101x": 22}[depth]
    for block in ("backbone.4.2", "backbone.5.3", "backbone.6", *(f"b{i}.0.{rest - 1}" for i in (1, 2, 3))):
        assert (f"{block}.bn1.IN.weight" in arrays) == ibn
        assert (f"{block}.se.fc.0.weight" in arrays) == se
    for i in (1, 2, 3):
        assert f"b{i}.0.{rest}.conv1.weight" not in arrays
        assert f"b{i}.1.2.bn1.weight" in arrays  # layer4 has no IBN
        assert (f"b{i}.1.0.se.fc.0.weight" in arrays) == se
        assert _strides(network)[f"b{i}.1.0.conv2"] == (stride if i == 1 else 1)
    assert sum(name.endswith(".conv3") for name in _strides(network)) == 3 + 4 + 1 + 3 * (rest + 3)
    assert list(network["heads"].inputs) == [f"{head}_head.bottleneck.1" for head in HEADS]


@pytest.mark.parametrize(
    ("height", "two", "three"),
    [
        (384, [12, 12], [8, 8, 8]),
        (256, [8, 8], [6, 6, 4]),
        (320, [10, 10], [7, 7, 6]),
        (80, [3, 2], [2, 2, 1]),
        (48, [2, 1], [1, 1, 1]),
    ],
)
def test_strips_are_those_of_torch_chunk(height: int, two: list[int], three: list[int]) -> None:
    spec = _spec(image_size=(height, 32))
    network = fastrt.build_network(spec, make_shapes(spec))
    rows: dict[str, list[tuple[int, int]]] = {}
    for tensor in network:
        if isinstance(tensor.operation, Slice) and tensor.operation.axis == 1:
            rows.setdefault(tensor.inputs[0], []).append((tensor.operation.start, tensor.operation.stop))
    for name, sizes in (("b2", two), ("b3", three)):
        ends = np.cumsum(sizes).tolist()
        assert rows[f"{name}.1.2.relu"] == list(zip([0, *ends[:-1]], ends, strict=True))


@pytest.mark.parametrize(("height", "rows", "branch"), [(64, 4, "b3"), (32, 2, "b3"), (16, 1, "b2")])
def test_an_image_too_low_for_the_strips_is_refused(height: int, rows: int, branch: str) -> None:
    spec = _spec(image_size=(height, 32))
    with pytest.raises(
        fastrt.NetworkError,
        match=rf"^INPUT\.SIZE_TEST: images of height {height} make a feature map of {rows} rows in {branch}, and so"
        r" fewer than . strips of .; expected ., as in FastReID\. Use a height of 80 or more\.$",
    ):
        make_shapes(spec)


@pytest.mark.parametrize(
    ("backbone", "title"),
    [
        ({"depth": "34x"}, "resnet 34"),
        ({"depth": "152x"}, "resnet 152"),
        ({"name": "build_resnet_backbone_distill"}, "resnet 50 distill"),
        ({"name": "build_resnext_backbone"}, "resnext 50"),
    ],
)
def test_other_backbones_are_refused(backbone: dict[str, object], title: str) -> None:
    with pytest.raises(
        fastrt.SpecError,
        match=f"^spec: meta_architecture is 'MGN' with {title}, expected build_resnet_backbone of depth 50x or 101x, as"
        r" the branches are bottlenecks of a ResNet\. Correct the config\.$",
    ):
        fastrt.ModelSpec(meta_architecture="MGN", backbone=backbone)


def test_non_local_blocks_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    spec = _spec()
    arrays = make_shapes(spec)
    network = fastrt.build_network(_spec(with_nl=True), arrays)
    assert "WITH_NL is True; FastReID's MGN drops non-local blocks, and so does fastrt" in caplog.messages
    assert network.fingerprint() == fastrt.build_network(spec, arrays).fingerprint()


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("depth", ["50x", "101x"])
def test_names_show_an_mgn(depth: str, flat: bool) -> None:
    spec = _spec(depth=depth, with_ibn=True, with_se=depth == "101x")
    arrays = make_shapes(spec)
    if flat:
        arrays = {name: array.reshape(-1) for name, array in arrays.items()}
    guess = fastrt.guess_spec(arrays)
    assert guess.spec == spec.replace(image_size=(384, 128))
    assert list(guess.assumed) == [
        "MODEL.BACKBONE.LAST_STRIDE",
        "INPUT.SIZE_TEST",
        "MODEL.PIXEL_MEAN",
        "MODEL.PIXEL_STD",
    ]
    network = fastrt.build_network(guess.spec.replace(image_size=(80, 32)), arrays)
    assert network.fingerprint() == fastrt.build_network(spec, arrays).fingerprint()
    assert recognise_version(guess.spec, arrays) == "C"
    assert network.spec["meta_architecture"] == "MGN"
    assert fastrt.load_spec(network.spec).meta_architecture == "MGN"


def test_a_checkpoint_of_another_meta_architecture_is_named() -> None:
    spec = _spec()
    with pytest.raises(fastrt.WeightsError, match=r"^weights do not fit resnet 50: .*, first backbone\.conv1\.weight"):
        fastrt.build_network(spec.replace(meta_architecture="Baseline"), make_shapes(spec))


def _make_old(arrays: dict[str, Array]) -> dict[str, Array]:
    """Rename an MGN's arrays as until 2020-09-01: ``b1_pool``, ``b1_head.bnneck``."""
    old: dict[str, Array] = {}
    for name, array in arrays.items():
        for new, layer in (("pool_layer.", "0."), ("bottleneck.0.", "1."), ("bottleneck.1.", "2.")):
            name = name.replace(f"_head.{new}", f"_pool.{layer}")
        old[name.replace("_head.weight", "_head.classifier.weight")] = array
    for head in HEADS:
        old |= {
            f"{head}_head.bnneck.{leaf}": np.full(16, value, np.float32)
            for leaf, value in (("weight", 0.5), ("bias", 0.0), ("running_mean", 0.1), ("running_var", 1.0))
        }
    return old


def test_the_heads_until_2020_09_01_are_read(caplog: pytest.LogCaptureFixture) -> None:
    old = _make_old(make_shapes(_spec()))
    config = {**SMALL, "MODEL.HEADS.NAME": "BNneckHead", "MODEL.HEADS.POOL_LAYER": "gempool", "MODEL.HEADS.IN_FEAT": 16}
    network = fastrt.build_network(fastrt.load_spec(config), old)
    assert (
        "the checkpoint is an MGN from before 2020-09-01: its heads are convolution, norm, ReLU, norm, of 16 features"
        " each" in caplog.messages
    )
    assert network.output.shape == (8 * 16,)
    assert network["b31_head.bnneck"].inputs[0] == "b31_head.bottleneck.2"
    spec = fastrt.load_spec(network.spec)
    assert (spec.head, spec.pool_layer, spec.embedding_dim) == ("MGNHead", "GeneralizedMeanPoolingP", 16)
    assert isinstance(spec.backbone, ResNet)
    assert spec.backbone.maxpool == "pad1"
    guessed = fastrt.guess_spec(old).spec.replace(image_size=(80, 32))
    assert fastrt.build_network(guessed, old).fingerprint() == network.fingerprint()


@pytest.mark.parametrize("name", ["b1_head.bottleneck.0.weight", None])
def test_other_heads_of_that_time_are_refused(name: str | None) -> None:
    old = _make_old(make_shapes(_spec()))
    if name is None:
        del old["b1_head.bnneck.weight"]
    else:
        old[name] = np.ones((16, 16, 1, 1), np.float32)
    with pytest.raises(fastrt.WeightsError, match=r"^b1_head: another head than BNneckHead in an MGN from before 2020"):
        fastrt.build_network(_spec(), old)


def test_heads_until_2020_09_10_are_read(caplog: pytest.LogCaptureFixture) -> None:
    spec = _spec(**{"MODEL.HEADS.EMBEDDING_DIM": 0})
    arrays = make_shapes(spec)
    old = {name.replace("_head.bottleneck.0.", "_head.bnneck."): array for name, array in arrays.items()}
    network = fastrt.build_network(spec, old)
    assert network["b33_head.bottleneck.0"].shape == (2048, 1, 1)
    assert any(message.startswith("the checkpoint is older than 2020-09-10") for message in caplog.messages)


def test_its_spec_is_saved_with_its_weights(tmp_path: Path) -> None:
    spec = _spec(with_ibn=True)
    fastrt.save_weights({"a": np.ones(1, np.float32)}, tmp_path / "m.pth", spec=spec)
    assert "META_ARCHITECTURE: MGN" in (tmp_path / "m.yml").read_text()
    assert fastrt.load_model(tmp_path / "m.pth").spec == spec
