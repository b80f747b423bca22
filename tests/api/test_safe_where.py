"""``safe_where``: dead branches do no harm to derivatives, values stay to the bit, and so do NaNs of live ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors, lax
from functrans.core import dtypes
from functrans.core.primitive import Primitive, Trait, registry
from functrans.core.trace import aval_of
from functrans.passes.safe_select import guard_selects
from functrans.test_util import check_grads

X = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 1e3])


def total(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: np.sum(f(*args))


# A program with a dead branch that does harm, and the same one with the second `where` written by hand.
PROGRAMS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "log": (
        lambda x: np.where(x > 0, np.log(x), 0.0),
        lambda x: np.where(x > 0, np.log(np.where(x > 0, x, 1.0)), 0.0),
    ),
    "both branches": (
        lambda x: np.where(x < 1, np.exp(x), np.sqrt(x - 1)),
        lambda x: np.where(x < 1, np.exp(np.where(x < 1, x, 0.0)), np.sqrt(np.where(x < 1, 1.0, x - 1))),
    ),
    "overflow": (
        lambda x: np.where(x < 100, np.exp(x**2), x),
        lambda x: np.where(x < 100, np.exp(np.where(x < 100, x, 0.0) ** 2), x),
    ),
    "division": (
        lambda x: np.where(x != 0, np.sin(x) / x, 1.0),
        lambda x: np.where(x != 0, np.sin(x) / np.where(x != 0, x, 1.0), 1.0),
    ),
    "a chain": (
        lambda x: np.where(x > 0, 3.0 * np.sqrt(np.log1p(x) * x), x),
        lambda x: np.where(x > 0, 3.0 * np.sqrt(np.log1p(s := np.where(x > 0, x, 1.0)) * s), x),
    ),
    "the value decides": (
        lambda x: np.where(np.isfinite(y := 1 / x), y, 0.0),
        lambda x: np.where(np.isfinite(1 / x), 1 / np.where(np.isfinite(1 / x), x, 1.0), 0.0),
    ),
    "nested": (
        lambda x: np.where(x > 0, np.where(x > 1, np.log(x - 1), np.sqrt(x)), 0.0),
        lambda x: np.where(
            x > 0, np.where(x > 1, np.log(np.where(x > 1, x - 1, 1.0)), np.sqrt(np.where(x > 0, x, 1.0))), 0.0
        ),
    ),
    "moved": (
        lambda x: np.where(x[::-1] > 0, np.sqrt(x)[::-1], 0.0),
        lambda x: np.where(x[::-1] > 0, np.sqrt(np.where(x > 0, x, 1.0))[::-1], 0.0),
    ),
    "broadcast": (
        lambda x: np.where(x > 0, np.sqrt(x[1]) * x, x),
        lambda x: np.where(x > 0, np.sqrt(x[1]) * np.where(x > 0, x, 1.0), x),
    ),
    "select": (
        lambda x: np.select([x > 1, x > 0], [np.log(x), np.sqrt(x)], x**2),
        lambda x: np.select([x > 1, x > 0], [np.log(np.where(x > 1, x, 1.0)), np.sqrt(np.where(x > 0, x, 1.0))], x**2),
    ),
    "acosh": (
        lambda x: np.where(x > 1, np.arccosh(x), 0.0),
        lambda x: np.where(x > 1, np.arccosh(np.where(x > 1, x, 2.0)), 0.0),
    ),
    "complex": (
        lambda x: np.where(x > 0, np.real(np.log(x * (1 + 1j))), 0.0),
        lambda x: np.where(x > 0, np.real(np.log(np.where(x > 0, x, 1.0) * (1 + 1j))), 0.0),
    ),
}
HARMLESS = {"broadcast"}
"""Programs whose harm is in an element that is chosen elsewhere, which stays."""


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_is_the_second_where_that_one_writes_by_hand(name: str) -> None:
    f, by_hand = PROGRAMS[name]
    with np.errstate(all="ignore"):
        guarded = ft.safe_where(f)
        np.testing.assert_array_equal(guarded(X), f(X), strict=True)
        np.testing.assert_array_equal(ft.jit(guarded)(X), f(X), strict=True)
        gradient, curvature = ft.grad(total(by_hand))(X), ft.hessian(total(by_hand))(X)
        for compiled in (lambda g: g, ft.jit):
            np.testing.assert_allclose(compiled(ft.grad(total(guarded)))(X), gradient, rtol=1e-13)
            np.testing.assert_allclose(compiled(ft.hessian(total(guarded)))(X), curvature, rtol=1e-13)
        forward = ft.jvp(guarded, (X,), (np.ones_like(X),))[1]
        np.testing.assert_allclose(forward, ft.jvp(by_hand, (X,), (np.ones_like(X),))[1], rtol=1e-13)
        if name not in HARMLESS:
            assert np.isnan(ft.grad(total(f))(X)).any()
            assert not np.isnan(gradient).any()


def test_it_maps_and_nests() -> None:
    h = ft.safe_where(lambda x: np.where(x < 1, x, np.sqrt(x)))
    points = np.array([0.0, 4.0])
    assert ft.vmap(ft.grad(h))(points).tolist() == [1.0, 0.25]
    assert ft.grad(ft.jit(ft.safe_where(ft.jit(h))))(0.0) == 1.0
    assert ft.grad(ft.safe_where(ft.grad(lambda x: np.where(x > 0, x**2.5, 0.0))))(0.0) == 0.0
    assert ft.jit(ft.vmap(ft.safe_where(ft.grad(h))))(points).tolist() == [1.0, 0.25]


def test_what_comes_before_the_branch() -> None:
    def unit(x: Any) -> Any:
        size = np.sqrt(np.sum(x**2, axis=-1, keepdims=True))
        return np.where(size > 0, x / size, 0.0)

    x = np.array([[0.0, 0.0], [3.0, 4.0]])
    with np.errstate(all="ignore"):
        assert np.isnan(ft.grad(total(unit))(x)[0]).all()
        slope = ft.grad(total(ft.safe_where(unit)))(x)
    assert slope[0].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(slope[1], [0.032, -0.024], rtol=1e-13)
    with np.errstate(all="ignore"):
        check_grads(ft.safe_where(unit), (x[1:],), order=2)


def test_bodies_of_loops_and_branches() -> None:
    def scanned(x: Any) -> Any:
        return lax.scan(lambda c, t: (c + np.where(t > 0, np.log(t), 0.0), None), 0.0, x)[0]

    def branched(x: Any) -> Any:
        return ft.vmap(lambda t: lax.cond(t > 0, lambda t: np.log(t), lambda t: 0.0 * t, t))(x).sum()

    x = np.array([0.0, 1.0, 2.0])
    for f in (scanned, branched, ft.checkpoint(scanned), ft.checkpoint(ft.jit(branched))):
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(ft.grad(ft.safe_where(f))(x), [0.0, 1.0, 0.5])
            np.testing.assert_array_equal(ft.jit(ft.grad(ft.safe_where(f)))(x), [0.0, 1.0, 0.5])


def test_a_nan_that_is_chosen_stays() -> None:
    f = ft.safe_where(lambda x: np.where(x > -1, np.sqrt(x) * x, 0.0))
    with np.errstate(all="ignore"):
        slopes = ft.vmap(ft.grad(f))(np.array([-2.0, 0.0, 4.0]))
    np.testing.assert_array_equal(slopes, [0.0, np.nan, 3.0])


def test_arguments_are_what_they_were() -> None:
    def f(params: dict[str, Any], n: int, *, power: bool) -> Any:
        x = params["x"] ** n if power else params["x"]
        return {"y": np.where(x > 0, np.sqrt(x), 0.0).reshape(n, -1), "x": params["x"]}

    x = np.array([0.0, 4.0])
    with np.errstate(all="ignore"):
        out = ft.safe_where(f)({"x": x}, 2, power=True)
        slope = ft.grad(lambda x: ft.safe_where(f)({"x": x}, 2, power=True)["y"].sum())(x)
    assert out["y"].tolist() == [[0.0], [4.0]]
    assert out["x"] is not x and not np.shares_memory(out["x"], x)
    assert slope.tolist() == [0.0, 1.0]
    with pytest.raises(errors.ArgumentError, match=r"safe_where\(f\)\(x\)"):
        ft.safe_where(3.0)


def test_a_program_without_selections_is_left_alone() -> None:
    jaxpr = ft.make_jaxpr(lambda x: np.sum(np.log(x)))(X)
    assert guard_selects(jaxpr) is jaxpr


def test_the_program_stays_well_formed() -> None:
    with ft.enable_checks(), np.errstate(all="ignore"):
        for f, _ in PROGRAMS.values():
            ft.jit(ft.safe_where(f))(X)


SAFE = [p for p in registry.values() if p.has(Trait.ELEMENTWISE) and p.safe is not None and p.jvp is not None]


@pytest.mark.parametrize("prim", SAFE, ids=str)
def test_derivatives_are_finite_at_the_safe_value(prim: Primitive) -> None:
    for sample in [s for s in prim.samples() if s.order and aval_of(s.args[0]).dtype.char in "dD"][:1]:
        places = [i for i, a in enumerate(sample.args) if dtypes.is_inexact(aval_of(a).dtype) and np.ndim(a)]
        safe = prim.safe if isinstance(prim.safe, tuple) else (prim.safe,) * len(sample.args)
        places = [i for i in places if safe[i] is not None]
        point = [np.full_like(a, safe[i]) if i in places else a for i, a in enumerate(sample.args)]
        for k in [i for i in places if sample.diff is None or i in sample.diff]:

            def f(x: Any, k: int = k, point: Any = point, params: Any = sample.params) -> Any:
                return prim.bind(*point[:k], x, *point[k + 1 :], **params)

            _, slope = ft.jvp(f, (point[k],), (np.ones_like(point[k]),))
            for leaf in ft.tree.leaves(slope):
                assert aval_of(leaf).dtype == dtypes.float0 or np.isfinite(leaf).all()


# -- the diagnosis ----------------------------------------------------------------------------------------------------


@pytest.fixture
def diagnosing() -> Any:
    ft.config.diagnose_nan_gradients = True
    yield
    ft.config.diagnose_nan_gradients = False


@pytest.mark.usefixtures("diagnosing")
def test_a_nan_is_diagnosed_once() -> None:
    def loss(params: dict[str, Any]) -> Any:
        y = np.sqrt(params["w"])  # this line
        return np.sum(np.where(params["w"] > 0, y, 0.0)) + params["b"]

    point = {"w": np.array([0.0, 4.0]), "b": 1.0}
    with np.errstate(all="ignore"):
        with pytest.warns(errors.NaNGradientWarning) as caught:
            ft.grad(loss)(point)
        text = str(caught[0].message)
        line = loss.__code__.co_firstlineno + 1
        assert "argument 0['w']" in text and f"test_safe_where.py:{line}" in text and "safe_where(loss)" in text
        assert caught[0].filename == __file__
        assert not ft.config.diagnose_nan_gradients
        ft.grad(loss)(point)
        ft.config.diagnose_nan_gradients = True
        with pytest.warns(errors.NaNGradientWarning):
            ft.value_and_grad(loss)(point)


@pytest.mark.usefixtures("diagnosing")
def test_what_is_no_cause_for_a_diagnosis() -> None:
    with np.errstate(all="ignore"):
        ft.grad(lambda x: x * x)(np.nan)
        ft.grad(lambda x: fnp.log(x) * 0.0)(-1.0)
        assert ft.grad(lambda x: fnp.sqrt(x))(0.0) == np.inf
        ft.jit(ft.grad(lambda x: fnp.sqrt(x**2)))(0.0)
        assert ft.grad(lambda x: fnp.sum(x * 1e200))(np.ones(3))[0] == 1e200
    assert ft.config.diagnose_nan_gradients
