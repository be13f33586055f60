"""Reads YAML files of FastReID, with their ``_BASE_``. No tag of a file makes an object other than plain values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from fastrt.errors import SpecError

MAX_BYTES = 1 << 16
"""Maximum size of a config; FastReID's own dumps have 5 kB. PyYAML reads about 100 kB a second."""

MAX_WORD = 1000
"""Maximum length of a number or tuple. Python refuses to print integers of over 4300 digits."""

MAX_BASES = 16

MAX_VALUES = 100_000
"""Maximum number of values of a config, with each alias (``*name``) counted as often as it stands there."""

WRONG_VALUE = (RecursionError, ValueError, ArithmeticError, TypeError, LookupError, AttributeError)
"""Errors of PyYAML's constructors for a value that does not fit its tag."""

PYTHON_TAG = "tag:yaml.org,2002:python/"
PYTHON_TAGS = {
    **dict.fromkeys(("tuple", "list"), "seq"),
    **dict.fromkeys(("str", "unicode"), "str"),
    **dict.fromkeys(("int", "long"), "int"),
    "bool": "bool",
    "float": "float",
    "none": "null",
    "dict": "map",
}
"""Tags of plain values that PyYAML writes in dumps of Python objects, and YAML's own tags."""


class _Loader(yaml.SafeLoader):
    """YAML's plain values, with a bound on what aliases expand to."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        node: yaml.Node | None = super().compose_node(parent, index)
        if node is not None and node.tag.startswith(PYTHON_TAG):
            name = node.tag.removeprefix(PYTHON_TAG)
            node.tag = f"tag:yaml.org,2002:{PYTHON_TAGS[name]}" if name in PYTHON_TAGS else node.tag
        return node

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MAX_WORD:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: a number of {len(node.value)} digits")
        return super().construct_yaml_int(node)

    def refuse_tag(self, node: yaml.Node) -> object:
        raise yaml.YAMLError(f"line {node.start_mark.line + 1}: the tag {node.tag} is not a plain value")


_Loader.add_constructor(None, _Loader.refuse_tag)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _count(node: yaml.Node, counts: dict[int, int]) -> int:
    """Count the values of a node; nested aliases multiply."""
    key = id(node)
    if key not in counts:
        counts[key] = MAX_VALUES  # if an alias leads back here
        inner = node.value if isinstance(node, yaml.CollectionNode) else ()
        counts[key] = 1 + sum(_count(part, counts) for entry in inner for part in _parts(entry))
    if counts[key] > MAX_VALUES:
        raise yaml.YAMLError(f"its aliases (*name) make over {MAX_VALUES} values")
    return counts[key]


def _parts(entry: yaml.Node | tuple[yaml.Node, yaml.Node]) -> tuple[yaml.Node, ...]:
    return entry if isinstance(entry, tuple) else (entry,)


def read_yaml(path: Path, depth: int = 0) -> dict[str, Any]:
    """Read the keys of a YAML file, over those of its ``_BASE_``.

    Raises:
        SpecError: the file or its base does not exist, is not YAML in UTF-8, or has values that are not plain.
    """
    if depth > MAX_BASES:
        raise SpecError(
            f"{path}: _BASE_ leads to over {MAX_BASES} files; expected fewer. Check that no file is its own base."
        )
    config = parse_yaml(_read_text(path), str(path))
    base = config.pop("_BASE_", None)
    if base is None:
        return config
    if not isinstance(base, str) or "://" in base:
        raise SpecError(f"{path}: _BASE_ is {base!r}; expected the path of a file. Correct it.")
    base_path = path.parent / os.path.expanduser(base)  # noqa: PTH111 - Path raises for an unknown user
    if not os.path.isfile(base_path):  # noqa: PTH113 - Path raises for a name that is too long
        raise SpecError(
            f"{path}: _BASE_ {base} does not exist; expected the file. Copy it too, or use the config that FastReID"
            " wrote during training."
        )
    return _merge(config, read_yaml(base_path, depth + 1), str(path))


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Parse the keys of YAML text.

    Raises:
        SpecError: it is not YAML, has values that are not plain, or no keys; the message begins with ``where``.
    """
    try:
        config = yaml.load(text, _Loader)  # noqa: S506 - a restricted SafeLoader
    except (yaml.YAMLError, *WRONG_VALUE) as error:
        found = " ".join(str(error).split())
        raise SpecError(f"{where}: is not YAML ({found}); expected a YAML file of FastReID. Correct it.") from None
    if not isinstance(config, dict):
        raise SpecError(f"{where}: no keys; expected a YAML file of FastReID. Name another file.")
    return config


def _read_text(path: Path) -> str:
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise SpecError(
                f"{path}: {size} bytes; expected a config, up to {MAX_BYTES}. Check that it is not a checkpoint."
            )
        data = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}); expected a readable file. Check it.") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16 is text with zeros
            raise SpecError(f"{path}: is not text; expected a YAML file of FastReID. Name another file.") from None
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError(f"{path}, line {line}: not UTF-8; expected YAML in UTF-8. Save it as UTF-8.") from None


def _merge(above: dict[str, Any], below: dict[str, Any], where: str) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and key in below:
            if not isinstance(below[key], dict):
                raise SpecError(
                    f"{where}: {key} has keys; expected a plain value, as in its base. Correct one of them."
                )
            merged[key] = _merge(value, below[key], where)
        else:
            merged[key] = value
    return merged
