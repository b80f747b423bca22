"""jit: statics, retracing and its reasons, stages, backends, debugging."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans import numpy as fnp

X = np.array([1.0, 2.0, 3.0])


def test_it_is_traced_once_for_each_signature() -> None:
    count = 0

    @ft.jit
    def f(x: Any) -> Any:
        nonlocal count
        count += 1
        return x * 2

    f(X), f(X + 1), f(np.ones(3))
    assert count == 1
    f(X.astype(np.float32)), f(np.ones(4)), f(2.0), f(3.0)
    assert count == 4


@pytest.mark.parametrize(
    "options",
    [{"static_argnums": 1}, {"static_argnums": (-1,)}, {"static_argnames": "n"}, {"static_argnames": ("n",)}],
)
def test_statics_by_position_and_by_name(options: Any) -> None:
    def f(x: Any, n: int) -> Any:
        assert type(n) is int
        return x[:n] * n

    j = ft.jit(f, **options)
    np.testing.assert_array_equal(j(X, 2), f(X, 2))
    np.testing.assert_array_equal(j(X, n=2), f(X, 2))
    np.testing.assert_array_equal(j(X, 3), f(X, 3))
    assert ft.jit(functools.partial(f, n=2))(X).shape == (2,)


def test_static_arrays_are_compared_by_contents() -> None:
    f = ft.jit(lambda x, idx: x[idx], static_argnums=1)
    np.testing.assert_array_equal(f(X, np.array([0, 2])), [1.0, 3.0])
    np.testing.assert_array_equal(f(X, np.array([0, 2])), [1.0, 3.0])
    np.testing.assert_array_equal(f(X, np.array([1, 1])), [2.0, 2.0])
    assert f.trace_count == 2
    with pytest.raises(errors.UnhashableStaticError, match="bytes"):
        f(X, np.zeros(100_000))


def test_bad_statics() -> None:
    with pytest.raises(errors.UnhashableStaticError, match=r"argument 1.*list"):
        ft.jit(lambda x, n: x, static_argnums=1)(X, [1])
    with pytest.raises(errors.StaticArgumentError, match="static_argnums=5"):
        ft.jit(lambda x: x, static_argnums=5)
    with pytest.raises(errors.StaticArgumentError, match="names no parameter"):
        ft.jit(lambda x: x, static_argnames="y")
    with pytest.raises(errors.ConcretizationError, match="static"):
        ft.grad(ft.jit(lambda x: x, static_argnums=0))(1.0)


def test_explain_names_the_argument_by_its_path() -> None:
    f = ft.jit(lambda d, n: d["w"][0] * n)
    f({"w": [X]}, 1)
    f({"w": [X.astype(np.float32)]}, 1)
    assert "argument 0['w'][0] changed from f64[3] to f32[3]" in f.explain()
    f({"w": [X], "b": X}, 1)
    assert "structure" in f.explain()


def test_lowering() -> None:
    f = ft.jit(lambda x: np.sum(np.sin(x) ** 2))
    lowered = f.lower(X)
    assert "sin" in lowered.as_text("jaxpr") and "def program" in lowered.as_text("python")
    assert lowered.as_text().count("--") >= 2 * len(lowered.stages)
    compiled = lowered.compile()
    assert compiled(X) == f(X)
    assert f.trace_count == 1
    with pytest.raises(errors.ArgumentError, match="compiled for"):
        compiled(np.ones(4))
    with pytest.raises(errors.TreeStructureError):
        compiled((X, X))
    with pytest.raises(errors.ArgumentError, match="stages"):
        lowered.as_text("assembly")
    assert ft.jit(lambda x: x).lower(ft.ShapeDtypeStruct((2,), np.float32)).jaxpr.in_avals[0].shape == (2,)


def test_backends() -> None:
    assert ft.jit(np.sin, backend="numpy")(0.0) == 0.0
    with pytest.raises(errors.MissingBackendError, match="the backends are"):
        ft.jit(np.sin, backend="abacus")
    old = ft.config.backend
    f = ft.jit(lambda x: x + 1)
    f(X)
    ft.config.backend = "abacus"
    try:
        with pytest.raises(errors.MissingBackendError):
            f(X)
    finally:
        ft.config.backend = old
    np.testing.assert_array_equal(f(X), X + 1)
    code = (
        "import functrans as ft\ntry:\n    ft.jit(lambda x: x)(1.0)\nexcept ft.errors.MissingBackendError: print('no')"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={"FUNCTRANS_BACKEND": "abacus", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
    )
    assert out.stdout.strip() == "no", out.stderr


def test_disable_jit_shows_values() -> None:
    seen: list[Any] = []
    f = ft.jit(lambda x: seen.append(x) or x * 2)
    with ft.disable_jit():
        f(X)
    assert type(seen[0]) is np.ndarray
    f(X)
    assert type(seen[1]) is not np.ndarray


def test_composition_with_itself_and_others() -> None:
    f = lambda x: np.sum(np.exp(x) * x)
    expected = np.exp(X) * (X + 1)
    for g in (
        ft.jit(ft.grad(f)),
        ft.grad(ft.jit(f)),
        ft.jit(ft.grad(ft.jit(f))),
        ft.jit(ft.jit(ft.jit(ft.grad(f)))),
        lambda x: ft.vmap(ft.jit(ft.grad(ft.jit(f))))(np.stack([x, x]))[1],
        lambda x: ft.jit(ft.jacrev(ft.jit(lambda x: f(x))))(x),
        lambda x: ft.jit(ft.jacfwd(ft.jit(f)))(x),
    ):
        np.testing.assert_allclose(g(X), expected, rtol=1e-14)
    hess = np.diag(np.exp(X) * (X + 2))
    np.testing.assert_allclose(ft.hessian(ft.jit(f))(X), hess, rtol=1e-12)
    np.testing.assert_allclose(ft.jit(ft.hessian(f))(X), hess, rtol=1e-12)
    np.testing.assert_allclose(ft.jit(ft.jacrev(ft.grad(ft.jit(f))))(X), hess, rtol=1e-12)


def test_debug_nans_names_the_line_forward_and_backward() -> None:
    def forward(x: Any) -> Any:
        y = np.log(x)  # here: forward
        return np.sum(y * 0)

    def backward(x: Any) -> Any:
        y = np.sqrt(x)  # here: backward
        return np.sum(y * 0.0)

    def line(mark: str) -> int:
        source = Path(__file__).read_text().splitlines()
        return next(i for i, text in enumerate(source, 1) if text.rstrip().endswith(f"# here: {mark}"))

    with ft.debug_nans():
        for f in (ft.jit(forward), ft.grad(forward), ft.jit(ft.value_and_grad(forward)), ft.vmap(forward)):
            with np.errstate(all="ignore"), pytest.raises(errors.NonFiniteError) as info:
                f(np.array([[-1.0]]))
            assert f"test_jit.py:{line('forward')}" in str(info.value)
        for f in (ft.grad(backward), ft.jit(ft.grad(backward)), ft.grad(ft.jit(backward))):
            with pytest.raises(errors.NonFiniteError) as info:
                f(np.array([0.0]))
            assert f"test_jit.py:{line('backward')}" in str(info.value)
    with np.errstate(all="ignore"):
        assert np.isnan(ft.grad(backward)(np.array([0.0]))).all()
    with ft.debug_infs(), np.errstate(all="ignore"), pytest.raises(errors.NonFiniteError, match="infinity"):
        ft.jit(lambda x: 1.0 / x)(np.zeros(2))


def test_threads_do_not_see_each_other() -> None:
    f = ft.jit(lambda x: np.sum(np.sin(x) * x))
    failures: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for n in range(1, 12):
                x = np.linspace(0.1, k + 1.0, n)
                np.testing.assert_allclose(f(x), np.sum(np.sin(x) * x))
                g = ft.grad(f)(x)
                np.testing.assert_allclose(g, np.cos(x) * x + np.sin(x))
                np.testing.assert_allclose(ft.vmap(ft.grad(lambda v: v**2))(x), 2 * x)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_a_thread_started_inside_a_trace_runs_eagerly() -> None:
    results: list[Any] = []

    def f(x: Any) -> Any:
        t = threading.Thread(target=lambda: results.append(ft.numpy.sin(np.ones(2))))
        t.start()
        t.join()
        return x * 2

    ft.jit(f)(X)
    assert type(results[0]) is np.ndarray


def test_a_failed_trace_leaves_nothing_behind() -> None:
    state = {"fail": True}

    def f(x: Any) -> Any:
        if state["fail"]:
            raise RuntimeError("first")
        return x * 2

    j = ft.jit(f)
    with pytest.raises(RuntimeError, match="first"):
        j(X)
    assert type(ft.numpy.sin(X)) is np.ndarray
    state["fail"] = False
    np.testing.assert_array_equal(j(X), 2 * X)


def test_formatting_a_traced_value() -> None:
    seen: list[str] = []

    def f(x: Any) -> Any:
        seen.append(f"{x:.2f}")
        return x * 2

    assert ft.grad(f)(1.5) == 2.0 and seen == ["1.50"]
    with pytest.raises(errors.TracerConversionError, match="format"):
        ft.jit(f)(np.float64(1.5))


def test_explain_shows_structures() -> None:
    f = ft.jit(lambda d: d["w"][0] * 2)
    f({"w": [X], "s": 1.0})
    assert "({'s': f64[]*, 'w': [f64[3]]})" in f.explain()


def test_equations_carry_the_line_of_this_program_not_of_the_first_that_used_the_operation() -> None:
    ft.grad(lambda x: np.sqrt(x) * x)(4.0)  # here: earlier

    def f(x: Any) -> Any:
        y = np.sqrt(x)  # here: root
        return y * x  # here: product

    lines = Path(__file__).read_text().splitlines()
    root, product, earlier = (
        next(i for i, text in enumerate(lines, 1) if text.endswith(f"# here: {mark}"))
        for mark in ("root", "product", "earlier")
    )
    found = {e.source.line for e in ft.make_jaxpr(ft.grad(f))(4.0).eqns if e.source}
    assert {root, product} <= found and earlier not in found


def test_a_branch_on_what_is_computed_from_constants_is_decided_while_tracing() -> None:
    weights = np.ones(3)

    def of_literals(x: Any) -> Any:
        return x if fnp.sum(fnp.ones(3)) > 0 else -x

    def of_captured(x: Any) -> Any:
        return x if fnp.sum(weights) > 0 else -x

    def of_argument(n: Any) -> Any:
        return 1.0 if fnp.sin(n) > 0 else 2.0

    def of_inner() -> Any:
        return 1.0 if ft.jit(lambda: fnp.sin(1.0))() > 0 else 2.0

    def length(x: Any) -> Any:
        return x[: int(fnp.sum(fnp.array([1, 1])))]

    x = np.arange(3.0)
    assert ft.jit(of_literals)(x).tolist() == [0.0, 1.0, 2.0]
    compiled = ft.jit(of_captured)
    assert compiled(x).tolist() == [0.0, 1.0, 2.0]
    weights[:] = -1.0
    assert compiled(x).tolist() == [0.0, -1.0, -2.0]
    assert (ft.jit(of_argument)(1.0), ft.jit(of_argument)(4.0)) == (1.0, 2.0)
    assert ft.jit(of_inner)() == 1.0
    assert ft.jit(length)(x).tolist() == [0.0, 1.0]
