"""Stand-ins for the objects of a pickle, so that no code of the file or of its classes runs.

A pickle is a program that builds objects by calling functions by name. The interpreter calls none of them. A name
becomes a `Global`. The calls that rebuild tensors and NumPy arrays are replaced by the functions below, which only
record their arguments. Every other allowed object becomes an `Opaque`.

Source: ``torch/_utils.py`` of PyTorch 2.13 (``_rebuild_*``); ``numpy/_core/multiarray.py`` (``_reconstruct``,
``scalar``) and ``numpy/_core/numeric.py`` (``_frombuffer``) of numpy 2.4.
"""

from __future__ import annotations

import _compat_pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

PLAIN = (str, bytes, int, float, bool, type(None))
"""Types that may be dictionary keys. Hashing a nested tuple of a hostile file could take forever."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function in the pickle. It is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Opaque:
    """An object that fastrt does not need. Its state is dropped."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Storage:
    """Memory that tensors share. Its bytes are elsewhere in the file, under ``key``.

    Attributes:
        key: its name in the file.
        dtype: a key of `fastrt.weights.dtypes.TORCH_DTYPES`.
        start: index of the first element (always 0 since torch 0.4).
    """

    key: str
    dtype: str
    start: int = 0


@dataclass(frozen=True)
class Tensor:
    """A view of a storage, in elements. The values come from the pickle and are not checked yet."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any
    dtype: str


@dataclass
class NumpyDtype:
    """``numpy.dtype("f4")``. The pickle sets its byte order later, as state."""

    code: Any
    order: Any = "="


@dataclass
class NumpyArray:
    """A NumPy array or scalar. The values come from the pickle and are not checked yet.

    Attributes:
        data: bytes, or latin-1 text in pickle's older protocols.
    """

    dtype: Any = None
    shape: Any = ()
    order: str = "C"
    data: Any = None


def give_state(value: object, state: object) -> None:
    """Apply ``__setstate__`` to NumPy stand-ins; the state of other objects is dropped."""
    if isinstance(value, NumpyDtype) and isinstance(state, tuple):
        value.order = state[1]
    elif isinstance(value, NumpyArray) and isinstance(state, tuple):
        _, value.shape, value.dtype, is_fortran, value.data = state
        value.order = "F" if is_fortran else "C"


def new_object(cls: object, *_: object) -> object:
    """Make the stand-in of ``cls.__new__()``: a dictionary or an `Opaque`.

    Raises:
        ValueError: ``cls`` is not a `Global`.
    """
    if not isinstance(cls, Global):
        raise ValueError("an object is made from a value that is not a class")  # noqa: TRY004 - the file is wrong, not a caller
    return {} if str(cls) in ("collections.OrderedDict", "collections.defaultdict") else Opaque(str(cls))


def _ordered_dict(pairs: list[Any] | None = None) -> dict[Any, Any]:
    """``OrderedDict()``, or ``OrderedDict(pairs)`` of Python 2."""
    if pairs is None:
        return {}
    made = {key: value for key, value in pairs if type(key) in PLAIN}
    pairs.clear()  # moved, not copied: a hostile file may refer to one list a million times
    return made


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> object:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor has no storage")  # noqa: TRY004 - the file is wrong, not a caller
    return Tensor(storage, offset, shape, strides, storage.dtype)


def _tensor_v2(
    storage: Any, offset: Any, shape: Any, strides: Any, _gradient: Any, _hooks: Any, metadata: Any = None
) -> object:
    if metadata:  # such as {"conj": True}: the values differ from the stored ones
        return Opaque("a tensor with a lazy conjugate or negative flag")
    return _tensor(storage, offset, shape, strides)


def _tensor_v3(*arguments: Any) -> object:
    """The arguments of `_tensor_v2`, with a dtype before the metadata."""
    tensor = _tensor_v2(*arguments[:6], *arguments[7:])
    dtype = arguments[6]
    return replace(tensor, dtype=dtype.name) if isinstance(tensor, Tensor) and isinstance(dtype, Global) else tensor


def _first(value: object, *_: object) -> object:
    return value


def _numpy_from_buffer(data: object, dtype: object, shape: object, order: object, *_: object) -> object:
    if order not in ("C", "F"):
        return Opaque("a NumPy array of transposed memory")
    return NumpyArray(dtype, shape, order, data)


CALLS: dict[str, Callable[..., object]] = {
    "_codecs.encode": _first,
    "builtins.bytes": lambda: b"",
    "builtins.dict": _ordered_dict,
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": lambda _factory=None: {},
    "copyreg.__newobj__": new_object,
    "copyreg.__newobj_ex__": new_object,
    "copyreg._reconstructor": new_object,
    "numpy.dtype": lambda code, *_: NumpyDtype(code),
    "numpy._core.multiarray._reconstruct": lambda *_: NumpyArray(),
    "numpy._core.multiarray.scalar": lambda dtype, data: NumpyArray(dtype, data=data),
    "numpy._core.numeric._frombuffer": _numpy_from_buffer,
    "torch.Size": _first,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch.nn.parameter.Parameter": _first,
}
"""Calls that are replaced by a function of this module."""

TYPE_CALLS = ("torch._tensor._rebuild_from_type", "torch._tensor._rebuild_from_type_v2")
"""Calls ``(function, cls, args, state)`` that mean ``function(*args)``."""

_OPAQUE_CALLS = {
    "argparse": "Namespace",
    "builtins": (
        "bool bytearray complex enumerate float frozenset int iter list object range reversed set slice str tuple zip"
    ),
    "collections": "ChainMap Counter UserDict UserList deque",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "numpy.random.bit_generator": "__pyx_unpickle_SeedSequence",
    **dict.fromkeys(("pathlib", "pathlib._local"), "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath"),
    "torch": "device",
    "torch._utils": "_rebuild_meta_tensor_no_storage _rebuild_nested_tensor _rebuild_qtensor _rebuild_sparse_tensor",
    "torch.serialization": "_get_layout",
    "types": "SimpleNamespace",
    "uuid": "UUID",
}
OPAQUE_CALLS = frozenset(f"{module}.{name}" for module, names in _OPAQUE_CALLS.items() for name in names.split())
"""Calls of harmless types in training checkpoints. They are not called; the result is an `Opaque`."""

_NUMPY_1_MODULES = {
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
}


def named(module: str, name: str) -> Global:
    """Make a `Global` with its current name: pickles of protocol 2 have the names of Python 2, such as ``xrange``.

    Source: the ``fix_imports`` of Python's ``Lib/pickle.py``.
    """
    module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
    module = _compat_pickle.IMPORT_MAPPING.get(module, module)
    return Global(_NUMPY_1_MODULES.get(module, module), name)


NUMPY_CODES: dict[str, np.dtype[Any]] = {
    code: np.dtype(code)
    for code in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
}
"""Dtypes of pickled NumPy arrays that are read: numbers only, no objects, strings or records."""
