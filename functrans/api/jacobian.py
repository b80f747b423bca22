"""Jacobians, Hessians and products with them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.arguments import (
    Argnums,
    avals_of,
    check_argnums,
    check_differentiable,
    flatten_arrays,
    leaf_path,
    select,
)
from functrans.api.boundary import boundary, check_callable, name_of
from functrans.api.grad import grad
from functrans.api.linear import jvp, vjp
from functrans.api.sparse import sparse_jacobian
from functrans.api.tracing import is_staged
from functrans.api.vmap import over_directions
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.capture import Rebuild, transformation
from functrans.core.structural import rebox
from functrans.core.trace import aval_of, current_trace
from functrans.core.tree import tree_flatten
from functrans.core.treedef import PyTreeDef


class _Chosen:
    """The arguments that a Jacobian is taken in, as one pytree of arrays.

    Attributes:
        tree: a single argument, or the tuple of them.
        f: the function of that tree alone.
    """

    def __init__(
        self,
        name: str,
        f: Callable[..., Any],
        argnums: Argnums,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        holomorphic: bool,
        allow_int: bool,
    ) -> None:
        self.where = f"{name}({name_of(f)})"
        indices = select(name, f, check_argnums(name, argnums), args)
        single = isinstance(argnums, int)
        self.tree = args[indices[0]] if single else tuple([args[i] for i in indices])
        label = f"argument {indices[0]}" if single else "the differentiated arguments"
        self.leaves, self.treedef = flatten_arrays(self.where, label, self.tree)
        self.avals = avals_of(self.leaves)
        tree = self.tree
        check_differentiable(self.where, lambda i: leaf_path(label, tree, i), self.avals, holomorphic, allow_int)

        @functools.wraps(f, updated=())
        def of_chosen(tree: Any) -> Any:
            full = list(args)
            for i, value in zip(indices, (tree,) if single else tree, strict=True):
                full[i] = value
            return f(*full, **kwargs)

        self.f = of_chosen
        self.label = label

    def check_real(self) -> None:
        """Reject complex arguments: the derivative along the real axis alone is half of the answer."""
        for i, aval in enumerate(self.avals):
            if dtypes.is_complex(aval.dtype):
                raise errors.GradientInputError(
                    f"{self.where}: {leaf_path(self.label, self.tree, i)} has type {aval}, and a Jacobian by forward "
                    f"mode needs real inputs. Pass real and imaginary part apart, or holomorphic=True for a "
                    f"holomorphic function"
                )


def _basis(avals: Sequence[ShapedArray], treedef: PyTreeDef) -> tuple[Any, int]:
    """A batch with one unit vector for each entry of a pytree."""
    total = sum(a.size for a in avals if dtypes.is_inexact(a.dtype))
    staged = is_staged(current_trace())
    start = 0
    leaves: list[Any] = []
    for a in avals:
        if not dtypes.is_inexact(a.dtype):
            leaves.append(np.zeros((total, *a.shape), dtypes.float0))
            continue
        block = np.zeros((total, a.size), a.dtype)
        block[start : start + a.size] = np.eye(a.size, dtype=a.dtype)
        if staged:
            block.flags.writeable = False  # A program may be simplified by what it holds.
        leaves.append(block.reshape(total, *a.shape))
        start += a.size
    return treedef.unflatten(leaves), total


def _unstack(
    batched: Any, avals: Sequence[ShapedArray], treedef: PyTreeDef, last: bool, argument: ShapedArray | None = None
) -> Any:
    """Split the axis over entries into one block for each leaf, shaped as it; ``last`` puts it behind the rest.

    A 0-d block is boxed as the argument that it belongs to: the leaf itself, if not another is given.
    """
    shape = aval_of(batched).shape
    blocks = []
    start = 0
    for a in avals:
        if not dtypes.is_inexact(a.dtype):
            rest = shape[1:]
            blocks.append(np.zeros((*rest, *a.shape) if last else (*a.shape, *rest), dtypes.float0))
            continue
        block = batched[start : start + a.size].reshape((*a.shape, *shape[1:]))
        start += a.size
        if last:
            order = [*range(a.ndim, len(a.shape) + len(shape) - 1), *range(a.ndim)]
            block = block.transpose(order)
        block = _contiguous(block)
        of = argument or a
        blocks.append(rebox(block, "array" if of.box == "array" and of.shape == () else "numpy"))
    return treedef.unflatten(blocks)


def _contiguous(block: Any) -> Any:
    return np.array(block, order="C") if isinstance(block, np.ndarray) else block


@boundary
def jacfwd(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """The Jacobian of ``f`` by forward mode: one JVP for each entry of the input, batched into one pass.

    Args and errors are those of ``grad``, except that the result may be any pytree of arrays.

    Returns:
        A function that gives, for each leaf of the result of shape ``s``, the structure of the argument with
        arrays of shape ``s + shape of the leaf``.

    >>> import numpy as np, functrans as ft
    >>> ft.jacfwd(lambda x: x**2)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    check_callable("jacfwd", f)
    check_argnums("jacfwd", argnums)

    @boundary
    @functools.wraps(f, updated=())
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        chosen = _Chosen("jacfwd", f, argnums, args, kwargs, holomorphic, allow_int)
        if not holomorphic:
            chosen.check_real()
        basis, total = _basis(chosen.avals, chosen.treedef)

        unbatched: list[Any] = []

        def pushed(direction: Any) -> Any:
            value, tangent, *aux = jvp(chosen.f, (chosen.tree,), (direction,), has_aux=has_aux)
            # The value and the auxiliary data do not depend on the direction, so they are not batched.
            unbatched[:] = [value, *aux]
            return tangent

        columns = over_directions(pushed, total)(basis)
        value, *aux = unbatched
        if holomorphic:
            _check_holomorphic(chosen.where, value)
        leaves, out_tree = tree_flatten(columns)
        jac = out_tree.unflatten([_unstack(x, chosen.avals, chosen.treedef, last=True) for x in leaves])
        return (jac, *aux) if has_aux else jac

    return transformation(jacobian_of, f, Rebuild(jacfwd, argnums, has_aux, holomorphic, allow_int))


def _check_holomorphic(where: str, value: Any) -> None:
    for leaf in tree_flatten(value)[0]:
        if not dtypes.is_complex(aval_of(leaf).dtype):
            raise errors.NonScalarOutputError(
                f"{where} with holomorphic=True: the function must return complex numbers, got {aval_of(leaf)}"
            )


@boundary
def jacrev(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """The Jacobian of ``f`` by reverse mode: one VJP for each entry of the result, batched into one pass.

    Arguments and result are those of ``jacfwd``.

    >>> import numpy as np, functrans as ft
    >>> ft.jacrev(lambda x: np.array([2.0, 3.0]) * x.sum())(np.array([1.0, 2.0]))
    array([[2., 2.],
           [3., 3.]])
    """
    check_callable("jacrev", f)
    check_argnums("jacrev", argnums)

    @boundary
    @functools.wraps(f, updated=())
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        chosen = _Chosen("jacrev", f, argnums, args, kwargs, holomorphic, allow_int)
        value, pullback, *aux = vjp(chosen.f, chosen.tree, has_aux=has_aux)
        leaves, out_tree = tree_flatten(value)
        avals = avals_of(leaves)
        if holomorphic:
            _check_holomorphic(chosen.where, value)
        for i, a in enumerate(avals):
            if dtypes.is_complex(a.dtype) and not holomorphic:
                raise errors.NonScalarOutputError(
                    f"{chosen.where}: {leaf_path('its result', value, i)} is complex ({a}). Return real and imaginary "
                    f"part apart, or pass holomorphic=True for a holomorphic function"
                )
        basis, total = _basis([a.cotangent() for a in avals], out_tree)
        (rows,) = over_directions(pullback, total)(basis)
        row_leaves, in_tree = tree_flatten(rows)
        # Each leaf of the argument has the blocks of every result; the user wants results outside, arguments inside.
        split = [
            tree_flatten(_unstack(x, avals, out_tree, False, argument))[0]
            for x, argument in zip(row_leaves, chosen.avals, strict=True)
        ]
        jac = out_tree.unflatten([in_tree.unflatten([blocks[i] for blocks in split]) for i in range(len(avals))])
        return (jac, *aux) if has_aux else jac

    return transformation(jacobian_of, f, Rebuild(jacrev, argnums, has_aux, holomorphic, allow_int))


@boundary
def jacobian(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    sparse: bool = False,
) -> Callable[..., Any]:
    """The Jacobian of ``f``: ``jacrev``, or in sparse form.

    Arguments are those of ``jacfwd``.

    Args:
        sparse: whether to return a ``scipy.sparse.csr_array`` with a row for each entry of the result and a column for
            each entry of the argument, flattened; for pytrees, a pytree of such blocks. Which entries it has follows
            from the program that computes ``f``, never from probing values. Columns that share no row are got from
            one product, so a banded Jacobian takes as many JVPs as its band is wide, whatever its size; where fewer
            VJPs do, they are taken. Control flow is followed conservatively. SciPy is needed, and the call must not
            stand inside another transformation.

    >>> import numpy as np, functrans as ft
    >>> J = ft.jacobian(lambda x: x[1:] * x[:-1], sparse=True)(np.array([1.0, 2.0, 3.0]))
    >>> J.toarray()
    array([[2., 1., 0.],
           [0., 3., 2.]])
    """
    if not sparse:
        return jacrev(f, argnums, has_aux, holomorphic, allow_int)
    return _sparse("jacobian", f, argnums, has_aux, holomorphic, False)


def _sparse(
    name: str, f: Callable[..., Any], argnums: Argnums, has_aux: bool, holomorphic: bool, second: bool
) -> Callable[..., Any]:
    check_callable(name, f)
    check_argnums(name, argnums)

    @boundary
    @functools.wraps(f, updated=())
    def sparse_of(*args: Any, **kwargs: Any) -> Any:
        chosen = _Chosen(name, f, argnums, args, kwargs, holomorphic, False)
        if not holomorphic:
            chosen.check_real()
        function = grad(chosen.f, 0, has_aux, holomorphic) if second else chosen.f
        return sparse_jacobian(
            chosen.where, function, chosen.tree, chosen.leaves, chosen.treedef, has_aux, holomorphic, second
        )

    kind = hessian if second else jacobian
    return transformation(sparse_of, f, Rebuild(kind, argnums, has_aux, holomorphic, sparse=True))


@boundary
def hessian(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    sparse: bool = False,
) -> Callable[..., Any]:
    """The matrix of second derivatives: forward mode over reverse mode.

    Arguments and structure of the result are those of ``jacfwd(jacrev(f))``. With ``sparse`` the function returns one
    real number, and the result is a symmetric ``scipy.sparse.csr_array`` of the flattened argument, as
    ``functrans.jacobian`` gives it; its symmetry saves further products.

    >>> import numpy as np, functrans as ft
    >>> ft.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    if sparse:
        return _sparse("hessian", f, argnums, has_aux, holomorphic, True)
    check_callable("hessian", f)
    inner = jacrev(f, argnums, has_aux, holomorphic, allow_int)
    return jacfwd(inner, argnums, has_aux, holomorphic, allow_int)


@boundary
def hvp(
    f: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """Products of a scalar function's Hessian with vectors, at the cost of a few evaluations of ``f``.

    Returns:
        A function ``(*args, vector)``: the arguments of ``f``, then a direction with the structure of the argument
        (of the tuple of arguments, for a tuple of ``argnums``). Its result has that structure too.

    >>> import numpy as np, functrans as ft
    >>> ft.hvp(lambda x: (x**3).sum())(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    """
    check_callable("hvp", f)
    check_argnums("hvp", argnums)

    @boundary
    @functools.wraps(f, updated=())
    def product(*args: Any, **kwargs: Any) -> Any:
        if len(args) < 2:
            raise errors.ArgumentError(
                f"hvp({name_of(f)}): the call needs the arguments of the function and then a vector, got {len(args)} "
                f"argument{'' if len(args) == 1 else 's'}"
            )
        *primals, vector = args
        chosen = _Chosen("hvp", f, argnums, tuple(primals), kwargs, holomorphic, allow_int)
        gradient = grad(chosen.f, 0, has_aux, holomorphic, allow_int)
        result = jvp(gradient, (chosen.tree,), (vector,), has_aux=has_aux)
        return (result[1], result[2]) if has_aux else result[1]

    return transformation(product, f, Rebuild(hvp, argnums, has_aux, holomorphic, allow_int))
