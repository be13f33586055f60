"""fastrt installs over nothing that a user has, and works with what `pip install fastrt` brings."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

import fastrt
from conftest import Run, Small
from fastrt.arrays import Image
from fastrt.images.drawing import draw_person
from fastrt.images.preprocess import find_resampler, read_resized
from fastrt.targets.engine_info import Resampler

ROOT = Path(__file__).parents[2]
OPENCV = ("cv2-cubic", "cv2-linear")

PIPELINE = """
import sys
sys.modules["cv2"] = sys.modules["matplotlib"] = sys.modules["jinja2"] = None  # importing one of them fails
from pathlib import Path
import fastrt
from fastrt.datasets.people import Synthetic
from fastrt.demo import demonstrate
from fastrt.arrays import Image
from fastrt.images.drawing import draw_person
checkpoint, config, folder = sys.argv[1:]
demonstrate.CALIBRATION_PEOPLE = demonstrate.CALIBRATED = 8
demonstrate.draw(Path(folder, "images"), 3, 2)
network = fastrt.build_network(fastrt.load_spec(config), fastrt.load_weights(checkpoint))
table = demonstrate.calibrate_on(network, Path(folder, "images"))
fastrt.build(network, folder + "/int8.xml", precision="int8", table=table)
fastrt.build(network, folder + "/cubic.xml", resampler="cv2-cubic", check=True)
fastrt.build(network, folder + "/fp32.xml")
with fastrt.load(folder + "/fp32.xml") as session:
    assert fastrt.verify(session, network)
    assert session([draw_person(0, 0, 90, 40)]).shape[0] == 1
    assert len(fastrt.evaluate(session, Synthetic(folder + "/images")).gallery)
"""


def _run(script: str, *words: object) -> str:
    done = subprocess.run([sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _without_opencv(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(sys.modules, "cv2", None)


def test_no_package_is_required_that_overwrites_another_of_the_same_module() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    base = re.search(r"^dependencies = \[(.*?)^\]", text, re.S | re.M)
    assert base
    assert "numpy" in base[1]
    assert not re.search(r"opencv|onnxruntime|tensorrt|torch", base[1])


def test_the_package_with_the_demo_is_small() -> None:
    """A wheel is a zip archive of this folder, and a few kilobytes of metadata."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path in (ROOT / "src" / "fastrt").rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                wheel.write(path)
    assert len(archive.getvalue()) < 1_400_000


def test_the_steps_of_the_demo_need_no_extra(small: Small, tmp_path: Path) -> None:
    _run(PIPELINE, small.checkpoint, small.config, tmp_path)
    assert fastrt.describe(tmp_path / "cubic.xml").resampler == "cv2-cubic"  # for a host or a program that has OpenCV


@pytest.mark.parametrize("resampler", OPENCV)
def test_an_engine_whose_resampler_is_missing_is_refused_before_its_first_image(
    small: Small, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, resampler: Resampler
) -> None:
    path, image = tmp_path / "a.xml", tmp_path / "a.png"
    PIL.Image.fromarray(draw_person(0, 0)).save(image)
    _without_opencv(monkeypatch)
    fastrt.build(small.network, path, resampler=resampler)
    expected = (
        rf"^resampler {resampler}: OpenCV cannot be imported \(.*cv2.*\); expected one of its packages: opencv-python,"
        r" opencv-contrib-python, or either with -headless\. Run pip install 'fastrt\[opencv\]' if none is installed\.$"
    )
    with pytest.raises(fastrt.TargetError, match=expected):
        fastrt.load(path)
    with pytest.raises(fastrt.TargetError, match=expected):
        read_resized(image, (64, 32), resampler)
    with pytest.raises(fastrt.TargetError, match=expected):
        fastrt.calibrate(small.network, [draw_person(i, 0) for i in range(8)], resampler=resampler)
    result = run("embed", path, image, "-o", tmp_path / "a.npy")
    assert result.code == 2
    assert f"resampler {resampler}" in result.err
    assert not (tmp_path / "a.npy").exists()


def test_int8_is_not_compared_without_the_resampler(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [draw_person(i, 0, 64, 32) for i in range(8)]
    table = fastrt.calibrate(small.network, images)
    _without_opencv(monkeypatch)
    with pytest.raises(fastrt.TargetError, match="resampler cv2-cubic"):
        fastrt.build(
            small.network, tmp_path / "a.xml", precision="int8", table=table, resampler="cv2-cubic", images=images
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("resampler", OPENCV)
def test_any_package_that_brings_cv2_serves(monkeypatch: pytest.MonkeyPatch, resampler: Resampler) -> None:
    def resize(image: Image, size: tuple[int, int], interpolation: int) -> Image:
        return np.full((size[1], size[0], 3), interpolation, np.uint8)

    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(INTER_LINEAR=1, INTER_CUBIC=2, resize=resize))
    assert (find_resampler(resampler)(draw_person(0, 0), (64, 32)) == (2 if resampler == "cv2-cubic" else 1)).all()


def test_a_broken_opencv_is_named_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(fastrt.TargetError, match=r"libGL\.so\.1: cannot open"):
        find_resampler("cv2-linear")
