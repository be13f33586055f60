"""A restricted pickle interpreter: it never imports or calls anything from the file.

``pickletools`` decodes the opcodes. The interpreter executes them on plain containers and on the stand-ins of
`fastrt.weights.stand_ins`.

Source: Python's ``Lib/pickle.py`` and ``Lib/pickletools.py``, which document the opcodes.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

from fastrt.weights.stand_ins import (
    CALLS,
    OPAQUE_CALLS,
    PLAIN,
    TYPE_CALLS,
    Global,
    Opaque,
    give_state,
    named,
    new_object,
)


class UnsafeError(Exception):
    """The pickle calls a function that is not allowed; the message is its name."""


class DamagedError(Exception):
    """The file is inconsistent; the message is the reason."""


def unpickle(file: BinaryIO, find_storage: Callable[[object], object]) -> object:
    """Read the next pickled object of ``file``, and leave the position after it.

    Args:
        file: positioned at a pickle of any protocol.
        find_storage: resolves a persistent id.

    Raises:
        UnsafeError: the pickle calls a function that is not on the list of allowed names.
        DamagedError: truncated, or not a pickle.
    """
    interpreter = _Interpreter(find_storage)
    try:
        for opcode, argument, _ in pickletools.genops(file):
            interpreter.step(opcode.name, argument)
        return interpreter.stack[-1]
    # A hostile file can provoke each of these in pickletools and in the steps below.
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError, RecursionError) as error:
        raise DamagedError(f"{type(error).__name__}: {error}") from None


class _Mark:
    """Marks the start of a list of arguments on the stack."""


def _call(function: object, arguments: object) -> object:
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        raise DamagedError("a value that is not a function is called")
    name = str(function)
    if name in TYPE_CALLS:
        function, _, arguments, *_ = arguments
        if isinstance(function, Global) and str(function) in TYPE_CALLS:
            raise DamagedError("nested calls of a tensor")
        return _call(function, arguments)
    if name in CALLS:
        return CALLS[name](*arguments)
    if name in OPAQUE_CALLS:
        return Opaque(name)
    raise UnsafeError(name)


def _make_global(module: object, name: object) -> Global:
    if not isinstance(module, str) or not isinstance(name, str):
        raise DamagedError("a name is not a string")
    return named(module, name)


def _extend(target: object, *values: object) -> None:
    if isinstance(target, list):  # any other container is opaque and stays so
        target.extend(values)


def _fill(target: object, *items: object) -> None:
    if len(items) % 2:
        raise DamagedError("a key has no value")
    if isinstance(target, dict):
        target.update((key, value) for key, value in zip(items[::2], items[1::2], strict=True) if type(key) in PLAIN)


def _make_tuple(*values: object) -> tuple[object, ...]:
    return values


def _make_dict(*items: object) -> dict[object, object]:
    made: dict[object, object] = {}
    _fill(made, *items)
    return made


MAX_BITS = 1024
"""Size of the largest integer that is read; Python cannot print those of over 4300 digits."""

_TO_MARK = -1
"""Instead of a number of values: all values after the last mark."""

_VALUES = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
"""Opcodes that push their argument."""

_CONSTANTS = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
    "EMPTY_TUPLE": (),
    "EMPTY_SET": Opaque("builtins.set"),
    "MARK": _Mark,
}

_RESULTS: dict[str, tuple[int, Callable[..., object]]] = {
    "TUPLE1": (1, _make_tuple),
    "TUPLE2": (2, _make_tuple),
    "TUPLE3": (3, _make_tuple),
    "TUPLE": (_TO_MARK, _make_tuple),
    "EMPTY_LIST": (0, list),
    "LIST": (_TO_MARK, lambda *values: list(values)),
    "EMPTY_DICT": (0, dict),
    "DICT": (_TO_MARK, _make_dict),
    "FROZENSET": (_TO_MARK, lambda *_: Opaque("builtins.frozenset")),
    "STACK_GLOBAL": (2, _make_global),
    "REDUCE": (2, _call),
    "OBJ": (_TO_MARK, lambda function, *arguments: _call(function, arguments)),
    "NEWOBJ": (2, new_object),
    "NEWOBJ_EX": (3, new_object),
}
"""Opcodes that replace the last values of the stack by a result: the number of values, and a function of them."""

_CHANGES: dict[str, tuple[int, Callable[..., None]]] = {
    "APPEND": (1, _extend),
    "APPENDS": (_TO_MARK, _extend),
    "SETITEM": (2, _fill),
    "SETITEMS": (_TO_MARK, _fill),
    "ADDITEMS": (_TO_MARK, lambda *_: None),
    "BUILD": (1, give_state),
}
"""Opcodes that remove the last values of the stack: their number, and a function that adds them to the object below."""


class _Interpreter:
    """The stack and memo of one pickle."""

    def __init__(self, find_storage: Callable[[object], object]) -> None:
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.find_storage = find_storage

    def step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        if opcode in _VALUES:
            if isinstance(argument, int) and argument.bit_length() > MAX_BITS:
                raise DamagedError(f"an integer of {argument.bit_length()} bits")
            stack.append(argument)
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in _RESULTS:
            count, make = _RESULTS[opcode]
            stack.append(make(*self._take(count)))
        elif opcode in _CHANGES:
            count, change = _CHANGES[opcode]
            values = self._take(count)
            change(stack[-1], *values)
        elif opcode in ("GLOBAL", "INST"):
            function = _make_global(*argument.split(" ", 1))
            stack.append(function if opcode == "GLOBAL" else _call(function, tuple(self._take(_TO_MARK))))
        elif opcode in ("PERSID", "BINPERSID"):
            stack.append(self.find_storage(argument if opcode == "PERSID" else self._take(1)[0]))
        elif opcode in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if opcode == "MEMOIZE" else int(str(argument))] = stack[-1]
        elif opcode in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[int(str(argument))])
        elif opcode == "POP_MARK":
            self._take(_TO_MARK)
        elif opcode == "POP":
            stack.pop()
        elif opcode == "DUP":
            stack.append(stack[-1])
        elif opcode not in ("PROTO", "FRAME", "STOP"):
            raise DamagedError(f"opcode {opcode} is not supported")

    def _take(self, count: int) -> list[object]:
        """Remove the last ``count`` values from the stack, or the last mark and those after it."""
        stack = self.stack
        if count == _TO_MARK:
            start = next((i for i in reversed(range(len(stack))) if stack[i] is _Mark), None)
            if start is None:
                raise DamagedError("a mark is missing")
            taken = stack[start + 1 :]
        else:
            start = len(stack) - count
            taken = stack[start:]
            if start < 0 or any(value is _Mark for value in taken):
                raise DamagedError("the stack has too few values, or a mark is used as a value")
        del stack[start:]
        return taken
