"""``make_jaxpr``, ``eval_shape`` and ``closure_convert``: looking at a function without running it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.arguments import Argnums, check_argnums, check_outputs, leaf_path
from functrans.api.boundary import boundary, check_callable, name_of
from functrans.core import dtypes
from functrans.core.avals import ShapedArray, shaped
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Jaxpr
from functrans.core.stage import stage
from functrans.core.trace import Tracer, aval_of, is_array
from functrans.core.tree import tree_flatten
from functrans.core.treedef import PyTreeDef, register_leaf


@register_leaf
class ShapeDtypeStruct:
    """The shape and dtype of an array, without the array.

    >>> import numpy as np, functrans as ft
    >>> ft.ShapeDtypeStruct((2, 3), np.float32)
    ShapeDtypeStruct(shape=(2, 3), dtype=float32)
    """

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        try:
            self.shape = tuple([operator.index(n) for n in shape])
        except TypeError:
            raise errors.ArgumentError(
                f"ShapeDtypeStruct: the shape must be a sequence of integers, got {shape!r}"
            ) from None
        if dtype is None:
            raise errors.ArgumentError("ShapeDtypeStruct: a dtype is needed, got None. Write numpy.float64, say")
        self.dtype = np.dtype(dtype)

    @property
    def aval(self) -> ShapedArray:
        return shaped(self.shape, dtypes.canonical(self.dtype), "numpy" if self.shape == () else "array")

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a ShapeDtypeStruct without axes has no length")
        return self.shape[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeDtypeStruct) and (self.shape, self.dtype) == (other.shape, other.dtype)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={self.dtype})"


def abstract(where: str, label: str, tree: Any) -> tuple[list[ShapedArray], PyTreeDef]:
    """The avals of a pytree of arrays, numbers and ``ShapeDtypeStruct``s."""
    leaves, treedef = tree_flatten(tree)
    avals = []
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, ShapeDtypeStruct):
            avals.append(leaf.aval)
        elif is_array(leaf):
            avals.append(aval_of(leaf))
        elif hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
            avals.append(ShapeDtypeStruct(leaf.shape, leaf.dtype).aval)
        else:
            raise errors.ArgumentError(
                f"{where}: {leaf_path(label, tree, i)} is an object of type {type(leaf).__name__}; an array, a number "
                f"or a ShapeDtypeStruct is needed there"
            )
    return avals, treedef


def _stage_call(
    where: str, f: Callable[..., Any], args: Any, kwargs: Any, static: Sequence[int] = ()
) -> tuple[Jaxpr, PyTreeDef]:
    fixed = {i % len(args): args[i] for i in static} if args else {}
    traced = [a for i, a in enumerate(args) if i not in fixed]
    avals, treedef = abstract(where, "argument ", (traced, kwargs))
    trees: list[PyTreeDef] = []

    def flat(*inputs: Any) -> list[Any]:
        given, named = treedef.unflatten(inputs)
        rest = iter(given)
        out = f(*[fixed[i] if i in fixed else next(rest) for i in range(len(args))], **named)
        leaves, tree = check_outputs(where, out)
        trees[:] = [tree]
        return leaves

    jaxpr = stage(flat, avals, name_of(f))
    return jaxpr, trees[0]


@boundary
def make_jaxpr(f: Callable[..., Any], static_argnums: Argnums = (), return_shape: bool = False) -> Callable[..., Any]:
    """A function that shows the jaxpr of ``f`` at given arguments.

    Args:
        f: the function to trace.
        static_argnums: positional arguments that stay Python values.
        return_shape: whether to return the result's pytree of ``ShapeDtypeStruct``s too.

    >>> import numpy as np, functrans as ft
    >>> print(ft.make_jaxpr(lambda x: np.sin(x) * 2.0)(np.ones(3)))
    { lambda ; a:f64[3] . let
        b:f64[3] = sin a
        c:f64[3] = mul b 2.0
      in (c,) }
    """
    check_callable("make_jaxpr", f)
    static = check_argnums("make_jaxpr", static_argnums)

    @boundary
    @functools.wraps(f, updated=())
    def traced(*args: Any, **kwargs: Any) -> Any:
        jaxpr, out_tree = _stage_call(f"make_jaxpr({name_of(f)})", f, args, kwargs, static)
        return (jaxpr, _shapes(jaxpr, out_tree)) if return_shape else jaxpr

    return traced


def _shapes(jaxpr: Jaxpr, out_tree: PyTreeDef) -> Any:
    return out_tree.unflatten([ShapeDtypeStruct(a.shape, a.dtype) for a in jaxpr.out_avals])


@boundary
def eval_shape(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The shapes and dtypes of ``f(*args)``, found without computing anything.

    >>> import numpy as np, functrans as ft
    >>> ft.eval_shape(np.dot, ft.ShapeDtypeStruct((2, 3), np.float64), np.ones(3))
    ShapeDtypeStruct(shape=(2,), dtype=float64)
    """
    check_callable("eval_shape", f)
    return _shapes(*_stage_call(f"eval_shape({name_of(f)})", f, args, kwargs))


@boundary
def closure_convert(f: Callable[..., Any], *example_args: Any) -> tuple[Callable[..., Any], list[Any]]:
    """Make what a function closes over explicit.

    Returns:
        A function ``(*args, *constants)`` and the list of constants: the inexact arrays (and traced values) that
        ``f`` closes over, so that a custom rule can return cotangents for them.

    >>> import numpy as np, functrans as ft
    >>> w = np.array([2.0, 3.0])
    >>> g, constants = ft.closure_convert(lambda x: x * w, np.ones(2))
    >>> g(np.ones(2), *constants)
    array([2., 3.])
    """
    check_callable("closure_convert", f)
    _, in_tree = abstract("closure_convert", "argument ", example_args)
    jaxpr, out_tree = _stage_call(f"closure_convert({name_of(f)})", f, example_args, {})
    hoist = [isinstance(c, Tracer) or dtypes.is_inexact(aval_of(c).dtype) for c in jaxpr.consts]
    constants = [c for c, h in zip(jaxpr.consts, hoist, strict=True) if h]

    def converted(*args: Any) -> Any:
        split = len(args) - len(constants)
        given = iter(args[split:])
        leaves, tree = tree_flatten(args[:split])
        if tree != in_tree:
            raise errors.TreeStructureError(
                f"closure_convert({name_of(f)}): the arguments must have the structure of the example, {in_tree}, "
                f"got {tree}"
            )
        consts = [next(given) if h else c for c, h in zip(jaxpr.consts, hoist, strict=True)]
        return out_tree.unflatten(evaluate(jaxpr.replace(consts=consts), leaves))

    return converted, constants


def typeof(x: Any) -> ShapedArray:
    """The type of an array, a number or a traced value: its shape, its dtype, and how a scalar is boxed.

    Raises:
        ArgumentError: it is none of them.

    >>> import numpy as np, functrans as ft
    >>> ft.typeof(np.ones((2, 3), np.float32)), ft.typeof(np.float64(1.0)), ft.typeof(1.0)
    (f32[2,3], f64[], f64[]*)
    """
    return aval_of(x)
