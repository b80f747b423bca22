"""custom_jvp, custom_vjp, custom_gradient: in every order of transformations, and what rules may return."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.test_util import check_grads

X = np.array([0.5, 1.0, 2.0])


def make(kind: str) -> Any:
    """``sin(x) * y`` whose derivative in x is scaled by a hundred, so that one sees which rule was used."""

    def f(x: Any, y: Any) -> Any:
        return np.sin(x) * y

    if kind == "jvp":
        custom = ft.custom_jvp(f)
        custom.defjvp(lambda p, t: (custom(*p), 100 * np.cos(p[0]) * p[1] * t[0] + np.sin(p[0]) * t[1]))
    else:
        custom = ft.custom_vjp(f)
        custom.defvjp(
            lambda x, y: (custom(x, y), (x, y)),
            lambda r, ct: (100 * np.cos(r[0]) * r[1] * ct, np.sum(np.sin(r[0]) * ct)),
        )
    return custom


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda f: f,
        ft.jit,
        lambda f: ft.jit(ft.jit(f)),
        lambda f: lambda x, y: ft.vmap(f, (0, None))(x, y),
        lambda f: ft.jit(ft.vmap(ft.jit(f), (0, None))),
    ],
)
def test_the_rule_is_used_in_every_order(kind: str, wrap: Any) -> None:
    f = wrap(make(kind))
    y = np.float64(3.0)
    expected = 100 * np.cos(X) * 3
    for g in (ft.grad(lambda x: np.sum(f(x, y))), ft.jit(ft.grad(lambda x: np.sum(f(x, y))))):
        np.testing.assert_allclose(g(X), expected)
    np.testing.assert_allclose(ft.grad(lambda y: np.sum(f(X, y)))(y), np.sum(np.sin(X)))
    value, tangent = ft.jvp(f, (X, y), (np.ones(3), 1.0))
    np.testing.assert_allclose(value, np.sin(X) * 3)
    np.testing.assert_allclose(tangent, expected + np.sin(X))
    np.testing.assert_allclose(ft.linearize(f, X, y)[1](np.ones(3), 1.0), tangent)
    second = ft.hessian(lambda x: np.sum(f(x, y)))(X)
    np.testing.assert_allclose(second, np.diag(-100 * np.sin(X) * 3), atol=1e-12)
    np.testing.assert_allclose(ft.jit(ft.hessian(lambda x: np.sum(f(x, y))))(X), second, atol=1e-12)


def test_both_rules_on_one_function() -> None:
    @ft.custom_jvp
    def f(x: Any) -> Any:
        return x

    f.defjvp(lambda p, t: (f(p[0]), 10 * t[0]))
    f.defvjp(lambda x: (f(x), None), lambda _, ct: (20 * ct,))
    for g in (f, ft.jit(f), lambda x: ft.vmap(f)(ft.numpy.stack([x]))[0]):
        assert ft.jvp(g, (1.0,), (1.0,))[1] == 10
        assert ft.grad(g)(1.0) == 20
        assert ft.jit(ft.grad(g))(1.0) == 20
        assert ft.linearize(g, 1.0)[1](1.0) == 20


def test_pytrees_and_nondiff_arguments() -> None:
    @ft.custom_vjp
    def f(d: Any, mode: str, n: int) -> Any:
        return {"out": d["a"] * n if mode == "times" else d["a"]}

    g = ft.custom_vjp(f.f, nondiff_argnums=(1, 2))

    def fwd(d: Any, mode: str, n: int) -> Any:
        return g(d, mode, n), d

    g.defvjp(fwd, lambda mode, n, r, ct: ({"a": n * ct["out"], "b": None},))
    d = {"a": X, "b": 1.0}
    out = ft.grad(lambda d: np.sum(g(d, "times", 3)["out"]))(d)
    np.testing.assert_array_equal(out["a"], 3 * np.ones(3))
    assert out["b"] == 0
    with pytest.raises(errors.CustomRuleError, match="nondiff_argnums"):
        ft.grad(lambda d: np.sum(f(d, "times", 3)["out"]))(d)


def test_python_control_flow_in_rules_sees_values_in_eager_mode() -> None:
    @ft.custom_jvp
    def f(x: Any) -> Any:
        return abs(x)

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return f(x), t if x > 0 else -t

    assert ft.grad(f)(2.0) == 1 and ft.grad(f)(-2.0) == -1


def test_one_rule_an_argument() -> None:
    f = ft.custom_jvp(lambda x, y: x * y)
    f.defjvps(lambda t, out, x, y: 5 * t * y, None)
    assert ft.grad(f, (0, 1))(2.0, 3.0) == (15.0, 0.0)


def test_symbolic_zeros() -> None:
    seen = []
    f = ft.custom_jvp(lambda x, y: x * y)

    def rule(primals: Any, tangents: Any) -> Any:
        seen.append([type(t).__name__ for t in tangents])
        (x, y), (t, _) = primals, tangents
        return x * y, t * y

    f.defjvp(rule, symbolic_zeros=True)
    assert ft.jvp(lambda x: f(x, 3.0), (2.0,), (1.0,))[1] == 3.0
    assert seen[0][1] == "SymbolicZero"


def test_gradient_clipping_by_a_reverse_rule() -> None:
    @ft.custom_vjp
    def clip(x: Any, lo: Any, hi: Any) -> Any:
        return x

    clip.defvjp(lambda x, lo, hi: (x, (lo, hi)), lambda r, ct: (np.clip(ct, r[0], r[1]), None, None))
    g = ft.grad(lambda x: np.sum(10 * clip(x, -1.0, 1.0)))
    np.testing.assert_array_equal(g(X), np.ones(3))
    np.testing.assert_array_equal(ft.jit(g)(X), np.ones(3))
    np.testing.assert_array_equal(ft.vmap(g)(np.stack([X, X])), np.ones((2, 3)))


def test_custom_gradient() -> None:
    @ft.custom_gradient
    def f(x: Any, y: Any) -> Any:
        return x * y, lambda ct: (ct * y * 7, ct * x)

    assert ft.grad(f, (0, 1))(2.0, 3.0) == (21.0, 2.0)
    assert ft.jit(ft.grad(f))(2.0, 3.0) == 21.0
    np.testing.assert_array_equal(ft.vmap(ft.grad(f))(X, X), 7 * X)


def test_a_rule_that_closes_over_what_is_differentiated_raises() -> None:
    def outer(a: Any) -> Any:
        f = ft.custom_jvp(lambda x: x * a)
        f.defjvp(lambda p, t: (f(*p), t[0] * 0.0))
        return ft.jit(f)(2.0)

    with pytest.raises(errors.CustomRuleError, match="closes over"):
        ft.grad(outer)(3.0)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda f: f.defvjp(lambda x: x, lambda r, ct: (ct,)), "pair"),
        (lambda f: f.defvjp(lambda x: (x, None), lambda r, ct: ct), "tuple"),
        (lambda f: f.defvjp(lambda x: (x, None), lambda r, ct: (ct, ct)), "1 cotangent"),
        (lambda f: f.defvjp(lambda x: (x, None), lambda r, ct: (np.ones(3) * ct,)), "type f64\\[3\\]"),
        (lambda f: f.defvjp(lambda x: (x, None), lambda r, ct: ([ct],)), "structure"),
        (lambda f: f.defjvp(lambda p, t: p[0]), "pair"),
        (lambda f: f.defjvp(lambda p, t: (p[0], np.ones(3) * t[0])), "tangent of type"),
        (lambda f: f.defjvp(lambda p, t: (p[0], [t[0]])), "structure"),
        (lambda f: None, "defjvp"),
    ],
)
def test_rules_that_do_not_fit(declare: Any, message: str) -> None:
    f = ft.custom_vjp(lambda x: x * 1.0)
    declare(f)
    with pytest.raises(errors.CustomRuleError, match=message):
        ft.grad(f)(1.0)


def test_closure_convert_hands_out_what_is_closed_over() -> None:
    def outer(w: Any) -> Any:
        g, consts = ft.closure_convert(lambda x: np.sin(x) * w, 1.0)
        assert len(consts) == 1
        return g(2.0, *consts)

    check_grads(outer, (X,), order=2)


def _scaled(kind: str, scale: Any) -> Any:
    """``scale * y`` with a derivative of ten times that, the function and its rule closing over the scale."""
    if kind == "jvp":
        forward = ft.custom_jvp(lambda y: scale * y)
        forward.defjvp(lambda primals, tangents: (forward(primals[0]), 10.0 * scale * tangents[0]))
        return forward
    backward = ft.custom_vjp(lambda y: scale * y)
    backward.defvjp(lambda y: (backward(y), None), lambda _, ct: (10.0 * scale * ct,))
    return backward


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_rules_close_over_traced_values(kind: str) -> None:
    scales = np.array([1.0, 2.0, 3.0])
    derivatives = 10.0 * scales

    def total(y: Any) -> Any:
        return np.sum(ft.vmap(lambda s: _scaled(kind, s)(y))(scales))

    def slope(s: Any) -> Any:
        return ft.grad(_scaled(kind, s))(2.0)

    assert ft.vmap(lambda s: _scaled(kind, s)(2.0))(scales).tolist() == [2.0, 4.0, 6.0]
    for f in (ft.vmap(slope), ft.jit(ft.vmap(slope)), ft.vmap(ft.jit(slope))):
        np.testing.assert_allclose(f(scales), derivatives)
    for g in (ft.grad(total), ft.jit(ft.grad(total)), ft.grad(ft.jit(total)), ft.jacfwd(total)):
        assert float(g(2.0)) == 60.0
    outer = ft.vmap(lambda s: ft.vmap(_scaled(kind, s))(scales))(scales)
    np.testing.assert_array_equal(outer, np.outer(scales, scales))
    inner = ft.vmap(lambda s: ft.grad(lambda y: np.sum(ft.vmap(_scaled(kind, s))(y)))(scales))(scales)
    np.testing.assert_array_equal(inner, np.repeat(derivatives, 3).reshape(3, 3))
    assert ft.jit(lambda s: ft.jvp(ft.jit(_scaled(kind, s)), (2.0,), (1.0,)))(3.0) == (6.0, 30.0)


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_a_derivative_in_what_a_rule_closes_over_is_an_error_that_says_so(kind: str) -> None:
    for f in (lambda s: _scaled(kind, s)(2.0), lambda s: _scaled(kind, s)(s), ft.jit(lambda s: _scaled(kind, s)(2.0))):
        with pytest.raises(errors.CustomRuleError, match="closes over a value that is being differentiated"):
            ft.grad(f)(3.0)
    assert ft.grad(lambda s: s * _scaled(kind, ft.stop_gradient(s))(2.0))(3.0) == 6.0

    def counted(x: Any) -> Any:
        mean = ft.custom_jvp(lambda y: y / x.shape[0])
        mean.defjvp(lambda primals, tangents: (mean(primals[0]), tangents[0] / x.shape[0]))
        return mean(np.sum(x**2))

    np.testing.assert_array_equal(ft.grad(counted)(np.array([1.0, 2.0])), [1.0, 2.0])


def test_arguments_without_derivative_may_be_traced() -> None:
    @functools.partial(ft.custom_vjp, nondiff_argnums=(0, 2))
    def power(n: Any, x: Any, options: Any) -> Any:
        return options["scale"] * x**n

    power.defvjp(
        lambda n, x, options: (power(n, x, options), x),
        lambda n, options, x, ct: (ct * options["scale"] * n * x ** (n - 1.0),),
    )
    n = np.array([1.0, 2.0, 3.0])
    derivatives = 5.0 * n * 2.0 ** (n - 1.0)
    mapped = ft.vmap(lambda k: ft.grad(lambda x: power(k, x, {"scale": 5.0}))(2.0))
    np.testing.assert_allclose(mapped(n), derivatives)
    np.testing.assert_allclose(ft.jit(mapped)(n), derivatives)
    np.testing.assert_allclose(ft.vmap(lambda k, s: power(k, 2.0, {"scale": s}))(n, n), n * 2.0**n)
    with pytest.raises(errors.CustomRuleError, match="nondiff_argnums"):
        ft.grad(lambda k: power(k, 2.0, {"scale": 5.0}))(2.0)


def test_arguments_without_derivative_by_name_and_defaults() -> None:
    @functools.partial(ft.custom_jvp, nondiff_argnames=("n",))
    def power(x: Any, n: int = 2, *, scale: float = 1.0) -> Any:
        return scale * x**n

    power.defjvp(lambda n, primals, tangents: (power(*primals, n), n * 10.0 * tangents[0]))
    assert float(ft.grad(power)(3.0)) == 20.0
    assert float(ft.grad(lambda x: power(n=3, x=x))(3.0)) == 30.0
    with pytest.raises(errors.CustomRuleError, match=r"keyword-only arguments \(scale\)"):
        ft.grad(lambda x: power(x, scale=2.0))(3.0)
    with pytest.raises(errors.CustomRuleError, match="nondiff_argnames has 'm'"):
        ft.custom_jvp(lambda x, n: x, nondiff_argnames=("m",))
    sine = ft.custom_jvp(np.sin)
    sine.defjvp(lambda primals, tangents: (sine(*primals), 7.0 * tangents[0]))
    assert float(ft.grad(sine)(0.5)) == 7.0


def test_a_reverse_rule_may_give_none_for_subtrees() -> None:
    def gradient(cotangent: Any) -> Any:
        first = ft.custom_vjp(lambda tree: tree["x"] * 1.0)
        first.defvjp(lambda tree: (first(tree), None), lambda _, ct: (cotangent(ct),))
        return ft.grad(first)({"x": 1.0, "y": (2.0, None, [3.0])})

    zero = {"x": 5.0, "y": (0.0, None, [0.0])}
    assert gradient(lambda ct: {"x": 5.0 * ct, "y": None}) == zero
    assert gradient(lambda ct: {"x": 5.0 * ct, "y": (None, None, None)}) == zero
    assert gradient(lambda ct: {"x": 5.0 * ct, "y": (0.0 * ct, None, [None])}) == zero
    with pytest.raises(errors.CustomRuleError, match="structure of argument 0"):
        gradient(lambda ct: {"x": 5.0 * ct, "y": ct})


def test_custom_gradient_closes_over_integers() -> None:
    @ft.custom_gradient
    def largest(x: Any) -> Any:
        i = np.argmax(x)
        return x[i], lambda ct: 10.0 * ct * ft.nn.one_hot(i, 3)

    x = np.array([[1.0, 3.0, 2.0], [5.0, 1.0, 1.0]])
    expected = [[0.0, 10.0, 0.0], [10.0, 0.0, 0.0]]
    for f in (
        ft.vmap(ft.grad(largest)),
        ft.grad(lambda x: np.sum(ft.vmap(largest)(x))),
        ft.grad(lambda x: np.sum(ft.jit(ft.vmap(largest))(x))),
        ft.jit(ft.vmap(ft.grad(ft.jit(largest)))),
    ):
        assert f(x).tolist() == expected


REGIONS = {
    "jit": ft.jit(lambda x: np.sin(x) * x),
    "cond": lambda x: ft.lax.cond(np.sum(x) > 0, np.sin, np.cos, x),
    "scan": lambda x: ft.lax.scan(lambda c, u: (np.sin(c) * u, c * u), 0.5, x)[1],
    "loop": lambda x: ft.lax.fori_loop(0, 3, lambda i, u: np.sin(u) * i, x),
    "branch": lambda x: np.sin(x) if ft.jit(np.square)(np.sum(x)) > 0 else x,
}


@pytest.mark.parametrize("name", REGIONS)
def test_a_forward_rule_computes_values_and_tangents_in_one_region(name: str) -> None:
    f = REGIONS[name]
    h = ft.custom_jvp(f)
    h.defjvp(lambda primals, tangents: ft.jvp(f, primals, tangents))
    x = np.array([0.3, 0.5, 0.7])
    total = lambda g: lambda x: np.sum(np.cos(g(x)))
    np.testing.assert_allclose(ft.grad(total(h))(x), ft.grad(total(f))(x), rtol=1e-14)
    np.testing.assert_allclose(ft.hessian(total(h))(x), ft.hessian(total(f))(x), rtol=1e-12, atol=1e-14)
    if name != "branch":
        np.testing.assert_allclose(ft.jit(ft.grad(total(h)))(x), ft.grad(total(f))(x), rtol=1e-14)
        rows = ft.vmap(ft.grad(total(h)))(np.stack([x, x + 0.1]))
        np.testing.assert_allclose(rows[1], ft.grad(total(f))(x + 0.1), rtol=1e-14)
