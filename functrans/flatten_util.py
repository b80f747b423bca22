"""Pytrees as flat vectors, for solvers that know nothing of pytrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.api.arguments import avals_of, flatten_arrays
from functrans.api.boundary import boundary
from functrans.core import dtypes
from functrans.core.structural import convert, is_traced, rebox
from functrans.core.trace import aval_of
from functrans.lax.movement import copy
from functrans.numpy.dispatch import operand

__all__ = ["ravel_pytree"]


@boundary
def ravel_pytree(pytree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The entries of a pytree of arrays as one vector, and the way back.

    Args:
        pytree: arrays and numbers of any shapes. Different dtypes are promoted to a common one, as NumPy does it.

    Returns:
        The vector, of shape ``(total size,)``, and ``unravel(vector)``, which restores structure, shapes and dtypes.
        Neither shares memory with what it is made from. Leaves of integers are cut off to integers again, and have
        no derivative.

    Raises:
        ArgumentError: a leaf is no array or number.
        ShapeError: ``unravel`` got a vector of another length.

    >>> import numpy as np
    >>> vector, unravel = ravel_pytree({"w": np.ones((2, 2)), "b": 3.0})
    >>> vector
    array([3., 1., 1., 1., 1.])
    >>> unravel(vector * 2)["w"]
    array([[2., 2.],
           [2., 2.]])
    """
    leaves, treedef = flatten_arrays("ravel_pytree", "pytree", pytree)
    avals = avals_of(leaves)
    if leaves:
        common = dtypes.result_type(*[a.dtype for a in avals])
        vector = fnp.concatenate([fnp.ravel(convert(x, common)) for x in leaves])
    else:
        vector = np.zeros(0)
    total = sum(a.size for a in avals)

    @boundary
    def unravel(vector: Any) -> Any:
        vector = operand(vector, "unravel")
        shape = aval_of(vector).shape
        if shape != (total,):
            raise errors.ShapeError(f"unravel: a vector of shape ({total},) is needed, got shape {shape}")
        out = []
        start = 0
        for a in avals:
            piece = convert(fnp.reshape(vector[start : start + a.size], a.shape), a.dtype)
            if not is_traced():  # A solver may go on to write into its vector.
                piece = copy(piece)
            out.append(rebox(piece, "array" if a.box == "array" else "numpy"))
            start += a.size
        return treedef.unflatten(out)

    return vector, unravel
