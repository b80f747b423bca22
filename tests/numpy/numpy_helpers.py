"""Functions in a module of their own, which the tests of ``numpy_code`` reach by name and through the module."""

from __future__ import annotations

from typing import Any

import numpy as xp

SCALES = xp.array([1.0, 2.0, 4.0])
calls = 0


def filled(n: int, value: Any) -> Any:
    out = xp.zeros(n)
    for i in range(n):
        out[i] = value * i
    return doubled_in_place(out)


def doubled_in_place(a: Any) -> Any:
    a *= 2
    return a


def scaled(x: Any, i: Any) -> Any:
    return x[0] * SCALES[i]


def counted(x: Any) -> Any:
    global calls
    calls += 1
    return xp.array([x[0], x[1]])


def even(n: int, x: Any) -> Any:
    return xp.array([1.0, 0.0]) if n == 0 else odd(n - 1, x) * x[0]


def odd(n: int, x: Any) -> Any:
    out = xp.zeros(2)
    out[1] = x[1]
    return out if n == 0 else even(n - 1, x) + out
