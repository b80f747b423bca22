"""Functions applied to slices and to elements: under a transformation this is ``vmap``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans.api.vmap import vmap
from functrans.core.structural import broadcast_shapes, convert, move_axis
from functrans.core.trace import aval_of, current_trace
from functrans.lax.static import is_sequence, normalize_axis
from functrans.numpy.dispatch import implements, operand
from functrans.numpy.joining import unstack_axis
from functrans.numpy.manipulation import expand_dims


@implements(np.apply_along_axis)
def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """A function of vectors applied to every vector along an axis; see ``numpy.apply_along_axis``."""
    x = operand(arr, "apply_along_axis")
    shape = aval_of(x).shape
    at = normalize_axis("apply_along_axis", axis, len(shape))
    rest = shape[:at] + shape[at + 1 :]
    if 0 in rest:
        raise errors.ShapeError(
            f"apply_along_axis: there are no vectors along axis {axis} of an array of shape {shape}"
        )
    rows = lax.reshape(move_axis(x, at, -1), (-1, shape[at]))
    out = vmap(lambda row: operand(func1d(row, *args, **kwargs), "apply_along_axis"))(rows)
    inner = aval_of(out).shape[1:]
    out = lax.reshape(out, rest + inner)
    order = [*range(at), *range(len(rest), len(rest) + len(inner)), *range(at, len(rest))]
    return lax.transpose(out, order)


@implements(np.apply_over_axes)
def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Any:
    """A reduction applied over one axis after the other, which stay with extent 1; see ``numpy.apply_over_axes``."""
    x = operand(a, "apply_over_axes")
    ndim = aval_of(x).ndim
    for axis in axes if is_sequence(axes) else (axes,):
        at = normalize_axis("apply_over_axes", axis, ndim)
        out = func(x, at)
        if aval_of(out).ndim != ndim:
            out = expand_dims(out, at)
        if aval_of(out).ndim != ndim:
            raise errors.ShapeError(
                f"apply_over_axes: the function must keep the axes or drop the one it is given; it made an array of "
                f"type {aval_of(out)} of one of type {aval_of(x)}"
            )
        x = out
    return x


_NAME = r"[A-Za-z_0-9]+"
_CORE = rf"\((?:{_NAME}(?:,{_NAME})*,?)?\)"
_SIGNATURE = re.compile(rf"{_CORE}(?:,{_CORE})*->{_CORE}(?:,{_CORE})*")


def _parse_signature(signature: str) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    text = re.sub(r"\s+", "", signature)
    if not _SIGNATURE.fullmatch(text):
        raise errors.ArgumentError(f"vectorize: {signature!r} is no signature; one looks like '(n,k),(k)->(n)'")
    sides = [[tuple(re.findall(_NAME, core)) for core in re.findall(r"\(([^)]*)\)", side)] for side in text.split("->")]
    return sides[0], sides[1]


class vectorize:
    """A function of scalars (or, with a signature, of arrays) as one that broadcasts; see ``numpy.vectorize``.

    Without a transformation this is ``numpy.vectorize``, a loop. Under one the function is traced once and mapped with
    ``vmap``: Python branches on its arguments cannot be taken then.

    Args:
        pyfunc: the function.
        otypes: the dtypes of the results, as a string of characters or a list; as the function gives them if None.
        doc: the docstring; that of the function if None.
        excluded: positions and names of arguments that are passed on as they are.
        cache: accepted for NumPy's sake; it has an effect on the loop alone.
        signature: such as ``"(n,k),(k)->(n)"``: the axes of one example of each argument and result.

    >>> smaller = vectorize(lambda a, b: a - b, signature="(n),()->(n)")
    >>> smaller(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 2.0]))
    array([[0., 1.],
           [1., 2.]])
    """

    def __init__(
        self,
        pyfunc: Callable[..., Any],
        otypes: Any = None,
        doc: str | None = None,
        excluded: Any = None,
        cache: bool = False,
        signature: str | None = None,
    ) -> None:
        self.pyfunc = pyfunc
        self.signature = signature
        self.excluded = frozenset(excluded or ())
        self.otypes = None if otypes is None else [np.dtype(t) for t in otypes]
        self._cores = None if signature is None else _parse_signature(signature)
        self._loop = np.vectorize(pyfunc, otypes, doc, excluded, cache, signature)
        self.__name__ = getattr(pyfunc, "__name__", "vectorize")
        self.__doc__ = pyfunc.__doc__ if doc is None else doc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is None:
            return self._loop(*args, **kwargs)
        places: list[Any] = [i for i in range(len(args)) if i not in self.excluded]
        names = [k for k in kwargs if k not in self.excluded]
        given = [operand(args[i], self.__name__) for i in places] + [operand(kwargs[k], self.__name__) for k in names]
        if not given:
            raise errors.ArgumentError(f"vectorize({self.__name__}): an argument to map over is needed")
        inner, outer = self._examples(given)
        batch = broadcast_shapes(self.__name__, *outer)

        def one(*examples: Any) -> Any:
            positional, named = list(args), dict(kwargs)
            for i, x in zip(places, examples, strict=False):
                positional[i] = x
            named.update(zip(names, examples[len(places) :], strict=True))
            return self._results(self.pyfunc(*positional, **named))

        rows = []
        for x, core, lead in zip(given, inner, outer, strict=True):
            # Arguments that are the same along all axes of the batch need not be repeated.
            x = x if not lead else lax.reshape(lax.broadcast_to(x, batch + core), (-1, *core))
            rows.append(x)
        if not batch:
            return one(*rows)
        out = vmap(one, in_axes=tuple(0 if lead else None for lead in outer))(*rows)
        shaped = [lax.reshape(o, batch + aval_of(o).shape[1:]) for o in (out if isinstance(out, tuple) else (out,))]
        return tuple(shaped) if isinstance(out, tuple) else shaped[0]

    def _examples(self, given: list[Any]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """The shapes of one example of each argument, and of the axes to map over in front of it."""
        shapes = [aval_of(x).shape for x in given]
        if self._cores is None:
            return [()] * len(given), shapes
        cores = self._cores[0]
        if len(cores) != len(given):
            raise errors.ArgumentError(
                f"vectorize({self.__name__}): the signature {self.signature!r} is for {len(cores)} arguments, got "
                f"{len(given)}"
            )
        extents: dict[str, int] = {}
        for i, (shape, core) in enumerate(zip(shapes, cores, strict=True)):
            inner = shape[len(shape) - len(core) :]
            if len(inner) < len(core):
                raise errors.ShapeError(f"vectorize({self.__name__}): argument {i} of shape {shape} lacks axes {core}")
            for name, extent in zip(core, inner, strict=True):
                if extents.setdefault(name, extent) != extent:
                    raise errors.ShapeError(
                        f"vectorize({self.__name__}): axis {name!r} has extent {extent} in argument {i} of shape "
                        f"{shape}, and {extents[name]} before"
                    )
        splits = [len(s) - len(c) for s, c in zip(shapes, cores, strict=True)]
        return (
            [s[n:] for s, n in zip(shapes, splits, strict=True)],
            [s[:n] for s, n in zip(shapes, splits, strict=True)],
        )

    def _results(self, out: Any) -> Any:
        several = isinstance(out, tuple)
        outs = [operand(o, self.__name__) for o in (out if several else (out,))]
        if self.otypes is not None:
            outs = [convert(o, t) for o, t in zip(outs, self.otypes, strict=True)]
        if self._cores is not None:
            for o, core in zip(outs, self._cores[1], strict=True):
                if aval_of(o).ndim != len(core):
                    raise errors.ShapeError(
                        f"vectorize({self.__name__}): a result of type {aval_of(o)} does not have the axes {core} of "
                        f"the signature {self.signature!r}"
                    )
        return tuple(outs) if several else outs[0]

    def __repr__(self) -> str:
        return f"<vectorized {self.__name__}>"


@implements(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """A function put together from others by conditions, of which the last that holds decides; see ``numpy.piecewise``.

    Every function is applied to all of ``x``, and its results are chosen where its condition holds. One whose
    derivative is infinite somewhere it is not chosen gives NaN there: see ``functrans.lax.select``.
    """
    x = operand(x, "piecewise")
    aval = aval_of(x)
    if isinstance(condlist, (list, tuple)):
        given = [operand(c, "piecewise") for c in condlist]
        single = aval.ndim > 0 and all(not aval_of(c).ndim for c in given)
        conditions = [operand(condlist, "piecewise")] if single else given
    else:
        table = operand(condlist, "piecewise")
        conditions = [table] if aval_of(table).ndim == aval.ndim else unstack_axis(table, 0)
    conditions = [convert(c, bool) for c in conditions]
    if len(funclist) == len(conditions) + 1:
        none = lax.bitwise_not(conditions[0])
        for c in conditions[1:]:
            none = lax.bitwise_and(none, lax.bitwise_not(c))
        conditions.append(none)
    elif len(funclist) != len(conditions):
        raise errors.ArgumentError(
            f"piecewise: {len(conditions)} conditions need as many functions or one more, got {len(funclist)}"
        )
    out = lax.zeros_like(x)
    for condition, function in zip(conditions, funclist, strict=True):
        value = function(x, *args, **kw) if callable(function) else function
        value = convert(operand(value, "piecewise"), aval.dtype)
        out = lax.select(condition, value, out)
    return out
