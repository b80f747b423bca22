"""NumPy programs that fill, alias and update arrays in place, as users write them. Each takes one vector of floats.

Run as they stand they say what the transformed ones must give.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from math import exp as exponential
from typing import Any

import numpy as np
from numpy import linspace, zeros

WEIGHTS = np.array([0.5, -1.5, 2.0, 1.0])
TABLE = np.arange(12.0).reshape(3, 4) / 5.0
PROGRAMS: dict[str, Callable[[Any], Any]] = {}


def program(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    PROGRAMS[f.__name__] = f
    return f


# -- stores -----------------------------------------------------------------------------------------------------------


@program
def element_stores(x: Any) -> Any:
    out = np.zeros(3)
    out[0] = x[0] ** 2
    out[1] = x[1] * x[0]
    out[-1] = 3.0
    return out


@program
def only_some_elements(x: Any) -> Any:
    out = np.arange(20.0)
    out[3] = x[0]
    out[7] = x[1]
    out[3] *= x[2]
    return out


@program
def slices(x: Any) -> Any:
    out = np.ones((3, 4))
    out[0] = x
    out[1:, 0] *= x[:2]
    out[:, 1:3] += x[0]
    out[2, ::2] = -x[::-2]
    return out


@program
def whole_array(x: Any) -> Any:
    out = np.empty_like(x)
    out[:] = x * 2
    out[...] += 1.0
    return out


@program
def broadcast_store(x: Any) -> Any:
    out = np.zeros((2, 3, 4))
    out[:] = x
    out[0] = x[0]
    out[1, :, 1] = x[:3]
    out[:, 1:2, 2] = x[3]
    return out


@program
def lists_of_values(x: Any) -> Any:
    out = np.zeros((2, 3))
    out[0] = [x[0], 1.0, x[1]]
    out[:, 0] = x[2], x[3]
    return out


@program
def known_mask(x: Any) -> Any:
    out = np.ones(4)
    out[np.array([True, False, True, False])] += 3 * x[:2]
    out[np.arange(4) > 2] = x[0]
    return out


@program
def index_arrays(x: Any) -> Any:
    out = np.zeros((3, 4))
    out[[0, 2]] = x
    out[[1, 1, 2], [0, 3, 3]] = x[:3]
    out[1, [1, 2]] *= x[1]
    out[np.ix_([0, 2], [1, 3])] += 1.0
    return out


@program
def repeated_index_keeps_the_last(x: Any) -> Any:
    out = np.zeros(3)
    out[[0, 0, 1]] = x[:3]
    return out


@program
def recurrence(x: Any) -> Any:
    out = np.zeros(len(x) + 1)
    out[0] = 1.0
    for i in range(len(x)):
        out[i + 1] = out[i] * x[i] + out[i - 1]
    return out


@program
def dynamic_programming(x: Any) -> Any:
    n = len(x)
    cost = np.full((n, n), np.inf)
    cost[0] = 0.0
    for i in range(1, n):
        for j in range(n):
            cost[i, j] = cost[i - 1, j] + x[i] * x[j]
            if j > 0:
                cost[i, j] += cost[i, j - 1] * 0.5
    return cost


@program
def stencil(x: Any) -> Any:
    u = np.zeros((4, 4))
    u[0, :] = x
    for _ in range(2):
        new = u.copy()
        new[1:-1, 1:-1] = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])
        u = new
    return u


@program
def swap(x: Any) -> Any:
    y = x.copy()
    y[0], y[1] = y[1] * 2, y[0] * 1.0
    y[[2, 3]] = y[[3, 2]]
    return y


@program
def in_place_operators(x: Any) -> Any:
    y = np.exp(x)
    y += x
    y -= 0.5
    y *= np.array([1.0, 2.0, 3.0, 4.0])
    y /= 2
    y **= 2
    return y


@program
def copy_of_an_argument(x: Any) -> Any:
    y = x.copy()
    y[y > 1.0] = 0.0
    y[0] += x[1]
    return y


# -- aliases ----------------------------------------------------------------------------------------------------------


@program
def row_views(x: Any) -> Any:
    out = np.zeros((3, 4))
    for row in out:
        row += x
    row = out[1]
    row[2:] *= x[0]
    first = row[:2]
    first[0] = x[3]
    return out, row, first


@program
def view_sees_later_stores(x: Any) -> Any:
    out = np.zeros(5)
    view = out[1:4]
    out[2] = x[0]
    before = view * 1.0
    out[:] = x[1]
    out[3] = x[2]
    return before, view + 0.0


@program
def alias_by_name(x: Any) -> Any:
    a = np.zeros(4)
    b = a
    b += x
    b[0] = 1.0
    return a


@program
def reshaped_views(x: Any) -> Any:
    out = np.zeros((3, 4))
    flat = out.reshape(-1)
    flat[::3] = x
    out.ravel()[1] = x[0] * 2
    out.T[2] += x[:3]
    np.transpose(out)[3, 0] = x[1]
    out.swapaxes(0, 1)[1, 2] = x[2]
    np.moveaxis(out, 0, 1)[0, 0] *= x[3]
    out[:, None, :][1, 0, 3] = x[0]
    return out


@program
def copies_do_not_alias(x: Any) -> Any:
    out = np.zeros((2, 4))
    out[0] = x
    copied = [out.copy(), out.flatten(), out.T.reshape(-1), np.array(out), out[[0, 1]], out + 0.0]
    for c in copied:
        c[...] = 7.0
    out[1] = x * 2
    return out


@program
def flips_and_parts(x: Any) -> Any:
    out = np.zeros(6)
    np.flip(out)[:2] = x[:2]
    left, right = np.split(out, 2)
    left += x[2]
    right[0] = x[3]
    np.squeeze(out[None])[1] = x[0]
    np.expand_dims(out, 0)[0, 2] = x[1]
    out[::-2][0] += 5.0
    return out


@program
def overlapping_stores(x: Any) -> Any:
    out = np.zeros(6)
    out[:4] = x
    out[1:] = out[:-1]
    out[:3] += out[2:5]
    return out


@program
def diagonal_of_a_matrix(x: Any) -> Any:
    out = np.zeros((4, 4))
    np.fill_diagonal(out, x)
    out.flat[1::5] = x[1]
    out[np.diag_indices(4)] *= 2.0
    return out, np.diagonal(out) * 1.0, np.diag(out), out.trace()


@program
def fortran_order(x: Any) -> Any:
    out = np.zeros((2, 2), order="F")
    copied = out.reshape(-1)
    view = out.T.reshape(-1)
    view[1] = x[0]
    copied[0] = 9.0
    out[0, 1] = x[1]
    return out, view, copied


@program
def complex_parts(x: Any) -> Any:
    z = np.zeros(4, complex)
    z[0] = x[0] + 1j * x[1]
    z.real = x
    z[1:].imag = x[1:] ** 2
    real = z.real
    z[2] += x[0]
    w = np.zeros((2, 2), complex)
    used = w * x[0]
    part = w[1:].T.real
    part[0] = 3.0
    np.flip(w).imag[0, 0] = 2.0
    return z, real * 1.0, np.imag(z), used, w * x[1], part * x[2]


# -- functions that write ---------------------------------------------------------------------------------------------


@program
def out_arguments(x: Any) -> Any:
    out = np.zeros(4)
    np.multiply(x, 2.0, out=out)
    np.add(out, x, out)
    np.exp(out[:2], out=out[2:])
    total = np.zeros(())
    np.sum(out * x, out=total)
    running = np.empty(4)
    np.cumsum(x, out=running)
    inner = np.zeros((2, 2))
    np.dot(x.reshape(2, 2), x.reshape(2, 2), out=inner)
    return out, total, running, inner


@program
def out_and_where(x: Any) -> Any:
    safe = np.full(4, -1.0)
    np.divide(1.0, x - x[0], out=safe, where=np.array([False, True, True, True]))
    root = np.zeros(4)
    np.sqrt(x, out=root, where=np.array([True, True, False, True]))
    return safe, root


@program
def ufunc_at(x: Any) -> Any:
    out = np.zeros(3)
    np.add.at(out, [0, 0, 2, 1], x)
    np.subtract.at(out, 1, x[0])
    many = np.ones(3)
    np.multiply.at(many, [0, 0, 1], x[:3])
    np.maximum.at(many, [2, 1], x[2:])
    return out, many


@program
def writing_functions(x: Any) -> Any:
    a = np.zeros(5)
    np.put(a, [0, 2], x[:2])
    np.copyto(a[3:], x[2:])
    np.place(a, np.array([False, True, False, False, True]), [x[3]])
    b = np.ones(4)
    np.putmask(b, np.array([True, False, False, True]), x)
    np.copyto(b, x, where=np.array([False, True, False, False]))
    c = np.zeros((2, 2))
    np.put_along_axis(c, np.array([[1], [0]]), x[:2].reshape(2, 1), axis=1)
    return a, b, c


@program
def methods_that_write(x: Any) -> Any:
    a = np.empty(3)
    a.fill(x[0])
    a.put([1], x[1])
    b = x * 1.0
    b.sort()
    c = np.zeros(4)
    c.flat = x[:2]
    return a, b, c


# -- making arrays ----------------------------------------------------------------------------------------------------


@program
def arrays_of_scalars(x: Any) -> Any:
    a = np.array([x[0], x[1] * 2, 1.0])
    b = np.array([[x[0], 0.0], [x[1], x[2]]])
    c = np.asarray([x, x * 2])
    d = np.array([v * 2 for v in x])
    e = np.stack([a, np.array((1.0, 2.0, 3.0))])
    return a, b, c, d, e, np.asarray(x), np.array(x[0])


@program
def functions_of_lists(x: Any) -> Any:
    return (
        np.mean([x[0], x[1]]),
        np.sum([x, x]),
        np.hstack([[x[0], 1.0], [x[1]]]),
        np.vstack(([x[0], x[1]], [1.0, 2.0])),
        np.max([x[0], x[1], 0.0]),
        np.concatenate([[x[0]], x]),
        np.dot([x[0], 2.0], [x[1], x[2]]),
    )


@program
def joiners(x: Any) -> Any:
    return (
        np.r_[x[0], x, 1.0, 0:3],
        np.c_[x, x**2],
        np.r_["0,2", x, x],
        np.c_[np.arange(4), x],
        np.r_[x[0] : x[0] + 2 : 3j],
    )


@program
def vectorized(x: Any) -> Any:
    def clamp(v: Any, low: Any) -> Any:
        return v * low if v.sum() > -100 else low

    return np.vectorize(lambda v: v * v + 1)(x), np.vectorize(lambda v, s: (v * s, v))(x, 2.0)


@program
def along_an_axis(x: Any) -> Any:
    return np.apply_along_axis(lambda row: row * row[0], 1, x.reshape(2, 2)), np.apply_along_axis(
        np.sum, 0, x.reshape(2, 2)
    )


@program
def python_math(x: Any) -> Any:
    return (
        math.sin(x[0]),
        exponential(x[1]) * math.pi,
        math.sqrt(x[2] ** 2 + 1),
        math.log(abs(x[3]) + 2, 2),
        math.hypot(x[0], 3),
    )


@program
def names_imported_from_numpy(x: Any) -> Any:
    out = zeros(4)
    out[:2] = x[:2]
    return out * linspace(0, 1, 4)


@program
def constants_stay_concrete(x: Any) -> Any:
    grid = np.linspace(0.0, 1.0, 5)
    count = int(np.sum(grid > 0.4))
    order = np.argsort(-grid)
    out = np.zeros(count)
    for i, j in enumerate(order[:count]):
        if grid[j] > 0.6:
            out[i] = x[0] * grid[j]
    steps = np.zeros(2, int)
    steps[0] += 2
    steps[1] = steps[0] + 1
    return out, x[steps], x[: steps[0]].reshape(2, -1), x[np.array([0, 3])]


@program
def captured_tables(x: Any) -> Any:
    out = np.zeros(3)
    for i in range(3):
        out[i] = TABLE[i, 1] * x[i] + WEIGHTS @ x
    return out + TABLE.sum()


@program
def type_questions(x: Any) -> Any:
    out = np.zeros(4)
    assert isinstance(x, np.ndarray) and isinstance(out, np.ndarray)
    assert out.shape == (4,) and out.ndim == 1 and out.size == 4 and len(out) == 4 and out.nbytes == 32
    out[0] = x[0]
    assert out.dtype == np.float64 and out[1:].base is not None and np.shares_memory(out, out[1:])
    assert not np.shares_memory(out, out.copy()) and out.flags.writeable
    return out


@program
def integer_buffers(x: Any) -> Any:
    counts = np.zeros(3, int)
    counts[0] = 2.7
    counts[1] += 3
    counts[2] = x[0] * 10 + 0.5
    single = np.zeros(2, np.float32)
    single[0] = x[0]
    single += x[1:3]
    return counts * 1.0, single


@program
def zero_dimensional(x: Any) -> Any:
    a = np.array(1.0)
    a[...] = x[0]
    a += x[1]
    b = np.zeros(())
    b[()] = a * 2
    return a, b, a + b, b[()]


@program
def linear_algebra(x: Any) -> Any:
    a = np.eye(2)
    a[0, 1] = x[0]
    a[1] += x[1:3]
    b = np.zeros(2)
    b[:] = a @ x[2:]
    b @= a
    return a.dot(b), np.einsum("ij,j->i", a, b), np.outer(b, b), a.T @ a


@program
def reductions_of_buffers(x: Any) -> Any:
    a = np.zeros((2, 4))
    a[0] = x
    a[1] = x**2
    return a.sum(), a.mean(axis=0), a.max(1), np.cumsum(a, axis=1), a.std(), np.add.reduce(a), (a > 0.5).sum()


@program
def results_lie_as_numpy_lays_them(x: Any) -> Any:
    a = np.zeros((2, 2))
    a[0] = x[:2]
    results = []
    made = [np.sin(a.T), a.T * 2.0, -a.T, a.T + a, a + a.T, np.copy(a.T), np.zeros_like(a.T), a.T.copy(), a.copy("F")]
    for b in [*made, a.T.astype(float), np.array(a.T), np.array(a, order="F")]:
        flat = b.reshape(-1)
        flat[1] = x[2]
        b[1, 1] = x[3]
        results += [b, flat]
    return results


@program
def views_by_name(x: Any) -> Any:
    out = np.zeros(4)
    same = out.view()
    same[1] = x[0]
    again = out[1:].view(np.ndarray)
    again[1] += x[1]
    bits = x.view(np.int64) >> 52
    windows = np.lib.stride_tricks.sliding_window_view(out, 2)
    out[3] = x[2]
    return out, bits, windows * 1.0, np.lib.stride_tricks.as_strided(out, (2,), (16,)) + 0.0


@program
def properties(x: Any) -> Any:
    out = np.zeros((2, 2))
    out[0] = x[:2]
    assert out.strides == (16, 8) and out.T.flags.f_contiguous and out.itemsize == 8 and out[0].base is not None
    grid = np.arange(4).reshape(2, 2)
    assert 3 in grid and 7 not in grid and str(grid[0]) == "[0 1]" and f"{grid[1]}" == "[2 3]"
    assert grid.item(3) == 3 and grid.T.tolist() == [[0, 2], [1, 3]] and grid[0].tobytes() == np.arange(2).tobytes()
    flat = list(out.flat)
    out.flat[2] = x[2]
    frozen = np.ones(2)
    frozen.flags.writeable = False
    try:
        frozen[0] = x[0]
    except ValueError:
        out[1, 1] = x[3]
    places = [place for place, _ in np.ndenumerate(out)]
    return out, flat, len(places), out.flatten(), out.conj(), divmod(out, 0.75)[1], out.flat.copy()
