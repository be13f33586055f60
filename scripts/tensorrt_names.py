"""Lists the public names of a TensorRT module as JSON, for tests/targets/test_tensorrt_names.py.

Usage, with an interpreter that can import the module: python scripts/tensorrt_names.py MODULE [FILE]

MODULE is ``tensorrt``, ``tensorrt_rtx`` or the module of a wheel of bindings alone (``tensorrt_bindings``). Bindings
import without a GPU and without TensorRT if shared libraries exist with the names of ``readelf -d`` and the functions
of ``nm -D --undefined-only``. None of these functions is called, so empty ones, compiled from C, suffice.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType


def find_names(owner: ModuleType | type, prefix: str = "") -> Iterator[str]:
    """Yield ``name`` for each attribute of a module, and ``Class.member`` for each class member, inherited or not."""
    for name in dir(owner):
        value = getattr(owner, name, None)
        if name.startswith("_") or isinstance(value, ModuleType):
            continue
        yield prefix + name
        if isinstance(value, type):
            yield from find_names(value, f"{prefix}{name}.")


def main() -> None:
    """Write the names of the module given on the command line."""
    module = importlib.import_module(sys.argv[1])
    text = json.dumps({"version": module.__version__, "names": sorted(set(find_names(module)))}, indent=0) + "\n"
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
