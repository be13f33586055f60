"""The public names of a flavour of TensorRT, as JSON: what tests/targets/test_tensorrt_names.py reads.

Usage, with an interpreter that can import the flavour: python scripts/tensorrt_names.py MODULE [FILE]

MODULE is ``tensorrt``, ``tensorrt_rtx`` or the module of a wheel of bindings alone (``tensorrt_bindings``). Bindings
import without a GPU and without TensorRT, if there are shared libraries by the names that ``readelf -d`` lists, with
the functions that ``nm -D --undefined-only`` lists. None is called while names are read: empty ones, compiled from a
few lines of C, will do.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType


def find_names(owner: ModuleType | type, prefix: str = "") -> Iterator[str]:
    """``name`` for each thing in a module, ``Class.member`` for each member of its classes, inherited ones too."""
    for name in dir(owner):
        value = getattr(owner, name, None)
        if name.startswith("_") or isinstance(value, ModuleType):
            continue
        yield prefix + name
        if isinstance(value, type):
            yield from find_names(value, f"{prefix}{name}.")


def main() -> None:
    """Write the names of the module that the command line gives."""
    module = importlib.import_module(sys.argv[1])
    text = json.dumps({"version": module.__version__, "names": sorted(set(find_names(module)))}, indent=0) + "\n"
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
