"""What a function of ``functrans.scipy`` must satisfy: traced it gives SciPy's results, with right derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import functrans as ft
from tests.numpy.agreement import check_derivative, same


class Use(NamedTuple):
    """One use of a function.

    Attributes:
        name: what the test is called.
        f: ``f(xp, *arrays)``, where ``xp`` is the module of SciPy or ours.
        args: the arrays and numbers that are traced.
        order: up to which order derivatives are compared with finite differences.
        digits: relative agreement of values, in units of the dtype's precision.
        batch: which arguments are mapped over, by position; every array if None.
    """

    name: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    order: int = 2
    digits: int = 16
    batch: tuple[int, ...] | None = None


def check_use(use: Use, scipys: Any, ours: Any) -> None:
    """Values under ``jit``, derivatives, and ``vmap`` against a loop."""
    f, args = use.f, use.args
    expected = f(scipys, *args)
    same(ft.jit(lambda *xs: f(ours, *xs))(*args), expected, use.digits)
    if use.order:
        check_derivative(lambda *xs: f(ours, *xs), args, use.order)
    check_batches(use, ours)


def check_batches(use: Use, ours: Any) -> None:
    """``vmap`` gives what a loop gives."""
    arrays = [i for i, x in enumerate(use.args) if isinstance(x, (np.ndarray, np.generic))]
    mapped = tuple(arrays) if use.batch is None else use.batch
    if not mapped:
        return
    axes = tuple(0 if i in mapped else None for i in range(len(use.args)))
    batches = [
        np.stack([x, np.roll(np.asarray(x), 1), np.asarray(x)[::-1] if np.ndim(x) else x]) if i in mapped else x
        for i, x in enumerate(use.args)
    ]
    out = ft.vmap(lambda *xs: use.f(ours, *xs), in_axes=axes)(*batches)
    rows = [use.f(ours, *[b[k] if i in mapped else b for i, b in enumerate(batches)]) for k in range(3)]
    leaves = ft.tree.leaves(out)
    assert len(leaves) == len(ft.tree.leaves(rows[0]))
    for whole, *each in zip(leaves, *map(ft.tree.leaves, rows), strict=True):
        expected = np.stack(each)
        assert whole.dtype == expected.dtype
        scale = float(np.max(np.abs(expected), initial=1.0))
        eps = float(np.finfo(whole.dtype).eps) if whole.dtype.kind in "fc" else 0.0
        np.testing.assert_allclose(whole, expected, rtol=use.digits * eps, atol=use.digits * eps * scale)
