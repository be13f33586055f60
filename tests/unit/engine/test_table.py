"""The table of targets says what the targets do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fastrt
from conftest import Small
from fastrt.engine.load import engine_size
from fastrt.targets.registry import SUFFIXES, find_target
from fastrt.targets.table import ROWS


def test_each_suffix_belongs_to_one_target() -> None:
    assert len(SUFFIXES) == sum(len(row.suffixes) for row in ROWS.values())
    assert {SUFFIXES[row.suffixes[0]] for row in ROWS.values()} == set(ROWS)


@pytest.mark.parametrize("name", ["openvino", "onnx", "reference"])
def test_a_target_is_what_its_row_says(name: str, small: Small, tmp_path: Path) -> None:
    target, row = find_target(name), ROWS[name]
    assert target.row is row
    assert (target.name, target.suffix, target.device) == (name, row.suffixes[0], row.device)
    assert set(target.precisions()) <= set(row.precisions)
    path = tmp_path / f"engine{row.suffixes[0]}"
    fastrt.build(small.network, path)
    files = sorted(tmp_path.iterdir())
    assert files == sorted(row.list_files(path)) == sorted([path, *map(path.with_suffix, row.companions)])
    assert engine_size(path) == sum(file.stat().st_size for file in files)


def test_the_table_needs_no_runtime() -> None:
    script = "import sys, fastrt.targets.registry; print({'openvino', 'onnx', 'tensorrt'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
