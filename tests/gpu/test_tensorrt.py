"""TensorRT on a GPU: the golden cases, and what an engine does in use."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from benchmarks.tensorrt_speed import OnDevice

import fastrt
from fastrt.arrays import Array
from fastrt.engine.calibration_table import TensorRange
from fastrt.engine.load import list_layers
from fastrt.passes.fold import fold_scales
from fastrt.passes.half import compute_in_half
from fastrt.passes.quantize import list_sites, quantize
from fastrt.targets.base import BuildOptions
from fastrt.targets.engine_info import Precision
from fastrt.targets.reference import DrawnReference, HalfSumsReference, run_reference, trace_reference
from fastrt.targets.tensorrt.target import TensorRtTarget
from fastrt.testing.untrained import draw_weights
from golden.cases import NAMES, distance, load_golden

pytestmark = pytest.mark.gpu

Record = Callable[[str, object], None]


def _unit(rows: Array) -> Array:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _least_cosine(got: Array, want: Array) -> float:
    centre = want.mean(0)
    return float((_unit(got - centre) * _unit(want - centre)).sum(1).min())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_golden(name: str, precision: Precision, tmp_path: Path, record_property: Record) -> None:
    case = load_golden(name)
    path = tmp_path / "golden.engine"
    options = BuildOptions(batches=(len(case.images),))
    fastrt.build(case.network, path, precision=precision, normalize=False, options=options, check=False)
    with fastrt.load(path) as session:
        got = session(case.images)
    if precision == "fp32":
        off = distance(got, case.embeddings)
        record_property("difference", off)
        assert off <= 1e-3
    else:
        # What half sums alone do to the network is allowed too: docs/explanation/decisions/0009.
        half = compute_in_half(fold_scales(case.network), "float16")
        *_, (_, rounded) = HalfSumsReference(case.planes).lower(half)
        cosine, expected = (_least_cosine(rows, case.exact) for rows in (got, rounded))
        record_property("cosine", cosine)
        assert 1 - cosine <= max(1 - 0.9995, 3 * (1 - expected))


@pytest.fixture(scope="module")
def network() -> fastrt.Network:
    spec = fastrt.load_spec("kd-r18-r101_ibn", ["INPUT.SIZE_TEST", [64, 32]])
    return fastrt.build_network(spec, draw_weights(spec))


@pytest.mark.parametrize("batch", [1, 8])  # the halves of an IBN-a from one convolution, and from two
def test_int8(batch: int, network: fastrt.Network, images: Array, tmp_path: Path, record_property: Record) -> None:
    """An engine is the quantized network, but for values that half's rounding moves to another step.

    Those move it as far as eight bits do, and which ones they are is chance: docs/explanation/decisions/0010.
    """
    planes = images[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    folded = fold_scales(network)
    traced = trace_reference(folded, planes)
    ranges = {}
    for name in list_sites(folded):
        low, high = float(traced[name].min()), float(traced[name].max())
        ranges[name] = TensorRange(low=low, high=high, amax=max(-low, high), saturated=0)
    table = fastrt.CalibrationTable(
        fastrt=fastrt.__version__,
        fingerprint=network.fingerprint(),
        method="minmax",
        image_size=(64, 32),
        resampler="pil-bicubic",
        images=(),
        images_hash="",
        ranges=ranges,
        means={},
    )
    path = tmp_path / "int8.engine"
    options = BuildOptions(batches=(batch,))
    fastrt.build(network, path, precision="int8", table=table, normalize=False, options=options, check=False)
    with fastrt.load(path) as session:
        got = session(images)
    quantized = quantize(folded, ranges, TensorRtTarget.placement)
    want = run_reference(quantized, planes)
    half = compute_in_half(quantized, "float16")
    draws = []
    for seed in range(8):
        *_, (_, drawn) = DrawnReference(planes, seed).lower(half)
        draws.append(_least_cosine(drawn, want))
    cosine = _least_cosine(got, want)
    record_property("cosine", cosine)
    record_property("draws", draws)
    assert cosine >= min(draws)


@pytest.fixture(scope="module")
def engine(network: fastrt.Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engine") / "r18.engine"
    fastrt.build(
        network,
        path,
        precision="fp16",
        options=BuildOptions(batches=(1, 8)),
        check=True,
    )
    return path


@pytest.fixture(scope="module")
def images() -> Array:
    return np.random.default_rng(0).integers(0, 256, (21, 64, 32, 3)).astype(np.uint8)


def test_an_engine_says_what_it_is(engine: Path) -> None:
    info = fastrt.describe(engine)
    assert (info.target, info.precision, info.batches, info.io) == ("tensorrt", "fp16", (1, 8), "u8_nhwc_bgr")
    assert info.device is not None
    layers = list_layers(engine)
    assert len({layer.name for layer in layers}) == len(layers)
    assert sum("Conv" in layer.kind for layer in layers) >= 2 * 17  # for one image, and for up to eight
    assert [layer for layer in layers if "N/A" in layer.kind] == []


def test_any_number_of_images_from_anywhere(engine: Path, images: Array) -> None:
    with fastrt.load(engine) as session:
        want = np.concatenate([session(image[None]) for image in images])
        assert np.allclose(session(images), want, atol=5e-3)
        assert np.allclose(session(list(images)), want, atol=5e-3)
        assert np.allclose(session(images[::-1]), want[::-1], atol=5e-3)
        pinned = session.pinned(len(images))
        pinned[:] = images
        assert np.allclose(session(pinned), want, atol=5e-3)
        left = session.embed_on_device(images)
        assert left.shape == want.shape


def test_images_that_lie_on_the_gpu(engine: Path, images: Array) -> None:
    with fastrt.load(engine) as session:
        want = session(images)
        assert np.allclose(session(OnDevice(images)), want, atol=5e-3)  # type: ignore[arg-type]
        with pytest.raises(fastrt.ImageError, match="as the engine takes"):
            session(OnDevice(images[:, 1:]))  # type: ignore[arg-type]


def test_threads_share_an_engine(engine: Path, images: Array) -> None:
    with fastrt.load(engine) as session:
        want = session(images)
        results: dict[int, Array] = {}

        def work(i: int) -> None:
            for _ in range(20):
                results[i] = session(images)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(np.allclose(results[i], want, atol=5e-3) for i in range(6))


def test_nothing_leaks(engine: Path, images: Array) -> None:
    from fastrt.targets.tensorrt import cuda

    def free() -> int:
        return int(cuda.call("cudaMemGetInfo")[0])

    with fastrt.load(engine) as session:
        session(images)
        before = free()
        for _ in range(10_000):
            session(images[:1])
        assert free() >= before - (1 << 20)
    before = free()
    for _ in range(100):
        with fastrt.load(engine) as session:
            session(images[:3])
    assert free() >= before - (8 << 20)


def test_a_closed_session_says_so(engine: Path, images: Array) -> None:
    session = fastrt.load(engine)
    session(images)
    session.close()
    session.close()
    with pytest.raises(fastrt.EngineError, match="the session is closed"):
        session(images)


def test_a_damaged_plan_is_refused(engine: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.engine"
    cut.write_bytes(engine.read_bytes()[:100_000])
    with pytest.raises(fastrt.EngineError, match="Build it again here"):
        fastrt.load(cut)


def test_there_is_no_such_gpu(engine: Path) -> None:
    with pytest.raises(fastrt.TargetError, match="no cuda:99 on this host"):
        fastrt.load(engine, "cuda:99")


def test_every_gpu_has_sessions_of_its_own(engine: Path, images: Array) -> None:
    from fastrt.targets.tensorrt import cuda

    if cuda.count_devices() < 2:
        pytest.skip("one GPU alone")
    sessions = [fastrt.load(engine, f"cuda:{i}") for i in range(cuda.count_devices())]
    want = sessions[0](images)
    for session in sessions[1:]:
        assert np.allclose(session(images), want, atol=5e-3)
    for session in sessions:
        session.close()


def test_a_version_compatible_plan_runs_on_the_lean_runtime(
    network: fastrt.Network, images: Array, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_lean")
    path = tmp_path / "travels.engine"
    options = BuildOptions(batches=(4,), version_compatible=True)
    fastrt.build(network, path, precision="fp16", options=options, check=False)
    with fastrt.load(path) as session:
        want = session(images)
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys; sys.modules['tensorrt'] = None\n"  # a machine that has the lean runtime alone
        "import numpy as np, fastrt\n"
        "with fastrt.load('travels.engine') as session:\n"
        "    np.save('rows.npy', session(np.load('images.npy')))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert np.allclose(np.load(tmp_path / "rows.npy"), want, atol=5e-3)


def test_a_plan_of_somebody_elses_loads(network: fastrt.Network, images: Array, tmp_path: Path) -> None:
    from fastrt.targets.engine_info import EngineInfo
    from fastrt.targets.tensorrt.target import TensorRtTarget

    class Nameless(EngineInfo):
        def to_text(self) -> str:
            return "somebody's"

    info = Nameless(target="tensorrt", precision="fp32", io="f32_nchw_rgb", image_size=(64, 32), embedding_dim=512)
    TensorRtTarget().build(network, tmp_path / "foreign.engine", info, BuildOptions(batches=(2,)))
    path = tmp_path / "foreign.engine"
    path.write_bytes(path.read_bytes().replace(b"fastrt:somebody's", b"foreign:somebodys"))
    with fastrt.load(path) as session:
        assert session.info.fingerprint is None
        assert session(images).shape == (21, 512)
