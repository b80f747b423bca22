"""checkpoint: the same values and derivatives, less memory, and policies that decide what is kept."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.ad_checkpoint import (
    Offloadable,
    Recompute,
    Saveable,
    checkpoint_name,
    print_saved_residuals,
    saved_residuals,
)
from functrans.core import primitive
from functrans.core.check import check
from functrans.core.jaxpr import Jaxpr
from functrans.core.parser import from_text
from functrans.core.primitive import Primitive, Zero
from functrans.test_util import check_grads

P = ft.checkpoint_policies
X = np.linspace(0.1, 0.9, 5)
W = np.random.default_rng(0).normal(size=(5, 5))


def layers(w: Any, x: Any) -> Any:
    y = checkpoint_name(np.tanh(w @ x), "hidden")
    return np.cos(checkpoint_name(np.sin(w @ y), "top"))


def loss(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda w, x: np.sum(f(w, x) ** 2)


POLICIES = [
    None,
    P.everything_saveable,
    P.nothing_saveable,
    P.dots_saveable,
    P.dots_with_no_batch_dims_saveable,
    P.save_only_these_names("hidden"),
    P.save_any_names_but_these("hidden"),
    P.save_anything_except_these_names("hidden"),
    P.save_from_both_policies(P.save_only_these_names("top"), P.dots_saveable),
]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("wrap", [lambda f: f, ft.jit], ids=["bare", "jit inside"])
def test_values_and_derivatives_are_those_of_the_function(policy: Any, wrap: Any) -> None:
    f, g = loss(layers), loss(ft.checkpoint(wrap(layers), policy=policy))
    assert f(W, X) == g(W, X)
    expected = ft.grad(f, (0, 1))(W, X)
    for found in (ft.grad(g, (0, 1))(W, X), ft.jit(ft.grad(g, (0, 1)))(W, X)):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(ft.hessian(g, 1)(W, X), ft.hessian(f, 1)(W, X), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ft.jvp(g, (W, X), (W, X))[1], ft.jvp(f, (W, X), (W, X))[1], rtol=1e-12)
    rows = np.stack([X, -X, 2 * X])
    mapped = ft.vmap(ft.grad(g, 1), (None, 0))(W, rows)
    np.testing.assert_allclose(mapped, np.stack([ft.grad(f, 1)(W, r) for r in rows]), rtol=1e-12)


def test_to_second_order_against_finite_differences() -> None:
    g = ft.checkpoint(ft.checkpoint(layers, policy=P.dots_saveable))
    check_grads(g, (W, X), order=2)
    check_grads(ft.jit(g), (W, X), order=2)


def kept(f: Callable[..., Any], *args: Any) -> list[str]:
    return [origin.split(" at ")[0] for _, origin in saved_residuals(f, *args)]


@pytest.mark.parametrize("wrap", [lambda f: f, ft.jit], ids=["bare", "jit inside"])
def test_what_each_policy_keeps(wrap: Any) -> None:
    def found(policy: Any) -> list[str]:
        return sorted(kept(ft.checkpoint(wrap(layers), policy=policy), W, X))

    inputs = ["argument 0", "argument 1"]
    dots = ["the result of dot_general"] * 2
    assert found(None) == found(P.nothing_saveable) == inputs
    assert found(P.dots_saveable) == found(P.dots_with_no_batch_dims_saveable) == inputs + dots
    assert found(P.save_only_these_names("hidden")) == [*inputs, "the name 'hidden'"]
    assert found(P.save_any_names_but_these("hidden")) == [*inputs, "the name 'top'"]
    assert found(P.save_from_both_policies(P.save_only_these_names("hidden"), P.dots_saveable)) == [
        *inputs,
        "the name 'hidden'",
        *dots,
    ]
    everything = found(P.everything_saveable)
    assert "the name 'hidden'" in everything
    except_hidden = found(P.save_anything_except_these_names("hidden"))
    assert "the name 'hidden'" not in except_hidden
    # The product of which the named value is made stands in for it.
    assert "the result of dot_general" in except_hidden and "the result of dot_general" not in everything
    assert found(lambda prim, *avals, **params: Saveable if prim.name == "tanh" else Recompute) == [
        *inputs,
        "the result of tanh",
    ]


def test_contractions_with_batch_axes() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.sin(x @ y)

    x = np.ones((2, 3, 3))
    assert "the result of dot_general" in kept(ft.checkpoint(f, policy=P.dots_saveable), x, x)
    assert kept(ft.checkpoint(f, policy=P.dots_with_no_batch_dims_saveable), x, x) == ["argument 0", "argument 1"]


def test_names_inside_loops_and_branches_are_seen() -> None:
    def f(x: Any) -> Any:
        def step(c: Any, _: Any) -> tuple[Any, None]:
            return checkpoint_name(np.sin(c), "inner") * c, None

        return ft.lax.scan(step, x, None, length=3)[0]

    g = ft.checkpoint(f, policy=P.save_only_these_names("inner"))
    assert kept(g, X) == ["argument 0", "the result of scan"]
    np.testing.assert_allclose(ft.grad(lambda x: g(x).sum())(X), ft.grad(lambda x: f(x).sum())(X))
    assert kept(ft.checkpoint(f), X) == ["argument 0"]


def test_the_list_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_saved_residuals(lambda d: ft.checkpoint(np.sin)(d["a"]) * d["b"], {"a": X, "b": 2.0})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["f64[5] from argument 0['a']", "f64[]* from argument 0['b']"]
    assert lines[2].startswith("f64[5] from the result of sin at test_checkpoint.py:")


MIX = np.random.default_rng(1).normal(size=(16, 16)) / 4


def chain(checkpointed: bool, group: int) -> Callable[[Any], Any]:
    """Fifty layers, each of which keeps two arrays for the backward pass, in groups."""

    def several(x: Any) -> Any:
        for _ in range(group):
            x = np.sin(np.tanh(x @ MIX) @ MIX)
        return x

    segment = ft.checkpoint(several) if checkpointed else several

    def total(x: Any) -> Any:
        for _ in range(50 // group):
            x = segment(x)
        return np.sum(x)

    return total


def peak(make: Callable[[], Callable[[Any], Any]], x: Any) -> float:
    """The memory that a function and its calls need at most, in units of their argument."""
    make()(x)
    tracemalloc.start()
    try:
        f = make()
        f(x)
        f(x)
        return tracemalloc.get_traced_memory()[1] / x.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("wrap", [lambda f: f, ft.jit], ids=["eager", "jit"])
def test_memory_of_a_chain_of_fifty_layers(wrap: Any) -> None:
    x = np.ones((1000, 16))  # small enough for a BLAS call on one thread
    np.testing.assert_allclose(wrap(ft.grad(chain(False, 5)))(x), wrap(ft.grad(chain(True, 5)))(x), rtol=1e-12)
    assert peak(lambda: wrap(ft.grad(chain(False, 5))), x) > 98
    # Ten inputs of groups, and the ten values of the group that is being run again.
    assert peak(lambda: wrap(ft.grad(chain(True, 5))), x) < 30
    assert peak(lambda: wrap(ft.grad(chain(True, 1))), x) < 68


@pytest.mark.parametrize("wrap", [lambda f: f, ft.jit], ids=["eager", "jit"])
def test_memory_of_a_scan_with_a_checkpointed_body(wrap: Any) -> None:
    def loop(body: Any) -> Callable[[], Callable[[Any], Any]]:
        def total(x: Any) -> Any:
            return np.sum(ft.lax.scan(lambda c, _: (body(c), None), x, None, length=50)[0])

        return lambda: wrap(ft.grad(total))

    def body(c: Any) -> Any:
        return np.sin(np.cos(np.sin(np.cos(c))))

    x = np.ones(10_000)
    plain, checkpointed = loop(body), loop(ft.checkpoint(body, prevent_cse=False))
    np.testing.assert_allclose(plain()(x), checkpointed()(x), rtol=1e-12)
    assert peak(plain, x) > 48
    assert peak(checkpointed, x) < 62


def regions(jaxpr: Jaxpr) -> list[str]:
    return [eqn.prim.name for eqn in jaxpr.eqns if eqn.prim.kind == "call"]


def test_the_compiler_does_not_look_into_what_is_computed_again() -> None:
    def f(x: Any) -> Any:
        return np.sum(ft.checkpoint(lambda x: np.sin(np.sin(x)))(x))

    jaxpr = ft.make_jaxpr(ft.grad(f))(X)
    check(jaxpr)
    assert regions(jaxpr) == ["checkpoint", "remat"] or regions(jaxpr) == ["remat"]
    lowered = ft.jit(ft.grad(f)).lower(X).as_text("inline")
    assert "remat[" in lowered and "checkpoint[" not in lowered

    def merged(x: Any) -> Any:
        return np.sum(ft.checkpoint(lambda x: np.sin(np.sin(x)), prevent_cse=False)(x))

    assert "remat[" not in ft.jit(ft.grad(merged)).lower(X).as_text("inline")
    np.testing.assert_array_equal(ft.jit(ft.grad(merged))(X), ft.jit(ft.grad(f))(X))


def test_text_with_policies_can_be_read_back() -> None:
    for policy in POLICIES[1:-1]:
        jaxpr = ft.make_jaxpr(ft.checkpoint(layers, policy=policy))(W, X)
        assert str(from_text(str(jaxpr))) == str(jaxpr)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, list[float]]]:
    """An identity that notes each of its runs, as an effect."""
    monkeypatch.setattr(primitive, "registry", primitive.registry.copy())
    runs: list[float] = []

    def impl(xp: Any, x: Any) -> Any:
        runs.append(float(np.sum(x)))
        return x

    prim = Primitive(
        "counted",
        shape=lambda x: x,
        impl=impl,
        jvp=lambda ps, ts: (prim.bind(*ps), ts[0] if not isinstance(ts[0], Zero) else Zero(ts[0].aval)),
        batch=lambda axis, args, dims: (prim.bind(*args), dims[0]),
        effects=lambda: frozenset({"counting"}),
        kind="custom",
    )
    yield prim.bind, runs


def test_effects_happen_once(counted: tuple[Any, list[float]]) -> None:
    count, runs = counted

    @ft.checkpoint
    def f(x: Any) -> Any:
        return np.sin(count(np.sin(x)) * 2.0)

    x = np.array([0.3])
    expected = 2 * np.cos(2 * np.sin(x)) * np.cos(x)
    for g in (ft.grad(lambda x: np.sum(f(x))), ft.jit(ft.grad(lambda x: np.sum(f(x))))):
        runs.clear()
        np.testing.assert_allclose(g(x), expected)
        assert runs == [pytest.approx(np.sin(0.3))]


def test_static_arguments() -> None:
    class Traced:
        modes: tuple[str, ...] = ()

    def f(x: Any, mode: str, n: int, *, scale: Any) -> Any:
        Traced.modes += (mode,)
        return scale * x**n if mode == "power" else x

    g = ft.checkpoint(f, static_argnums=(1, 2))
    for _ in range(2):
        assert ft.grad(lambda x: g(x, "power", 3, scale=2.0))(2.0) == 24.0
        assert ft.grad(lambda x: g(x, "none", 3, scale=2.0))(2.0) == 1.0
    assert Traced.modes == ("power", "none")
    assert ft.grad(lambda x: g(x, "power", -1 + 3, scale=2.0))(2.0) == 8.0
    # A string is static by itself; in a container it has to be said.
    assert ft.grad(lambda x: ft.checkpoint(f, static_argnums=2)(x, "power", 3, scale=2.0))(2.0) == 24.0
    with pytest.raises(errors.ArgumentError, match=r"argument 1\[0\] is an object of type str.*static_argnums"):
        ft.grad(lambda x: ft.checkpoint(lambda x, modes: x)(x, ["power"]))(2.0)
    with pytest.raises(errors.ArgumentError, match="static_argnums=4"):
        ft.grad(lambda x: ft.checkpoint(f, static_argnums=4)(x, "power", 3, scale=2.0))(2.0)


class Model:
    def __init__(self) -> None:
        self.rate = 2.0

    @ft.checkpoint
    def run(self, x: Any) -> Any:
        return np.sum(np.sin(self.rate * x))


def test_methods_see_what_their_object_is_now() -> None:
    model = Model()
    np.testing.assert_allclose(ft.grad(model.run)(X), 2 * np.cos(2 * X))
    model.rate = 3.0
    np.testing.assert_allclose(ft.grad(model.run)(X), 3 * np.cos(3 * X))
    np.testing.assert_allclose(ft.jit(ft.grad(ft.checkpoint(model.run)))(X), 3 * np.cos(3 * X))


def test_concrete_lets_python_branch_on_values() -> None:
    def f(x: Any, n: Any) -> Any:
        while np.sum(x) < n:
            x = x * x
        return np.sum(x) if x[0] > 0 else -np.sum(x)

    g = ft.checkpoint(f, concrete=True)
    x = np.array([1.5, 1.1])
    np.testing.assert_array_equal(ft.grad(g)(x, 8.0), ft.grad(f)(x, 8.0))
    np.testing.assert_allclose(ft.hessian(g)(x, 8.0), ft.hessian(f)(x, 8.0), rtol=1e-12)
    with pytest.raises(errors.TracerBoolError):
        ft.jit(ft.grad(g))(x, 8.0)
    with pytest.raises(errors.TracerBoolError):
        ft.grad(ft.checkpoint(f))(x, 8.0)
    with pytest.raises(errors.TracerConversionError, match="lose its derivative"):
        ft.grad(ft.checkpoint(lambda x: x * float(x), concrete=True))(2.0)


def test_decorator_with_options_pytrees_and_captured_tracers() -> None:
    @ft.remat(policy=P.nothing_saveable)
    def f(d: dict[str, Any]) -> dict[str, Any]:
        return {"out": np.sin(d["a"]) * d["b"], "n": 3}

    out = ft.grad(lambda d: np.sum(f(d)["out"]))({"a": X, "b": 2.0})
    np.testing.assert_allclose(out["a"], 2 * np.cos(X))
    assert f({"a": X, "b": 2.0})["n"] == 3

    def closing(w: Any, x: Any) -> Any:
        return ft.checkpoint(lambda x: np.sin(w * x))(x)

    check_grads(closing, (0.7, X), order=2)
    integer = ft.checkpoint(lambda x, i: x[i] * x[0])
    assert ft.grad(integer)(X, 2)[2] == X[0]
    assert ft.jit(ft.grad(integer))(X, 2)[2] == X[0]


def test_linear_functions_are_transposed() -> None:
    f = ft.checkpoint(lambda x: 3.0 * x)
    (out,) = ft.linear_transpose(f, X)(np.ones(5))
    np.testing.assert_array_equal(out, np.full(5, 3.0))


def test_errors() -> None:
    with pytest.raises(errors.ArgumentError, match="checkpoint transforms a function"):
        ft.checkpoint(3.0)
    with pytest.raises(errors.ArgumentError, match=r"functrans\.checkpoint_policies"):
        ft.checkpoint(np.sin, policy="dots")
    with pytest.raises(errors.ArgumentError, match="must return a boolean, Saveable or Recompute for 'cos'"):
        ft.grad(ft.checkpoint(lambda x: np.sin(x), policy=lambda prim, *_, **__: "yes"))(1.0)
    with pytest.raises(errors.ArgumentError, match="in the memory 'pinned_host'"):
        ft.grad(ft.checkpoint(lambda x: np.sin(x), policy=lambda *_, **__: Offloadable("device", "pinned_host")))(1.0)
    with pytest.raises(errors.ArgumentError, match="names are strings, got 3"):
        P.save_only_these_names(3)
    with pytest.raises(errors.ArgumentError, match="checkpoint_name: names are strings"):
        checkpoint_name(X, 3)


def test_a_barrier_is_an_identity_to_every_transformation() -> None:
    def f(x: Any, y: Any) -> Any:
        a, b = ft.lax.optimization_barrier((np.sin(x), {"y": y}))
        return a * b["y"]

    check_grads(f, (X, 0.7), order=2)
    np.testing.assert_array_equal(ft.jit(f)(X, 2.0), np.sin(X) * 2)
    assert "optimization_barrier" in ft.jit(f).lower(X, 2.0).as_text("inline")
    np.testing.assert_array_equal(ft.vmap(f, (0, None))(X, 2.0), np.sin(X) * 2)
    assert ft.lax.optimization_barrier(("a", 1.0)) == ("a", 1.0)
