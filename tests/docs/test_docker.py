"""What can be known of the Dockerfiles without Docker."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docker").glob("Dockerfile.*"))
NEEDED = {"pyproject.toml", "README.md", "LICENSE", "NOTICE", "src"}
"""What a wheel of fastrt is made of: hatchling refuses to build without any one of them."""


@dataclass(frozen=True)
class Instruction:
    stage: int  # 0 before the first FROM
    name: str
    text: str

    def words(self) -> list[str]:
        return shlex.split(self.text)


def _parse(path: Path) -> list[Instruction]:
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    stage, result = 0, []
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, text = line.strip().partition(" ")
            stage += name == "FROM"
            result.append(Instruction(stage, name, text.strip()))
    return result


def _last_stage(path: Path) -> dict[str, str]:
    """The last of each instruction in the stage that becomes the image."""
    instructions = _parse(path)
    return {step.name: step.text for step in instructions if step.stage == instructions[-1].stage}


def _sources(path: Path) -> list[str]:
    """What is copied out of the repository."""
    copies = [step.words() for step in _parse(path) if step.name in ("COPY", "ADD")]
    return [source for words in copies if not words[0].startswith("--from") for source in words[:-1]]


def _is_sent(source: str) -> bool:
    """Whether .dockerignore lets a file or folder through to Docker: the last line that matches decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#") and fnmatch.fnmatch(source, pattern.removeprefix("!")):
            sent = pattern.startswith("!")
    return sent


def test_there_is_one_for_cpus_and_one_for_gpus() -> None:
    assert [path.name for path in FILES] == ["Dockerfile.cpu", "Dockerfile.tensorrt"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
class TestDockerfile:
    def test_every_instruction_is_one(self, path: Path) -> None:
        known = {"ARG", "FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "ENTRYPOINT", "CMD"}
        assert {step.name for step in _parse(path)} <= known

    def test_it_is_the_command(self, path: Path) -> None:
        image = _last_stage(path)
        assert json.loads(image["ENTRYPOINT"]) == ["fastrt"]
        assert json.loads(image["CMD"]) == ["--help"]

    def test_it_does_not_run_as_root(self, path: Path) -> None:
        instructions = [step for step in _parse(path) if step.stage == _parse(path)[-1].stage]
        user = _last_stage(path)["USER"]
        assert user not in ("root", "0")
        made = next(i for i, step in enumerate(instructions) if re.search(rf"useradd .*\b{user}\b", step.text))
        became = next(i for i, step in enumerate(instructions) if step.name == "USER")
        assert made < became
        assert all(step.name != "RUN" for step in instructions[became:])

    def test_what_it_copies_is_there_and_is_sent_and_is_all_that_a_wheel_needs(self, path: Path) -> None:
        sources = _sources(path)
        for source in sources:
            assert (ROOT / source).exists(), source
            assert _is_sent(source), source
        assert set(sources) == NEEDED

    def test_stages_that_are_copied_from_are_there(self, path: Path) -> None:
        names = {step.words()[-1] for step in _parse(path) if step.name == "FROM" and " AS " in step.text}
        taken = set(re.findall(r"--from=(\S+)", path.read_text("utf-8")))
        assert taken
        assert taken <= names

    def test_the_base_is_an_argument_and_the_same_in_every_stage(self, path: Path) -> None:
        before = [step.words()[0].partition("=")[0] for step in _parse(path) if step.stage == 0]
        bases = {step.words()[0] for step in _parse(path) if step.name == "FROM"}
        assert len(before) == len(bases) == 1
        assert f"${{{before[0]}}}" in bases.pop()

    def test_the_readme_builds_it_and_names_its_base(self, path: Path) -> None:
        readme = (path.parent / "README.md").read_text("utf-8")
        argument, base = (
            next(step.words()[0] for step in _parse(path) if step.name == name) for name in ("ARG", "FROM")
        )
        name, _, value = argument.partition("=")
        assert f"-f docker/{path.name} " in readme
        assert f"`{base.replace(f'${{{name}}}', value)}`" in readme


def test_nothing_but_what_is_copied_is_sent() -> None:
    names = {path.name for path in ROOT.iterdir()}
    assert {name for name in names if _is_sent(name)} == NEEDED
    assert not _is_sent("src/fastrt/__pycache__")
