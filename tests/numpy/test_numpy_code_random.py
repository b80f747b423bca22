"""Random programs of stores, views and updates: whatever NumPy computes, the transformed program computes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import functrans as ft

X = np.array([0.7, -1.3, 2.1, 0.4, -0.6])


def basic_index(rng: random.Random, shape: tuple[int, ...]) -> Any:
    """An index of integers, slices, new axes and an ellipsis that fits a shape."""
    entries: list[Any] = []
    for extent in shape[: rng.randint(0, len(shape))]:
        kind = rng.random()
        if kind < 0.4 and extent:
            entries.append(rng.randint(-extent, extent - 1))
        else:
            bounds = [rng.choice([None, rng.randint(-extent - 1, extent + 1)]) for _ in range(2)]
            entries.append(slice(*bounds, rng.choice([None, 1, 2, -1, -2])))
    if rng.random() < 0.15:
        entries.insert(rng.randint(0, len(entries)), None)
    if rng.random() < 0.15 and Ellipsis not in entries:
        entries.append(Ellipsis)
    return tuple(entries)


def any_index(rng: random.Random, shape: tuple[int, ...]) -> Any:
    """An index of any kind that NumPy takes, its arrays and masks known."""
    kind = rng.random()
    if kind < 0.6 or not shape or 0 in shape:
        return basic_index(rng, shape)
    if kind < 0.8:
        mask = np.array([rng.random() < 0.5 for _ in range(int(np.prod(shape)))])
        return mask.reshape(shape)
    axis = rng.randrange(len(shape))
    picks = np.array([rng.randrange(-shape[axis], shape[axis]) for _ in range(rng.randint(1, 3))])
    return (*[slice(None)] * axis, picks)


def extents(rng: random.Random, size: int) -> tuple[int, ...]:
    """A shape of a size."""
    if size == 0:
        return (0, 2)
    first = rng.choice([k for k in range(1, size + 1) if size % k == 0])
    return rng.choice([(size,), (first, size // first), (1, size)])


def value_for(rng: random.Random, shape: tuple[int, ...], x: Any, arrays: list[Any]) -> Any:
    """Something that broadcasts to a shape: a number, a traced number, traced or concrete arrays, another array."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice([2, -0.5, 3.0])
    if kind == 1 or not shape or 0 in shape:
        return x[rng.randrange(5)] * rng.choice([1.0, 2.0])
    if kind == 2:
        return np.arange(1.0, shape[-1] + 1)
    if kind == 3:
        return np.resize(x * 1.5, shape[-1:])
    if kind == 4:
        return np.resize(x, shape) + 1.0
    fitting = [a for a in arrays if a.shape == shape or a.shape == shape[-1:]]
    return rng.choice(fitting) if fitting else 1.0


def step(rng: random.Random, x: Any, arrays: list[Any]) -> None:
    """One random statement."""
    a = rng.choice(arrays)
    kind = rng.randrange(13)
    if kind == 0:
        shape = rng.choice([(6,), (2, 3), (4, 2), (2, 2, 2), (12,), (1,), ()])
        arrays.append(rng.choice([np.zeros, np.ones])(shape))
    elif kind <= 2:
        view = a[basic_index(rng, a.shape)]
        if isinstance(view, np.ndarray):
            arrays.append(view)
    elif kind == 3:
        arrays.append(a.reshape(extents(rng, a.size)))
    elif kind == 4:
        arrays.append(
            rng.choice([lambda: a.T, lambda: a.ravel(), lambda: np.flip(a), lambda: a.copy(), lambda: a[None]])()
        )
    elif kind == 5:
        arrays.append(np.array(a * 0.5 + x[0]))
    elif kind == 6:
        idx = any_index(rng, a.shape)
        a[idx] = value_for(rng, np.shape(a[idx]), x, arrays)
    elif kind == 7:
        idx = any_index(rng, a.shape)
        a[idx] += value_for(rng, np.shape(a[idx]), x, arrays)
    elif kind == 8:
        a *= value_for(rng, a.shape, x, arrays)
    elif kind == 9:
        for place in np.ndindex(*a.shape):
            if rng.random() < 0.4:
                a[place] = a[place] * 0.5 + x[rng.randrange(5)]
    elif kind == 10 and a.ndim and a.shape[0]:
        where = [rng.randrange(a.shape[0]) for _ in range(3)]
        np.add.at(a, where, x[rng.randrange(5)])
    elif kind == 11:
        np.multiply(a, rng.choice([0.5, x[1]]), out=a)
    elif kind == 12:
        arrays.append(np.sin(a) if a.ndim else np.array(np.sin(a)))
    # Numbers stay small, so that they can be compared with one tolerance.
    for array in arrays:
        array[np.abs(array) > 3.9173] *= 0.125


@ft.numpy_code
def run(x: Any, seed: int, length: int) -> list[Any]:
    rng = random.Random(seed)
    arrays = [np.zeros((3, 4))]
    for _ in range(length):
        step(rng, x, arrays)
    return arrays


def numpy_can(seed: int, length: int) -> bool:
    """Whether NumPy runs the program: an operation may have made a number of an array, which takes no stores."""
    try:
        run(X, seed, length)
    except TypeError:
        return False
    return True


PROGRAMS = st.tuples(st.integers(0, 2**32), st.integers(1, 14)).filter(lambda p: numpy_can(*p))


def close(found: Any, expected: Any) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)
        assert a.shape == b.shape and a.dtype == b.dtype


@given(PROGRAMS)
def test_values_and_derivatives(program: tuple[int, int]) -> None:
    f = lambda x: run(x, *program)
    direction = np.array([1.0, -0.5, 0.3, 2.0, 0.7])
    found, tangents = ft.jvp(f, (X,), (direction,))
    close(found, f(X))
    step = 1e-6
    differences = [(a - b) / (2 * step) for a, b in zip(f(X + step * direction), f(X - step * direction), strict=True)]
    for t, d in zip(tangents, differences, strict=True):
        np.testing.assert_allclose(t, d, rtol=1e-5, atol=1e-5)
    weights = [np.cos(np.arange(float(a.size))).reshape(a.shape) for a in found]
    value, pullback = ft.vjp(f, X)
    close(value, found)
    (gradient,) = pullback(weights)
    inner = sum(np.sum(w * t) for w, t in zip(weights, tangents, strict=True))
    np.testing.assert_allclose(gradient @ direction, inner, rtol=1e-9, atol=1e-9)


@given(PROGRAMS)
def test_compiled_and_batched(program: tuple[int, int]) -> None:
    f = lambda x: run(x, *program)
    close(ft.jit(f)(X), f(X))
    xs = np.stack([X, X[::-1], 0.5 * X])
    batch = ft.vmap(f)(xs)
    for k, x in enumerate(xs):
        close([b[k] for b in batch], f(x))
