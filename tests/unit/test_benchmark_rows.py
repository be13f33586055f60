"""Results that are measured a part at a time: what stays, and what is said of the machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks import results
from benchmarks.gpu_peers import save_cells
from benchmarks.results import Row, model_and_batch, save_rows
from benchmarks.tensorrt_layers import list_parsed

H200: Row = {"gpu": "NVIDIA H200", "cores": 64}
SMALLER: Row = {"gpu": "NVIDIA H200", "cores": 32}


def test_rows_of_another_kind_of_machine_do_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "result.json"

    def save(machine: Row, batch: int) -> Row:
        row = {"model": "R34", "batch": batch}
        save_rows(path, "measure", machine, [row], same=model_and_batch, alike=["gpu"])
        result: Row = json.loads(path.read_text())
        return result

    save(H200, 4)
    result = save(SMALLER, 1)
    assert (result["machine"], [row["batch"] for row in result["rows"]]) == ({"gpu": "NVIDIA H200"}, [1, 4])
    result = save({"gpu": "NVIDIA H100"}, 1)
    assert (result["machine"], len(result["rows"])) == ({"gpu": "NVIDIA H100"}, 1)


def test_steps_of_a_comparison_share_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path)

    def save(machine: Row, **figures: float) -> Row:
        save_cells({"model": "R34", "batch": 1, **figures}, machine)
        result: Row = json.loads((tmp_path / "nvidia-h200" / "gpu_peers.json").read_text())
        return result

    save({**H200, "torch": "2"}, compiled=2.0)
    result = save({**SMALLER, "tensorrt": "8"}, ours=1.0)
    assert result["rows"] == [{"model": "R34", "batch": 1, "compiled": 2.0, "ours": 1.0}]
    assert result["machine"] == {"gpu": "NVIDIA H200", "torch": "2", "tensorrt": "8"}
    # Not said of all: the first was measured with more.
    assert "cores" not in save({**SMALLER, "tensorrt": "8"}, ours=1.1)["machine"]
    result = save({**SMALLER, "tensorrt": "9"}, ours=1.2)
    assert result["rows"] == [{"model": "R34", "batch": 1, "ours": 1.2}]


def test_a_parsed_engine_stands_beside_ours() -> None:
    ours = [["conv1 + relu", "CaskConvolution FP16", 3.0], ["bn1.IN", "Myelin FP16", 2.0]]
    parsed = [["/Conv", "CaskGemmConvolution FP16", 3.2], ["/Cast", "NoOp", 0.0], ["/Mul", "PointWiseV2 FP16", 1.4]]
    alone = {"model": "R34", "precision": "parser", "batch": 4, "layers": parsed}
    pair = [{**alone, "precision": "fp16", "batch": 1, "layers": ours}, {**alone, "batch": 1}]
    rows = list_parsed({"rows": [*pair, alone]})
    assert [(row["batch"], row["given by"]) for row in rows] == [(1, "fastrt"), (1, "the ONNX parser")]
    assert [row["convolutions, us (layers)"] for row in rows] == ["3 (1)", "3 (1)"]
    assert [row["all, us (layers)"] for row in rows] == ["5 (2)", "5 (2)"]  # what takes no time is no layer
