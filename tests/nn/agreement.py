"""What every function of ``functrans.nn`` must satisfy under transformations, checked for one use of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import functrans as ft
from functrans.test_util import check_grads


def same(found: Any, expected: Any) -> None:
    """Two results agree in type, dtype, shape, and in value to the bit."""
    assert type(found) is type(expected)
    if isinstance(expected, tuple):
        for a, b in zip(found, expected, strict=True):
            same(a, b)
        return
    np.testing.assert_array_equal(found, expected, strict=True)
    np.testing.assert_array_equal(np.signbit(np.real(found)), np.signbit(np.real(expected)))


def _leaves(out: Any) -> list[Any]:
    return list(out) if isinstance(out, tuple) else [out]


def check(f: Callable[..., Any], *args: Any, order: int = 2) -> None:
    """``f`` compiled, differentiated and mapped does what ``f`` does; ``order`` is that of derivatives to check."""
    same(ft.jit(f)(*args), f(*args))
    if order:
        check_grads(f, args, order)
    for i, x in enumerate(args):
        batch = np.stack([np.asarray(x), np.asarray(x)[..., ::-1] if np.ndim(x) else np.asarray(x)], axis=-1)
        axes = tuple(-1 if k == i else None for k in range(len(args)))
        found = ft.vmap(f, in_axes=axes)(*args[:i], batch, *args[i + 1 :])
        rows = [f(*args[:i], batch[..., k], *args[i + 1 :]) for k in range(2)]
        for whole, *each in zip(_leaves(found), *map(_leaves, rows), strict=True):
            expected = np.stack(each)
            eps = float(np.finfo(expected.dtype).eps)
            np.testing.assert_allclose(whole, expected, rtol=16 * eps, atol=16 * eps, strict=True)
