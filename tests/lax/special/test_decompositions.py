"""Decompositions against values in 60 digits, and densely against SciPy; what they give at the edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special as sp

import functrans as ft
import functrans.lax.special.distributions
import functrans.lax.special.faddeeva
import functrans.lax.special.hypergeometric
import functrans.lax.special.integrals
import functrans.lax.special.table
from functrans.core.evaluate import evaluate
from functrans.core.primitive import registry
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from tests.lax.special.special_reference import REFERENCE, Row

INF, NAN = np.inf, np.nan
EPS = float(np.finfo(float).eps)


def decomposed(name: str, *args: Any, output: int | None = None, **params: Any) -> Any:
    """What the decomposition gives, staged as a backend stages it: types are checked on the way."""
    prim = registry[name]
    assert prim.decompose is not None, name

    def f(*xs: Any) -> list[Any]:
        out = prim.decompose(*xs, **params)
        return out if prim.multiple else [out]

    jaxpr = stage(f, [aval_of(a) for a in args], name)
    assert len(jaxpr.eqns) < 1000, f"{name} decomposes into {len(jaxpr.eqns)} equations"
    with np.errstate(all="ignore"):
        return evaluate(jaxpr, args)[output or 0]


# The errors that the docstrings state, in units of rounding.
STATED = {
    "lgamma": 6,
    "gamma": 12,
    "digamma": 8,
    "zeta": 30,
    "zeta_grad": 60,
    "igamma": 50,
    "igammac": 50,
    "betainc": 100,
    "betaincc": 100,
    "erf": 3,
    "erfc": 6,
    "erfcx": 6,
    "erf_inv": 6,
    "ndtri": 6,
    "log_ndtr": 40,
    "dawsn": 6,
    "bessel_i0e": 8,
    "bessel_i1e": 8,
    "exp1": 6,
    "expi": 8,
    "expn": 60,
    "spence": 8,
    "owens_t": 60,
}
DERIVATIVES = {
    "zeta_grad": ("zeta_grad", (1, 0)),
    "igamma_grad_a": ("igamma_grad_a", (1, 0)),
    "betainc_grad_a": ("betainc_grad", (1, 0, 0)),
    "betainc_grad_b": ("betainc_grad", (0, 1, 0)),
}


@pytest.mark.parametrize(("name", "rows"), REFERENCE.items(), ids=list(REFERENCE))
def test_values_in_many_digits(name: str, rows: list[Row]) -> None:
    prim, orders = DERIVATIVES.get(name, (name, None))
    points = [np.array(column) for column in zip(*[point for point, _ in rows], strict=True)]
    expected = np.array([value for _, value in rows])
    found = decomposed(prim, *points, **({} if orders is None else {"orders": orders}))
    # Large parameters: the exponential of a rounded number. Negative ones: relative to the terms of the reflection.
    size = np.max(points[:-1], axis=0, initial=0.0) if name.startswith(("igamma", "betainc", "random")) else 0.0
    scale = np.where(points[-1] < 0, 1 + np.abs(expected), np.abs(expected))
    error = np.abs(found - expected) / scale / EPS
    worst = STATED.get(name, 500) + size
    assert (error <= worst).all(), (name, error, worst)


P = np.concatenate([np.linspace(0.02, 30, 160), np.logspace(-30, 30, 41)])
Q = np.concatenate([P, -np.linspace(0.03, 9.8, 120)])
X = np.concatenate([np.linspace(-9, 9, 181), np.logspace(-30, 1, 41)])
UNIT = np.concatenate([np.linspace(0.005, 0.995, 100), np.logspace(-30, -3, 20)])
A = np.array([0.05, 0.3, 1.0, 2.5, 7.0, 30.0, 99.0, 101.0, 400.0])[:, None]
RATIOS = np.array([0.01, 0.3, 0.75, 0.85, 0.95, 1.0, 1.02, 1.15, 1.25, 1.6, 3.0])
SHAPES = np.array([0.1, 0.5, 1.0, 2.0, 3.5, 12.0, 60.0])

# name, SciPy's, operands, tolerance in double and in single precision: those of SciPy's errors too.
DENSE: list[tuple[str, Callable[..., Any], tuple[Any, ...], float, float]] = [
    ("lgamma", sp.gammaln, (P[P > 3],), 8, 8),
    ("gamma", sp.gamma, (Q[(np.abs(Q) < 30) & (np.abs(Q) > 1e-20)],), 16, 16),
    ("rgamma", sp.rgamma, (Q[(np.abs(Q) < 30) & (np.abs(Q) > 1e-20)],), 16, 16),
    ("gammasgn", sp.gammasgn, (Q,), 0, 0),
    ("digamma", sp.psi, (P,), 16, 16),
    (
        "polygamma",
        lambda n, x: sp.polygamma(n.astype(int), x),
        (np.arange(4.0)[:, None], np.linspace(0.3, 20, 40)),
        16,
        30,
    ),
    ("igamma", sp.gammainc, (A, A * RATIOS), 2000, 3000),
    ("igammac", sp.gammaincc, (A, A * RATIOS), 2000, 3000),
    ("betainc", sp.betainc, (SHAPES[:, None, None], SHAPES[:, None], np.linspace(0.1, 0.9, 9)), 2000, 4000),
    ("betaincc", sp.betaincc, (SHAPES[:, None, None], SHAPES[:, None], np.linspace(0.1, 0.9, 9)), 2000, 4000),
    ("betaln", sp.betaln, (SHAPES[:, None], SHAPES), 2000, 200),
    ("beta", sp.beta, (SHAPES[:, None], SHAPES), 300, 300),
    ("erfcx", sp.erfcx, (X[X > -8],), 60, 60),
    ("erf_inv", sp.erfinv, (np.linspace(-0.99, 0.99, 101),), 10, 10),
    ("erfcinv", sp.erfcinv, (2 * UNIT,), 16, 16),
    ("ndtri", sp.ndtri, (UNIT,), 16, 16),
    ("ndtr", sp.ndtr, (X,), 8, 60),
    ("log_ndtr", sp.log_ndtr, (X,), 16, 60),
    ("dawsn", sp.dawsn, (X,), 30, 16),
    ("erfi", sp.erfi, (X,), 100, 100),
    ("bessel_i0e", sp.i0e, (X,), 16, 16),
    ("bessel_i1e", sp.i1e, (X,), 16, 16),
    ("i0", sp.i0, (X,), 16, 16),
    ("i1", sp.i1, (X,), 16, 16),
    ("exp1", sp.exp1, (P[P < 80],), 16, 16),
    ("expi", sp.expi, (P[(P < 80) & (np.abs(P - 0.3725) > 0.1)],), 200, 16),
    (
        "expn",
        lambda n, x: sp.expn(n.astype(int), x),
        (np.array([0.0, 1, 2, 5])[:, None], P[(P > 1e-3) & (P < 50)]),
        400,
        30,
    ),
    ("spence", sp.spence, (P[np.abs(P - 1) > 0.1],), 30, 16),
    ("owens_t", sp.owens_t, (np.linspace(-3, 3, 13)[:, None], np.linspace(-3, 3, 12)), 60, 60),
    ("entr", sp.entr, (P,), 8, 8),
    ("rel_entr", sp.rel_entr, (SHAPES[:, None], SHAPES), 8, 8),
    ("exprel", sp.exprel, (X,), 8, 8),
    ("boxcox", sp.boxcox, (SHAPES[:, None], np.linspace(-2, 2, 9)), 16, 16),
    ("inv_boxcox", sp.inv_boxcox, (SHAPES[:, None], np.linspace(0, 2, 9)), 16, 16),
    ("logit", sp.logit, (UNIT,), 16, 16),
    ("log_expit", sp.log_expit, (X,), 8, 8),
    ("stdtr", sp.stdtr, (SHAPES[:, None], np.linspace(-6, 6, 25)), 1000, 1000),
    ("fdtr", sp.fdtr, (SHAPES[:, None, None], SHAPES[:, None], np.linspace(0.1, 4, 9)), 2000, 2000),
    ("chdtr", sp.chdtr, (SHAPES[:, None], np.linspace(0.1, 20, 19)), 100, 400),
    ("pdtr", sp.pdtr, (np.arange(5.0)[:, None], np.linspace(0.1, 20, 19)), 200, 400),
    ("ellipk", sp.ellipk, (np.linspace(-5, 0.98, 40),), 8, 8),
    ("ellipe", sp.ellipe, (np.linspace(-5, 0.98, 40),), 16, 16),
    ("agm", sp.agm, (SHAPES[:, None], SHAPES), 8, 8),
    ("binom", sp.binom, (np.linspace(3.5, 20, 12)[:, None], np.linspace(0.3, 3.2, 5)), 300, 300),
    ("poch", sp.poch, (SHAPES[:, None], np.linspace(0.3, 3.2, 5)), 300, 300),
    ("zetac", sp.zetac, (np.concatenate([np.linspace(1.2, 20, 20), np.linspace(-2.8, 0.7, 15)]),), 600, 600),
    ("hyp1f1", sp.hyp1f1, (SHAPES[:5, None], SHAPES[:5, None] + 0.7, np.linspace(-8, 8, 17)), 1000, 1000),
    ("hyp2f1", sp.hyp2f1, (SHAPES[:5, None], 0.75, SHAPES[:5, None] + 1.25, np.linspace(-4, 0.9, 17)), 3000, 3000),
    ("voigt_profile", sp.voigt_profile, (np.linspace(-3, 3, 7)[:, None], 0.7, np.linspace(0.1, 2, 5)), 200, 200),
]


@pytest.mark.parametrize(("name", "scipy", "args", "double", "single"), DENSE, ids=[row[0] for row in DENSE])
def test_values_of_scipy(name: str, scipy: Any, args: Any, double: float, single: float) -> None:
    for dtype, tolerance in ((np.float64, double), (np.float32, single)):
        operands = [np.asarray(a, dtype) for a in args]
        found = decomposed(name, *operands)
        assert found.dtype == dtype
        expected = scipy(*[a.astype(float) for a in operands])
        info = np.finfo(dtype)
        held = (np.abs(expected) > 1e3 * float(info.tiny)) & (np.abs(expected) < 1e-3 * float(info.max))
        error = np.abs(found - expected)[held] / np.abs(expected)[held] / float(info.eps)
        assert error.max(initial=0.0) <= tolerance, (dtype, error.max(), np.argmax(error))


@pytest.mark.parametrize("output", [0, 1])
@pytest.mark.parametrize("name", ["sici", "shichi", "fresnel"])
def test_pairs_of_integrals(name: str, output: int) -> None:
    for dtype in (np.float64, np.float32):
        x = np.concatenate([np.linspace(0.05, 30, 200), [1e3, 1e5]]).astype(dtype)
        if name == "shichi":
            x = x[x < 60]
        expected = getattr(sp, name)(x.astype(float))[output]
        found = decomposed(name, x, output=output)
        scale = np.maximum(np.abs(expected), 0.5 if name == "fresnel" else 0.1)
        # A rounded argument counts as often as it is large: these are SciPy's own errors.
        assert np.all(np.abs(found - expected) <= (20 + x) * np.finfo(dtype).eps * scale)


def test_the_faddeeva_function_in_both_half_planes() -> None:
    rng = np.random.default_rng(0)
    z = rng.uniform(-8, 8, 400) + 1j * 10.0 ** rng.uniform(-8, 1.2, 400)
    z = np.concatenate([z, [0, 0.5, 2.5j, 1e5, -1e9, 1e200j, 3.0 - 0.25j, -1 - 1j, 0.5 - 1e-9j]])
    for dtype in (np.complex128, np.complex64):
        points = (z if dtype == np.complex128 else z[:400]).astype(dtype)
        expected = sp.wofz(points.astype(complex))
        lower = np.where(points.imag < 0, points, 30).astype(complex)
        below = np.abs(2 * np.exp(-(lower**2)))
        error = np.abs(decomposed("wofz", points) - expected) / np.maximum(np.abs(expected), below)
        assert error.max() <= 400 * np.finfo(dtype).eps


EDGES = {
    "lgamma": [(0.0, INF), (-0.0, INF), (-1.0, INF), (INF, INF), (NAN, NAN)],
    "gamma": [(0.0, INF), (-0.0, -INF), (-1.0, NAN), (INF, INF), (-INF, NAN), (NAN, NAN), (1e300, INF), (5.0, 24.0)],
    "rgamma": [(0.0, 0.0), (-2.0, 0.0), (INF, 0.0), (NAN, NAN)],
    "gammasgn": [(0.0, 1.0), (-0.0, -1.0), (-1.0, NAN), (-0.5, -1.0), (INF, 1.0), (NAN, NAN)],
    "digamma": [(0.0, -INF), (-0.0, INF), (-1.0, NAN), (INF, INF), (NAN, NAN)],
    "erfcx": [(INF, 0.0), (-INF, INF), (NAN, NAN), (0.0, 1.0), (1e300, sp.erfcx(1e300))],
    "erf": [(INF, 1.0), (-INF, -1.0), (NAN, NAN), (-0.0, -0.0)],
    "erfc": [(INF, 0.0), (-INF, 2.0), (NAN, NAN), (0.0, 1.0)],
    "erf_inv": [
        (0.0, 0.0),
        (-0.0, -0.0),
        (1.0, INF),
        (-1.0, -INF),
        (1.5, NAN),
        (NAN, NAN),
        (1e-310, sp.erfinv(1e-310)),
    ],
    "ndtri": [(0.0, -INF), (1.0, INF), (-0.1, NAN), (1.1, NAN), (NAN, NAN), (0.5, 0.0)],
    "ndtr": [(-INF, 0.0), (INF, 1.0), (NAN, NAN)],
    "log_ndtr": [(-INF, -INF), (INF, -0.0), (NAN, NAN)],
    "dawsn": [(INF, 0.0), (-INF, -0.0), (NAN, NAN), (-0.0, -0.0)],
    "bessel_i0e": [(0.0, 1.0), (INF, 0.0), (-INF, 0.0), (NAN, NAN)],
    "bessel_i1e": [(0.0, 0.0), (INF, 0.0), (-INF, -0.0), (NAN, NAN)],
    "exp1": [(0.0, INF), (INF, 0.0), (NAN, NAN)],
    "expi": [(0.0, -INF), (INF, INF), (-INF, -0.0), (NAN, NAN)],
    "spence": [(0.0, np.pi**2 / 6), (1.0, 0.0), (INF, -INF), (-1.0, NAN), (NAN, NAN)],
    "entr": [(0.0, 0.0), (-1.0, -INF), (NAN, NAN)],
    "exprel": [(0.0, 1.0), (INF, INF), (-INF, 0.0), (NAN, NAN)],
    "ellipk": [(0.0, np.pi / 2), (1.0, INF), (1.5, NAN)],
    "ellipe": [(0.0, np.pi / 2), (1.0, 1.0), (1.5, NAN)],
    "zetac": [(1.0, INF), (0.0, -1.5)],
}


@pytest.mark.parametrize(("name", "rows"), EDGES.items(), ids=list(EDGES))
def test_edges_of_one_operand(name: str, rows: list[tuple[float, float]]) -> None:
    x, expected = np.array(rows).T
    for dtype in (np.float64, np.float32):
        kept = (np.abs(x) < 1e30) | ~np.isfinite(x) if dtype == np.float32 else np.ones(len(x), bool)
        kept &= (x == 0) | ~(np.abs(x) < 1e-30) | (dtype == np.float64)
        found = decomposed(name, x[kept].astype(dtype))
        np.testing.assert_allclose(
            found, expected[kept].astype(dtype), rtol=float(np.finfo(dtype).eps) * 2, err_msg=name
        )
        zero = expected[kept] == 0
        if name not in ("rgamma", "entr", "ndtri", "spence"):
            np.testing.assert_array_equal(np.signbit(found[zero]), np.signbit(expected[kept][zero]), err_msg=name)


V = np.array([0.0, 0.5, 2.5, INF, NAN, -1.0])


@pytest.mark.parametrize(
    ("name", "scipy", "args"),
    [
        ("igamma", sp.gammainc, (V[:, None], V)),
        ("igammac", sp.gammaincc, (V[:, None], V)),
        ("betainc", sp.betainc, (V[:, None, None], V[:, None], np.array([0.0, 0.3, 1.0, NAN, 2.0]))),
        ("betaincc", sp.betaincc, (V[:, None, None], V[:, None], np.array([0.0, 0.3, 1.0, NAN, 2.0]))),
        ("xlogy", sp.xlogy, (V[:, None], V)),
        ("xlog1py", sp.xlog1py, (V[:, None], V)),
        ("rel_entr", sp.rel_entr, (V[:, None], V)),
        ("kl_div", sp.kl_div, (V[:3, None], V[[0, 1, 2, 4, 5]])),
        ("zeta", sp.zeta, (np.array([1.0, 2.0, 3.0])[:, None], np.array([0.0, -1.0, 0.5, INF, 1.0]))),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_edges_of_several_operands(name: str, scipy: Any, args: Any) -> None:
    found = decomposed(name, *args)
    np.testing.assert_allclose(found, scipy(*args), rtol=1e-13, err_msg=name)


def test_the_zeta_function_of_negative_arguments_is_its_sum() -> None:
    for s, q in ((2.0, -1.5), (3.0, -0.25), (4.0, -6.75)):
        shifted = sum((q + k) ** -s for k in range(8)) + sp.zeta(s, q + 8)
        np.testing.assert_allclose(decomposed("zeta", np.array([s]), np.array([q])), [shifted], rtol=1e-13)
    assert np.isnan(decomposed("zeta", np.array([2.5]), np.array([-1.5]))).all()


def test_a_large_batch_costs_one_loop() -> None:
    # The loops stop when every element has converged, so that the counts of the elements do not add up.
    a = np.linspace(0.1, 90, 2000)
    found = ft.jit(lambda a, x: ft.lax.igamma_grad_a(a, x))(a, a * 1.1)
    one = ft.lax.igamma_grad_a(a[777], a[777] * 1.1)
    np.testing.assert_allclose(found[777], one, rtol=1e-12)
