"""A restricted pickle interpreter: it never imports or calls anything from the file.

``pickletools`` decodes the opcodes. The interpreter executes them on plain containers and on the stand-ins of
`fastrt.weights.stand_ins`.

Source: Python's ``Lib/pickle.py`` and ``Lib/pickletools.py``, which document the opcodes.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import BinaryIO

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


class UnsafePickle(Exception):  # noqa: N818 - read_pth makes the error
    """The pickle calls a function that is not allowed; the message is its name."""


class BadPickle(Exception):  # noqa: N818
    """The pickle is inconsistent; the message is the reason."""


def unpickle(file: BinaryIO, find_storage: Callable[[object], object]) -> object:
    """Read the next pickled object of ``file``, and leave the position after it.

    Args:
        file: positioned at a pickle of any protocol.
        find_storage: resolves a persistent id.

    Raises:
        UnsafePickle: the pickle calls a function that is not on the list of allowed names.
        BadPickle: truncated, or not a pickle.
    """
    interpreter = _Interpreter(find_storage)
    try:
        for opcode, argument, _ in pickletools.genops(file):
            interpreter.step(opcode.name, argument)
        return interpreter.stack[-1]
    except (UnsafePickle, BadPickle):
        raise
    # A hostile file can provoke each of these in pickletools and in the steps below.
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError, RecursionError) as error:
        raise BadPickle(f"{type(error).__name__}: {error}") from None


class _Mark:
    """Marks the start of a list of arguments on the stack."""


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
_NOTHING = frozenset(("PROTO", "FRAME", "STOP"))
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Interpreter:
    """The stack and memo of one pickle, with a method per opcode."""

    def __init__(self, find_storage: Callable[[object], object]) -> None:
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.find_storage = find_storage

    def step(self, name: str, argument: object) -> None:
        if name in _NOTHING:
            return
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _VALUES:
            self.stack.append(argument)
        elif name in _TUPLES:
            self.stack.append(self._take(_TUPLES[name]))
        else:
            method = getattr(self, f"_{name.lower()}", None)
            if method is None:
                raise BadPickle(f"opcode {name} is not supported")
            method(argument)

    def _take(self, count: int) -> tuple[object, ...]:
        if count > len(self.stack):
            raise BadPickle("the stack has too few values")
        if count == 0:
            return ()
        taken = tuple(self.stack[-count:])
        del self.stack[-count:]
        if any(value is _Mark for value in taken):
            raise BadPickle("a mark is used as a value")
        return taken

    def _take_to_mark(self) -> tuple[object, ...]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _Mark:
                taken = tuple(self.stack[i + 1 :])
                del self.stack[i:]
                return taken
        raise BadPickle("a mark is missing")

    def _mark(self, _: object) -> None:
        self.stack.append(_Mark)

    def _pop(self, _: object) -> None:
        self.stack.pop()

    def _pop_mark(self, _: object) -> None:
        self._take_to_mark()

    def _dup(self, _: object) -> None:
        self.stack.append(self.stack[-1])

    # Memo

    def _put(self, key: object) -> None:
        self.memo[int(str(key))] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: object) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _get(self, key: object) -> None:
        self.stack.append(self.memo[int(str(key))])

    _binget = _long_binget = _get

    # Containers

    def _empty_list(self, _: object) -> None:
        self.stack.append([])

    def _empty_dict(self, _: object) -> None:
        self.stack.append({})

    def _empty_set(self, _: object) -> None:
        self.stack.append(Opaque("builtins.set"))

    def _frozenset(self, _: object) -> None:
        self._take_to_mark()
        self.stack.append(Opaque("builtins.frozenset"))

    def _tuple(self, _: object) -> None:
        self.stack.append(self._take_to_mark())

    def _list(self, _: object) -> None:
        self.stack.append(list(self._take_to_mark()))

    def _dict(self, _: object) -> None:
        made: dict[object, object] = {}
        items = self._take_to_mark()
        self.stack.append(made)
        self._fill(items)

    def _append(self, _: object) -> None:
        self._extend(self._take(1))

    def _appends(self, _: object) -> None:
        self._extend(self._take_to_mark())

    def _additems(self, _: object) -> None:
        self._take_to_mark()

    def _setitem(self, _: object) -> None:
        self._fill(self._take(2))

    def _setitems(self, _: object) -> None:
        self._fill(self._take_to_mark())

    def _extend(self, values: tuple[object, ...]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):  # any other container is opaque and stays so
            target.extend(values)

    def _fill(self, items: tuple[object, ...]) -> None:
        target = self.stack[-1]
        if len(items) % 2:
            raise BadPickle("a key has no value")
        if isinstance(target, dict):
            target.update(
                (key, value) for key, value in zip(items[::2], items[1::2], strict=True) if type(key) in PLAIN
            )

    # Names, calls, objects

    def _global(self, argument: object) -> None:
        module, _, name = str(argument).partition(" ")
        self.stack.append(named(module, name))

    def _stack_global(self, _: object) -> None:
        module, name = self._take(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise BadPickle("a name is not a string")
        self.stack.append(named(module, name))

    def _reduce(self, _: object) -> None:
        function, arguments = self._take(2)
        self.stack.append(_call(function, arguments))

    def _inst(self, argument: object) -> None:
        module, _, name = str(argument).partition(" ")
        self.stack.append(_call(named(module, name), self._take_to_mark()))

    def _obj(self, _: object) -> None:
        function, *arguments = self._take_to_mark()
        self.stack.append(_call(function, tuple(arguments)))

    def _newobj(self, _: object) -> None:
        cls, _arguments = self._take(2)
        self.stack.append(new_object(cls))

    def _newobj_ex(self, _: object) -> None:
        cls, _arguments, _keywords = self._take(3)
        self.stack.append(new_object(cls))

    def _build(self, _: object) -> None:
        (state,) = self._take(1)
        give_state(self.stack[-1], state)

    # Storages

    def _persid(self, argument: object) -> None:
        self.stack.append(self.find_storage(argument))

    def _binpersid(self, _: object) -> None:
        self.stack.append(self.find_storage(*self._take(1)))


def _call(function: object, arguments: object) -> object:
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        raise BadPickle("a value that is not a function is called")
    name = str(function)
    if name in TYPE_CALLS:
        function, _, arguments, *_ = arguments
        if isinstance(function, Global) and str(function) in TYPE_CALLS:
            raise BadPickle("nested calls of a tensor")
        return _call(function, arguments)
    if name in CALLS:
        return CALLS[name](*arguments)
    if name in OPAQUE_CALLS:
        return Opaque(name)
    raise UnsafePickle(name)
