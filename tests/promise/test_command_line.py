"""The command line: one sentence for each error, JSON for machines, lines in logs, and a quiet end after Ctrl-C."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import PIL.Image
import pytest
import typer.main

import fastrt
from conftest import Run, Small
from fastrt.cli import main, progress
from fastrt.cli.app import app
from fastrt.datasets.synthetic import write_synthetic
from fastrt.demo import demonstrate
from fastrt.images.drawing import draw_person

VERBS = list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
ROOT = Path(__file__).parents[2]
USAGE_BOXES = re.compile(r"[│╭╰─]|Usage:|Traceback|pydantic|Input should|valid integer|Invalid value|\x1b|\r")


def start(*words: object, **environment: str) -> subprocess.Popen[str]:
    """Start the command in a process, and a session, of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "fastrt", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for i in range(12):
        PIL.Image.fromarray(draw_person(i // 2, i % 2, 60 + i, 40)[..., ::-1]).save(folder / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("people") / "set", train=1, test=3, distractors=3)


BAD_USAGE: tuple[tuple[Sequence[str], str], ...] = (
    (("nonsense",), "fastrt: unknown command nonsense; expected convert, inspect"),
    (("--nonsense",), "fastrt: unknown option --nonsense; expected one of its options"),
    (("inspect",), "fastrt inspect: no FILE; expected a path"),
    (("embed", "e.xml"), "fastrt embed: no PATH...; expected a word"),
    (("build", "m.pth"), "fastrt build: no --output; expected a path"),
    (("build", "m.pth", "-o"), "fastrt build: -o has no value; expected a path"),
    (("build", "m.pth", "--precision", "fp17", "-o", "x.xml"), "--precision is fp17; expected fp32, tf32, fp16, bf16"),
    (("build", "m.pth", "--precison", "fp16", "-o", "x.xml"), "fastrt build: unknown option --precison; expected one"),
    (
        ("build", "m.pth", "--min-similarity", "2", "-o", "x.xml"),
        "--min-similarity is 2; expected a number of at least 0",
    ),
    (
        ("build", "m.pth", "n.pth", "-o", "x.xml"),
        "fastrt build: unexpected arguments (n.pth); expected [OPTIONS]",
    ),
    (("embed", "e.xml", "i.png", "--batch", "0"), "--batch is 0; expected a whole number of at least 1"),
    (("embed", "e.xml", "i.png", "--batch=x"), "--batch is x; expected a whole number of at least 1"),
    (("embed", "e.xml", "i.png", "--mode", ""), "--mode: an empty value follows; expected one"),
    (("embed", "e.xml", ""), "e.xml: an empty value follows; expected one"),
    (("", "e.xml"), "fastrt: an empty value follows; expected one"),
    (("build", "m.pth", "--config=", "-o", "x.xml"), "--config=: an empty value follows; expected one"),
    (
        ("calibrate", "m.pth", "--images", ".", "-o", "t.json", "--count", "1.5"),
        "--count is 1.5; expected a whole number",
    ),
    (
        ("benchmark", "e.xml", "--seconds", "inf"),
        "--seconds is inf; expected a number of at least 0.1 and at most",
    ),
    (("inspect", "m.pth", "--json=1"), "fastrt inspect: --json has a value; expected none"),
)


@pytest.mark.parametrize(("words", "sentence"), BAD_USAGE, ids=[" ".join(words) for words, _ in BAD_USAGE])
def test_bad_usage_is_one_sentence(words: Sequence[str], sentence: str, run: Run) -> None:
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err
    assert done.err.count("\n") == 1
    assert done.err.startswith("error: ")
    assert not USAGE_BOXES.search(done.err)


@pytest.mark.parametrize(
    "words", [("inspect",), ("embed", ..., ROOT / "README.md"), ("verify", ..., "m.pth"), ("benchmark",)]
)
@pytest.mark.parametrize("name", ["nope", "nope.xml", "nope.bin", "nope.pth"])
def test_what_is_missing_is_said_first(name: str, words: Sequence[object], run: Run, tmp_path: Path) -> None:
    path = tmp_path / name
    done = run(*(path if word is ... else word for word in (words if ... in words else (*words, ...))))
    assert (done.code, done.out) == (2, "")
    assert re.search(rf"^error: {re.escape(str(path))}: (does not exist|no such file);", done.err, re.MULTILINE)


def test_a_folder_or_a_part_of_an_engine_is_not_called_damaged(run: Run, small: Small, tmp_path: Path) -> None:
    assert f"{tmp_path}: is a folder; expected a checkpoint or an engine" in run("inspect", tmp_path).err
    strange = tmp_path / "x.foo"
    strange.touch()
    assert "x.foo: suffix .foo; expected an engine" in run("inspect", strange).err
    assert "is a folder; expected an engine" in run("verify", tmp_path, small.checkpoint).err


def test_a_bad_key_of_the_config_is_one_sentence(run: Run, small: Small, tmp_path: Path) -> None:
    words = ("build", small.checkpoint, "--config", small.config, "-o", tmp_path / "x.xml")
    for pair in (("FOO", "1"), ("MODEL.BACKBONE.DEPTH", "17"), ("INPUT.SIZE_TEST", "[256]")):
        done = run(*words, "--set", *pair)
        assert (done.code, done.out) == (2, "")
        assert [line for line in done.err.splitlines() if line.startswith("error: ")]
        assert not USAGE_BOXES.search(done.err)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "fastrt inspect: out of memory; expected more free memory."),
        (OSError(28, "No space left on device", "/a/b"), "/a/b: no space left on device; expected a place to"),
        (PermissionError(13, "Permission denied"), "fastrt inspect: permission denied; expected a place to"),
        (ValueError("what"), "fastrt inspect: internal error: ValueError: what; expected none. Please report it"),
    ],
)
def test_what_the_host_lacks_is_no_internal_error(
    error: Exception, sentence: str, run: Run, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("fastrt.cli.inspect.load_weights", fail)
    done = run("inspect", small.checkpoint)
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err
    assert done.err.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has this device")
def test_a_full_stdout_is_an_error(small: Small) -> None:
    command = f"{sys.executable} -m fastrt inspect {small.checkpoint} --json > /dev/full"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, env=start_environment())
    assert done.returncode == 2
    assert done.stderr.startswith("error: fastrt inspect: no space left on device;")
    assert done.stderr.count("\n") == 1


def start_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.parametrize("delay", [0.2, 0.35, 0.6, 1.0, 1.5])
def test_ctrl_c_is_quiet_at_any_moment(delay: float, small: Small) -> None:
    process = start("benchmark", small.engine, "--batch", "1", "--seconds", "30")
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    if "Traceback" in err and "cli/app.py" not in err:
        pytest.skip("Python itself was not started yet")
    assert process.returncode == 130
    assert not USAGE_BOXES.search(err)


def test_ctrl_c_is_quiet_in_child_processes(small: Small) -> None:
    for delay in (2.0, 3.5):
        process = start("benchmark", small.engine, small.engine, "--batch", "1", "--seconds", "5")
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert not USAGE_BOXES.search(err)


def test_an_interrupt_that_is_swallowed_stops_at_the_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    script = (
        "import os, signal, fastrt.cli.app\n"
        "from fastrt.cli.progress import progress_of_phases\n"
        "def run(_):\n"
        "    with progress_of_phases() as advance:\n"
        "        try: os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(5)\n"
        "        except KeyboardInterrupt: pass\n"
        "        advance('building', 0, 1)\n"
        "        print('went on')\n"
        "fastrt.cli.app.run = run\n"
        "fastrt.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interrupt_that_an_import_hides_is_no_error(small: Small) -> None:
    script = (
        "import os, signal, sys, fastrt.cli.inspect\n"
        "def describe(*_):\n"
        "    try: os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(5)\n"
        "    except KeyboardInterrupt: raise ImportError('of a half imported module') from None\n"
        "fastrt.cli.inspect.describe = describe\n"
        f"sys.argv[1:] = ['inspect', {str(small.engine)!r}]\n"
        "fastrt.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_process_that_calls_main_stays_as_it_was(run: Run, small: Small) -> None:
    logger = logging.getLogger("fastrt")
    handlers, handler = logger.handlers, signal.getsignal(signal.SIGINT)
    before = (logger.propagate, logger.level, logger.disabled, sys.stdout.errors)
    for words in (("inspect", small.checkpoint), ("inspect", "nope"), ("nonsense",)):
        run(*words)
        assert logger.handlers is handlers
        assert (logger.propagate, logger.level, logger.disabled, sys.stdout.errors) == before
        assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("place", [0, 1, 99])
def test_with_strict_a_note_is_an_error_and_nothing_appears(
    place: int, run: Run, small: Small, images: Path, tmp_path: Path
) -> None:
    for words in (
        ["calibrate", small.checkpoint, "--config", small.config, "--images", images, "-o", tmp_path / "t.json"],
        ["build", small.checkpoint, "--guess", "--set", "INPUT.SIZE_TEST", "[64, 32]", "-o", tmp_path / "e.npz"],
    ):
        words.insert(place, "--strict")
        done = run(*words)
        assert (done.code, done.out) == (2, "")
        assert done.err.count("error: ") == 1
        assert "note: " not in done.err
        assert not list(tmp_path.iterdir())


def test_with_strict_what_has_no_note_is_done(run: Run, small: Small, tmp_path: Path) -> None:
    words = ("build", small.checkpoint, "--config", small.config, "-o", tmp_path / "e.npz")
    assert run("--strict", *words).code == 0


def test_strict_behind_two_dashes_is_a_name(run: Run) -> None:
    assert "--strict: does not exist" in run("inspect", "--", "--strict").err


def _results(verb: str, small: Small, images: Path, people: Path, out: Path) -> tuple[object, ...]:
    """The words of a command that prints a result."""
    model = (small.checkpoint, "--config", small.config)
    words: dict[str, tuple[object, ...]] = {
        "convert": (small.checkpoint, out / "m.safetensors"),
        "inspect": (small.engine,),
        "calibrate": (*model, "--images", images, "--count", "12", "-o", out / "t.json"),
        "build": (*model, "-o", out / "e.npz"),
        "embed": (small.engine, images, "-o", out / "e.npy"),
        "verify": (small.engine, *model),
        "match": (images / "00.png", images, "--engine", small.engine),
        "evaluate": (small.engine, "--dataset", "synthetic", "--root", people),
        "benchmark": (small.engine, "--batch", "1", "--seconds", "0.1"),
        "demo": ("-o", out / "demo"),
    }
    return (verb, *words.get(verb, ()), "--json")


@pytest.mark.parametrize("verb", VERBS)
def test_json_is_one_object_with_the_documented_names(
    verb: str, run: Run, small: Small, images: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_demo = {"PEOPLE": 3, "DISTRACTORS": 2, "CALIBRATED": 4, "CALIBRATION_PEOPLE": 1, "PRECISIONS": ("fp32",)}
    for name, value in {**small_demo, "verify": lambda *_: fastrt.Report(())}.items():
        monkeypatch.setattr(demonstrate, name, value)
    monkeypatch.setattr(demonstrate, "compare_speed", lambda sessions, *_: {name: {1: 1.0} for name in sessions})
    done = run(*_results(verb, small, images, people, tmp_path))
    assert done.code in (0, 1), done.err
    found = json.loads(done.out)
    assert isinstance(found, dict)
    page = (ROOT / "docs" / "reference" / "json.md").read_text("utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith(f"| `{verb}`")]
    documented = {name for _, names in rows for name in re.findall(r"`([^`]+)`", names)}
    allowed = set(fastrt.EngineInfo.model_fields) if verb == "inspect" else set()
    assert documented
    assert set(found) <= documented | allowed
    optional = {"rank-5", "rank-10"} | {name for name in documented if name.startswith("TPR")}
    required = documented - optional if verb != "inspect" else {"engine", "target", "precision"}
    assert required <= set(found)


def test_json_of_a_checkpoint_and_of_int8_has_the_documented_names(
    run: Run, small: Small, images: Path, tmp_path: Path
) -> None:
    found = json.loads(run("inspect", small.checkpoint, "--json").out)
    assert {"checkpoint", "arrays", "numbers", "dtypes", "spec", "notes", "checkpoint_version"} <= set(found)
    model = (small.checkpoint, "--config", small.config)
    run("calibrate", *model, "--images", images, "--count", "500", "-o", tmp_path / "t.json")
    words = ("--precision", "int8", "--calibration", tmp_path / "t.json", "-o", tmp_path / "e.xml")
    done = run("build", *model, *words, "--json")
    found = json.loads(done.out)
    assert {"values", "int8"} <= {check["name"] for check in found["checks"]}
    assert found["int8"]["least_similarity"] <= 1
    assert all(Path(path).exists() for path in found["reports"])


@pytest.mark.parametrize(
    "words",
    [
        ("calibrate", "m.pth", "--images", ".", "-o", "t.txt"),
        ("calibrate", "m.pth", "--images", ".", "-o", "t"),
        ("benchmark", "e.xml", "--plot", "p.txt"),
    ],
)
def test_an_output_of_another_suffix_is_refused_before_the_work(words: Sequence[str], run: Run) -> None:
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert re.search(r"error: \w+(\.txt)?: (suffix \.txt|no suffix); expected \.", done.err)


def test_few_calibration_images_are_used_with_a_note_and_none_are_refused(
    run: Run, small: Small, images: Path, tmp_path: Path
) -> None:
    words = ("calibrate", small.checkpoint, "--config", small.config, "-o", tmp_path / "t.json", "--images")
    done = run(*words, images)
    assert done.code == 0
    assert "note: calibration: 12 images; expected 512. Of 12 files 0 cannot be read and 0 are duplicates." in done.err
    assert len(fastrt.read_table(tmp_path / "t.json").images) == 12
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "0.png").write_bytes(b"bad")
    done = run(*words, tmp_path / "bad")
    assert done.code == 2
    assert "calibration: 0 images; expected 512" in done.err


def test_a_log_has_a_line_for_each_stage_and_more_while_it_lasts(
    run: Run, small: Small, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = run("evaluate", small.engine, "--dataset", "synthetic", "--root", people)
    stages = [line for line in done.err.splitlines() if not line.startswith("note: ")]
    assert [stage.partition(":")[0] for stage in stages] == ["embedding", "ranking"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", done.err + done.out)

    def wait(*_: object) -> fastrt.Report:
        time.sleep(0.5)
        return fastrt.Report(())

    monkeypatch.setattr(progress, "PAUSE_S", 0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastrt.cli.verify.verify", wait)
        done = run("verify", small.engine, small.checkpoint, "--config", small.config, "--json")
    assert done.err.count("comparing with the reference") > 3


def test_progress_counts_what_is_done(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PAUSE_S", 0.02)
    with progress.progress_of_phases() as advance:
        advance("Building", 0, 3)
        advance("Building", 2, 3)
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "building: 0 of 3"
    assert lines[-1] == "building: 2 of 3"


@pytest.mark.parametrize("words", [(), ("a",), ("a", "b", "c", "d", "e")])
def test_an_example_without_its_arguments_shows_its_usage(words: Sequence[str]) -> None:
    for script in sorted((ROOT / "examples").glob("*/*.py")):
        done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("usage: ")
        assert done.stderr.count("\n") == 1


def test_the_tables_of_the_readme_have_one_layout() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    rules = [i for i, line in enumerate(lines) if re.fullmatch(r"\|[ :|-]+\|", line)]
    assert rules
    for i in rules:
        assert re.fullmatch(r"\|(---\|)+", lines[i])
        assert all(cell.strip() for cell in lines[i - 1].strip("|").split("|"))


def test_main_raises_what_debug_shows() -> None:
    with pytest.raises(fastrt.CheckpointError):
        main(["inspect", "nope", "--debug"])
    process = start("inspect", "nope", "--debug")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Traceback" in err


OUTPUTS = {
    "embed": ("embed", "e.xml", "images", "-o"),
    "build": ("build", "m.pth", "--config", "c.yml", "-o"),
    "calibrate": ("calibrate", "m.pth", "--config", "c.yml", "--images", "images", "-o"),
    "convert": ("convert", "m.pth"),
    "match": ("match", "images", "images", "--engine", "e.xml", "--html"),
    "evaluate": ("evaluate", "e.xml", "--dataset", "market1501", "--root", "people", "--report"),
    "benchmark": ("benchmark", "e.xml", "--plot"),
    "demo": ("demo", "-o"),
}


@pytest.mark.parametrize("output", [".", "./", "/", "//", "..", "images", "images/", "images/.", "d.npy/", ""])
@pytest.mark.parametrize("verb", OUTPUTS)
def test_a_folder_as_output_is_refused_in_one_sentence(
    verb: str,
    output: str,
    run: Run,
    small: Small,
    images: Path,
    people: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, source in (
        ("e.xml", small.engine),
        ("e.bin", small.engine.with_suffix(".bin")),
        ("m.pth", small.checkpoint),
        ("c.yml", small.config),
        ("images", images),
        ("people", people),
    ):
        Path(name).symlink_to(source)
    Path("d.npy").mkdir()
    Path("d.npy/mine").touch()
    before = sorted(tmp_path.iterdir()), sorted(images.iterdir())
    done = run(*OUTPUTS[verb], output)
    assert (done.code, done.out) == (2, "")
    (line,) = (line for line in done.err.splitlines() if line.startswith("error: "))
    assert "internal error" not in line
    assert "; expected " in line
    assert (sorted(tmp_path.iterdir()), sorted(images.iterdir())) == before


def test_the_reference_names_the_options_of_every_command() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    for parameter in typer.main.get_command(app).params:
        if parameter.name != "help":
            assert f"\n| `{parameter.opts[0]}` |" in page
