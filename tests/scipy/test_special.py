"""functrans.scipy.special against SciPy: values, types and derivatives; SciPy's own ufuncs on traced values."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.special as sp

import functrans as ft
import functrans.scipy.special as ours
from functrans import errors
from functrans.lax import error_functions
from functrans.lax.special.define import primitives
from functrans.scipy import library
from functrans.scipy.special.ufuncs import SpecialUfunc, by_name
from tests.scipy.agreement import Use, check_use

UFUNCS = sorted(name for name, f in vars(ours).items() if isinstance(f, SpecialUfunc))
X = np.array([[0.3, -1.7, 2.4], [1.25, 0.6, -0.4]])
WEIGHTS = np.array([[1.0, 0.5, -2.0], [3.0, 0.25, 1.0]])
P = np.array([1.5, 2.25, 4.0])


def operands(name: str) -> tuple[Any, ...]:
    """The first sample of a primitive, or probabilities."""
    row = primitives.get(getattr(ours, name).__name__)
    if row is None:
        return (np.array([0.25, 0.5, 0.75]),)
    assert row[0].samples is not None
    args = next(iter(row[0].samples())).args
    shape = np.broadcast_shapes(*[np.shape(a) for a in args])
    return tuple(np.broadcast_to(a, shape) for a in args)


def variants(args: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Other dtypes, ranks and kinds of number."""
    narrow = {"f": np.float32, "c": np.complex64}
    found = [
        args,
        tuple(a.astype(narrow[a.dtype.kind]) for a in args),
        tuple(a[0] for a in args),
        tuple(np.array(a[0]) for a in args),
        tuple(a[0].item() for a in args),
        tuple(a[:0] for a in args),
        tuple(a[:, None] if k % 2 else a for k, a in enumerate(args)),
        tuple(a if k else a[0].item() for k, a in enumerate(args)),
        tuple(a.real.astype(int) for a in args),
        tuple(a.real.astype(np.int8) for a in args),
    ]
    if all(a.dtype.kind == "f" for a in args):
        found.append(tuple(a.astype(np.float16) for a in args))
    if np.all(args[0] == np.rint(args[0].real)):
        found.append((args[0].real.astype(int), *args[1:]))
    return found


@pytest.mark.parametrize("name", UFUNCS)
def test_ufuncs_have_the_values_and_types_of_scipy(name: str) -> None:
    function, original = getattr(ours, name), getattr(sp, name)
    compared = 0
    for args in variants(operands(name)):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # SciPy warns of whole numbers given as floats.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                expected = original(*args)
            except TypeError:  # No loop of SciPy's takes these: polynomials of a degree that is a float, for example.
                continue
            eager, compiled = function(*args), ft.jit(function)(*args)
        compared += 1
        several = isinstance(expected, tuple)
        for a, b, c in zip(*([r] if not several else r for r in (expected, eager, compiled)), strict=True):
            assert type(b) is type(a)
            assert type(c) is type(a)
            assert c.dtype == a.dtype
            np.testing.assert_array_equal(b, a)
            rounding = 64 * float(np.finfo(a.dtype).eps)
            np.testing.assert_allclose(c, a, rtol=rounding, atol=rounding, err_msg=str(args))
    assert compared >= 3


def test_the_listed_names_are_there() -> None:
    listed = """bernoulli bessel_jn beta betainc betaln boxcox boxcox1p comb dawsn digamma entr erf erfc erfcx erfinv
    exp1 expi expit expn factorial fresnel gamma gammainc gammaincc gammaln gammasgn hyp1f1 hyp2f1 i0 i0e i1 i1e kl_div
    log_ndtr log_softmax loggamma logit logsumexp multigammaln ndtr ndtri owens_t poch polygamma rel_entr sici softmax
    spence sph_harm_y wofz xlog1py xlogy zeta""".split()
    assert [name for name in listed if not hasattr(ours, name)] == []
    assert len(UFUNCS) >= 130


@pytest.mark.parametrize("name", ["gammaln", "j0", "gammainc", "fresnel", "ellipk", "stdtr", "erf", "expm1", "jn"])
def test_ufuncs_of_scipy_on_traced_values(name: str) -> None:
    original = getattr(sp, name)
    args = tuple(np.asarray(a) for a in operands(name if name != "digamma" else "psi"))
    last = args[-1]

    def f(x: Any) -> Any:
        out = original(*args[:-1], x)
        return np.sum(sum(out) if isinstance(out, tuple) else out)

    counterpart = getattr(ours, name)

    def g(x: Any) -> Any:
        out = counterpart(*args[:-1], x)
        return np.sum(sum(out) if isinstance(out, tuple) else out)

    np.testing.assert_array_equal(ft.grad(f)(last), ft.grad(g)(last))
    np.testing.assert_array_equal(ft.jit(ft.grad(f))(last), ft.grad(g)(last))
    rows = ft.vmap(lambda x: original(*args[:-1], x))(np.stack([last, last[::-1]]))
    direct = original(*args[:-1], last[::-1])
    for a, b in zip(rows, direct, strict=True) if isinstance(direct, tuple) else [(rows, direct)]:
        np.testing.assert_allclose(a[1], b, rtol=1e-15)


def test_functions_of_scipy_that_call_a_ufunc() -> None:
    np.testing.assert_allclose(ft.grad(lambda q: sp.zeta(2.0, q))(1.5), -2 * sp.zeta(3.0, 1.5), rtol=1e-14)
    np.testing.assert_allclose(ft.grad(lambda s: sp.zeta(s))(2.0), -0.9375482543158438, rtol=1e-12)
    w = sp.lambertw(1.0).real
    np.testing.assert_allclose(ft.grad(lambda z: np.real(sp.lambertw(z)))(1.0), w / (1 + w), rtol=1e-13)


def test_a_ufunc_without_a_rule_says_so() -> None:
    with pytest.raises(errors.MissingRuleError, match=r"the ufunc 'pro_cv' cannot be traced.*pure_callback"):
        ft.grad(lambda x: sp.pro_cv(1, 1, x))(0.5)
    with pytest.raises(errors.DetachedWriteError, match="gammaln"):
        ft.grad(lambda x: sp.gammaln(x, out=np.zeros(2)).sum())(P[:2])
    with pytest.raises(errors.ArgumentError, match="2 operands are needed, got 1"):
        ft.jit(ours.gammainc)(0.5)


USES = [
    Use("logsumexp", lambda xp, x: xp.logsumexp(x), (X,)),
    Use("logsumexp axis", lambda xp, x: xp.logsumexp(x, axis=1), (X,)),
    Use("logsumexp keepdims", lambda xp, x: xp.logsumexp(x, axis=(0, 1), keepdims=True), (X,)),
    Use("logsumexp b", lambda xp, x, b: xp.logsumexp(x, axis=0, b=b), (X, np.abs(WEIGHTS))),
    Use("logsumexp sign", lambda xp, x, b: xp.logsumexp(x, 1, b, True, True), (X, WEIGHTS)),
    Use("logsumexp b broadcast", lambda xp, x, b: xp.logsumexp(x, b=b), (X, np.array([1.0, 0.0, 2.0]))),
    Use("logsumexp float32", lambda xp, x: xp.logsumexp(x, 0), (X.astype(np.float32),), 1),
    Use("logsumexp int", lambda xp, x: xp.logsumexp(x), (np.arange(3),), 0, 64, ()),
    Use("softmax", lambda xp, x: xp.softmax(x), (X,)),
    Use("softmax axis", lambda xp, x: xp.softmax(x, axis=-1), (X,)),
    Use("log_softmax", lambda xp, x: xp.log_softmax(x, axis=0), (X,)),
    Use("log_softmax all", lambda xp, x: xp.log_softmax(x), (X,)),
    Use("multigammaln", lambda xp, a: xp.multigammaln(a, 3), (P + 2,), 2, 64),
    Use("polygamma", lambda xp, x: xp.polygamma(np.arange(3), x), (P,), 2, 64),
    Use("polygamma 0-d", lambda xp, x: xp.polygamma(2, x), (np.float64(1.5),), 2, 64),
    Use("zeta", lambda xp, x, q: xp.zeta(x, q), (P, P[::-1]), 1, 64),
    Use("zeta of one", lambda xp, x: xp.zeta(x), (P,), 1, 64),
    Use("factorial", lambda xp, n: xp.factorial(n), (np.array([0.5, 3.25, -1.0]),), 1, 64),
    Use("comb", lambda xp, n, k: xp.comb(n, k), (np.array([5.5, 7.25, 1.5]), np.array([2.25, 3.5, 2.5])), 1, 256),
    Use("comb repetition", lambda xp, n: xp.comb(n, 2.0, repetition=True), (np.array([5.5, 7.25]),), 1, 256),
    Use(
        "sph_harm_y",
        lambda xp, t, p: xp.sph_harm_y(np.arange(4)[:, None], np.array([-2, 0, 1]), t, p),
        (P / 2, P),
        1,
        64,
    ),
    Use("sph_harm_y 0-d", lambda xp, t: xp.sph_harm_y(3, -2, t, 0.25), (0.5,), 1, 64),
]


@pytest.mark.parametrize("use", USES, ids=[u.name for u in USES])
def test_functions(use: Use) -> None:
    check_use(use, sp, ours)


def test_logsumexp_of_nothing_and_of_infinities() -> None:
    rows = np.array([[-np.inf, -np.inf], [np.inf, 0.5], [0.0, -np.inf]])
    b = np.array([1.0, -1.0])
    for f in (lambda m, x: m.logsumexp(x, 1), lambda m, x: m.logsumexp(x, 1, b=np.array([2.0, 1.0]))):
        np.testing.assert_array_equal(ft.jit(lambda x, f=f: f(ours, x))(rows), f(sp, rows))
    for x, weights in (
        (np.array([1.0, 1.0]), b),
        (np.array([0.5, 1.0]), b),
        (np.array([np.inf, 1.0]), np.array([0.0, 1.0])),
    ):
        found = ft.jit(lambda x, w=weights: ours.logsumexp(x, b=w, return_sign=True))(x)
        np.testing.assert_allclose(found, sp.logsumexp(x, b=weights, return_sign=True), rtol=1e-14)
    assert np.isnan(ft.jit(lambda x: ours.logsumexp(x, b=b))(np.array([0.5, 1.0])))
    # A sum of 0 has no derivative that is a number; it is 0 by convention.
    np.testing.assert_array_equal(
        ft.grad(lambda x: ours.logsumexp(x, b=b, return_sign=True)[0])(np.ones(2)), np.zeros(2)
    )
    gradient = ft.grad(lambda x: ours.logsumexp(x, b=np.array([0.0, 1.0])))(np.array([np.inf, 1.0]))
    np.testing.assert_array_equal(gradient, [0.0, 1.0])


def test_bernoulli_and_bessel_functions_of_all_orders() -> None:
    found = ft.jit(lambda: ours.bernoulli(30))()
    np.testing.assert_allclose(found, sp.bernoulli(30), rtol=1e-11)
    np.testing.assert_allclose(found[[2, 4, 10, 12, 30]], [1 / 6, -1 / 30, 5 / 66, -691 / 2730, 8615841276005 / 14322])
    for n in (0, 1, 2):
        np.testing.assert_allclose(ft.jit(lambda n=n: ours.bernoulli(n))(), sp.bernoulli(n), rtol=1e-14)
    z = np.array([0.5, 3.0, 12.0])
    expected = sp.jv(np.arange(4)[:, None], z)
    np.testing.assert_array_equal(ours.bessel_jn(z, v=3), expected)
    assert ours.bessel_jn(0.5, v=2).shape == (3,)
    ft.test_util.check_grads(lambda z: ours.bessel_jn(z, v=3), (z,), 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: ours.factorial(x, exact=True), errors.ArgumentError, "exact=True"),
        (lambda x: ours.comb(x, 2, exact=True), errors.ArgumentError, "exact=True"),
        (lambda x: ours.zeta(x, out=np.zeros(3)), errors.DetachedWriteError, "returned value"),
        (lambda x: ours.sph_harm_y(x, 0, 0.5, 0.5), errors.DTypeError, "n must hold integers"),
        (lambda x: ours.sph_harm_y(1, 0, x, 0.5, diff_n=1), errors.ArgumentError, "jacfwd"),
        (lambda x: ours.bessel_jn(x, v=-1), ValueError, "at least 0"),
        (lambda x: ours.bessel_jn(np.zeros((2, 2)), v=1), errors.ShapeError, "number or a vector"),
        (lambda x: ours.bernoulli(-1), ValueError, "at least 0"),
        (lambda x: ours.logsumexp(x + 1j, b=2.0), errors.DTypeError, "real operands only"),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ft.jit(call)(P)


def test_degrees_that_are_traced_need_their_bound() -> None:
    def f(n: Any) -> Any:
        return ours.sph_harm_y(n, 1, 0.5, 0.25)

    with pytest.raises(errors.ArgumentError, match="n_max"):
        ft.jit(f)(np.array([1, 3]))
    found = ft.jit(lambda n: ours.sph_harm_y(n, 1, 0.5, 0.25, n_max=3))(np.array([1, 3]))
    np.testing.assert_allclose(found, sp.sph_harm_y(np.array([1, 3]), 1, 0.5, 0.25), rtol=1e-13)


@pytest.fixture
def no_scipy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """functrans as it is where SciPy is not installed."""
    functions = importlib.import_module("functrans.scipy.special.functions")
    harmonics = importlib.import_module("functrans.scipy.special.harmonics")
    ufuncs = importlib.import_module("functrans.scipy.special.ufuncs")
    monkeypatch.setattr(error_functions, "library", lambda module: None)
    for module in (library, harmonics, ufuncs):
        monkeypatch.setattr(module, "installed", lambda module: None)
    return functions


WITHOUT = """
agm beta betainc betaincc betaln binom boxcox chdtr dawsn digamma ellipe ellipk entr erf erfc erfcx erfinv
exp1 expi expit expn exprel fdtr fresnel gamma gammainc gammaincc gammaln gammasgn huber hyp1f1 hyp2f1 i0 i0e
i1 i1e kl_div log_ndtr logit ndtr ndtri owens_t pdtr poch psi rel_entr rgamma shichi sici spence stdtr
voigt_profile wofz xlog1py xlogy zetac
""".split()


def test_without_scipy_decompositions_serve(no_scipy: Any) -> None:
    for name in WITHOUT:
        args = operands(name)
        expected = getattr(sp, name)(*args)
        for found in (getattr(ours, name)(*args), ft.jit(getattr(ours, name))(*args)):
            pairs = zip(found, expected, strict=True) if isinstance(expected, tuple) else [(found, expected)]
            for a, b in pairs:
                assert a.dtype == b.dtype, name
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14, err_msg=name)
    single = ours.gammaln(np.array([2, 3], np.int16))
    assert single.dtype == np.float32
    assert ours.gammaln(3).dtype == np.float64
    np.testing.assert_allclose(ours.sph_harm_y(2, 1, 0.5, 0.25), sp.sph_harm_y(2, 1, 0.5, 0.25), rtol=1e-13)


def test_without_scipy_the_others_say_so(no_scipy: Any) -> None:
    for name in ("jv", "ellipkinc", "gammaincinv", "eval_legendre"):
        with pytest.raises(errors.MissingBackendError, match=f"{name} is computed by SciPy, which is not installed"):
            getattr(ours, name)(*operands(name))


def test_the_registry_of_names() -> None:
    assert by_name["gammaln"] is ours.gammaln
    assert ours.digamma is ours.psi
    assert repr(ours.j0) == "<ufunc 'j0' of functrans.numpy>"
    assert (ours.gammainc.nin, ours.gammainc.nout, ours.fresnel.nout) == (2, 1, 2)
    table = ours.gammainc.outer(P, P)
    np.testing.assert_array_equal(table, sp.gammainc.outer(P, P))
    np.testing.assert_array_equal(ft.jit(ours.gammainc.outer)(P, P), table)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.complex64])
def test_a_function_of_complex_numbers_takes_real_ones(dtype: Any) -> None:
    x = np.array([0, 1, 2]).astype(dtype)
    expected = sp.wofz(x)
    found = ft.jit(ours.wofz)(x)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6 if expected.dtype == np.complex64 else 1e-13)


def test_the_derivative_of_a_function_of_complex_numbers_at_real_ones() -> None:
    ft.test_util.check_grads(lambda x: np.imag(ours.wofz(x)), (np.array([0.3, 1.0]),), 2)
