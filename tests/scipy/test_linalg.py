"""functrans.scipy.linalg against SciPy, by table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg as sl

import functrans as ft
import functrans.numpy as fnp
import functrans.scipy.linalg as fsl
from functrans import errors
from tests.numpy.agreement import check_derivative, same
from tests.scipy.agreement import Use, check_use

A = np.array([[2.0, 0.5, -1.0], [0.75, -3.0, 0.25], [-0.5, 1.0, 1.5]])
B = np.array([[1.0, -2.0], [0.5, 3.0], [2.0, 0.25]])
V = np.array([0.5, -1.5, 2.0])
TALL = np.array([[0.5, 2.0], [1.5, -0.25], [0.75, 1.0], [-1.0, 0.5]])
P = np.array([[4.0, 1.0, -0.5], [1.0, 3.0, 0.25], [-0.5, 0.25, 2.0]])
Z = A + 0.5j * A.T
ZP = P + 1j * np.array([[0.0, 0.5, 0.25], [-0.5, 0.0, 0.75], [-0.25, -0.75, 0.0]])
F32 = A.astype(np.float32)
BAND = np.triu(np.tril(A, 1), -1)
Q = np.cos(np.arange(6.0)).reshape(3, 2)
N = ()


def _assumed(kind: str, a: Any, lower: bool = False) -> Use:
    return Use(
        f"solve {kind} {lower}",
        lambda xp, a, b: xp.solve(a, b, assume_a=kind, lower=lower),
        (a, B.astype(a.dtype)),
        digits=64,
        batch=N,
    )


USES = [
    Use("cholesky", lambda xp, a: xp.cholesky(a), (P,), batch=N),
    Use("cholesky lower", lambda xp, a: xp.cholesky(a, lower=True), (ZP,), batch=N),
    Use("cho_factor", lambda xp, a: xp.cho_factor(a)[0], (P + np.tril(A, -1),), batch=N),
    Use("cho_solve", lambda xp, a, b: xp.cho_solve(xp.cho_factor(a), b), (P, B), batch=N, digits=64),
    Use("cho_solve low", lambda xp, a, b: xp.cho_solve((xp.cholesky(a, True), True), b), (ZP, V), batch=N, digits=64),
    Use("cho_solve up", lambda xp, a, b: xp.cho_solve((xp.cholesky(a), False), b), (ZP, V), batch=N, digits=64),
    Use("lu", lambda xp, a: xp.lu(a), (A,)),
    Use("lu tall", lambda xp, a: xp.lu(a, permute_l=True), (TALL,)),
    Use("lu wide", lambda xp, a: xp.lu(a, p_indices=True), (TALL.T,)),
    Use("lu float32", lambda xp, a: xp.lu(a), (F32,), 0),
    Use("lu complex", lambda xp, a: xp.lu(a), (Z,)),
    Use("lu_factor", lambda xp, a: xp.lu_factor(a), (A,)),
    *[
        Use(f"lu_solve {t}", lambda xp, a, b, t=t: xp.lu_solve(xp.lu_factor(a), b, trans=t), (Z, B + 0j), digits=64)
        for t in (0, 1, 2)
    ],
    Use("lu_solve a vector", lambda xp, a, b: xp.lu_solve(xp.lu_factor(a), b), (A, V), digits=64),
    Use("qr", lambda xp, a: xp.qr(a), (TALL,), 0, digits=32),
    Use("qr wide", lambda xp, a: xp.qr(a), (TALL.T,), digits=32),
    Use("qr economic", lambda xp, a: xp.qr(a, mode="economic"), (TALL,), digits=32),
    Use("qr r", lambda xp, a: xp.qr(a, mode="r")[0], (TALL,), digits=32),
    Use("qr raw", lambda xp, a: xp.qr(a, mode="raw"), (TALL,), 0, digits=32),
    Use("qr pivoting", lambda xp, a: xp.qr(a, mode="economic", pivoting=True), (TALL,), digits=32),
    Use("qr pivoting wide", lambda xp, a: xp.qr(a, pivoting=True), (TALL.T,), digits=32),
    Use("qr_multiply", lambda xp, a, c: xp.qr_multiply(a, c), (TALL, TALL.T), digits=32, batch=N),
    Use("qr_multiply left", lambda xp, a, c: xp.qr_multiply(a, c, "left")[0], (TALL, B[:2]), digits=32, batch=N),
    Use("qr_multiply vector", lambda xp, a, c: xp.qr_multiply(a, c), (Z, V), digits=32, batch=N),
    Use("svd", lambda xp, a: xp.svd(a), (A,), digits=32),
    Use("svd values", lambda xp, a: xp.svd(a, compute_uv=False), (TALL,), digits=32),
    Use("eigh values", lambda xp, a: xp.eigh(a, eigvals_only=True), (P,), digits=32),
    Use("eigh index", lambda xp, a: xp.eigh(a, eigvals_only=True, subset_by_index=(1, 2)), (ZP,), digits=32),
    *[
        Use(
            f"eigh pair {t}", lambda xp, a, b, t=t: xp.eigh(a, b, type=t, eigvals_only=True), (A, P), digits=64, batch=N
        )
        for t in (1, 2, 3)
    ],
    Use(
        "eigh pair upper",
        lambda xp, a, b: xp.eigh(a, b, lower=False, eigvals_only=True),
        (Z, ZP),
        digits=64,
        batch=N,
    ),
    Use("eigh_tridiagonal", lambda xp, d, e: xp.eigh_tridiagonal(d, e, True), (V, V[:2]), digits=32),
    Use(
        "eigh_tridiagonal index",
        lambda xp, d, e: xp.eigh_tridiagonal(d, e, True, select="i", select_range=(0, 1)),
        (V, V[:2]),
        digits=32,
    ),
    Use("hessenberg", lambda xp, a: xp.hessenberg(a, calc_q=True), (np.outer(V, V) + A,), 0, digits=64),
    Use("hessenberg complex", lambda xp, a: xp.hessenberg(a, calc_q=True), (Z,), 0, digits=64),
    Use("hessenberg of two", lambda xp, a: xp.hessenberg(a), (A[:2, :2],), 0),
    Use("schur", lambda xp, a: xp.schur(a), (A,), 0),
    Use("schur complex", lambda xp, a: xp.schur(a, output="complex"), (A,), 0),
    Use("schur sorted", lambda xp, a: xp.schur(a, sort="lhp"), (A,), 0),
    Use("rsf2csf", lambda xp, t, z: xp.rsf2csf(t, z), (*sl.schur(np.roll(A, 1, 0)),), 0, digits=64, batch=N),
    Use("solve", lambda xp, a, b: xp.solve(a, b), (A, B), digits=64),
    Use("solve transposed", lambda xp, a, b: xp.solve(a, b, transposed=True), (A, V), digits=64),
    Use("solve float16", lambda xp, a, b: xp.solve(a, b), (F32, V.astype(np.float16)), 0, digits=64),
    _assumed("sym", A),
    _assumed("sym", Z, True),
    _assumed("her", Z),
    _assumed("pos", P),
    _assumed("pos", ZP, True),
    _assumed("diagonal", np.diag(V)),
    _assumed("tridiagonal", BAND),
    _assumed("upper triangular", np.triu(A)),
    _assumed("lower triangular", np.tril(A)),
    *[
        Use(
            f"solve_triangular {t} {lower}",
            lambda xp, a, b, t=t, lower=lower: xp.solve_triangular(a, b, t, lower, unit_diagonal=lower),
            (Z, B + 0j),
            digits=64,
        )
        for t in (0, "T", "C")
        for lower in (True, False)
    ],
    Use("inv", lambda xp, a: xp.inv(a), (A,), digits=64),
    Use("inv pos", lambda xp, a: xp.inv(a, assume_a="pos"), (P,), digits=64, batch=N),
    Use("det", lambda xp, a: xp.det(a), (A,), digits=64),
    Use("solve_sylvester", lambda xp, a, b, q: xp.solve_sylvester(a, b, q), (A, P[:2, :2], Q), digits=128, batch=N),
    Use("solve_sylvester complex", lambda xp, a, q: xp.solve_sylvester(a, a, q), (Z, ZP), digits=256, batch=N),
    Use("expm", lambda xp, a: xp.expm(a), (A,), digits=256),
    Use("expm complex", lambda xp, a: xp.expm(a), (Z,), 1, digits=256),
    Use("expm_frechet", lambda xp, a, e: xp.expm_frechet(a, e), (A, P), 1, digits=1024),
    Use("expm_frechet alone", lambda xp, a, e: xp.expm_frechet(a, e, compute_expm=False), (A / 8, P), 0, digits=256),
    Use("sqrtm", lambda xp, a: xp.sqrtm(a) + 0j, (P,), digits=64, batch=N),
    Use("sqrtm complex", lambda xp, a: xp.sqrtm(a), (Z + 4 * np.eye(3),), digits=64, batch=N),
    Use("sqrtm of negative eigenvalues", lambda xp, a: xp.sqrtm(a), (A,), digits=64, batch=N),
    Use("polar", lambda xp, a: xp.polar(a), (A,), digits=64),
    Use("polar left", lambda xp, a: xp.polar(a, side="left"), (Z,), digits=64),
    Use("polar tall", lambda xp, a: xp.polar(a), (TALL,), digits=64),
    Use("polar wide", lambda xp, a: xp.polar(a, side="left"), (TALL.T,), digits=64),
    Use("funm", lambda xp, a: xp.funm(a, np.sin) + 0j, (A,), 1, digits=256, batch=N),
    Use("funm complex", lambda xp, a: xp.funm(a, np.exp), (Z,), digits=512, batch=N),
    Use("toeplitz", lambda xp, c, r: xp.toeplitz(c, r), (V, TALL[:, 0])),
    Use("toeplitz of one", lambda xp, c: xp.toeplitz(c), (V + 1j * V[::-1],)),
    Use("toeplitz of a number", lambda xp, c: xp.toeplitz(c), (2.5,)),
    Use("circulant", lambda xp, c: xp.circulant(c), (TALL,)),
    Use("hankel", lambda xp, c, r: xp.hankel(c, r), (V, TALL[:, 0])),
    Use("hankel of one", lambda xp, c: xp.hankel(c), (np.array([1, 2, 3]),)),
    *[
        Use(f"convolution {m}", lambda xp, a, m=m: xp.convolution_matrix(a, 4, m), (V,))
        for m in ("full", "valid", "same")
    ],
    *[
        Use(f"convolved {m}", lambda xp, a, m=m: xp.convolution_matrix(a, 2, m), (V,))
        for m in ("full", "valid", "same")
    ],
    Use("companion", lambda xp, a: xp.companion(a), (V,)),
    Use("companion of ints", lambda xp, a: xp.companion(a), (np.array([2, 3, 4, 5]),)),
    Use("leslie", lambda xp, f, s: xp.leslie(f, s), (V, V[:2])),
    Use("fiedler", lambda xp, a: xp.fiedler(a), (V,)),
    *[Use(f"fiedler_companion {n}", lambda xp, a: xp.fiedler_companion(a), (np.arange(n) + 1.5,)) for n in range(1, 8)],
    Use("block_diag", lambda xp, a, b: xp.block_diag(a, b, 3.0, []), (B, V)),
    Use("block_diag of nothing", lambda xp, a: xp.block_diag(a[:0, :1], a), (B,)),
]


@pytest.mark.parametrize("use", USES, ids=[u.name for u in USES])
def test_a_function_is_scipys(use: Use) -> None:
    check_use(use, sl, fsl)


CONSTANTS: dict[str, Callable[[Any], Any]] = {
    "dft": lambda xp: [xp.dft(n, scale) for n in (1, 4) for scale in (None, "sqrtn", "n")],
    "hadamard": lambda xp: [xp.hadamard(n) for n in (1, 4)] + [xp.hadamard(2, dtype=np.float32)],
    "helmert": lambda xp: [xp.helmert(4), xp.helmert(3, full=True)],
    "hilbert": lambda xp: xp.hilbert(3),
    "invhilbert": lambda xp: [xp.invhilbert(4), xp.invhilbert(4, exact=True)],
    "pascal": lambda xp: [xp.pascal(4, kind, exact) for kind in ("symmetric", "lower", "upper") for exact in (0, 1)],
    "invpascal": lambda xp: [xp.invpascal(4, kind, e) for kind in ("symmetric", "lower", "upper") for e in (0, 1)],
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constant_matrices(name: str) -> None:
    expected = CONSTANTS[name](sl)
    same(CONSTANTS[name](fsl), expected)
    bare = type(
        "bare", (), {key: staticmethod(f.__wrapped__) for key, f in vars(fsl).items() if hasattr(f, "__wrapped__")}
    )
    same(CONSTANTS[name](bare), expected, 8)


def test_large_integers_are_exact() -> None:
    assert fsl.pascal.__wrapped__(40).tolist() == sl.pascal(40).tolist()  # type: ignore[attr-defined]
    assert fsl.invhilbert.__wrapped__(16, exact=True).tolist() == sl.invhilbert(16, exact=True).tolist()  # type: ignore[attr-defined]
    assert fsl.invpascal.__wrapped__(36).tolist() == sl.invpascal(36).tolist()  # type: ignore[attr-defined]


def test_eigenvectors_agree_up_to_sign() -> None:
    for args, options in (
        ((P,), {}),
        ((A, P), {}),
        ((A, P), {"type": 2}),
        ((A, P), {"type": 3, "lower": False}),
        ((P,), {"subset_by_value": (2.0, 9.0)}),
    ):
        w, v = fsl.eigh(*args, **options)
        expected_w, expected_v = sl.eigh(*args, **options)
        np.testing.assert_allclose(w, expected_w, rtol=1e-12)
        np.testing.assert_allclose(np.abs(v), np.abs(expected_v), rtol=1e-10, atol=1e-12)
        check_derivative(lambda *xs, options=options: fsl.eigh(*xs, **options), args, 2)
    w, v = fsl.eigh_tridiagonal(V, V[:2])
    np.testing.assert_allclose(np.abs(v), np.abs(sl.eigh_tridiagonal(V, V[:2])[1]), rtol=1e-10)
    check_derivative(lambda d, e: fsl.eigh_tridiagonal(d, e, select="v", select_range=(0.0, 9.0)), (V, V[:2]), 1)
    with pytest.raises(errors.ConcretizationError, match="by index"):
        ft.jit(lambda a: fsl.eigh(a, subset_by_value=(0.0, 1.0)))(P)


# -- derivatives where eigenvalues coincide ----------------------------------------------------------------------

EQUAL: dict[str, Callable[[Any], Any]] = {
    "sqrtm": lambda x: fsl.sqrtm(x),
    "expm": lambda x: fsl.expm(x),
    "polar": lambda x: fsl.polar(x),
    "slogdet": lambda x: fnp.linalg.slogdet(x)[1],
    "pinv": lambda x: fnp.linalg.pinv(x),
    "solve_sylvester": lambda x: fsl.solve_sylvester(x, x, A),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_eigenvalues_do_no_harm(name: str) -> None:
    check_derivative(EQUAL[name], (2 * np.eye(3),), 2)


def test_funm_of_equal_eigenvalues() -> None:
    check_derivative(lambda x: fsl.funm(x, np.sin), (2 * np.eye(3),), 1)
    turned = np.linalg.qr(A)[0]
    check_derivative(lambda x: fsl.funm(x, np.exp), (turned @ np.diag([1.0, 1.0, 2.0]) @ turned.T,), 1)


def test_dtypes_that_depend_on_data() -> None:
    assert fsl.sqrtm(P).dtype == np.float64
    root = ft.vjp(fsl.sqrtm, P)[0]
    assert root.dtype == np.float64
    np.testing.assert_allclose(root, sl.sqrtm(P), rtol=1e-12)
    assert ft.jit(fsl.sqrtm)(P).dtype == np.complex128
    assert ft.vjp(fsl.sqrtm, A)[0].dtype == np.complex128
    assert ft.vjp(lambda x: fsl.funm(x, np.exp), A)[0].dtype == np.float64
    real, error = ft.vjp(lambda x: fsl.funm(x, np.exp, disp=False), A)[0]
    assert real.dtype == np.float64
    assert error < 1e-12


REJECTED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "not square": (lambda x: fsl.det(x[:2]), errors.ShapeError, "square"),
    "no matrix": (lambda x: fsl.expm(x[0]), errors.ShapeError, "matrix"),
    "qr mode": (lambda x: fsl.qr(x, mode="all"), errors.ArgumentError, "'economic'"),
    "assume_a": (lambda x: fsl.solve(x, x, assume_a="nice"), errors.ArgumentError, "'positive definite'"),
    "rows": (lambda x: fsl.solve(x, x[:2]), errors.ShapeError, "3 rows"),
    "trans": (lambda x: fsl.solve_triangular(x, x, trans=3), errors.ArgumentError, "'C'"),
    "side": (lambda x: fsl.polar(x, side="up"), errors.ArgumentError, "'left'"),
    "type": (lambda x: fsl.eigh(x, x, type=4), errors.ArgumentError, "1, 2 or 3"),
    "index": (lambda x: fsl.eigh(x, subset_by_index=(1, 3)), errors.ArgumentError, "0 to 2"),
    "select": (lambda x: fsl.eigh_tridiagonal(x[0], x[0, 1:], select="z"), errors.ArgumentError, "'a', 'v' or 'i'"),
    "leslie": (lambda x: fsl.leslie(x[0], x[0]), errors.ShapeError, "one less"),
    "companion": (lambda x: fsl.companion(x[0, :1]), errors.ShapeError, "two coefficients"),
    "convolution": (lambda x: fsl.convolution_matrix(x[0], 2, "some"), errors.ArgumentError, "'valid'"),
    "kind": (lambda x: fsl.pascal(2, "odd"), errors.ArgumentError, "'lower'"),
    "hadamard": (lambda x: fsl.hadamard(3), errors.ArgumentError, "power of 2"),
    "sylvester": (lambda x: fsl.solve_sylvester(x, x, x[:2]), errors.ShapeError, r"\(n, m\)"),
    "schur": (lambda x: ft.grad(lambda y: fsl.schur(y)[0].sum())(x), errors.NotDifferentiableError, "schur"),
    "hessenberg": (
        lambda x: ft.grad(lambda y: fsl.hessenberg(y).sum())(x),
        errors.NotDifferentiableError,
        "hessenberg",
    ),
    "singular sylvester": (lambda x: fsl.solve_sylvester(x, -x, x), np.linalg.LinAlgError, "coincide"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_bad_arguments(name: str) -> None:
    f, kind, words = REJECTED[name]
    with pytest.raises(kind, match=words):
        ft.jit(f)(A)
