"""Native factorisations against NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.backends.llvm import blas, calls
from functrans.core.jaxpr import Eqn
from functrans.core.primitive import registry
from functrans.core.trace import aval_of

NAMES = (
    "cholesky", "triangular_solve", "lu", "factored_solve", "solve", "inv", "det", "slogdet", "qr", "eigh", "eigvalsh",
    "svd", "svdvals",
)  # fmt: skip


def agree(found: Any, expected: Any) -> None:
    for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(expected), strict=True):
        assert aval_of(a) == aval_of(b)
        eps = float(np.finfo(aval_of(b).dtype).eps) if aval_of(b).dtype.kind in "fc" else 0.0
        size = float(np.max(np.abs(b), initial=1.0, where=np.isfinite(b)))
        np.testing.assert_allclose(a, b, rtol=1e3 * eps, atol=1e3 * eps * size)


def native(name: str, *args: Any, **params: Any) -> None:
    prim = registry[name]

    def f(*xs: Any) -> Any:
        return prim.bind(*xs, **params)

    jaxpr = ft.make_jaxpr(f)(*args)
    eqns: list[Eqn] = [e for e in jaxpr.eqns if e.prim is prim]
    assert all(calls.native_call(e) is not None for e in eqns if all(a.aval.size for a in e.inputs))
    agree(ft.jit(f, backend="llvm")(*args), f(*args))


@pytest.mark.parametrize("name", NAMES)
def test_samples(name: str) -> None:
    samples = registry[name].samples
    assert samples is not None
    for sample in samples():
        native(name, *sample.args, **sample.params)


def matrices(dtype: str, *shape: int) -> Any:
    rng = np.random.default_rng(sum(shape))
    x = rng.normal(size=shape) + (1j * rng.normal(size=shape) if dtype in "FD" else 0)
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", "fdFD")
@pytest.mark.parametrize("n", [1, 5, 34])
def test_square(dtype: str, n: int) -> None:
    a = matrices(dtype, 2, n, n) + n * np.eye(n, dtype=dtype)
    b = matrices(dtype, 2, n, 3)
    h = (a + a.conj().swapaxes(-1, -2)) / 2
    definite = a @ a.conj().swapaxes(-1, -2)
    factors, pivots, _ = lax.linalg.lu(a)
    native("cholesky", definite)
    native("solve", a, b)
    native("inv", a, strict=True)
    native("slogdet", a)
    native("factored_solve", a, factors, pivots, b, transposed=n == 5)
    native("eigh", h, lower=n == 5)
    native("eigvalsh", h, lower=n != 5)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_triangular(lower: bool, transposed: bool) -> None:
    for dtype, n in (("f", 6), ("D", 34)):
        a = matrices(dtype, n, n) / n + 3 * np.eye(n, dtype=dtype)
        for unit in (False, True):
            native(
                "triangular_solve", a, matrices(dtype, n, 2), lower=lower, transposed=transposed, unit=unit
            )  # fmt: skip


@pytest.mark.parametrize("dtype", "fD")
@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (2, 1, 3), (40, 33)])
def test_oblong(dtype: str, shape: tuple[int, ...]) -> None:
    a = matrices(dtype, *shape)
    native("lu", a)
    for mode in ("reduced", "complete", "r"):
        native("qr", a, mode=mode)
    for full in (True, False):
        native("svd", a, full_matrices=full)
    native("svdvals", a)


def test_single_precision_is_computed_as_numpy_does() -> None:
    """``numpy.linalg`` works in double precision: a badly conditioned system shows it."""
    n = 6
    a = (1.0 / (np.arange(n)[:, None] + np.arange(n) + 1.0)).astype(np.float32)
    b = np.ones((n, 1), np.float32)
    found = ft.jit(lambda a, b: np.linalg.solve(a, b), backend="llvm")(a, b)
    np.testing.assert_allclose(found, np.linalg.solve(a, b), rtol=1e-5)


FAILING = {
    "cholesky": (lambda x: np.linalg.cholesky(x), -np.eye(3)),
    "solve": (lambda x: np.linalg.solve(x, x), np.zeros((2, 2))),
    "inv": (lambda x: np.linalg.inv(x), np.array([[1.0, 2.0], [2.0, 4.0]])),
    "svd": (lambda x: np.linalg.svd(x)[1], np.full((2, 3), np.nan)),
    "triangular_solve": (
        lambda x: lax.linalg.triangular_solve(x, x, left_side=True, lower=True), np.array([[1.0, 0.0], [5.0, 0.0]])
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("stacked", [False, True])
def test_failures(name: str, stacked: bool) -> None:
    f, bad = FAILING[name]
    good = np.eye(*bad.shape) * 2
    x = np.stack([good, bad, good]) if stacked else bad
    g = ft.jit(f, backend="llvm")
    with pytest.raises(np.linalg.LinAlgError) as expected:
        f(x)
    for _ in range(2):
        with pytest.raises(np.linalg.LinAlgError) as found:
            g(x)
        assert str(found.value) == str(expected.value)
    fine = np.stack([good] * 3) if stacked else good
    agree(g(fine), f(fine))


def test_singular_without_an_error() -> None:
    x = np.stack([np.eye(2) * 2, np.ones((2, 2))])
    native("inv", x, strict=False)
    native("det", x)
    native("slogdet", x)


def test_determinants_do_not_overflow_on_the_way() -> None:
    native("det", np.diag([1e200, 1e200, 1e-300, 1e-100]))
    native("slogdet", np.diag([1e200, 1e200, -1e300]))
    native("slogdet", np.diag([3e200 + 4e200j, 1e-300j]))


def test_programs() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=12)

    def evidence(scale: Any) -> Any:
        distances = np.sum((x[:, None] - x[None]) ** 2, -1)
        factor = np.linalg.cholesky(np.exp(-distances / scale) + 0.1 * np.eye(12))
        solved = lax.linalg.triangular_solve(factor, y, left_side=True, lower=True)
        return 0.5 * np.sum(solved**2) + np.sum(np.log(np.diagonal(factor)))

    for f in (evidence, ft.grad(evidence), ft.hessian(evidence)):
        agree(ft.jit(f, backend="llvm")(1.5), f(1.5))
    f, scales = ft.vmap(ft.grad(evidence)), np.array([1.0, 2.0])
    agree(ft.jit(f, backend="llvm")(scales), f(scales))
    a = rng.normal(size=(4, 3, 3)) + 3 * np.eye(3)
    for f in (
        lambda a: np.linalg.inv(a),
        ft.vmap(lambda a: np.linalg.det(a)),
        ft.vmap(ft.grad(lambda a: np.linalg.slogdet(a)[1])),
        ft.vmap(ft.jacfwd(lambda a: np.linalg.eigvalsh(a + a.T))),
    ):
        agree(ft.jit(f, backend="llvm")(a), f(a))


def test_without_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    from functrans.backends.llvm import lapack

    monkeypatch.setattr(lapack, "library", lambda: None)
    monkeypatch.setattr(blas, "library", lambda: None)
    a = np.array([[4.0, 1.0], [1.0, 3.0]])

    def f(a: Any) -> Any:
        return np.linalg.cholesky(a) + np.linalg.svd(a)[0] + np.linalg.inv(a)

    agree(ft.jit(f, backend="llvm")(a), f(a))
