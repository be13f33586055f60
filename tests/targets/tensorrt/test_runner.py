"""Execution slots, profiles, padding and threads, on a fake CUDA on the host."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastrt
from fastrt.arrays import Array
from fastrt.engine.session import Session
from fastrt.targets.engine_info import EngineInfo
from fastrt.targets.tensorrt import cuda
from fastrt.targets.tensorrt.capabilities import Capabilities
from fastrt.targets.tensorrt.execution_slot import Ports
from fastrt.targets.tensorrt.runner import TensorRtRunner
from targets.tensorrt.fake_cuda import SHAPE, FakeEngine, FakeRuntime, embed

PROFILES = [(1, 1, 1), (2, 8, 8), (9, 16, 16)]
IMAGES = np.random.default_rng(3).integers(0, 256, (50, *SHAPE)).astype(np.uint8)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRuntime]:
    runtime = FakeRuntime()
    monkeypatch.setattr(cuda, "_runtime", lambda: runtime)
    yield runtime
    gc.collect()  # the objects free their memory while this runtime is set


def _open(runtime: FakeRuntime, profiles: list[tuple[int, int, int]] = PROFILES) -> tuple[Session, FakeEngine]:
    engine = FakeEngine(runtime, profiles)
    trt: Any = SimpleNamespace(ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED=2))
    info = EngineInfo(target="tensorrt", io="u8_nhwc_bgr", image_size=SHAPE[:2], embedding_dim=2)
    ports = Ports("images", "embedding", info)
    return Session(TensorRtRunner(Capabilities(trt, "tensorrt"), engine, info, ports, 0)), engine


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 11, 16, 17, 50])
def test_any_number_of_images(runtime: FakeRuntime, count: int) -> None:
    session, _ = _open(runtime)
    with session:
        for _ in range(3):
            assert np.array_equal(session(IMAGES[:count]), embed(IMAGES[:count].astype(np.float32)))


def test_layers_are_timed_only_for_batches_that_the_engine_takes(runtime: FakeRuntime) -> None:
    session, _ = _open(runtime)
    with session, pytest.raises(fastrt.EngineError, match="batch 17; expected 1 to 1, 2 to 8, 9 to 16"):
        session._runner.time_layers(17)


def test_a_size_is_captured_once_in_its_own_profile(runtime: FakeRuntime) -> None:
    session, engine = _open(runtime)
    with session:
        for count in (1, 1, 5, 5, 11, 12, 11):
            session(IMAGES[:count])
        assert [(context.size, context.profile) for context in engine.contexts] == [(1, 0), (5, 1), (12, 2)]
        assert runtime.launches == 7


def test_everything_is_freed(runtime: FakeRuntime) -> None:
    session, _ = _open(runtime)
    session(IMAGES)
    pinned = session.pinned(4)
    session.close()
    session.close()
    assert runtime.streams == 0
    assert not runtime.graphs
    assert not runtime.executables
    pinned[:] = 1  # belongs to the caller
    del pinned
    assert not runtime.memory  # freed immediately, without garbage collection
    with pytest.raises(fastrt.EngineError, match="the session is closed"):
        session(IMAGES)


def test_pinned_memory_is_copied_directly(runtime: FakeRuntime) -> None:
    session, _ = _open(runtime)
    with session:
        session(IMAGES)
        before = len(runtime.memory)
        for _ in range(3):
            session.pinned(4)
        assert len(runtime.memory) == before
        pinned = session.pinned(20)
        pinned[:] = IMAGES[:20]
        assert np.array_equal(session(pinned), embed(IMAGES[:20].astype(np.float32)))
        assert np.array_equal(session(pinned[3:5]), embed(IMAGES[3:5].astype(np.float32)))


def test_one_graph_copies_from_anywhere_in_pinned_memory(runtime: FakeRuntime) -> None:
    session, engine = _open(runtime)
    want = embed(IMAGES.astype(np.float32))
    with session:
        first, second = session.pinned(12), session.pinned(12)
        first[:], second[:] = IMAGES[:12], IMAGES[12:24]
        assert np.array_equal(session(first), want[:12])
        assert np.array_equal(session(first), want[:12])
        assert runtime.pointed == 0
        assert np.array_equal(session(second), want[12:24])
        assert np.array_equal(session(second[:11]), want[12:23])
        assert np.array_equal(session(first[1:]), want[1:12])
        assert np.array_equal(session(IMAGES[30:42]), want[30:42])  # through the slot's own memory
        assert runtime.pointed == 4
        assert len(runtime.graphs) == len(engine.contexts) == 1
        images: Any = OnDevice(IMAGES[24:36])
        assert np.array_equal(session(images), want[24:36])  # copied before a graph without a copy
        assert np.array_equal(session(first), want[:12])
        assert (len(runtime.graphs), len(engine.contexts)) == (2, 1)


def test_a_batch_that_cannot_be_captured_runs_without_a_graph(runtime: FakeRuntime) -> None:
    runtime.capturable = False
    session, _ = _open(runtime)
    with session:
        for count in (11, 12, 11):
            assert np.array_equal(session(IMAGES[:count]), embed(IMAGES[:count].astype(np.float32)))
        assert runtime.launches == 0


class OnDevice:
    """An array with ``__cuda_array_interface__``."""

    def __init__(self, array: Array, strides: tuple[int, ...] | None = None) -> None:
        self.array = array
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, False),
            "strides": strides,
            "stream": None,
        }


def test_device_arrays_are_inputs_and_outputs(runtime: FakeRuntime) -> None:
    session, _ = _open(runtime)
    want = embed(IMAGES.astype(np.float32))
    with session:
        images: Any = OnDevice(IMAGES, IMAGES.strides)
        assert np.array_equal(session(images), want)
        left = session.embed_on_device(images)
        assert left.__cuda_array_interface__["shape"] == want.shape
        address = left.__cuda_array_interface__["data"][0]
        view = np.ctypeslib.as_array((ctypes.c_float * want.size).from_address(address))
        assert np.array_equal(view.reshape(want.shape), want)
        del left
        with pytest.raises(fastrt.ImageError, match=r"expected \(n, 4, 3, 3\) uint8, as the engine takes"):
            session(OnDevice(IMAGES[:, 1:].copy()))  # type: ignore[arg-type]
        with pytest.raises(fastrt.ImageError, match="gaps between elements"):
            session(OnDevice(IMAGES[:, ::2], IMAGES[:, ::2].strides))  # type: ignore[arg-type]
        with pytest.raises(fastrt.ImageError, match="a batch of 0 images"):
            session(OnDevice(IMAGES[:0]))  # type: ignore[arg-type]


class ByDlpack:
    """A device array that supports only DLPack."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, stream: int) -> Any:
        return self.array.__dlpack__()


def test_embeddings_of_host_arrays_stay_on_the_gpu(runtime: FakeRuntime) -> None:
    session, _ = _open(runtime)
    with session:
        assert session.embed_on_device(IMAGES[::2]).shape == (25, 2)
        with pytest.raises(fastrt.ImageError, match="images: a list; expected an array"):
            session.embed_on_device(list(IMAGES))  # type: ignore[arg-type]


def test_dlpack_is_read(runtime: FakeRuntime) -> None:
    session, _ = _open(runtime)
    with session:
        images: Any = ByDlpack(IMAGES[:11])
        assert np.array_equal(session(images), embed(IMAGES[:11].astype(np.float32)))
        wrong: Any = ByDlpack(IMAGES[:3].astype(np.float32))
        with pytest.raises(fastrt.ImageError, match=r"shape \(3, 4, 3, 3\) float32; expected"):
            session(wrong)


def test_threads_share_two_slots(runtime: FakeRuntime) -> None:
    session, engine = _open(runtime, [(1, 4, 4)])
    want = embed(IMAGES.astype(np.float32))
    wrong: list[int] = []
    lock = threading.Lock()
    call = runtime._call
    runtime._call = lambda work: _locked(lock, call, work)  # type: ignore[method-assign]
    with session:
        session(IMAGES)  # captures before the threads start: the fake captures the calls of all threads

        def work(i: int) -> None:
            equal = [np.array_equal(session(IMAGES[: 40 + i]), want[: 40 + i]) for _ in range(20)]
            wrong.extend([i] * equal.count(False))

        threads = [threading.Thread(target=work, args=(i * 4,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
    assert not wrong
    assert len(engine.contexts) <= 8


def _locked(lock: threading.Lock, call: Any, work: Any) -> Any:
    with lock:
        return call(work)


def test_errors_of_cuda_are_reported(runtime: FakeRuntime) -> None:
    with pytest.raises(fastrt.EngineError, match="cudaMalloc of CUDA failed: out of memory"):
        cuda.Buffer(1 << 50)


@pytest.mark.parametrize("name", ["cpu", "cuda:", "cuda:x", "cuda:-1"])
def test_names_of_devices(runtime: FakeRuntime, name: str) -> None:
    assert cuda.find_device("cuda") == cuda.find_device("cuda:0") == 0
    with pytest.raises(fastrt.TargetError, match="tensorrt: device .*; expected cuda:0"):
        cuda.find_device(name)
    with pytest.raises(fastrt.TargetError, match="no cuda:7 on this host; expected one of cuda:0"):
        cuda.find_device("cuda:7")
