"""Reads a pickle without being one's hands: a machine of our own, which calls nothing that the file names.

``pickletools`` takes the bytes apart, and each instruction is carried out here on plain containers and on the stand-ins
of `fastrt.weights.stand_ins`. Nothing is imported, no class is looked up, no method of the file's choosing runs.

Source: Python's ``Lib/pickle.py`` and ``Lib/pickletools.py``, which document the instructions.
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


class UnsafePickle(Exception):  # noqa: N818 - it is no error of the program's; the reader words it
    """The pickle wants to call something; the message is its name."""


class BadPickle(Exception):  # noqa: N818
    """The pickle does not hold together; the message says how."""


def unpickle(file: BinaryIO, find_storage: Callable[[object], object]) -> object:
    """The next object in ``file``, which is left right behind it.

    Args:
        file: with a pickle of any protocol at its place.
        find_storage: what a persistent id stands for.

    Raises:
        UnsafePickle: it calls what is not on the list of harmless names.
        BadPickle: it is cut off, or no pickle.
    """
    machine = _Machine(find_storage)
    try:
        for instruction, argument, _ in pickletools.genops(file):
            machine.step(instruction.name, argument)
        return machine.stack[-1]
    except (UnsafePickle, BadPickle):
        raise
    # What a hostile file can provoke in pickletools and in the steps below: all of it means a broken pickle.
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError, RecursionError) as error:
        raise BadPickle(f"{type(error).__name__}: {error}") from None


class _Mark:
    """Where a run of arguments begins."""


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


class _Machine:
    """The stack and the memo of one pickle, and a step for each instruction."""

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
                raise BadPickle(f"the instruction {name} is in no checkpoint")
            method(argument)

    def _take(self, count: int) -> tuple[object, ...]:
        if count > len(self.stack):
            raise BadPickle("it takes more than it was given")
        if count == 0:
            return ()
        taken = tuple(self.stack[-count:])
        del self.stack[-count:]
        if any(value is _Mark for value in taken):
            raise BadPickle("it takes a mark for a value")
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
        if isinstance(target, list):  # what else there is to append to is opaque, and stays so
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
            raise BadPickle("a name is no text")
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
        raise BadPickle("it calls what is no function")
    name = str(function)
    if name in TYPE_CALLS:
        function, _, arguments, *_ = arguments
        if isinstance(function, Global) and str(function) in TYPE_CALLS:
            raise BadPickle("a call of a call of a tensor")
        return _call(function, arguments)
    if name in CALLS:
        return CALLS[name](*arguments)
    if name in OPAQUE_CALLS:
        return Opaque(name)
    raise UnsafePickle(name)
