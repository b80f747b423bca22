"""The operators, methods and protocols of tracers: what a tracer does where an ndarray would.

Operators between Python numbers stay Python numbers, as Python's own do; functions return NumPy's scalars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core.dtypes import is_extended
from functrans.core.structural import rebox
from functrans.core.trace import ArrayOperators, Tracer, is_array
from functrans.numpy import dispatch
from functrans.numpy import elementwise as ew
from functrans.numpy.ufuncs import Ufunc

_PYTHON = (bool, int, float, complex)


def _is_python(x: Any) -> bool:
    return x.aval.box == "python" if isinstance(x, Tracer) else isinstance(x, _PYTHON) and not isinstance(x, np.generic)


def _accepts(x: Any) -> bool:
    return isinstance(x, Tracer) or is_array(x) or isinstance(x, (list, tuple))


def _binary(ufunc: Ufunc) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """An operator and its reflected form."""
    traced = ufunc.traced

    def forward(self: Any, other: Any) -> Any:
        if self.aval.floating:
            # Operands that need no promotion, which is most of them.
            kind = type(other)
            if kind is Tracer:
                if other.aval.floating and other.aval.dtype is self.aval.dtype:
                    return traced(self, other)
            elif kind is float:
                return traced(self, other)
            elif kind is np.ndarray and other.dtype is self.aval.dtype:
                return traced(self, other)
        if not _accepts(other) or (self.aval.box == "python" and isinstance(other, (list, tuple))):
            return NotImplemented
        out = ufunc.apply(self, other)
        return rebox(out, "python") if self.aval.box == "python" and _is_python(other) else out

    def reflected(self: Any, other: Any) -> Any:
        if type(other) is float and self.aval.floating:
            return traced(other, self)
        if not _accepts(other) or (self.aval.box == "python" and isinstance(other, (list, tuple))):
            return NotImplemented
        out = ufunc.apply(other, self)
        return rebox(out, "python") if self.aval.box == "python" and _is_python(other) else out

    return forward, reflected


def _unary(ufunc: Ufunc) -> Callable[..., Any]:
    def operator(self: Any) -> Any:
        out = ufunc.apply(self)
        return rebox(out, "python") if self.aval.box == "python" else out

    return operator


def _pow(self: Any, exponent: Any, modulo: None = None) -> Any:
    if modulo is not None:
        return NotImplemented
    if isinstance(exponent, Tracer) and exponent.aval.box == "python" and exponent.aval.dtype.kind == "i":
        if exponent._trace.concrete(exponent) is None:
            exponent = exponent.__index__()
    if type(exponent) in (int, float):
        kind = "" if is_extended(self.aval.dtype) else self.aval.dtype.kind
        if kind in ("f", "c") or (kind in ("i", "u") and type(exponent) is int and exponent >= 0):
            out = lax.scalar_pow(self, exponent)
            return rebox(out, "python") if self.aval.box == "python" else out
        if self.aval.box == "python" and kind == "i" and type(exponent) is int:
            return rebox(lax.scalar_pow(lax.convert_element_type(self, np.float64), exponent), "python")
    return _power(self, exponent)


_power, _rpower = _binary(ew.power)


def _divmod(self: Any, other: Any) -> Any:
    return self // other, self % other


def _rdivmod(self: Any, other: Any) -> Any:
    return other // self, other % self


def _getitem(self: Any, index: Any) -> Any:
    return lax.index(self, index)


def _setitem(self: Any, index: Any, value: Any) -> None:
    raise errors.DetachedWriteError(
        f"a traced array of type {self.aval} cannot be written to. Write x = x.at[index].set(value) (or .add, "
        f".multiply, .min, .max) in place of x[index] = value; or decorate the function with "
        f"@functrans.numpy_code, under which buffers made by NumPy may be filled in place"
    )


def _len(self: Any) -> int:
    if not self.aval.shape:
        raise TypeError(f"len() of a traced value of type {self.aval}, which has no axes")
    length: int = self.aval.shape[0]
    return length


def _iter(self: Any) -> Iterator[Any]:
    if not self.aval.shape:
        raise TypeError(f"a traced value of type {self.aval} has no axes to iterate over")
    return (lax.index(self, i) for i in range(self.aval.shape[0]))


def _contains(self: Any, item: Any) -> Any:
    return bool(dispatch.functions[np.any](ew.equal(self, item)))


def _round(self: Any, ndigits: int | None = None) -> Any:
    if ndigits is None and self.aval.shape == () and self.aval.box != "array":
        return _to_int(lax.rint)(self)
    return dispatch.functions[np.round](self, ndigits or 0)


def _to_int(rounding: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``math.floor`` and its like: of a scalar a Python int, traced."""

    def method(self: Any) -> Any:
        if self.aval.shape != () or self.aval.box == "array" or self.aval.dtype.kind not in "iuf":
            raise TypeError(f"a traced value of type {self.aval} does not round to a Python int: use functrans.numpy")
        rounded = self if self.aval.dtype.kind in "iu" else rounding(self)
        return rebox(lax.convert_element_type(rounded, np.int64), "python")

    return method


def _equality(ufunc: Ufunc, unequal: bool) -> Callable[..., Any]:
    """``==`` and ``!=``, which compare with None too."""
    compare, _ = _binary(ufunc)

    def method(self: Any, other: Any) -> Any:
        if other is None:
            return unequal if self.aval.box == "python" else lax.full(self.aval.shape, unequal, np.bool_)
        return compare(self, other)

    return method


def _array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    return dispatch.array_ufunc(ufunc, method, inputs, kwargs)


def _array_function(self: Any, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    return dispatch.array_function(func, args, kwargs)


def _namespace(self: Any, *, api_version: str | None = None) -> Any:
    return dispatch.namespace[0]


def _property(function: Callable[[Any], Any], doc: str) -> property:
    return property(function, doc=doc)


def _method(function: Any, doc: str | None = None) -> Callable[..., Any]:
    """A NumPy function as a method, looked up at the call so that the function tables may still be filling."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return dispatch.functions[function](self, *args, **kwargs)

    method.__name__ = function.__name__
    method.__doc__ = doc or f"See ``numpy.ndarray.{function.__name__}``."
    return method


def _shape_method(function: Any) -> Callable[..., Any]:
    """A method whose shape or axes may be given apart or as one tuple: ``x.reshape(2, 3)``, ``x.reshape((2, 3))``."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and (args[0] is None or isinstance(args[0], (tuple, list))):
            return dispatch.functions[function](self, args[0], **kwargs)
        return dispatch.functions[function](self, *([args] if args else []), **kwargs)

    method.__name__ = function.__name__
    method.__doc__ = f"See ``numpy.ndarray.{function.__name__}``."
    return method


def _astype(
    self: Any, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
) -> Any:
    """The array with another dtype; see ``numpy.ndarray.astype``."""
    target = np.dtype(dtype)
    if not np.can_cast(self.aval.dtype, target, casting):  # type: ignore[arg-type]
        raise TypeError(f"Cannot cast array data from {self.aval.dtype} to {target} according to the rule {casting!r}")
    return lax.convert_element_type(self, target)


def _copy(self: Any, order: str = "C") -> Any:
    """The array itself: traced values do not change."""
    return rebox(self, "array")


def _flatten(self: Any, order: str = "C") -> Any:
    return dispatch.functions[np.ravel](self, order)


def _compress(self: Any, condition: Any, axis: Any = None, out: None = None) -> Any:
    """See ``numpy.ndarray.compress``."""
    return dispatch.functions[np.compress](condition, self, axis, out)


def _dot(self: Any, b: Any, out: None = None) -> Any:
    dispatch.reject_out("dot", out)
    return dispatch.functions[np.dot](self, b)


def _view(self: Any, dtype: Any = None, type: Any = None) -> Any:
    if dtype is None or np.dtype(dtype) == self.aval.dtype:
        return self
    return lax.bitcast_convert_type(self, np.dtype(dtype))


def _to_device(self: Any, device: Any, /, *, stream: Any = None) -> Any:
    """The array itself: a program runs on one device, here called the host's. See ``functrans.device_put``."""
    if device != "cpu":
        raise errors.ArgumentError(
            f"to_device: a traced value of type {self.aval} cannot be moved to {device!r}: a program runs on one "
            f"device. Move the arguments before the call with functrans.device_put"
        )
    return self


def _no_memory(self: Any, *args: Any, **kwargs: Any) -> Any:
    raise errors.TracerArrayError(
        f"a traced value of type {self.aval} has no memory that DLPack could share. {self.describe_origin()}Hand over "
        f"the result of the transformed function, or call the library through functrans.pure_callback"
    )


def _in_place(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise errors.DetachedWriteError(
            f".{name}() changes an array in place, which a traced value cannot. Use functrans.numpy.{name}, which "
            f"returns a new one"
        )

    return method


_OPERATORS: dict[str, Ufunc] = {
    "add": ew.add,
    "sub": ew.subtract,
    "mul": ew.multiply,
    "truediv": ew.true_divide,
    "floordiv": ew.floor_divide,
    "mod": ew.remainder,
    "and": ew.bitwise_and,
    "or": ew.bitwise_or,
    "xor": ew.bitwise_xor,
    "lshift": ew.left_shift,
    "rshift": ew.right_shift,
}
_COMPARISONS: dict[str, Ufunc] = {
    "lt": ew.less,
    "le": ew.less_equal,
    "gt": ew.greater,
    "ge": ew.greater_equal,
}
_METHODS = (
    np.sum, np.prod, np.mean, np.std, np.var, np.max, np.min, np.any, np.all, np.argmax, np.argmin, np.argsort,
    np.cumsum, np.cumprod, np.ravel, np.squeeze, np.swapaxes, np.diagonal, np.trace, np.take, np.repeat, np.clip,
    np.round, np.ptp, np.nonzero, np.searchsorted, np.choose, np.argpartition,
)  # fmt: skip


def _matmul(self: Any, other: Any) -> Any:
    return dispatch.ufuncs[np.matmul].apply(self, other) if _accepts(other) else NotImplemented


def _rmatmul(self: Any, other: Any) -> Any:
    return dispatch.ufuncs[np.matmul].apply(other, self) if _accepts(other) else NotImplemented


def install() -> None:
    """Give tracers their operators. It is called once, when ``functrans.numpy`` is imported."""
    members: dict[str, Any] = {}
    for name, ufunc in _OPERATORS.items():
        members[f"__{name}__"], members[f"__r{name}__"] = _binary(ufunc)
    for name, ufunc in _COMPARISONS.items():
        members[f"__{name}__"], _ = _binary(ufunc)
    members |= {
        "__pow__": _pow,
        "__rpow__": _rpower,
        "__matmul__": _matmul,
        "__rmatmul__": _rmatmul,
        "__divmod__": _divmod,
        "__rdivmod__": _rdivmod,
        "__neg__": _unary(ew.negative),
        "__pos__": _unary(ew.positive),
        "__abs__": _unary(ew.absolute),
        "__invert__": _unary(ew.invert),
        "__round__": _round,
        "__getitem__": _getitem,
        "__setitem__": _setitem,
        "__len__": _len,
        "__iter__": _iter,
        "__contains__": _contains,
        "__eq__": _equality(ew.equal, unequal=False),
        "__ne__": _equality(ew.not_equal, unequal=True),
        "__trunc__": _to_int(lax.trunc),
        "__floor__": _to_int(lax.floor),
        "__ceil__": _to_int(lax.ceil),
        "conj": lambda self: ew.conjugate.apply(self),
        "conjugate": lambda self: ew.conjugate.apply(self),
        "__array_ufunc__": _array_ufunc,
        "__array_function__": _array_function,
        "__array_namespace__": _namespace,
        "T": _property(lambda x: lax.transpose(x, tuple(reversed(range(x.ndim)))), "The axes reversed."),
        "mT": _property(lambda x: dispatch.functions[np.matrix_transpose](x), "The last two axes swapped."),
        "real": _property(lambda x: dispatch.functions[np.real](x), "The real part."),
        "imag": _property(lambda x: dispatch.functions[np.imag](x), "The imaginary part."),
        "at": _property(lambda x: lax.at(x), "Updates of elements as new arrays: ``x.at[i].set(v)``."),
        "flat": _property(lambda x: lax.reshape(x, (x.size,)), "The elements in C order."),
        "reshape": _shape_method(np.reshape),
        "transpose": _shape_method(np.transpose),
        "astype": _astype,
        "copy": _copy,
        "__copy__": lambda self: self,
        "__deepcopy__": lambda self, memo: self,
        "flatten": _flatten,
        "compress": _compress,
        "dot": _dot,
        "view": _view,
        "sort": _in_place("sort"),
        "fill": _in_place("full_like"),
        "put": _in_place("put"),
        "partition": _in_place("partition"),
        "resize": _in_place("resize"),
        "device": _property(lambda x: "cpu", "Where the array lives."),
        "to_device": _to_device,
        "__dlpack__": _no_memory,
        "__dlpack_device__": _no_memory,
        "block_until_ready": lambda self: self,
    }
    for function in _METHODS:
        members.setdefault(function.__name__, _method(function))
    for name, member in members.items():
        setattr(ArrayOperators, name, member)
