"""Operators, methods and protocols of buffers: what a buffer does where an ndarray would."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core.trace import Tracer, is_array
from functrans.numpy import dispatch
from functrans.numpy.code import calls
from functrans.numpy.code.buffer import Buffer, Path, holds_traced, lift, lift_copy, lift_result, lower, plain
from functrans.numpy.code.entry import entered
from functrans.numpy.code.masked import Masked
from functrans.numpy.code.specials import NDArray

_BINARY: dict[str, np.ufunc] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "lshift": np.left_shift, "rshift": np.right_shift,
}  # fmt: skip
_COMPARISONS: dict[str, np.ufunc] = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip
_UNARY: dict[str, np.ufunc] = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}
_CONVERSIONS: tuple[Callable[..., Any], ...] = (bool, float, int, complex, operator.index)


def _accepts(x: Any) -> bool:
    return type(x) is Buffer or isinstance(x, (Tracer, list, tuple)) or is_array(x) or x is None


def _operands(self: Buffer, other: Any) -> tuple[Any, Any, bool]:
    """Both operands without buffers, and whether NumPy computed with memory that is not to be kept."""
    if self.concrete and not holds_traced(other):
        return self.frame(), lower(other, Buffer.peek), False
    return self.read(), plain(other, Buffer.read), True


def _operator(name: str, ufunc: np.ufunc) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """A binary operator, its reflected form, and its form in place."""
    compute = getattr(operator, f"__{name}__")
    store = getattr(operator, f"__i{name}__", None)
    elementwise = name != "matmul"

    def result_of(value: Any, operands: tuple[Any, Any], traced: bool) -> Any:
        return lift_result(value, operands) if traced and elementwise else lift(value, traced)

    def forward(self: Buffer, other: Any) -> Any:
        if type(other) is Masked:
            return calls.ufunc_call(ufunc, "__call__", (self, other), {})
        if not _accepts(other):
            return NotImplemented
        a, b, traced = _operands(self, other)
        return result_of(compute(a, b), (self, other), traced)

    def reflected(self: Buffer, other: Any) -> Any:
        if not _accepts(other):
            return NotImplemented
        a, b, traced = _operands(self, other)
        return result_of(compute(b, a), (other, self), traced)

    def in_place(self: Buffer, other: Any) -> Any:
        assert store is not None
        if not _accepts(other):
            return NotImplemented
        a, b, traced = _operands(self, other)
        self.check_write(traced)
        if traced:
            return calls.fill(ufunc, self, compute(a, b))
        store(self.writeable_frame(), b)
        return self

    return forward, reflected, in_place


def _unary(name: str) -> Callable[[Buffer], Any]:
    compute = getattr(operator, f"__{name}__")

    def forward(self: Buffer) -> Any:
        return lift(compute(self.frame()), False) if self.concrete else lift_result(compute(self.read()), (self,))

    return forward


def _of_masked(ufunc: np.ufunc, swapped: bool = False) -> Callable[..., Any]:
    def forward(self: Masked, *others: Any) -> Any:
        args = (*others, self) if swapped else (self, *others)
        return calls.ufunc_call(ufunc, "__call__", args, {})

    return forward


def _divmod(self: Buffer, other: Any) -> Any:
    return self // other, self % other


def _rdivmod(self: Buffer, other: Any) -> Any:
    return other // self, other % self


def _conversion(convert: Callable[[Any], Any]) -> Callable[[Buffer], Any]:
    def method(self: Buffer) -> Any:
        value: Any = self.peek()
        if isinstance(value, Tracer) and self.ndim and self.size == 1 and convert in (bool, operator.index):
            value = lax.reshape(value, ())
        return convert(value)

    return method


# -- methods --------------------------------------------------------------------------------------------------------

_METHODS: tuple[Any, ...] = (
    np.sum, np.prod, np.mean, np.std, np.var, np.max, np.min, np.any, np.all, np.argmax, np.argmin, np.argsort,
    np.argpartition, np.cumsum, np.cumprod, np.ravel, np.squeeze, np.swapaxes, np.diagonal, np.trace, np.take,
    np.repeat, np.clip, np.round, np.ptp, np.nonzero, np.searchsorted, np.choose, np.put, np.dot,
)  # fmt: skip


def _method(function: Any) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return calls.call(function, (self, *args), kwargs)

    method.__doc__ = f"See ``numpy.ndarray.{function.__name__}``."
    return method


def _spread(function: Any) -> Callable[..., Any]:
    """A method that takes a shape, or axes, one by one or as a tuple."""

    def method(self: Buffer, *args: Any, **kwargs: Any) -> Any:
        one = len(args) == 1 and (args[0] is None or isinstance(args[0], (tuple, list, Buffer)))
        given = args if one or not args else (args,)
        return calls.call(function, (self, *given), kwargs)

    method.__doc__ = f"See ``numpy.ndarray.{function.__name__}``."
    return method


def _astype(
    self: Buffer, dtype: Any, order: str = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True
) -> Any:
    target = np.dtype(dtype)
    if not copy and target == self.dtype:
        return self
    if self.concrete:
        return lift(self.frame().astype(target, casting=casting, copy=True), lent=False)
    return lift_copy(self.read().astype(target, casting=casting), self, order)


def _copy(self: Buffer, order: str = "C") -> Any:
    return calls.compute(np.copy, (self,), {"order": order})


def _flatten(self: Buffer, order: str = "C") -> Any:
    return calls.compute(np.ravel, (self,), {"order": order})


def _conj(self: Buffer) -> Any:
    return calls.ufunc_call(np.conjugate, "__call__", (self,), {}) if self.dtype.kind == "c" else self


def _fill(self: Buffer, value: Any) -> None:
    self[...] = value


def _sort(self: Buffer, axis: int = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> None:
    self[...] = calls.call(
        np.sort, (self, axis), {} if kind is None and stable is None else {"kind": kind, "stable": stable}
    )


def _partition(self: Buffer, kth: Any, axis: int = -1, kind: str = "introselect", order: Any = None) -> None:
    self[...] = calls.call(np.partition, (self, kth, axis), {})


def _compress(self: Buffer, condition: Any, axis: int | None = None, out: Any = None) -> Any:
    return calls.call(np.compress, (condition, self, axis), {} if out is None else {"out": out})


def _item(self: Buffer, *args: Any) -> Any:
    if self.concrete:
        return self.frame().item(*args)
    if not args:
        return self.read().item()
    idx = args[0] if len(args) == 1 else args
    element = self[np.unravel_index(idx, self.shape)] if isinstance(idx, int) else self[idx]
    return element.item()


def _tolist(self: Buffer) -> Any:
    return self.peek().tolist()


def _view(self: Buffer, dtype: Any = None, type: Any = None) -> Any:
    if dtype is None or dtype is NDArray or dtype is np.ndarray or np.dtype(dtype) == self.dtype:
        return self.over(self.frame().view(), lambda value: value)
    # Elements of another size: what is stored in them could not be told in terms of those of the array.
    out = lift(self.frame().view(dtype).copy() if self.concrete else self.read().view(dtype))
    out.writeable = False
    return out


def _resize(self: Buffer, *shape: Any, refcheck: bool = True) -> None:
    raise errors.ArgumentError(
        "resize() in place changes the memory that views share. Write b = np.resize(b, shape), which makes a new array"
    )


def _setflags(self: Buffer, write: bool | None = None, align: bool | None = None, uic: bool | None = None) -> None:
    if write is not None:
        self.writeable = bool(write)


def _len(self: Buffer) -> int:
    if not self.ndim:
        raise TypeError("len() of unsized object")
    length: int = self.shape[0]
    return length


def _iter(self: Buffer) -> Iterator[Any]:
    if not self.ndim:
        raise TypeError("iteration over a 0-d array")
    return (self[i] for i in range(self.shape[0]))


def _contains(self: Buffer, item: Any) -> bool:
    return bool(calls.call(np.any, (self == item,), {}))


def _getattr(self: Buffer, name: str) -> Any:
    """What ndarray has besides: of a concrete buffer."""
    if name.startswith("__") or not hasattr(np.ndarray, name):
        raise AttributeError(f"'numpy.ndarray' object has no attribute {name!r}")
    if not self.concrete:
        raise errors.TracerArrayError(
            f".{name} of an array that holds traced values ({self.aval}) is not there while its function is traced"
        )
    return getattr(self.read(), name)


# -- attributes -----------------------------------------------------------------------------------------------------


def _parts(name: str) -> property:
    """``real`` or ``imag``."""

    def get(self: Buffer) -> Any:
        if self.dtype.kind != "c":
            if name == "real":
                return self
            out = calls.call(np.zeros_like, (self,), {})
            out.writeable = False
            return out
        traced = dispatch.functions[getattr(np, name)]
        frame = getattr(self.frame(), name)
        return self.over(
            frame, lambda value: getattr(value, name) if isinstance(value, np.ndarray) else traced(value), part=False
        )

    def put(self: Buffer, value: Any) -> None:
        if self.dtype.kind != "c":
            if name == "imag":
                raise TypeError("array does not have imaginary part to set")
            self[...] = value
        elif self.concrete and not holds_traced(value):
            self.check_write(False)
            setattr(self.writeable_frame(), name, lower(value, Buffer.peek))
        else:
            parts = {"real": self.real, "imag": self.imag, name: value}  # type: ignore[attr-defined]
            self[...] = parts["real"] + 1j * parts["imag"]

    return property(get, put, doc=f"The {name} part.")


def _base(self: Buffer) -> Any:
    return None if self.path is None else Buffer(self.storage)


def _set_shape(self: Buffer, shape: Any) -> None:
    frame = self.frame().reshape(shape)
    if frame.size and not np.may_share_memory(frame, self.frame()):
        raise AttributeError(f"the shape {shape} needs a copy of the elements. Write b = b.reshape({shape})")
    self.path = Path(self.path, lambda value: lax.reshape(value, frame.shape))
    self._frame, self._memory, self._layout = frame, self.storage.memory(), None


class Flags:
    """What ``b.flags`` says of the layout, and whether the buffer may be written to."""

    def __init__(self, buffer: Buffer) -> None:
        object.__setattr__(self, "_buffer", buffer)

    def __getattr__(self, name: str) -> Any:
        buffer = object.__getattribute__(self, "_buffer")
        return buffer.writeable if name == "writeable" else getattr(buffer.frame().flags, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "writeable":
            raise AttributeError(f"flags.{name} cannot be set")
        object.__getattribute__(self, "_buffer").writeable = bool(value)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name.lower())


class Flat:
    """The elements in C order: ``b.flat``."""

    def __init__(self, buffer: Buffer) -> None:
        self.base = buffer

    def _place(self, idx: Any) -> Any:
        where = np.arange(self.base.size)[lower(idx)]
        return tuple(np.unravel_index(where, self.base.shape))

    def __len__(self) -> int:
        return self.base.size

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, idx: Any) -> Any:
        return self.base[self._place(idx)]

    def __setitem__(self, idx: Any, value: Any) -> None:
        self.base[self._place(idx)] = value

    def copy(self) -> Any:
        """The elements as a vector."""
        return _flatten(self.base)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return _flatten(self.base).__array__(dtype, copy)


def _set_flat(self: Buffer, value: Any) -> None:
    values = calls.call(np.ravel, (calls.call(np.asarray, (value,), {}),), {})
    count = -(-self.size // max(values.size, 1))
    self[...] = calls.call(np.reshape, (calls.call(np.tile, (values, count), {})[: self.size], self.shape), {})


class FunctionalUpdates:
    """``b.at[idx].set(v)``: an update as a new array."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getitem__(self, idx: Any) -> FunctionalUpdates:
        return FunctionalUpdates(self._target[lower(idx)])

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)

        def update(*args: Any, **kwargs: Any) -> Any:
            given = [entered(a) if callable(a) else lower(a) for a in args]
            return lift(method(*given, **lower(kwargs)))

        return update


# -- protocols ------------------------------------------------------------------------------------------------------


def _array_ufunc(self: Any, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    return calls.ufunc_call(ufunc, method, inputs, kwargs)


def _array_function(self: Any, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    return calls.call(func, args, kwargs)


def _reduce(self: Buffer) -> Any:
    value = self.read()
    return (np.array, (value,)) if not isinstance(value, Tracer) else value.__reduce__()


def install() -> None:
    """Give buffers their members. It is called once, when the package is imported."""
    members: dict[str, Any] = {"__array_ufunc__": _array_ufunc, "__array_function__": _array_function}
    masked: dict[str, Any] = dict(members)
    for name, ufunc in _BINARY.items():
        forward, reflected, in_place = _operator(name, ufunc)
        members |= {f"__{name}__": forward, f"__r{name}__": reflected, f"__i{name}__": in_place}
        masked |= {f"__{name}__": _of_masked(ufunc), f"__r{name}__": _of_masked(ufunc, swapped=True)}
    for name, ufunc in _COMPARISONS.items():
        members[f"__{name}__"] = _operator(name, ufunc)[0]
        masked[f"__{name}__"] = _of_masked(ufunc)
    for name, ufunc in _UNARY.items():
        members[f"__{name}__"], masked[f"__{name}__"] = _unary(name), _of_masked(ufunc)
    for convert in _CONVERSIONS:
        members[f"__{convert.__name__}__"] = _conversion(convert)
    for function in _METHODS:
        members[function.__name__.removeprefix("a") if function in (np.max, np.min) else function.__name__] = _method(
            function
        )
    for name in ("sum", "prod", "mean", "var", "std", "any", "all"):
        masked[name] = _method(getattr(np, name))
    members |= {
        "__divmod__": _divmod, "__rdivmod__": _rdivmod, "__len__": _len, "__iter__": _iter, "__contains__": _contains,
        "__copy__": _copy, "__deepcopy__": lambda self, memo: _copy(self), "__reduce__": _reduce,
        "__getattr__": _getattr,
        "__str__": lambda self: str(self.peek()), "__format__": lambda self, spec: format(self.peek(), spec),
        "__array_namespace__": lambda self, *, api_version=None: dispatch.namespace[0],
        "reshape": _spread(np.reshape), "transpose": _spread(np.transpose), "astype": _astype, "copy": _copy,
        "flatten": _flatten, "conj": _conj, "conjugate": _conj, "fill": _fill, "sort": _sort, "partition": _partition,
        "compress": _compress, "item": _item, "tolist": _tolist, "view": _view, "resize": _resize,
        "setflags": _setflags,
        "T": property(lambda self: calls.call(np.transpose, (self,), {}), doc="The axes reversed."),
        "mT": property(lambda self: calls.call(np.matrix_transpose, (self,), {}), doc="The last two axes swapped."),
        "real": _parts("real"), "imag": _parts("imag"),
        "flat": property(Flat, _set_flat, doc="The elements in C order."),
        "strides": property(lambda self: self.frame().strides, doc="The bytes from one element to the next, by axis."),
        "flags": property(Flags, doc="The layout in memory."),
        "itemsize": property(lambda self: self.dtype.itemsize, doc="The bytes of one element."),
        "nbytes": property(lambda self: self.size * self.dtype.itemsize, doc="The bytes of all elements."),
        "base": property(_base, doc="What this is a view of."),
        "at": property(lambda self: FunctionalUpdates(lax.at(self.read())), doc="Updates as new arrays."),
        "device": property(lambda self: "cpu", doc="Where the array lives."),
    }  # fmt: skip
    members["shape"] = Buffer.shape.setter(_set_shape)  # type: ignore[attr-defined]
    for name, member in members.items():
        setattr(Buffer, name, member)
    for name, member in masked.items():
        setattr(Masked, name, member)
