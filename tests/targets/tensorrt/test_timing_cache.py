"""The timing cache on disk, with a fake builder configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastrt.targets.tensorrt.plan import _save_timing_cache, open_timing_cache


class Cache:
    """Kernel timings, one per line, after a line with their owner."""

    def __init__(self, content: bytes) -> None:
        self.owner, *self.kernels = content.split() or [b"mine"]

    def combine(self, other: Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        fits = other.owner == self.owner
        self.kernels += [kernel for kernel in other.kernels if fits and kernel not in self.kernels]
        return fits

    def serialize(self) -> bytes:
        return b"\n".join([self.owner, *self.kernels])


class Config:
    """Accepts only a cache of ``mine``, as TensorRT accepts only caches of its version and GPU."""

    def __init__(self) -> None:
        self.cache = Cache(b"")

    def create_timing_cache(self, content: bytes) -> Cache | None:
        return None if content.startswith(b"garbage") else Cache(content)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache.owner != b"mine":
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Cache:
        return self.cache


@pytest.mark.parametrize(
    ("stored", "used"), [(None, []), (b"mine\na", [b"a"]), (b"another's\na", []), (b"garbage", []), (b"", [])]
)
def test_a_cache_is_read_if_it_fits_and_written_whole(stored: bytes | None, used: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "made" / "timing.cache"
    if stored is not None:
        path.parent.mkdir()
        path.write_bytes(stored)
    config = Config()
    assert open_timing_cache(config, path) is not None
    assert config.cache.kernels == used
    config.cache.kernels.append(b"b")
    _save_timing_cache(config, path)
    assert Cache(path.read_bytes()).kernels == [*used, b"b"]
    assert [file.name for file in path.parent.iterdir()] == ["timing.cache"]


def test_simultaneous_builds_merge_their_timings(tmp_path: Path) -> None:
    path = tmp_path / "timing.cache"
    builds = [Config(), Config()]
    for config, kernel in zip(builds, (b"a", b"b"), strict=True):
        open_timing_cache(config, path)
        config.cache.kernels += [b"shared", kernel]
    for config in builds:
        _save_timing_cache(config, path)
    assert sorted(Cache(path.read_bytes()).kernels) == [b"a", b"b", b"shared"]


def test_without_a_path_there_is_no_cache() -> None:
    assert open_timing_cache(Config(), None) is None
