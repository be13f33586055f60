"""Settings that a checkpoint's names do not show are asked for, and a spec is never lost without a note."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import fastrt
from conftest import Run, Small
from fastrt.testing.untrained import draw_weights

DISTILL = fastrt.ModelSpec(backbone="build_resnet_backbone_distill", depth="18x", last_stride=2, image_size=(64, 32))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .safetensors whose spec is not what its names suggest."""
    path = tmp_path_factory.mktemp("distill") / "model.safetensors"
    fastrt.save_weights(draw_weights(DISTILL), path, spec=DISTILL)
    return path


def fingerprint(path: Path) -> str:
    return fastrt.load_model(path).network().fingerprint()


# A8: the spec goes with the weights


@pytest.mark.parametrize("suffix", [".pth", ".wts"])
def test_convert_writes_the_spec_beside_and_build_finds_it(
    suffix: str, checkpoint: Path, run: Run, tmp_path: Path
) -> None:
    out = tmp_path / f"m{suffix}"
    converted = run("convert", checkpoint, out)
    assert converted.code == 0
    assert (
        f"note: {suffix} cannot hold the spec of the model; it is written beside, to {out.with_suffix('.yml')}"
        in converted.err
    )
    built = run("build", out, "-o", tmp_path / "e.npz")
    assert built.code == 0, built.err
    assert "note: without a config, the spec in m.yml is used: resnet 18 distill" in built.err
    assert fastrt.describe(tmp_path / "e.npz").fingerprint == fingerprint(checkpoint)
    assert fastrt.load_spec(tmp_path / "m.yml") == DISTILL  # --config reads it too


def test_the_spec_returns_into_a_safetensors(checkpoint: Path, run: Run, tmp_path: Path) -> None:
    for source, out in ((checkpoint, "a.wts"), (tmp_path / "a.wts", "b.pth"), (tmp_path / "b.pth", "c.safetensors")):
        assert run("convert", source, tmp_path / out).code == 0
    assert fingerprint(tmp_path / "c.safetensors") == fingerprint(checkpoint)
    assert not (tmp_path / "c.yml").exists()


def test_python_writes_the_spec_beside_too(checkpoint: Path, tmp_path: Path) -> None:
    fastrt.save_weights(fastrt.load_weights(checkpoint), tmp_path / "m.pth")
    assert fastrt.load_model(tmp_path / "m.pth").spec == DISTILL


@pytest.mark.parametrize("content", ["MODEL: {BACKBONE: {DEPTH: 50x}}\n", "", "# mine\n"])
def test_a_yml_of_the_user_is_never_overwritten(content: str, checkpoint: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "m.yml").write_text(content)
    done = run("convert", checkpoint, tmp_path / "m.pth")
    assert done.code == 2
    assert "m.yml: exists, and differs from the spec" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["m.yml"]
    assert (tmp_path / "m.yml").read_text() == content


def test_convert_may_be_repeated(checkpoint: Path, run: Run, tmp_path: Path) -> None:
    assert run("convert", checkpoint, tmp_path / "m.pth").code == 0
    assert run("convert", checkpoint, tmp_path / "m.pth").code == 0
    weights = fastrt.load_weights(checkpoint)
    trained_on = {**weights, "backbone.bn1.bias": weights["backbone.bn1.bias"] + 1}
    fastrt.save_weights(trained_on, tmp_path / "m.pth", spec=DISTILL)  # the same model, with newer weights
    assert fastrt.load_model(tmp_path / "m.pth").spec == DISTILL


def test_an_edited_spec_is_not_overwritten(checkpoint: Path, run: Run, tmp_path: Path) -> None:
    assert run("convert", checkpoint, tmp_path / "m.pth").code == 0
    edited = (tmp_path / "m.yml").read_text().replace("[64, 32]", "[96, 32]")
    (tmp_path / "m.yml").write_text(edited)
    assert fastrt.load_model(tmp_path / "m.pth").spec.image_size == (96, 32)
    assert run("convert", checkpoint, tmp_path / "m.pth").code == 2
    assert (tmp_path / "m.yml").read_text() == edited


def test_the_spec_of_other_weights_is_refused(checkpoint: Path, run: Run, small: Small, tmp_path: Path) -> None:
    assert run("convert", checkpoint, tmp_path / "m.pth").code == 0
    fastrt.save_weights(small.arrays, tmp_path / "m.pth")
    done = run("build", tmp_path / "m.pth", "-o", tmp_path / "e.npz")
    assert done.code == 2
    assert "m.yml: spec of other weights than m.pth" in done.err
    assert run("build", tmp_path / "m.pth", "--config", small.config, "-o", tmp_path / "e.npz").code == 0


def test_a_convert_killed_between_its_files_is_completed(
    checkpoint: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fastrt.save_weights({"old": np.ones(1)}, tmp_path / "m.pth")
    moved = Path.replace

    def die(self: Path, target: Path) -> Path:
        if target == tmp_path / "m.pth":
            raise KeyboardInterrupt
        return moved(self, target)

    monkeypatch.setattr(Path, "replace", die)
    assert run("convert", checkpoint, tmp_path / "m.pth").code == 130
    monkeypatch.undo()
    assert fastrt.load_model(tmp_path / "m.pth").spec == DISTILL
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.pth", "m.yml"]


def test_a_failed_convert_leaves_no_spec(checkpoint: Path, tmp_path: Path) -> None:
    arrays = dict(fastrt.load_weights(checkpoint)) | {"a b": np.ones(1)}
    with pytest.raises(fastrt.OutputError, match="without spaces"):
        fastrt.save_weights(arrays, tmp_path / "m.wts", spec=DISTILL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "spec",
    [
        fastrt.ModelSpec(
            depth="50x", with_ibn=True, with_nl=True, maxpool="pad1", embedding_dim=256, with_bnneck=False
        ),
        fastrt.ModelSpec(depth="34x", with_se=True, basic_block_se="ignored", pool_layer="AdaptiveAvgMaxPool"),
        fastrt.ModelSpec(pixel_mean=(0.1, 1e-7, 127.5), pixel_std=(1, 1e30, 3), image_size=(8192, 1)),
        *map(fastrt.load_spec, fastrt.preset_names()),
        *(fastrt.load_spec({"MODEL.HEADS.NAME": name}) for name in ("BNneckHead", "ReductionHead", "LinearHead")),
    ],
)
def test_every_spec_is_read_as_it_was_written(spec: fastrt.ModelSpec, tmp_path: Path) -> None:
    fastrt.save_weights({"a": np.ones(1, np.float32)}, tmp_path / "m.pth", spec=spec)
    assert fastrt.load_spec(tmp_path / "m.yml") == spec
    assert fastrt.load_model(tmp_path / "m.pth").spec == spec


def test_wts_says_what_it_cannot_hold(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fastrt.save_weights({"a": np.ones(1, np.float16)}, tmp_path / "m.wts")
    assert "arrays of float16 become float32" in caplog.text
    with pytest.raises(fastrt.OutputError, match="a has values beyond float32"):
        fastrt.save_weights({"a": np.array([1e300])}, tmp_path / "n.wts")
    assert not (tmp_path / "n.wts").exists()


# Item 4: what names cannot tell is asked for


@pytest.fixture
def plain(small: Small, tmp_path: Path) -> Path:
    """A checkpoint without a spec, in a folder with a blank."""
    (tmp_path / "my models").mkdir()
    path = tmp_path / "my models" / "it's.pth"
    path.write_bytes(small.checkpoint.read_bytes())
    return path


@pytest.mark.parametrize("verb", ["build", "calibrate", "verify"])
def test_without_a_spec_the_command_with_the_guess_is_printed(
    verb: str, plain: Path, small: Small, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "0.png").write_bytes(b"")
    words: dict[str, list[object]] = {
        "build": ["build", plain, "-o", tmp_path / "e.npz"],
        "calibrate": ["calibrate", plain, "--images", tmp_path / "0.png", "-o", tmp_path / "t.json"],
        "verify": ["verify", small.engine, plain],
    }
    done = run(*words[verb])
    assert (done.code, done.out) == (2, "")
    command = shlex.split(done.err.splitlines()[-1])
    assert command[: len(words[verb]) + 1] == ["fastrt", *map(str, words[verb])]
    assert {"INPUT.SIZE_TEST", "MODEL.BACKBONE.LAST_STRIDE", "MODEL.BACKBONE.NAME"} <= set(command)
    assert not (tmp_path / "e.npz").exists()


def test_the_printed_command_builds_what_guess_builds(plain: Path, run: Run, tmp_path: Path) -> None:
    asked = run("build", plain, "-o", tmp_path / "asked.npz")
    assert run(*shlex.split(asked.err.splitlines()[-1])[1:]).code == 0
    guessed = run("build", plain, "-o", tmp_path / "guessed.npz", "--guess")
    assert guessed.code == 0
    assert "note: names do not show these settings, so FastReID's usual ones are assumed" in guessed.err
    assert fastrt.describe(tmp_path / "asked.npz").spec == fastrt.describe(tmp_path / "guessed.npz").spec


def test_only_what_is_not_given_is_asked_for(plain: Path, run: Run, tmp_path: Path) -> None:
    given = (
        "--set",
        "image_size",
        "[64, 32]",
        "--set",
        "MODEL.BACKBONE.LAST_STRIDE=1",
        "--set",
        "pixel_mean",
        "[1,2,3]",
    )
    done = run("build", plain, "-o", tmp_path / "e.npz", *given)
    assert done.code == 2
    command = shlex.split(done.err.splitlines()[-1])
    added = command[command.index("[1,2,3]") + 1 :]
    assert added[1::3] == ["MODEL.BACKBONE.NAME", "MODEL.PIXEL_STD"]
    assert run(*command[1:]).code == 0
    assert fastrt.describe(tmp_path / "e.npz").image_size == (64, 32)


def test_python_asks_too(plain: Path) -> None:
    with pytest.raises(fastrt.SpecNeededError, match="expected one, as names show resnet 18 ibn, but not"):
        fastrt.load_model(plain)
    model = fastrt.load_model(plain, guess=True)
    assert model.spec.image_size == (384, 128)
    assert len(model.notes) == 2


def test_a_config_of_the_user_beside_is_proposed_not_assumed(
    plain: Path, small: Small, run: Run, tmp_path: Path
) -> None:
    plain.with_suffix(".yml").write_text(small.config.read_text())
    done = run("build", plain, "-o", tmp_path / "e.npz")
    assert done.code == 2
    assert run(*shlex.split(done.err.splitlines()[-1])[1:]).code == 0
    assert fastrt.describe(tmp_path / "e.npz").image_size == (64, 32)


def test_inspect_shows_the_guess(plain: Path, run: Run) -> None:
    done = run("inspect", plain)
    assert done.code == 0
    assert "384x128" in done.out
    assert "names do not show these settings" in " ".join(done.out.split())


# Keys of a config are read, known to be without effect, or named


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("INPUT.TEST_SIZE", "INPUT.SIZE_TEST"),
        ("INPUT.size_test", "INPUT.SIZE_TEST"),
        ("input.SIZE_TEST", "INPUT.SIZE_TEST"),
        ("INPUT.SIZE", "INPUT.SIZE_TEST"),
        ("INPUT.SIZE_TEST.HEIGHT", "INPUT.SIZE_TEST"),
        ("INPUT.PIXEL_MEAN", "MODEL.PIXEL_MEAN"),
        ("MODEL.pixel_mean", "MODEL.PIXEL_MEAN"),
        ("MODEL.MEAN", "MODEL.PIXEL_MEAN"),
        ("MODEL.SIZE_TEST", "INPUT.SIZE_TEST"),
        ("MODEL.LAST_STRIDE", "MODEL.BACKBONE.LAST_STRIDE"),
        ("MODEL.DEPTH", "MODEL.BACKBONE.DEPTH"),
        ("MODEL.HEADS.LAST_STRIDE", "MODEL.BACKBONE.LAST_STRIDE"),
        ("MODEL.POOL_LAYER", "MODEL.HEADS.POOL_LAYER"),
        ("MODEL.HEADS.POOL", "MODEL.HEADS.POOL_LAYER"),
        ("IMAGE_SIZE", "image_size"),
        ("Backbone.depth", "backbone.depth"),
    ],
)
def test_a_key_that_resembles_a_read_one_is_refused(key: str, meant: str) -> None:
    nested: dict[str, object] = {}
    inner = nested
    *groups, leaf = key.split(".")
    for group in groups:
        inner[group] = inner = {}
    inner[leaf] = 2
    for source, overrides in ((nested, []), (None, [key, 2])):
        with pytest.raises(fastrt.SpecError) as caught:
            fastrt.load_spec(source, overrides)
        assert str(caught.value) == f"{key}: unknown key of a config; expected {meant}. Correct or remove it."


@pytest.mark.parametrize(
    "key",
    ["INPUT.SIZE_VAL", "INPUT.MOSAIC", "MODEL.HEADS.PARTS", "MODEL.PCB.EMBEDDING_DIM", "MODEL.NECKS.NAME", "NAIC"],
)
def test_a_key_of_a_project_is_logged_and_refused_as_override(key: str, caplog: pytest.LogCaptureFixture) -> None:
    assert fastrt.load_spec({key: 3}) == fastrt.load_spec()
    assert caplog.messages == [f"{key}: not a key of FastReID's config; it is ignored"]
    with pytest.raises(fastrt.SpecError, match=f"^{key}: unknown key"):
        fastrt.load_spec(None, [key, 3])


@pytest.mark.parametrize("key", ["SOLVER.BASE_LR", "INPUT.SIZE_TRAIN", "MODEL.LOSSES.NAME", "TEST.RERANK.K1", "SEED"])
def test_keys_of_fastreid_without_effect_are_accepted(key: str, caplog: pytest.LogCaptureFixture) -> None:
    assert fastrt.load_spec({key: 3}) == fastrt.load_spec(None, [key, 3]) == fastrt.load_spec()
    assert not caplog.messages


def test_configs_that_fastreid_wrote_load_without_a_note(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    for path in sorted((Path(__file__).parents[1] / "golden").rglob("era*.json")):
        (tmp_path / "c.yml").write_text(json.loads(path.read_text())["yaml"])
        fastrt.load_spec(tmp_path / "c.yml")
    for name in fastrt.preset_names():
        fastrt.load_spec(name)
    assert not caplog.messages


def test_the_last_override_counts_whatever_its_spelling() -> None:
    sizes = ["INPUT.SIZE_TEST", [384, 128], "image_size", [128, 64]]
    assert fastrt.load_spec(None, sizes).image_size == (128, 64)
    assert fastrt.load_spec(None, [*sizes, "INPUT.SIZE_TEST", "[320,128]"]).image_size == (320, 128)
    assert fastrt.load_spec({"image_size": [1, 1], "INPUT.SIZE_TEST": [2, 2]}, ["image_size", [96, 32]]).image_size == (
        96,
        32,
    )
    names = ["MODEL.BACKBONE.NAME", "build_resnet_backbone", "backbone", "build_resnet_backbone_distill"]
    assert fastrt.load_spec(None, [*names, *names[:2]]).backbone.name == "build_resnet_backbone"
