"""The command line as a user meets it: what it prints, where, and how it exits."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import fastrt
from conftest import Run, Small
from fastrt.cli import main
from fastrt.demo import demonstrate
from fastrt.images.drawing import draw_person
from fastrt.timing import interleaved


def test_help_imports_no_runtime() -> None:
    script = (
        "import sys, fastrt.cli\n"
        "try: fastrt.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('openvino', 'onnx', 'onnxruntime', 'cv2', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Deploy person re-identification networks" in done.stdout


def test_the_main_job(run: Run, small: Small, tmp_path: Path) -> None:
    engine, images = tmp_path / "engine.xml", tmp_path / "images"
    images.mkdir()
    for i in range(3):
        PIL.Image.fromarray(draw_person(i, 0)[..., ::-1]).save(images / f"{i}.png")
    built = run("build", small.checkpoint, "--config", small.config, "-o", engine)
    assert built.code == 0, built.err
    assert built.out == f"{engine}: resnet 18 ibn, 64x32 to 512, openvino fp32\n"
    verified = run("verify", engine, small.checkpoint, "--config", small.config)
    assert verified.code == 0, verified.err
    assert verified.out.endswith("verified\n")
    embedded = run("embed", engine, images, "-o", tmp_path / "e.npy")
    assert embedded.code == 0, embedded.err
    assert np.load(tmp_path / "e.npy").shape == (3, 512)
    assert f"{tmp_path / 'e.npy'}: 3 embeddings of 512 numbers" in embedded.out


def test_build_says_what_it_guessed(run: Run, small: Small, tmp_path: Path) -> None:
    built = run("build", small.checkpoint, "-o", tmp_path / "e.npz", "--guess", "--set", "INPUT.SIZE_TEST", "(64, 32)")
    assert built.code == 0, built.err
    assert (
        "note: without a config, the spec is inferred from the checkpoint's names: resnet 18 ibn, embedding_dim 0"
        in built.err
    )
    assert "MODEL.BACKBONE.LAST_STRIDE 1" in built.err
    assert "64x32 to 512" in built.out


def test_overrides_may_be_repeated_and_joined(run: Run, small: Small, tmp_path: Path) -> None:
    words = (
        "--set",
        "INPUT.SIZE_TEST",
        "[96, 32]",
        "--set",
        "MODEL.BACKBONE.LAST_STRIDE=2",
        "--set",
        "MODEL.PIXEL_STD",
    )
    built = run("build", small.checkpoint, "--config", small.config, "-o", tmp_path / "e.npz", *words, "[50, 51, 52]")
    assert built.code == 0, built.err
    spec = fastrt.describe(tmp_path / "e.npz").spec
    assert spec is not None
    assert (spec["image_size"], spec["backbone"]["last_stride"], spec["pixel_std"]) == ([96, 32], 2, [50, 51, 52])


def test_a_safetensors_carries_its_spec(run: Run, small: Small, tmp_path: Path) -> None:
    spec = fastrt.load_spec(small.config)
    fastrt.save_weights(small.arrays, tmp_path / "m.safetensors", spec=spec.model_dump(mode="json"))
    built = run("build", tmp_path / "m.safetensors", "-o", tmp_path / "e.npz")
    assert built.code == 0, built.err
    assert "note: without a config, the spec in m.safetensors is used: resnet 18 ibn" in built.err
    assert fastrt.describe(tmp_path / "e.npz").image_size == (64, 32)


@pytest.mark.parametrize("suffix", [".pth", ".wts", ".safetensors"])
def test_convert_keeps_everything(suffix: str, run: Run, small: Small, tmp_path: Path) -> None:
    out = tmp_path / f"converted{suffix}"
    assert run("convert", small.checkpoint, out).code == 0
    converted = fastrt.load_weights(out)
    assert list(converted) == list(small.arrays)
    network = fastrt.build_network(fastrt.load_spec(small.config), converted)
    assert network.fingerprint() == small.network.fingerprint()


def test_inspect_a_checkpoint(run: Run, small: Small) -> None:
    found = json.loads(run("inspect", small.checkpoint, "--json", "--layers").out)
    assert found["arrays"] == len(small.arrays) == len(found["layers"])
    assert found["spec"]["backbone"]["depth"] == "18x"
    assert found["checkpoint_version"] == "C"
    assert any("names do not show" in note for note in found["notes"])
    text = run("inspect", small.checkpoint, "--layers").out
    assert "backbone.conv1.weight" in text
    assert "64x3x7x7" in text


def test_inspect_an_engine(run: Run, small: Small) -> None:
    found = json.loads(run("inspect", small.engine, "--json").out)
    assert found["target"] == "openvino"
    assert found["image_size"] == [64, 32]
    assert found["fingerprint"] == small.network.fingerprint()
    text = run("inspect", small.engine, "--layers").out
    assert "pil-bicubic" in text
    assert "backbone.layer4.1.relu" in text


def test_verify_by_layers_and_as_json(run: Run, small: Small) -> None:
    words = ("verify", small.engine, small.checkpoint, "--config", small.config)
    layers = run(*words, "--layers")
    assert layers.code == 0
    assert "backbone.layer4.1.relu" in layers.out
    found = json.loads(run(*words, "--json").out)
    assert found["verified"] is True


def test_verify_exits_with_1_when_a_check_fails(run: Run, small: Small, tmp_path: Path) -> None:
    other = dict(small.arrays)
    other["backbone.layer4.1.conv2.weight"] = -other["backbone.layer4.1.conv2.weight"]
    fastrt.save_weights(other, tmp_path / "other.pth")
    words = (small.engine, tmp_path / "other.pth", "--config", small.config)
    whole = run("verify", *words)
    assert whole.code == 1
    assert whole.out.endswith("not verified\n")
    layers = run("verify", *words, "--layers")
    assert layers.code == 1
    assert layers.out.splitlines()[-2].startswith("backbone.layer4.1.bn2")


def test_embed_names_and_counts_what_it_could_not_read(run: Run, small: Small, tmp_path: Path) -> None:
    PIL.Image.fromarray(draw_person(0, 0)[..., ::-1]).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    (tmp_path / "notes.txt").write_text("not an image")
    done = run("embed", small.engine, tmp_path, "-o", tmp_path / "e.npy")
    assert done.code == 1
    assert "note: left out: 1 files without an image suffix, first " in done.err
    assert "note: 1 of 2 images could not be read:" in done.err
    assert f"note: {tmp_path / 'bad.png'}: unknown content; expected an image" in done.err
    assert len(np.load(tmp_path / "e.npy")) == 1


def test_a_name_that_the_terminal_has_no_letters_for_is_no_failure(small: Small, tmp_path: Path) -> None:
    image, output = tmp_path / "\u4e2d.png", tmp_path / "\u6587.npy"
    PIL.Image.fromarray(draw_person(0, 0)[..., ::-1]).save(image)
    words = ["embed", str(small.engine), str(image), "-o", str(output)]
    script = f"import fastrt.cli; fastrt.cli.main({words!r})"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert rb"\u6587.npy: 1 embeddings of 512 numbers" in done.stdout


def test_demo_goes_the_whole_way(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer people."""
    for name, count in (("PEOPLE", 20), ("DISTRACTORS", 50), ("CALIBRATED", 48)):
        monkeypatch.setattr(demonstrate, name, count)
    monkeypatch.setattr(interleaved, "ROUNDS", 3)
    done = run("demo", "-o", tmp_path / "demo")
    assert done.code == 0, done.err
    assert "verified" in done.out
    rows = {line.split()[1]: line.split()[3] for line in done.out.splitlines() if line.startswith("│")}
    assert {"fp32", "int8"} <= set(rows)
    # So small a gallery is easy, and nobody is a match by chance.
    assert all(90 < float(score) < 100 for score in rows.values())
    assert abs(float(rows["int8"]) - float(rows["fp32"])) <= 0.5
    for name in ("images", "calibration.json", "demo-fp32.xml", "demo-int8.xml", "report/index.html"):
        assert (tmp_path / "demo" / name).exists()


def test_demo_without_opencv_and_the_packages_of_reports_skips_the_report(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, count in (("PEOPLE", 4), ("DISTRACTORS", 4), ("CALIBRATED", 16)):
        monkeypatch.setattr(demonstrate, name, count)
    monkeypatch.setattr(demonstrate, "PRECISIONS", ("fp32",))
    monkeypatch.setitem(sys.modules, "cv2", None)  # importing it fails
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find_spec(name))
    done = run("demo", "-o", tmp_path / "demo")
    assert done.code == 0, done.err
    assert (
        "note: no report is written: report: matplotlib is not installed; expected matplotlib. Run pip install"
        in done.err
    )
    assert (tmp_path / "demo" / "demo-fp32.xml").exists()
    assert not (tmp_path / "demo" / "report").exists()


def test_demo_of_a_target_that_is_not_there_leaves_nothing(run: Run, tmp_path: Path) -> None:
    done = run("demo", "--target", "nothing", "-o", tmp_path / "demo")
    assert done.code == 2
    assert "target: unknown nothing" in done.err
    assert not (tmp_path / "demo").exists()


def test_demo_leaves_a_folder_alone_that_is_in_use(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = run("demo", "-o", tmp_path)
    assert done.code == 2
    assert "is not empty" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def _bad_inputs(small: Small, tmp_path: Path) -> dict[str, tuple[Sequence[object], str]]:
    """Commands that cannot be done, with what their one sentence says."""
    missing, misshapen, unfinite, cut, text = (
        tmp_path / f"{name}.pth" for name in ("miss", "shape", "nan", "cut", "text")
    )
    arrays = dict(small.arrays)
    del arrays["backbone.layer2.0.conv1.weight"]
    fastrt.save_weights(arrays, missing)
    fastrt.save_weights({**small.arrays, "backbone.bn1.bias": np.zeros(63, np.float32)}, misshapen)
    fastrt.save_weights({**small.arrays, "backbone.bn1.bias": np.full(64, np.nan, np.float32)}, unfinite)
    cut.write_bytes(small.checkpoint.read_bytes()[:1_000_000])
    text.write_text("hello")
    unknown, broken = tmp_path / "unknown.yml", tmp_path / "broken.yml"
    unknown.write_text("MODEL: {BACKBONE: {NAME: build_vgg_backbone}}")
    broken.write_text("MODEL: [")
    image = tmp_path / "empty.png"
    image.write_bytes(b"")
    config, out = ("--config", small.config), ("-o", tmp_path / "out.xml")
    return {
        "no checkpoint": (("build", tmp_path / "no.pth", *out), f"error: {tmp_path / 'no.pth'}: does not exist;"),
        "text": (
            ("build", text, *config, *out),
            f"error: {text}: text that begins with 'hello'; expected a checkpoint.",
        ),
        "cut": (("build", cut, *config, *out), f"error: {cut}: damaged or not a .pth ("),
        "missing": (
            ("build", missing, *config, *out),
            (
                "error: weights do not fit resnet 18 ibn: 1 missing, first backbone.layer2.0.conv1.weight"
                " (128, 64, 3, 3); do config and checkpoint belong together?"
            ),
        ),
        "misshapen": (
            ("build", misshapen, *config, *out),
            "error: weights do not fit resnet 18 ibn: 1 misshapen, first backbone.bn1.bias (63,) instead of (64,);",
        ),
        "nan": (
            ("build", unfinite, *config, *out),
            "error: weights do not fit resnet 18 ibn: 1 with NaN or infinity, first backbone.bn1.bias;",
        ),
        "backbone": (
            ("build", small.checkpoint, "--config", unknown, *out),
            "error: spec: backbone is 'build_vgg_backbone'",
        ),
        "yaml": (("build", small.checkpoint, "--config", broken, *out), f"error: {broken}: is not YAML ("),
        "no config": (
            ("build", small.checkpoint, "--config", "nope", *out),
            "error: nope: does not exist; expected a YAML file",
        ),
        "override": (("build", small.checkpoint, *out, "--set", "KEY"), "error: --set KEY: no value;"),
        "image": (
            ("embed", small.engine, image, "-o", tmp_path / "e.npy"),
            "error: embed: 0 of 1 images could be read",
        ),
        "no image": (
            ("embed", small.engine, tmp_path / "none.png"),
            f"error: {tmp_path / 'none.png'}: does not exist;",
        ),
        "engine": (("embed", small.checkpoint, image), "model_best.pth: not the suffix of an engine"),
        "convert": (
            ("convert", small.checkpoint, tmp_path / "out.zip"),
            "out.zip: suffix .zip; expected .pth",
        ),
        "folder": (
            ("convert", small.checkpoint, tmp_path / "no" / "out.wts"),
            "no does not exist; expected an",
        ),
        "inspect": (
            ("inspect", unknown),
            "unknown.yml: suffix .yml; expected an engine (.xml, .onnx, .npz, .engine, .plan, .trt, .rtx) or",
        ),
    }


KINDS = (
    *("no checkpoint", "text", "cut", "missing", "misshapen", "nan", "backbone", "yaml", "no config", "override"),
    *("image", "no image", "engine", "convert", "folder", "inspect"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_one_sentence_and_leaves_nothing(kind: str, run: Run, small: Small, tmp_path: Path) -> None:
    commands = _bad_inputs(small, tmp_path)
    assert tuple(commands) == KINDS
    before = sorted(tmp_path.rglob("*"))
    words, sentence = commands[kind]
    done = run(*words)
    assert done.code == 2
    assert sentence in done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    assert len([line for line in done.err.splitlines() if line.startswith("error: ")]) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_debug_shows_the_traceback(small: Small) -> None:
    with pytest.raises(fastrt.CheckpointError):
        main(["inspect", "nowhere.pth", "--debug"])


def test_the_installed_command_runs() -> None:
    command = shutil.which("fastrt", path=str(Path(sys.executable).parent))
    assert command is not None
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"fastrt {fastrt.__version__}\n"


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    for i in range(30):
        image = draw_person(i // 2, i % 2, 60 + i, 40)
        PIL.Image.fromarray(image[..., ::-1]).save(folder / f"{i:02}.png")
    shutil.copy(folder / "00.png", folder / "copy.png")
    (folder / "broken.jpg").write_text("no image")
    (folder / "Thumbs.db").write_text("no image")
    return folder


def test_calibrate_and_build_int8(run: Run, small: Small, crops: Path, tmp_path: Path) -> None:
    table, engine = tmp_path / "table.json", tmp_path / "int8.xml"
    model = (small.checkpoint, "--config", small.config)
    result = run("calibrate", *model, "--images", crops, "--count", 30, "-o", table)
    assert (result.code, result.out) == (0, f"{table}: ranges of 28 tensors by entropy, 30 images of 32\n")
    assert f"note: left out: 1 files without an image suffix, first {crops / 'Thumbs.db'}" in result.err
    assert "broken.jpg: unknown content; expected an image" in result.err

    result = run("build", *model, "--precision", "int8", "--calibration", table, "-o", engine)
    assert result.code == 0, result.err
    assert "compared on drawn images" in result.err
    assert "mean-centred cosine to fp32: least " in result.out
    assert "\nint8         ok    mean-centred cosine " in result.out
    assert "verified" not in result.out
    assert {path.name for path in tmp_path.iterdir()} == {
        "table.json", "int8.xml", "int8.bin", "int8.report.json", "int8.report.md",
    }  # fmt: skip
    assert "calibration" in run("inspect", engine, "--json").out

    run("calibrate", *model, "--images", crops, "--count", 12, "-o", table)
    similarity = ("--min-similarity", "0.999", "--images", crops)
    result = run("build", *model, "--precision", "int8", "--calibration", table, *similarity, "-o", engine)
    assert result.code == 0, result.err
    assert "excluded from int8: " in result.out
    assert json.loads((tmp_path / "int8.report.json").read_text())["least_similarity"] >= 0.999

    elsewhere = tmp_path / "int8.foo"
    result = run("build", *model, "--precision", "int8", "--calibration", table, *similarity, "-o", elsewhere)
    assert (result.code, result.out) == (2, "")
    assert "int8.foo: it has the suffix .foo; expected" in result.err

    result = run("verify", engine, *model, "--images", crops)
    assert "expected in int8" in result.out
    assert "Kendall's tau of neighbours" in result.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--precision", "int8"),
            "precision int8: no calibration table; expected the network's. Calibrate first: fastrt calibrate.",
        ),
        (("--precision", "int8", "--calibration", "nowhere.json"), "nowhere.json: cannot be read"),
        (
            ("--min-similarity", "0.99"),
            "precision fp32: min_similarity, images or compare is given; expected them for int8 only",
        ),
    ],
)
def test_int8_asked_for_wrongly(run: Run, small: Small, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    result = run("build", small.checkpoint, "--config", small.config, *words, "-o", tmp_path / "engine.xml")
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--count", "500"), "images; expected 500. Give more images"),
        (("--images", "nowhere"), "nowhere: does not exist; expected an image, a folder or a pattern"),
        (("--count", "0"), "greater than or equal to 1"),
        (("--method", "magic"), "magic"),
    ],
)
def test_calibrate_asked_wrongly(
    run: Run, small: Small, crops: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    table = tmp_path / "table.json"
    result = run("calibrate", small.checkpoint, "--config", small.config, "--images", crops, *words, "-o", table)
    assert result.code == 2
    assert message in result.err
    assert not list(tmp_path.iterdir())


def test_int8_for_other_machines_is_built_without_a_comparison(
    run: Run, small: Small, crops: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings")
    model = (small.checkpoint, "--config", small.config)
    run("calibrate", *model, "--images", crops, "--count", 12, "-o", tmp_path / "table.json")
    words = ("--precision", "int8", "--calibration", tmp_path / "table.json")
    result = run("build", *model, *words, "-o", tmp_path / "engine.rtx")
    assert result.code == 0, result.err
    assert "int8 is not compared with fp32, because the engine cannot run on this host" in result.err
    assert {path.name for path in tmp_path.iterdir()} == {"table.json", "engine.rtx"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--report", "."), "exists; expected a new folder for the report"),
        (("--false-matches", "0"), "expected a fraction above 0 and below 1"),
    ],
)
def test_evaluate_refuses_before_it_embeds(run: Run, small: Small, words: tuple[str, ...], message: str) -> None:
    result = run("evaluate", small.engine, "--dataset", "synthetic", "--root", "nowhere", *words)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
