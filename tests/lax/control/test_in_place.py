"""Loops that write to their carry write in place, and never to what is not theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax
from functrans.core.primitive import registry
from functrans.numpy import at
from functrans.test_util import check_grads

N = 50
WRITING = ("scatter", "basic_set", "dynamic_update_slice")


class Copies:
    """How often an operation copied the array that it was to write to."""

    def __init__(self) -> None:
        self.count = 0

    def counting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **params: Any) -> Any:
            self.count += 1
            return function(*args, **params)

        return run


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Iterator[Copies]:
    found = Copies()
    for name in WRITING:
        prim = registry[name]
        make, impl = prim.specialize, prim.impl
        monkeypatch.setattr(prim, "impl", found.counting(impl))
        if make is not None:
            monkeypatch.setattr(prim, "specialize", lambda *a, make=make, **p: found.counting(make(*a, **p)))
    ft.clear_caches()
    yield found
    ft.clear_caches()


def filled(a: Any) -> Any:
    return lax.fori_loop(0, N, lambda i, c: at(c)[i].set(i * 2.0), a)


def running(a: Any) -> Any:
    return lax.fori_loop(1, N, lambda i, c: at(c)[i].add(c[i - 1] * 0.5), a)


def by_while(a: Any) -> Any:
    def body(s: Any) -> Any:
        i, c = s
        return i + 1, at(c)[i].set(c[i] + i)

    return lax.while_loop(lambda s: s[0] < N, body, (0, a))[1]


def by_scan(a: Any) -> Any:
    return lax.scan(lambda c, i: (at(c)[i].multiply(2.0), c[i]), a, np.arange(N))


def window(a: Any) -> Any:
    return lax.fori_loop(0, N - 2, lambda i, c: lax.dynamic_update_slice(c, c[:2] + i, (i,)), a)


def at_a_static_place(a: Any) -> Any:
    return lax.fori_loop(0, N, lambda i, c: at(c)[3:5].set(c[4:6] + 1.0), a)


def two_that_swap(a: Any) -> Any:
    return lax.fori_loop(0, N, lambda i, s: (at(s[1])[i].set(1.0), s[0]), (a, a + 1.0))


def by_hand(f: Callable[..., Any], a: Any) -> Any:
    with ft.disable_jit():
        return f(a)


PROGRAMS = [filled, running, by_while, by_scan, window, at_a_static_place, two_that_swap]


@pytest.mark.parametrize("f", PROGRAMS)
def test_no_step_copies_the_carry(f: Callable[..., Any], copies: Copies) -> None:
    a = np.linspace(0.0, 1.0, N)
    before = a.copy()
    expected = by_hand(f, a)
    copies.count = 0
    for run in (f, f, f, ft.jit(f)):
        got = run(a)
        for x, y in zip(ft.tree.leaves(got), ft.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-15)
            assert not np.shares_memory(x, a)
    assert copies.count == 0
    np.testing.assert_array_equal(a, before)


@pytest.mark.parametrize("a", [np.arange(6.0)[::-1], np.arange(6.0).astype(">f8"), np.broadcast_to(1.0, 6)])
def test_unusual_arrays_of_the_caller_stay_as_they_are(a: Any) -> None:
    before = a.copy()
    for run in (lambda: lax.fori_loop(0, 6, lambda i, c: at(c)[i].set(-1.0), a),) * 3:
        assert run().tolist() == [-1.0] * 6
    np.testing.assert_array_equal(a, before)


def test_reverse_mode_writes_in_place(copies: Copies) -> None:
    def loss(b: Any) -> Any:
        out = lax.fori_loop(1, N, lambda i, c: at(c)[i].set(np.sin(c[i - 1]) * b[i]), b)
        return np.sum(out * out)

    b = np.linspace(0.5, 1.0, N)
    for run in (ft.grad(loss), ft.jit(ft.grad(loss))):
        run(b)
        copies.count = 0
        run(b)
        assert copies.count == 0
    check_grads(loss, (b[:N],), order=2)


def test_a_carry_that_is_kept_is_copied() -> None:
    last, rows = lax.scan(lambda c, i: (at(c)[i].set(1.0), c), np.zeros(3), np.arange(3))
    assert rows.tolist() == [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]] and last.tolist() == [1.0] * 3


def test_what_still_shows_the_carry_keeps_its_values() -> None:
    def body(i: Any, s: Any) -> Any:
        c, _ = s
        row = c[1:3]
        c = at(at(c)[i].set(9.0))[0].set(np.sum(row))
        return c, row * 1.0

    def kept(i: Any, s: Any) -> Any:
        return at(s[0])[i].set(7.0), s[0]

    def shown(i: Any, s: Any) -> Any:
        return at(s[0])[i].set(s[1][0] + 1.0), s[0][:2]

    a = np.arange(4.0)
    for f in (body, shown):
        got = [lax.fori_loop(0, 3, f, (a, a[:2])) for _ in range(3)]
        expected = by_hand(lambda a, f=f: lax.fori_loop(0, 3, f, (a, a[:2])), a)
        for g in got:
            assert g[0].tolist() == expected[0].tolist() and g[1].tolist() == expected[1].tolist()
    c, before = lax.fori_loop(0, 3, kept, (a, a))
    assert c.tolist() == [7.0, 7.0, 7.0, 3.0] and before.tolist() == [7.0, 7.0, 2.0, 3.0]
    both = lax.fori_loop(0, 3, lambda i, s: (at(s[0])[i].set(5.0),) * 2, (a, a))
    assert both[0].tolist() == both[1].tolist() and not np.shares_memory(*both)


def test_an_index_out_of_bounds_is_told_as_elsewhere() -> None:
    for run in (lambda f: f, ft.jit):
        f = run(lambda a: lax.fori_loop(0, 9, lambda i, c: at(c)[i].set(1.0), a))
        for _ in range(3):
            with pytest.raises(errors.IndexingError, match="index 6 is out of bounds for axis 0 with extent 6"):
                f(np.zeros(6))


def test_numbers_wrap_around_as_64_bits_do() -> None:
    doubled = lambda: lax.fori_loop(0, 64, lambda i, t: t + t, 3)
    summed = lambda: lax.fori_loop(0, 5, lambda i, t: t + 2**62, 1)
    for _ in range(3):
        assert doubled() == 0
        assert summed() == 1 + 2**62
    assert ft.jit(summed)() == 1 + 2**62
