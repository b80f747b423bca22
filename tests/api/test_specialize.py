"""Guarded specialisation: Python branches under jit, a compiled path for each way through them."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, lax

POSITIVE = np.array([1.0, 2.0, 3.0])
NEGATIVE = -POSITIVE
SMALL = np.array([0.1, 0.2, 0.3])


def forked(x: Any) -> Any:
    y = np.sin(x)
    if y.sum() > 0:
        if y[0] > 0.5:
            return y * 2
        return {"small": y}
    return y * 3


def same(a: Any, b: Any) -> None:
    leaves, tree = ft.tree.flatten(a)
    others, other_tree = ft.tree.flatten(b)
    assert tree == other_tree
    for x, y in zip(leaves, others, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-14)
        assert type(x) is type(y)


def test_each_outcome_is_traced_once() -> None:
    f = ft.jit(forked, specialize=3)
    for x in (POSITIVE, NEGATIVE, SMALL, POSITIVE, SMALL, NEGATIVE, POSITIVE):
        same(f(x), forked(x))
    assert f.trace_count == 3
    assert "the branch at test_specialize.py" in f.explain()
    assert "came out as False" in f.explain()


def test_a_loop_has_a_path_for_each_number_of_steps() -> None:
    @ft.jit(specialize=8)
    def newton(a: Any) -> Any:
        x = a
        while np.abs(x * x - a) > 1e-12:
            x = 0.5 * (x + a / x)
        return x

    for a in (2.0, 3.0, 100.0, 2.0):
        np.testing.assert_allclose(newton(np.float64(a)), np.sqrt(a), rtol=1e-12)
    traced = newton.trace_count
    newton(np.float64(100.0))
    assert newton.trace_count == traced
    # The derivatives are those of the steps that were taken.
    np.testing.assert_allclose(ft.grad(newton)(2.0), 0.5 / np.sqrt(2.0), rtol=1e-9)
    np.testing.assert_allclose(ft.grad(ft.grad(newton))(2.0), -0.25 * 2.0**-1.5, rtol=1e-5)
    np.testing.assert_allclose(ft.jvp(newton, (2.0,), (2.0,))[1], 1 / np.sqrt(2.0), rtol=1e-9)


def test_past_the_limit_it_raises_and_names_the_branch() -> None:
    f = ft.jit(forked, specialize=2)
    f(POSITIVE), f(NEGATIVE)
    with pytest.raises(errors.PathLimitError, match=r"jit\(forked\).*specialize=2.*test_specialize.py.*lax.cond"):
        f(SMALL)
    same(f(POSITIVE), forked(POSITIVE))
    with pytest.raises(errors.ArgumentError, match="specialize"):
        ft.jit(forked, specialize=0)
    with pytest.raises(errors.ArgumentError, match="specialize"):
        ft.jit(forked, specialize=True)


def test_without_it_the_error_says_what_to_write() -> None:
    with pytest.raises(errors.TracerBoolError, match=r"functrans.numpy.where.*lax.cond.*specialize=N"):
        ft.jit(forked)(POSITIVE)


@pytest.mark.parametrize("x", [POSITIVE, NEGATIVE, SMALL])
def test_derivatives_outside_and_inside(x: np.ndarray) -> None:
    def loss(x: Any) -> Any:
        return sum(np.sum(leaf**2) for leaf in ft.tree.leaves(forked(x)))

    expected = ft.grad(loss)(x)
    f = ft.jit(loss, specialize=3)
    np.testing.assert_allclose(ft.grad(f)(x), expected, rtol=1e-14)
    f(x)
    np.testing.assert_allclose(ft.grad(f)(x), expected, rtol=1e-14)
    np.testing.assert_allclose(ft.jit(ft.grad(loss), specialize=3)(x), expected, rtol=1e-14)
    np.testing.assert_allclose(ft.jvp(f, (x,), (np.ones(3),))[1], expected.sum(), rtol=1e-14)
    np.testing.assert_allclose(ft.hessian(f)(x), ft.hessian(loss)(x), rtol=1e-13)
    np.testing.assert_allclose(ft.jit(ft.hessian(loss), specialize=3)(x), ft.hessian(loss)(x), rtol=1e-13)


def test_paths_belong_to_the_outermost_jit() -> None:
    def leaky(x: Any) -> Any:
        return x if x.sum() > 0 else 0.1 * x

    inner, special = ft.jit(leaky), ft.jit(leaky, specialize=2)
    for f in (
        ft.jit(lambda y: inner(y) + 1, specialize=2),
        ft.jit(lambda y: special(y) + 1),
        ft.jit(lambda y: ft.jit(lambda z: special(z))(y) + 1),
        ft.jit(lambda y: ft.jvp(special, (y,), (y,))[1] + 1),
    ):
        for x in (POSITIVE, NEGATIVE, POSITIVE):
            np.testing.assert_allclose(f(x), leaky(x) + 1, rtol=1e-15)
        assert f.trace_count == 2
    assert special.trace_count == 0
    special(POSITIVE)
    f = ft.jit(lambda x: special(x) * 2)
    np.testing.assert_array_equal(f(NEGATIVE), leaky(NEGATIVE) * 2)
    # The limit that the inner one asks for holds for the outer one.
    third = ft.jit(lambda x: special(x) + special(x - 2.0))
    third(POSITIVE * 9), third(NEGATIVE)
    with pytest.raises(errors.PathLimitError, match="specialize=2"):
        third(np.array([0.5, 0.5, 0.5]))


def test_a_batched_predicate_raises_and_one_that_is_shared_does_not() -> None:
    f = ft.jit(lambda x, p: 2 * x if p > 0 else x, specialize=2)
    np.testing.assert_array_equal(ft.vmap(f, in_axes=(0, None))(POSITIVE, np.float64(1.0)), 2 * POSITIVE)
    np.testing.assert_array_equal(ft.vmap(f, in_axes=(0, None))(POSITIVE, np.float64(-1.0)), POSITIVE)
    for g in (ft.vmap(f), ft.jit(ft.vmap(f.f), specialize=2)):
        with pytest.raises(errors.TracerBoolError, match=r"where.*cond"):
            g(POSITIVE, POSITIVE)
    per_example = ft.jit(ft.vmap(lambda x, n: 2 * x if n.sum() > 0 else x, in_axes=(0, None)), specialize=2)
    np.testing.assert_array_equal(per_example(POSITIVE, POSITIVE), 2 * POSITIVE)


def test_a_value_that_belongs_to_a_loop_body_raises() -> None:
    f = ft.jit(lambda x: lax.fori_loop(0, 3, lambda i, c: c * 2 if c > 0 else c, x), specialize=2)
    with pytest.raises(errors.TracerBoolError, match="lax"):
        f(np.float64(1.0))


def test_a_body_that_branches_on_a_captured_value_is_not_reused_for_another_outcome() -> None:
    @ft.jit(specialize=2)
    def f(x: Any, s: Any) -> Any:
        return lax.scan(lambda c, _: (c + 1 if s > 0 else c - 1, None), x, length=3)[0]

    for s in (1.0, -1.0, 1.0, -1.0):
        assert f(np.float64(0.0), np.float64(s)) == 3 * s
    assert f.trace_count == 2


# -- validation -----------------------------------------------------------------------------------------------------


def cubed(x: Any) -> Any:
    if not np.isfinite(x).all():
        raise ValueError(f"bad x: {x.max():.1f}")
    return np.sum(x**3)


@pytest.mark.parametrize("options", [{}, {"specialize": 1}])
def test_a_validation_raises_the_users_exception(options: Any) -> None:
    bad = np.array([1.0, np.inf, 2.0])
    for f, good in (
        (ft.jit(cubed, **options), 36.0),
        (ft.jit(ft.grad(cubed), **options), 3 * POSITIVE**2),
        (ft.grad(ft.jit(cubed, **options)), 3 * POSITIVE**2),
        (ft.jit(lambda x: ft.jit(cubed, **options)(x) + 0.0), 36.0),
    ):
        for _ in range(2):
            np.testing.assert_array_equal(f(POSITIVE), good)
            with pytest.raises(ValueError, match="bad x: inf") as caught:
                f(bad)
            assert caught.value.__context__ is None
    f = ft.jit(cubed, **options)
    f(POSITIVE), f(NEGATIVE)
    assert f.trace_count == 1


def test_assertions_and_checks_of_callees() -> None:
    # As a module of its own has it: pytest rewrites the assertions of a test module.
    scope: dict[str, Any] = {}
    exec("def check(x, y):\n    assert (x > 0).all() and (y > 0).all(), 'not positive'", scope)
    check = scope["check"]

    @ft.jit
    def f(x: Any, y: Any) -> Any:
        check(x, y)
        if (x > 100).any() or (y > 100).any():
            raise OverflowError
        return x / y

    np.testing.assert_array_equal(f(POSITIVE, POSITIVE), np.ones(3))
    for x, y in ((POSITIVE, NEGATIVE), (NEGATIVE, POSITIVE)):
        with pytest.raises(AssertionError, match="not positive"):
            f(x, y)
    with pytest.raises(OverflowError):
        f(POSITIVE, POSITIVE * 99)
    assert f.trace_count == 1


def test_validation_does_not_open_other_branches() -> None:
    def f(x: Any) -> Any:
        if x.sum() < -100:
            raise ValueError
        return x if x.sum() > 0 else -x

    with pytest.raises(errors.TracerBoolError, match="specialize"):
        ft.jit(f)(POSITIVE)

    def swallows(x: Any) -> Any:
        try:
            if x.sum() < 0:
                raise ValueError
        except ValueError:
            return -x
        return x

    g = ft.jit(swallows)
    np.testing.assert_array_equal(g(POSITIVE), POSITIVE)
    with pytest.raises(errors.PathLimitError, match=r"caught within the function.*specialize=2"):
        g(NEGATIVE)
    np.testing.assert_array_equal(ft.jit(swallows, specialize=2)(NEGATIVE), POSITIVE)


def test_a_program_with_validation_is_shown_without_it() -> None:
    lowered = ft.jit(cubed).lower(POSITIVE)
    assert "isfinite" not in lowered.as_text("jaxpr")
    assert lowered.compile()(POSITIVE) == 36.0
    with pytest.raises(errors.ConcretizationError, match="path"):
        ft.jit(forked, specialize=3).lower(POSITIVE)
    assert "sin" in ft.jit(np.sin, specialize=2).lower(POSITIVE).as_text("jaxpr")


# -- effects --------------------------------------------------------------------------------------------------------


def test_effects_happen_once_in_order_whichever_path_is_new() -> None:
    log: list[Any] = []

    def f(x: Any) -> Any:
        ft.debug.callback(lambda v: log.append(("start", float(v))), x.sum(), ordered=True)
        if x.sum() > 0:
            ft.debug.callback(lambda: log.append("positive"), ordered=True)
            if x[0] > 1:
                ft.debug.callback(lambda: log.append("large"), ordered=True)
                return x
            return 2 * x
        return 3 * x

    def run(g: Any, x: Any) -> list[Any]:
        log.clear()
        g(x)
        return list(log)

    special, gradient = ft.jit(f, specialize=3), ft.grad(lambda x: ft.jit(f, specialize=3)(x).sum())
    for x in (POSITIVE, NEGATIVE, 2 * POSITIVE, NEGATIVE, POSITIVE, 2 * POSITIVE):
        expected = run(f, x)
        assert run(special, x) == expected
        assert run(gradient, x) == expected
        assert run(ft.jit(ft.grad(lambda x: f(x).sum()), specialize=3), x) == expected
    assert special.trace_count == 3


def test_what_an_effect_gave_is_there_for_a_path_that_is_traced_later() -> None:
    numbers = iter(range(100))

    @ft.jit(specialize=2)
    def f(x: Any) -> Any:
        n = ft.io_callback(lambda: next(numbers), ft.ShapeDtypeStruct((), np.int64))
        return x + n if x > 0 else x - n

    assert [f(np.float64(x)) for x in (10, -10, 10, -10)] == [10, -11, 12, -13]


def test_effects_before_an_exception_have_happened() -> None:
    log: list[str] = []

    @ft.jit(specialize=1)
    def f(x: Any) -> Any:
        ft.debug.callback(lambda: log.append("before"))
        if x < 0:
            ft.debug.callback(lambda: log.append("inside"))
            raise ValueError("negative")
        return x

    f(np.float64(1.0))
    with pytest.raises(ValueError, match="negative"):
        f(np.float64(-1.0))
    assert log == ["before", "before", "inside"]


# -- values -----------------------------------------------------------------------------------------------------------


def test_numbers_made_of_traced_values() -> None:
    @ft.jit(specialize=3)
    def head(x: Any) -> Any:
        n = int((x > 0).sum())
        return x[:n] * (x > 0).sum().item() + range(5)[(x < 0).sum()]

    for x in (POSITIVE, np.array([1.0, -2.0, 3.0]), np.array([-1.0, 2.0, 3.0]), NEGATIVE):
        n = int((x > 0).sum())
        np.testing.assert_array_equal(head(x), x[:n] * n + (3 - n))
    assert head.trace_count == 3
    np.testing.assert_array_equal(ft.jacobian(head)(POSITIVE), 3 * np.eye(3))


def test_a_number_that_would_lose_its_derivative_raises() -> None:
    scaled = ft.jit(lambda x: x * float(x.sum()), specialize=3)
    np.testing.assert_array_equal(scaled(POSITIVE), 6 * POSITIVE)
    for f in (scaled, ft.jit(scaled.f, specialize=3)):
        with pytest.raises(errors.TracerConversionError, match=r"float\(\).*lose its derivative"):
            ft.grad(lambda x: f(x).sum())(POSITIVE)  # noqa: B023 - called at once
    np.testing.assert_array_equal(ft.grad(lambda x: scaled(ft.stop_gradient(x)).sum() + x.sum())(POSITIVE), np.ones(3))


def test_python_numbers_branch_by_outcome_and_shape_by_value() -> None:
    @ft.jit(specialize=2)
    def f(x: Any, rate: float, n: int) -> Any:
        return np.tile(x, n) if rate > 0.5 else np.zeros(n)

    for rate in (0.1, 0.2, 0.9, 0.7):
        np.testing.assert_array_equal(f(POSITIVE, rate, 2), np.tile(POSITIVE, 2) if rate > 0.5 else np.zeros(2))
    assert f.trace_count == 2
    assert f(POSITIVE, 0.9, 3).shape == (9,)


def test_donated_buffers_are_whole_until_the_last_guard() -> None:
    def f(x: Any, y: Any) -> Any:
        z = x + 1.0
        if z.sum() > 0:
            return z * y
        return x * 2 + z

    g = ft.jit(f, specialize=2, donate_argnums=0)
    for x in (POSITIVE, NEGATIVE - 1, POSITIVE, NEGATIVE - 1):
        np.testing.assert_array_equal(g(x.copy(), SMALL), f(x, SMALL))


def test_captured_values_are_read_and_compared() -> None:
    table = np.ones(3)
    scale = 2.0
    f = ft.jit(lambda x: x * table if x.sum() > table.sum() else x * scale, specialize=2)
    np.testing.assert_array_equal(f(POSITIVE), POSITIVE)
    table[:] = 5.0
    np.testing.assert_array_equal(f(POSITIVE), POSITIVE * 2)
    scale = 3.0
    np.testing.assert_array_equal(f(POSITIVE), POSITIVE * 3)
    table[:] = 0.5
    np.testing.assert_array_equal(f(POSITIVE), POSITIVE * 0.5)


def test_results_own_their_memory() -> None:
    def f(x: Any) -> Any:
        return x if x.sum() > 0 else x[::2]

    g = ft.jit(f, specialize=2)
    for x in (POSITIVE.copy(), NEGATIVE.copy(), POSITIVE.copy()):
        out = g(x)
        assert not np.shares_memory(out, x)
        assert out.flags.writeable and out.flags.owndata


def test_a_function_of_hidden_state_is_found_out() -> None:
    calls = [0]
    state = type("State", (), {"n": 0})()

    @ft.jit(specialize=3)
    def f(x: Any) -> Any:
        state.n += 1
        y = np.sin(x) if state.n == 1 else np.cos(np.cos(x))
        return y if x.sum() > 0 else -y

    f(POSITIVE)
    with pytest.raises(errors.ConcretizationError, match="something else"):
        f(NEGATIVE)
    assert calls == [0]


def test_statics_methods_and_pytrees() -> None:
    class Model:
        def __init__(self) -> None:
            self.bias = 1.0

        @ft.jit(specialize=2, static_argnames="kind")
        def __call__(self, batch: Any, kind: str = "up") -> Any:
            if batch["x"].sum() > 0:
                return {"y": batch["x"] + self.bias, "kind": np.float64(len(kind))}
            return {"y": batch["x"] - self.bias, "kind": np.float64(0)}

    m = Model()
    np.testing.assert_array_equal(m({"x": POSITIVE}, kind="down")["y"], POSITIVE + 1)
    np.testing.assert_array_equal(m({"x": NEGATIVE}, kind="down")["y"], NEGATIVE - 1)
    m.bias = 2.0
    np.testing.assert_array_equal(m({"x": POSITIVE}, kind="down")["y"], POSITIVE + 2)


def test_modes() -> None:
    f = ft.jit(forked, specialize=3)
    with ft.disable_jit():
        same(f(POSITIVE), forked(POSITIVE))
    with ft.debug_nans():
        same(f(NEGATIVE), forked(NEGATIVE))
        with pytest.raises(errors.NonFiniteError, match="sin"):
            f(np.array([np.inf, 1.0, 1.0]))
    with ft.checking_leaks():
        same(f(SMALL), forked(SMALL))
    with ft.enable_checks():
        same(ft.jit(lambda x: forked(x), specialize=3)(POSITIVE), forked(POSITIVE))


def test_threads_share_paths() -> None:
    f = ft.jit(forked, specialize=3)
    failures: list[Any] = []

    def work(k: int) -> None:
        try:
            for i in range(30):
                x = (POSITIVE, NEGATIVE, SMALL)[(i + k) % 3]
                same(f(x), forked(x))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_nothing_of_a_call_is_kept() -> None:
    class Watched(np.ndarray):
        pass

    x = np.ones(3).view(Watched)
    watcher = weakref.ref(x)
    f = ft.jit(lambda x: x * 2 if x.sum() > 0 else x, specialize=2)
    f(x), f(-np.ones(3))
    del x
    gc.collect()
    assert watcher() is None
