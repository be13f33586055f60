from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastrt
from conftest import Run, Small
from fastrt.timing.engines import compare_engines, draw_crops
from fastrt.timing.plot import check_plot
from fastrt.timing.processes import Candidate, run_interleaved


def _sleeper(seconds: float) -> Any:
    return lambda _: time.sleep(seconds)


def _killed() -> Any:
    return lambda _: os._exit(1)


def _unloadable() -> Any:
    raise fastrt.EngineError("there is no such thing")


def test_candidates_are_measured_in_rounds_and_one_that_fails_is_skipped() -> None:
    candidates = [
        Candidate("quick", partial(_sleeper, 0.002)),
        Candidate("unloadable", _unloadable),
        Candidate("slow", partial(_sleeper, 0.02)),
        Candidate("killed", _killed),
    ]
    seen: list[tuple[int, int]] = []
    quick, unloadable, slow, killed = run_interleaved(
        candidates, {"a": 1, "b": 2}, rounds=3, seconds=0.06, advance=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (24, 24)
    assert unloadable.error == "there is no such thing"
    assert killed.error is not None
    assert quick.error is slow.error is None
    assert quick.rounds is not None
    assert len(quick.rounds["a"]) == 3
    assert len(quick.times("a")) > len(slow.times("a")) >= 3
    assert 2 <= quick.median_ms("b") < 20 <= slow.median_ms("b") <= slow.p99_ms("b")
    assert quick.start_s > quick.load_s > 0
    assert quick.peak_mb > 5
    assert quick.threads is None


def test_engines_are_timed_ready_and_resized(small: Small) -> None:
    rows = compare_engines([small.engine], [1, 3], crops=True, seconds=0.05)
    assert [(row.batch, row.input) for row in rows] == [(1, "ready"), (1, "crops"), (3, "ready"), (3, "crops")]
    for row in rows:
        assert (row.target, row.precision, row.device) == ("openvino", "fp32", "cpu")
        assert row.runtime.startswith("openvino 20")
        assert row.threads is not None
        assert 1 <= row.threads <= (os.cpu_count() or 1)
        assert 0 < row.median_ms <= row.p99_ms
        assert row.images_s == pytest.approx(1e3 * row.batch / row.median_ms, rel=0.05)


@pytest.mark.parametrize("io", ["u8_nhwc_bgr", "f32_nchw_rgb"])
def test_a_session_is_timed(io: Any, small: Small, tmp_path: Path) -> None:
    path = tmp_path / "small.xml"
    fastrt.build(small.network, path, io=io)
    with fastrt.load(path) as session:
        timing = fastrt.benchmark(session, batch=3, seconds=0.05)
        with pytest.raises(fastrt.EngineError, match="batch 0; expected at least 1"):
            fastrt.benchmark(session, batch=0)
    assert timing.batch == 3
    assert 0 < timing.median_ms <= timing.p99_ms
    assert timing.images_s == pytest.approx(3e3 / timing.median_ms)
    assert str(timing).startswith("batch 3: median ")
    with pytest.raises(fastrt.EngineError, match="closed"):
        fastrt.benchmark(session)


def test_batches_may_stand_apart(run: Run, small: Small) -> None:
    done = run("benchmark", small.engine, "--batch", "1", "2", "3", "--seconds", "0.1", "--json")
    assert done.code == 0, done.err
    assert [row["batch"] for row in json.loads(done.out)["rows"]] == [1, 2, 3]
    assert "2: no such file; expected an engine" in run("benchmark", small.engine, "2").err
    done = run("benchmark", "--batch", "1", "2")
    assert done.code == 2
    assert "benchmark: no engine; expected at least one" in done.err


def test_crops_are_of_many_sizes() -> None:
    shapes = {crop.shape for crop in draw_crops(10)}
    assert len(shapes) == 5
    assert all(crop.dtype == np.uint8 for crop in draw_crops(2))


def test_the_command_prints_writes_and_draws(run: Run, small: Small, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot = tmp_path / "speed.png"
    done = run("benchmark", small.engine, "--batch", "1,2", "--seconds", "0.1", "--plot", plot, "--json")
    assert done.code == 0, done.err
    content = json.loads(done.out)
    assert [row["batch"] for row in content["rows"]] == [1, 2]
    assert content["host"]["cores"] >= 1
    assert plot.read_bytes().startswith(b"\x89PNG")
    done = run("benchmark", small.engine, "--batch", "1", "--seconds", "0.1")
    assert "median ms" in done.out
    assert "threads" in done.out
    assert "governor" in done.out
    assert "…" not in done.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--batch", "none"], "expected numbers"),
        (["--batch", "0"], "batch 0; expected at least 1"),
        (["--plot", "speed.txt"], "expected .png, .svg or .pdf"),
        (["--plot", "nowhere/speed.png"], "folder nowhere does not exist"),
    ],
)
def test_what_cannot_be_measured_is_refused(words: list[str], sentence: str, run: Run, small: Small) -> None:
    done = run("benchmark", small.engine, *words)
    assert done.code == 2
    assert sentence in done.err


def test_engines_of_two_sizes_are_not_compared(small: Small, tmp_path: Path) -> None:
    spec = fastrt.load_spec("kd-r18-r101_ibn", ["INPUT.SIZE_TEST", [32, 32]])
    from fastrt.testing.untrained import draw_weights

    fastrt.build(fastrt.build_network(spec, draw_weights(spec)), tmp_path / "other.xml")
    with pytest.raises(fastrt.EngineError, match="image sizes 32x32 and 64x32; expected engines of one size"):
        compare_engines([small.engine, tmp_path / "other.xml"], [1])


def test_a_plot_needs_a_supported_suffix() -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(fastrt.OutputError, match=r"\.gif"):
        check_plot(Path("speed.gif"))
