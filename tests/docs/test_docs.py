"""What README and docs show runs, and their figures are those of the result files."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest
from benchmarks.tables import PLOTS, fill, fingerprint, pages, plot_of
from scripts.cli_reference import PAGE, render

import fastrt
from fastrt.cli import main
from fastrt.demo import demonstrate
from fastrt.images.drawing import draw_person
from fastrt.models.backbones.table import BACKBONES
from fastrt.testing.untrained import draw_weights
from fastrt.timing import interleaved

LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"```(python|console)\n(.*?)```", re.DOTALL)
BLOCKS = {page: BLOCK.findall(page.read_text("utf-8")) for page in pages()}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("workplace")
    spec = fastrt.load_spec("sbs_R50-ibn", ["INPUT.SIZE_TEST", [64, 32]])
    arrays = draw_weights(spec)
    fastrt.save_weights(arrays, folder / "model_best.pth")
    fastrt.build(fastrt.build_network(spec, arrays), folder / "r50.xml")
    osnet = {"torchreid.model": "osnet_x0_25"}
    fastrt.save_weights(draw_weights(fastrt.load_spec(osnet)), folder / "osnet_x0_25_msmt17.pth")
    (folder / "sbs_R50-ibn.yml").write_text(
        "MODEL: {BACKBONE: {DEPTH: 50x, WITH_IBN: True, WITH_NL: True}, HEADS: {POOL_LAYER: GeneralizedMeanPoolingP}}\n"
        "INPUT: {SIZE_TEST: [64, 32]}\n"
    )
    (folder / "crops").mkdir()
    for i in range(2):
        PIL.Image.fromarray(draw_person(i, 0)[..., ::-1]).save(folder / "crops" / f"{i}.jpg")
    (folder / "archive").mkdir()
    for i in range(64):
        PIL.Image.fromarray(draw_person(i, 0, 64, 32)[..., ::-1]).save(folder / "archive" / f"{i}.png")
    PIL.Image.fromarray(draw_person(0, 1, 240, 320)[..., ::-1]).save(folder / "frame.jpg")
    return folder


@pytest.fixture(autouse=True)
def _backbones() -> Iterator[None]:
    """Take away the rows that a page adds to the table."""
    rows = dict(BACKBONES)
    yield
    BACKBONES.clear()
    BACKBONES.update(rows)


@pytest.mark.parametrize("page", [page for page in BLOCKS if BLOCKS[page]], ids=lambda page: page.name)
def test_what_a_page_shows_runs(page: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its order, as what is shown later goes on from what was shown before; `tests/cli` tries more of the demo."""
    monkeypatch.chdir(workplace)
    for name, value in (("PEOPLE", 8), ("DISTRACTORS", 20), ("CALIBRATED", 16), ("PRECISIONS", ("fp32", "int8"))):
        monkeypatch.setattr(demonstrate, name, value)
    monkeypatch.setattr(interleaved, "ROUNDS", 3)
    for language, text in BLOCKS[page]:
        if language == "python":
            exec(compile(text, page.name, "exec", dont_inherit=True), {})
        else:
            for line in text.splitlines():
                run_line(line)


def run_line(line: str) -> None:
    """What is typed after a prompt, if it is a command of fastrt."""
    command = shlex.split(line.removeprefix("$ "), comments=True)
    if command[:2] == ["fastrt", "calibrate"]:
        command += ["--count", "48"]  # of the 64 images that there are
    if command[:1] == ["fastrt"]:
        with pytest.raises(SystemExit) as caught:
            main(command[1:])
        assert caught.value.code in (None, 0), line


def test_the_pages_show_something() -> None:
    assert sum(map(len, BLOCKS.values())) >= 2


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_figures_are_those_of_the_result_files(page: Path) -> None:
    text = page.read_text("utf-8")
    assert fill(text) == text, "run make tables"


@pytest.mark.parametrize("name", PLOTS)
def test_plots_are_of_todays_results(name: str) -> None:
    assert fingerprint(name) in plot_of(name).read_text("utf-8"), "run make tables"


def test_every_link_leads_somewhere() -> None:
    for page in [*pages(), Path(__file__).parents[2] / "CONTRIBUTING.md"]:
        for target, _, anchor in (link.partition("#") for link in LINK.findall(page.read_text("utf-8"))):
            if "://" not in target:
                path = page.parent / target if target else page
                assert path.exists(), f"{page.name}: {target}"
                assert not anchor or anchor in list_anchors(path), f"{page.name}: {target}#{anchor}"


def list_anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_readme() -> None:
    readme = Path(__file__).parents[2] / "README.md"
    seen, waiting = {readme}, [readme]
    while waiting:
        page = waiting.pop()
        if page.is_dir():  # a link to a folder shows its pages
            found = set(page.glob("*.md"))
        else:
            links = (link.partition("#")[0] for link in LINK.findall(page.read_text("utf-8")) if "://" not in link)
            linked = {(page.parent / link).resolve() for link in links}
            found = {path for path in linked if path.is_dir() or path.suffix == ".md"}
        waiting += found - seen
        seen |= found
    assert set(pages()) <= seen


def test_the_command_reference_is_that_of_the_command_line() -> None:
    assert render() == PAGE.read_text("utf-8"), "run make tables"


def test_the_example_ranks_the_person_first(workplace: Path) -> None:
    script = Path(__file__).parents[2] / "examples" / "01_who_is_this" / "who_is_this.py"
    words = [workplace / name for name in ("model_best.pth", "sbs_R50-ibn.yml", "crops/1.jpg", "crops")]
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == f"1.000  {workplace / 'crops' / '1.jpg'}"
