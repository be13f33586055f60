"""FastReID's own embeddings, against every target.

FastReID's float32 embeddings carry float32's rounding, which deep networks of random weights amplify: in three cases to
more than 1e-4. So the reference is held to FastReID in float64, very tightly, and the float32 targets to 1e-4 or to
three times FastReID's own rounding, whichever is more (docs/explanation/decisions/0001-float64-arbiter.md).
"""

from __future__ import annotations

from pathlib import Path

import pytest

import fastrt
from fastrt.targets.engine_info import Io
from fastrt.targets.reference import Reference
from golden.cases import NAMES, distance, load_golden

TOLERANCE = 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_is_fastreid_without_rounding(name: str) -> None:
    case = load_golden(name)
    *_, (_, embeddings) = Reference(case.planes).lower(case.network)
    assert distance(embeddings, case.exact) < 1e-9


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".xml", ".onnx", ".npz"])
def test_engines_give_fastreids_embeddings(name: str, suffix: str, tmp_path: Path) -> None:
    case = load_golden(name)
    io: Io = "f32_nchw_rgb" if suffix == ".onnx" else "u8_nhwc_bgr"
    path = tmp_path / f"engine{suffix}"
    fastrt.build(case.network, path, normalize=False, io=io)
    count = 1 if suffix == ".npz" else len(case.images)  # the first test has the reference compute them all
    with fastrt.load(path) as session:
        embeddings = session(case.images[:count])
    allowed = max(TOLERANCE, 3 * case.noise)
    assert distance(embeddings, case.exact[:count]) <= allowed
    assert distance(embeddings, case.embeddings[:count]) <= allowed


@pytest.mark.parametrize("name", NAMES)
def test_openvino_engines_verify(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference's embeddings are not computed again: they are FastReID's, as the first test shows."""
    case = load_golden(name)
    monkeypatch.setattr("fastrt.engine.verify.embed_reference", lambda *_: case.exact)
    fastrt.build(case.network, tmp_path / "engine.xml")
    with fastrt.load(tmp_path / "engine.xml") as session:
        report = fastrt.verify(session, case.network, list(case.images))
    assert report, str(report)
