"""Products of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import lax
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.numpy.dispatch import implements, operand, reject_out
from functrans.numpy.ufuncs import Ufunc, loop


def promoted(name: str, *operands: Any) -> list[Any]:
    """Operands of a product in their common dtype."""
    found = [operand(x, name) for x in operands]
    avals = [aval_of(x) for x in found]
    types = loop(np.multiply, avals) if len(avals) == 2 else None
    target = types[0] if types is not None else np.result_type(*[a.dtype for a in avals])
    return [convert(x, target) for x in found]


@implements(np.dot)
def dot(a: Any, b: Any, out: None = None) -> Any:
    """The dot product; see ``numpy.dot``."""
    reject_out("dot", out)
    x, y = promoted("dot", a, b)
    return lax.tensordot(x, y, ((aval_of(x).ndim - 1,), (max(aval_of(y).ndim - 2, 0),))) if (
        aval_of(x).ndim > 2 or aval_of(y).ndim > 2
    ) and aval_of(x).ndim and aval_of(y).ndim else lax.dot(x, y)


class _Matmul(Ufunc):
    """``matmul`` is a ufunc to NumPy, though not an elementwise one."""


matmul = _Matmul(np.matmul, lambda x, y: lax.matmul(*promoted("matmul", x, y)))


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """The sum of products over given axes; see ``numpy.tensordot``."""
    return lax.tensordot(*promoted("tensordot", a, b), axes)
