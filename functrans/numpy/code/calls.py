"""Calls of NumPy functions with buffers among the arguments.

What is concrete NumPy computes itself, at once; where a traced value takes part the call goes to the traced form that
``functrans.numpy`` registers. Either way arrays come back as buffers. Functions that write (``out=``, ``np.copyto``,
``np.add.at``) store into the buffer, and functions that give views give views.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.core.structural import convert
from functrans.core.trace import Tracer, aval_of, is_array
from functrans.numpy import dispatch
from functrans.numpy.arguments import since
from functrans.numpy.code.buffer import Buffer, holds_traced, lift, lift_copy, lift_result, lower, plain, stored
from functrans.numpy.code.entry import entered, is_rebuilt
from functrans.numpy.code.index import plain_index
from functrans.numpy.code.masked import Masked, apply_masked, fill_out, reduce_masked

Handler = Callable[[Any, Sequence[Any], dict[str, Any]], Any]

handlers: dict[Any, Handler] = {}
"""What to do for the functions that do more than compute a new array."""


def handle(handler: Handler, *functions: Any) -> None:
    """Let a handler take the calls of some functions."""
    handlers.update(dict.fromkeys(functions, handler))


def call(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A NumPy function of arguments that may be buffers."""
    handler = handlers.get(func)
    if handler is not None:
        return handler(func, args, kwargs)
    # Known by its name: numpy.random is loaded when somebody first asks for it.
    if getattr(func, "__name__", "") == "shuffle" and getattr(func, "__module__", "") == "numpy.random":
        return _shuffle(func, args, kwargs)
    return compute(func, args, kwargs)


def compute(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A function that computes new arrays, or fills ``out=``."""
    if args and isinstance(args[0], Masked):
        return lift(reduce_masked(func, args[0], args[1:], kwargs))
    args, kwargs, out = take_out(func, args, kwargs)
    if any([is_rebuilt(a) for a in args]):
        args = [entered(a) if is_rebuilt(a) else a for a in args]
    if holds_traced(tuple(args)) or holds_traced(kwargs):
        traced_args, traced_kwargs = lower(tuple(args)), lower(kwargs)
        result = dispatch.array_function(func, traced_args, traced_kwargs)
        if out is not None:
            return fill(func, out, result)
        return lift_copy(result, args[0], kwargs.get("order", "K")) if func in _COPYING else lift(result)
    args = lower(tuple(args), Buffer.peek)
    kwargs = lower(kwargs, Buffer.peek)
    if out is not None and type(out) is Buffer and out.concrete:
        out.check_write(False)
        func(*args, out=out.writeable_frame(), **kwargs)
        return out
    result = func(*args, **kwargs)
    return lift(own(result, args, kwargs), lent=False) if out is None else fill(func, out, result)


_COPYING = frozenset({np.copy, np.array, np.astype})
"""Functions whose result lies in memory as their argument does, unless it is asked to lie otherwise."""


def own(result: Any, *operands: Any) -> Any:
    """A result of NumPy without memory in common with the operands: a copy where NumPy gave a view."""
    if isinstance(result, np.ndarray):
        if result.base is not None or any([result is a for a in _arrays(operands)]):
            if any([np.may_share_memory(result, a) for a in _arrays(operands)]):
                return result.copy()
        return result
    if type(result) in (tuple, list):
        return type(result)([own(r, *operands) for r in result])
    return result


def _arrays(tree: Any) -> list[np.ndarray]:
    if isinstance(tree, np.ndarray):
        return [tree]
    if isinstance(tree, (tuple, list)):
        return [a for part in tree for a in _arrays(part)]
    return [a for part in tree.values() for a in _arrays(part)] if isinstance(tree, dict) else []


# -- out= -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _out_position(func: Any) -> int | None:
    try:
        parameters = inspect.signature(func).parameters
    except (TypeError, ValueError):
        return None
    positional = [
        p.name for p in parameters.values() if p.kind is p.POSITIONAL_ONLY or p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    return positional.index("out") if "out" in positional else None


def take_out(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any], Any]:
    """The arguments without ``out``, and ``out``."""
    if "out" in kwargs:
        rest = {k: v for k, v in kwargs.items() if k != "out"}
        return args, rest, kwargs["out"]
    position = _out_position(func) if len(args) > 1 else None
    if position is None or len(args) <= position:
        return args, kwargs, None
    behind = args[position + 1 :]
    return (*args[:position], *((None, *behind) if behind else ())), kwargs, args[position]


def fill(func: Any, out: Any, result: Any, casting: Any = "same_kind", where: Any = True) -> Any:
    """Store a result in ``out``, as NumPy would."""
    name = getattr(func, "__name__", str(func))
    if type(out) is not Buffer:
        if isinstance(result, Tracer):
            dispatch.reject_out(f"numpy.{name}", out)
        raise errors.ArgumentError(f"{name}: out must be an array, got {type(out).__name__}")
    aval = aval_of(result)
    if not np.can_cast(aval.dtype, out.dtype, casting):
        raise errors.DTypeError(
            f"{name}: a result of dtype {aval.dtype} cannot be stored in an array of dtype {out.dtype} with casting "
            f"rule {casting!r}"
        )
    if aval.shape != out.shape and np.broadcast_shapes(aval.shape, out.shape) != out.shape:
        raise errors.ShapeError(
            f"{name}: a result of shape {aval.shape} does not fit into an array of shape {out.shape}"
        )
    traced = not out.concrete or isinstance(result, Tracer)
    out.check_write(traced)
    out.assign(stored(result, out.dtype) if traced else result)
    return out


# -- ufuncs ---------------------------------------------------------------------------------------------------------


def ufunc_call(ufunc: np.ufunc, method: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A ufunc, or one of its methods."""
    if method == "at":
        return _ufunc_at(ufunc, *args)
    out = kwargs.pop("out", None)
    if method == "__call__" and len(args) > ufunc.nin:
        args, out = args[: ufunc.nin], args[ufunc.nin :]
    if method in ("reduce", "accumulate") and len(args) > 3:
        args, out = args[:3], args[3]
    if isinstance(out, tuple):
        out = None if all(o is None for o in out) else out[0] if len(out) == 1 else out
    if any([isinstance(a, Masked) for a in args]):
        return apply_masked(ufunc, lower(tuple(args)), lower(kwargs)) if out is None else _no_masked(args)
    if holds_traced(tuple(args)) or holds_traced(kwargs) or holds_traced(out):
        result = _traced_ufunc(ufunc, method, lower(tuple(args)), lower(kwargs), out)
        if out is not None:
            return result
        if method != "__call__":
            return lift(result)
        return tuple([lift_result(r, args) for r in result]) if isinstance(result, tuple) else lift_result(result, args)
    args, kwargs = lower(tuple(args), Buffer.peek), lower(kwargs, Buffer.peek)
    function = ufunc if method == "__call__" else getattr(ufunc, method)
    if out is None:
        return lift(function(*args, **kwargs), lent=False)
    outs = out if isinstance(out, tuple) else (out,)
    for o in outs:
        if type(o) is Buffer:
            o.check_write(False)
    frames = tuple([o.writeable_frame() if type(o) is Buffer else o for o in outs])
    function(*args, out=frames if isinstance(out, tuple) else frames[0], **kwargs)
    return out


def _no_masked(args: Sequence[Any]) -> Any:
    raise next(a for a in args if isinstance(a, Masked)).unknown_size("computed with out=")


def _traced_ufunc(ufunc: np.ufunc, method: str, args: Any, kwargs: dict[str, Any], out: Any) -> Any:
    casting = kwargs.get("casting", "same_kind")
    where = kwargs.get("where", True)
    if method != "__call__" or where is True:
        result = dispatch.array_ufunc(ufunc, method, args, kwargs)
    else:
        if out is None:
            raise errors.ArgumentError(
                f"{ufunc.__name__}(where=...): without out= NumPy leaves the other elements uninitialised. Write "
                f"np.where(mask, {ufunc.__name__}(...), other), or pass out="
            )
        kwargs = {k: v for k, v in kwargs.items() if k != "where"}
        result = _where_ufunc(ufunc, args, kwargs, where, out)
    if out is None:
        return result
    if isinstance(out, tuple):
        return tuple([fill(ufunc, o, r, casting) for o, r in zip(out, result, strict=True)])
    return fill(ufunc, out, result, casting)


def _where_ufunc(ufunc: np.ufunc, args: Any, kwargs: dict[str, Any], where: Any, out: Any) -> Any:
    """The ufunc where the mask holds, what ``out`` holds elsewhere. Operands elsewhere play no part."""
    outs = out if isinstance(out, tuple) else (out,)
    shape = outs[0].shape
    condition = dispatch.ufuncs[np.not_equal].apply(where, 0)
    operands = [fill_out(ufunc, a, condition, shape) for a in args]
    results = dispatch.array_ufunc(ufunc, "__call__", operands, kwargs)
    if not isinstance(out, tuple):
        results = (results,)
    merged = []
    for result, o in zip(results, outs, strict=True):
        old = lower(o)
        dtype = np.result_type(aval_of(result).dtype, aval_of(old).dtype)
        merged.append(lax.select(condition, convert(result, dtype), convert(old, dtype)))
        if np.can_cast(aval_of(result).dtype, aval_of(old).dtype, kwargs.get("casting", "same_kind")):
            merged[-1] = convert(merged[-1], aval_of(old).dtype)
    return tuple(merged) if isinstance(out, tuple) else merged[0]


_AT_METHODS: dict[np.ufunc, str] = {
    np.add: "add", np.subtract: "subtract", np.multiply: "multiply", np.true_divide: "divide", np.power: "power",
    np.minimum: "min", np.maximum: "max",
}  # fmt: skip


def _ufunc_at(ufunc: np.ufunc, target: Any, idx: Any, *values: Any) -> None:
    if type(target) is not Buffer:
        if holds_traced((idx, values)):
            dispatch.array_ufunc(ufunc, "at", (target,), {})
        ufunc.at(target, lower(idx), *lower(values))
        return
    idx, static = plain_index(idx)
    traced = not static or not target.concrete or holds_traced(values)
    target.check_write(traced)
    if not traced:
        ufunc.at(target.writeable_frame(), idx, *lower(values, Buffer.peek))
        return
    if static:
        positions = target.positions()[idx]
        if np.unique(positions).size == np.size(positions):
            old = target[idx]
            new = ufunc_call(ufunc, "__call__", (old, *values), {})
            check_cast(ufunc, new.dtype if hasattr(new, "dtype") else aval_of(new).dtype, target)
            target[idx] = new
            return
    name = _AT_METHODS.get(ufunc)
    if name is None or len(values) != 1:
        raise errors.MissingRuleError(
            f"numpy.{ufunc.__name__}.at with an index that may name an element twice cannot be traced; "
            f"{', '.join(u.__name__ for u in _AT_METHODS)} can. Store at distinct places: b[i] = f(b[i])"
        )
    value = plain(values[0], Buffer.read)
    aval = aval_of(value if is_array(value) else np.asarray(value))
    check_cast(ufunc, target.dtype if aval.weak else np.result_type(aval.dtype, target.dtype), target)
    value = stored(value, target.dtype)
    target.assign(getattr(lax.at(target.read())[idx], name)(value))


def check_cast(func: Any, dtype: np.dtype[Any], target: Buffer) -> None:
    """Raise where NumPy would not store a result of a dtype in place."""
    if not np.can_cast(dtype, target.dtype, "same_kind"):
        raise errors.DTypeError(
            f"{func.__name__}: a result of dtype {dtype} cannot be stored in an array of dtype {target.dtype} with "
            f"casting rule 'same_kind'"
        )


# -- functions that make arrays from nothing ------------------------------------------------------------------------

RECIPE_BYTES = 1 << 12
"""A constant larger than this is made anew by the compiled program instead of being stored in it."""


def _make(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    args, kwargs = lower(tuple(args)), lower(kwargs)
    if holds_traced(args) or holds_traced(kwargs):
        return lift(dispatch.array_function(func, args, kwargs))
    result = (np.zeros if func is np.empty else func)(*args, **kwargs)
    traced = dispatch.implementation(func)
    recipe = None
    if isinstance(result, np.ndarray) and result.nbytes > RECIPE_BYTES and traced is not None:
        recipe = lambda: traced(*args, **kwargs)  # noqa: E731
    return lift(result, lent=result is not None and getattr(result, "base", None) is not None, recipe=recipe)


_LIKE: dict[Any, Callable[..., Any]] = {np.zeros_like: np.zeros, np.empty_like: np.zeros, np.ones_like: np.ones}


def _make_like(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """``zeros_like`` and its relatives: of their argument they need shape, dtype and order alone."""
    prototype, *rest = args
    if type(prototype) is Buffer:
        dtype = rest[0] if rest else kwargs.get("dtype")
        rest = [prototype.dtype if dtype is None else dtype, *rest[1:]]
        others = {k: v for k, v in kwargs.items() if k != "dtype"}
        if kwargs.get("shape") is None and not prototype.frame().flags.c_contiguous:
            like = np.ones_like if func is np.ones_like else np.zeros_like
            return lift(like(prototype.frame(), *rest, **others), lent=False)
        shape = others.get("shape")
        return _make(_LIKE[func], (prototype.shape if shape is None else shape, rest[0]), {})
    return compute(func, args, kwargs)


def _full_like(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    def full_like(
        a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **rest: Any
    ) -> Any:
        a = a if isinstance(a, (Buffer, Tracer)) else np.asanyarray(a)
        return _make(
            np.full, (a.shape if shape is None else shape, fill_value, a.dtype if dtype is None else dtype), {}
        )

    return full_like(*args, **kwargs)


handle(
    _make,
    np.zeros, np.ones, np.empty, np.full, np.arange, np.linspace, np.logspace, np.geomspace, np.eye, np.identity,
    np.tri, np.indices, np.bartlett, np.blackman, np.hamming, np.hanning,
)  # fmt: skip
handle(_make_like, *_LIKE)
handle(_full_like, np.full_like)

# -- functions that may give their argument back --------------------------------------------------------------------


def _as_array(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """``asarray`` and its relatives: a buffer that fits is handed back itself."""
    obj = args[0] if args else kwargs.get("a", kwargs.get("object"))
    dtype = args[1] if len(args) > 1 else kwargs.get("dtype")
    if type(obj) is Buffer and kwargs.get("copy") is not True and (dtype is None or np.dtype(dtype) == obj.dtype):
        missing = 1 if func in (np.ascontiguousarray, np.asfortranarray) and obj.ndim == 0 else 0
        missing = max(missing, kwargs.get("ndmin", 0) - obj.ndim)
        if missing > 0:
            return obj[(None,) * missing]
        flags = obj.frame().flags
        if not (func is np.ascontiguousarray and not flags.c_contiguous):
            if not (func is np.asfortranarray and not flags.f_contiguous):
                return obj
    return compute(func, args, kwargs)


def _array(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return compute(func, args, kwargs) if kwargs.get("copy", True) is True else _as_array(func, args, kwargs)


def _astype(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    x, dtype = args[:2]
    if type(x) is Buffer and kwargs.get("copy", True) is False and np.dtype(dtype) == x.dtype:
        return x
    return compute(func, args, kwargs)


def _real(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    x: Any = args[0] if args else kwargs["val"]
    if type(x) is Buffer:
        return getattr(x, func.__name__)
    return compute(func, args, kwargs)


def _share(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    a, b, *rest = args
    frames = [x.frame() if type(x) is Buffer else x for x in (a, b)]
    if any(isinstance(x, Tracer) for x in frames):
        return False
    shared: bool = func(*frames, *rest, **kwargs)
    return shared


handle(_array, np.array)
handle(_as_array, np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray)
handle(_astype, np.astype)
handle(_real, np.real, np.imag)
handle(_share, np.may_share_memory, np.shares_memory)

# -- functions that give views --------------------------------------------------------------------------------------


def view_call(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A function whose results are views of its first argument, as far as NumPy can make them so."""
    x, *rest = args
    if type(x) is not Buffer or holds_traced(tuple(rest)) or holds_traced(kwargs):
        return compute(func, args, kwargs)
    others, kwargs = lower(tuple(rest)), lower(kwargs)
    frame = x.frame()
    found = func(frame, *others, **kwargs)
    many = isinstance(found, (list, tuple))
    traced = dispatch.implementation(func)
    plain_order = kwargs.get("order", "C") in ("C", "F") and not any(
        o in ("A", "K") for o in others if isinstance(o, str)
    )

    def one(k: int, part: np.ndarray) -> Any:
        if part is frame:
            return x
        if not np.may_share_memory(part, frame) and part.size:
            return None
        if traced is None or not plain_order:
            return x.over_positions(part)
        if many:
            return x.over(part, lambda value: traced(value, *others, **kwargs)[k])
        return x.over(part, lambda value: traced(value, *others, **kwargs))

    parts = [one(k, part) for k, part in enumerate(found if many else [found])]
    if any(part is None for part in parts):
        return compute(func, args, kwargs)
    return type(found)(parts) if many else parts[0]


def _each(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    results = [view_call(func, (a,), kwargs) if type(a) is Buffer else compute(func, (a,), kwargs) for a in args]
    return results[0] if len(results) == 1 else tuple(results)


handle(
    view_call,
    np.reshape, np.ravel, np.transpose, np.permute_dims, np.matrix_transpose, np.swapaxes, np.moveaxis, np.rollaxis,
    np.squeeze, np.expand_dims, np.broadcast_to, np.flip, np.flipud, np.fliplr, np.rot90, np.split, np.array_split,
    np.hsplit, np.vsplit, np.dsplit, since("2.1", "unstack"), np.diagonal, np.diag,
    np.lib.stride_tricks.sliding_window_view, np.lib.stride_tricks.as_strided,
)  # fmt: skip
handle(_each, np.atleast_1d, np.atleast_2d, np.atleast_3d)

# -- functions that write -------------------------------------------------------------------------------------------


def _write(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """``copyto``, ``put`` and their relatives."""
    if args:
        target, rest = args[0], tuple(args[1:])
    else:
        kwargs = dict(kwargs)
        target, rest = kwargs.pop(next(n for n in ("dst", "arr", "a") if n in kwargs)), ()
    traced = holds_traced((rest, kwargs))
    if type(target) is not Buffer:
        if traced:
            dispatch.array_function(func, (target, *lower(rest)), lower(kwargs))
        func(target, *lower(rest), **lower(kwargs))
        return
    traced = traced or not target.concrete
    target.check_write(traced)
    if not traced:
        func(target.writeable_frame(), *lower(rest, Buffer.peek), **lower(kwargs, Buffer.peek))
        return
    new = dispatch.functions[func](target.read(), *lower(rest), inplace=False, **lower(kwargs))
    target.assign(stored(new, target.dtype))


handle(_write, np.copyto, np.put, np.place, np.putmask, np.fill_diagonal, np.put_along_axis)


def _shuffle(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    (target,) = args
    if type(target) is not Buffer:
        func(target)
        return
    target.check_write(not target.concrete)
    if not target.concrete:
        raise errors.ArgumentError(
            f"{func.__name__}: a traced array cannot be shuffled in place. Draw a permutation and take: x[permutation]"
        )
    func(target.writeable_frame())


def _nan_to_num(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """``nan_to_num``, which can work in place."""
    copy = args[1] if len(args) > 1 else kwargs.get("copy", True)
    rest = {k: v for k, v in kwargs.items() if k != "copy"}
    result = compute(func, (args[0], True, *args[2:]), rest)
    if copy or type(args[0]) is not Buffer:
        return result
    return fill(func, args[0], lower(result))


handle(_nan_to_num, np.nan_to_num)
