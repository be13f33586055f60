"""Results that are measured a part at a time: the rows that stay, and the description of the hosts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks import results
from benchmarks.results import SAME_GPU, Row, read_result, update_result

H200: Row = {"gpu": "NVIDIA H200", "cores": 64}
SMALLER: Row = {"gpu": "NVIDIA H200", "cores": 32}


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Row]:
    monkeypatch.setattr(results, "RESULTS", tmp_path)

    def save(host: Row, batch: int, **figures: Any) -> Row:
        row = {"model": "R34", "batch": batch, **figures}
        update_result("nvidia/speed", "measure", [row], host=host, same=SAME_GPU)
        return read_result("nvidia/speed")

    return save


def test_rows_of_another_kind_of_host_do_not_stay(save: Callable[..., Row]) -> None:
    save(H200, 4)
    result = save(SMALLER, 1)
    assert (result["host"], [row["batch"] for row in result["rows"]]) == ({"gpu": "NVIDIA H200"}, [1, 4])
    result = save({"gpu": "NVIDIA H100"}, 1)
    assert (result["host"], len(result["rows"])) == ({"gpu": "NVIDIA H100"}, 1)


def test_steps_of_a_comparison_share_rows(save: Callable[..., Row]) -> None:
    save({**H200, "torch": "2"}, 1, compiled=2.0)
    result = save({**SMALLER, "tensorrt": "8"}, 1, ours=1.0)
    assert result["rows"] == [{"model": "R34", "batch": 1, "compiled": 2.0, "ours": 1.0}]
    assert result["host"] == {"gpu": "NVIDIA H200", "torch": "2", "tensorrt": "8"}
    # The first step had more cores, so the result names none.
    assert "cores" not in save({**SMALLER, "tensorrt": "8"}, 1, ours=1.1)["host"]
    result = save({**SMALLER, "tensorrt": "9"}, 1, ours=1.2)
    assert result["rows"] == [{"model": "R34", "batch": 1, "ours": 1.2}]
