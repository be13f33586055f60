"""Results that are measured a part at a time: the rows that stay, and the description of the hosts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks import demo_scores, results
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


def test_scores_of_a_model_replace_its_older_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = {"processor": "A"}
    for module in (results, demo_scores):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(demo_scores, "describe_host", lambda: host)

    def write(model: str, score: int) -> Row:
        checkpoint = tmp_path / model
        checkpoint.write_text(str(score))
        rows = [{"model": model, "precision": precision, "mAP": score} for precision in ("fp32", "int8")]
        demo_scores.write_rows("scores", "CHECKPOINT ...", "reference", checkpoint, rows, None)
        return read_result("scores")

    write("osnet", 1)
    write("vit", 2)
    result = write("osnet", 3)
    assert [(row["model"], row["mAP"]) for row in result["rows"]] == [("vit", 2)] * 2 + [("osnet", 3)] * 2
    digests = {name: hashlib.sha256(text).hexdigest() for name, text in (("osnet", b"3"), ("vit", b"2"))}
    assert result["checkpoints"] == digests
    host["processor"] = "B"
    result = write("vit", 4)
    assert [row["mAP"] for row in result["rows"]] == [4, 4]
    assert list(result["checkpoints"]) == ["vit"]
