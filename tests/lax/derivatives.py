"""Derivatives of elementwise functions for the tests of this folder, from the interpreters alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from functrans.core.primitive import BatchAxis
from functrans.core.structural import instantiate
from functrans.interpreters.batch import batch_flat, materialize
from functrans.interpreters.jvp import jvp_flat
from functrans.interpreters.linearize import linearize_flat, pull, push

Function = Callable[..., Any]


def tangent(f: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    """The tangent of the result, by forward mode."""
    _, (out,) = jvp_flat(lambda *xs: [f(*xs)], primals, tangents)
    return instantiate(out)


def gradients(f: Function, *primals: Any, cotangent: Any = None) -> list[Any]:
    """The cotangents of all operands, by reverse mode; for the cotangent 1 unless told. None means no influence."""
    tape = linearize_flat(lambda *xs: [f(*xs)], primals)
    (out,) = tape.primals_out
    return pull(tape, [np.ones_like(out) if cotangent is None else cotangent])


def slopes(f: Function, x: Any, order: int = 1) -> Any:
    """The derivatives of an elementwise function of one operand, which forward and reverse mode agree on."""
    if order > 1:
        return slopes(lambda y: tangent(f, (y,), (np.ones_like(x),)), x, order - 1)
    forward = tangent(f, (x,), (np.ones_like(x),))
    (reverse,) = gradients(f, x)
    tape = linearize_flat(lambda y: [f(y)], (x,))
    (pushed,) = push(tape, [np.ones_like(x)])
    np.testing.assert_array_equal(forward, instantiate(pushed))
    rounding = 8 * float(np.finfo(forward.dtype).eps)
    np.testing.assert_allclose(forward, np.zeros_like(x) if reverse is None else reverse, rtol=rounding)
    return forward


def mapped(f: Function, size: int, *args: Any, dims: tuple[int | None, ...]) -> Any:
    """The results of ``f`` for every example, stacked in front."""
    axis = BatchAxis(size)
    ((out, dim),) = batch_flat(lambda *xs: [f(*xs)], axis, args, dims)
    return materialize(axis, out, dim)
