"""The timing cache on disk, with a builder's configuration that only keeps what it is given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastrt.targets.tensorrt.plan import _save_timing_cache, open_timing_cache


class Config:
    """Takes only caches that begin with ``mine``, as TensorRT takes only those of its own version and GPU."""

    def __init__(self) -> None:
        self.cache = b"nothing"

    def create_timing_cache(self, content: bytes) -> bytes:
        return content

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache and not cache.startswith(b"mine"):
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: b"mine, and more")


@pytest.mark.parametrize(("stored", "used"), [(None, b""), (b"mine", b"mine"), (b"another's", b"")])
def test_a_cache_is_read_if_it_fits_and_written_whole(stored: bytes | None, used: bytes, tmp_path: Path) -> None:
    path = tmp_path / "made" / "timing.cache"
    if stored is not None:
        path.parent.mkdir()
        path.write_bytes(stored)
    config = Config()
    assert open_timing_cache(config, path) is not None
    assert config.cache == used
    _save_timing_cache(config, path)
    assert path.read_bytes() == b"mine, and more"
    assert [file.name for file in path.parent.iterdir()] == ["timing.cache"]


def test_without_a_place_there_is_none() -> None:
    assert open_timing_cache(Config(), None) is None
