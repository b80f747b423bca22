"""functrans.scipy.optimize: traced solvers, SciPy's solvers, and the derivatives of what they find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize

import functrans as ft
import functrans.numpy as fnp
from functrans import errors
from functrans.scipy import optimize

C = np.array([1.2, 0.3])
TIGHT = {"BFGS": {"gtol": 1e-12}, "L-BFGS": {"gtol": 1e-12, "ftol": 0.0}}


def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def himmelblau(x: Any) -> Any:
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


def eggholder(x: Any) -> Any:
    return -(x[1] + 47) * np.sin(np.sqrt(np.abs(x[0] / 2 + x[1] + 47))) - x[0] * np.sin(
        np.sqrt(np.abs(x[0] - x[1] - 47))
    )


def zakharov(x: Any) -> Any:
    s = np.sum(0.5 * np.arange(1, len(x) + 1) * x)
    return np.sum(x**2) + s**2 + s**4


def bowl(x: Any, c: Any) -> Any:
    return np.sum((x - c) ** 2 + 0.1 * x**4)


def lowest(method: str, **keywords: Any) -> Any:
    options = TIGHT.get(method)
    return lambda c: optimize.minimize(bowl, np.zeros(2), (c,), method, tol=1e-13, options=options, **keywords).x


def slope_of_lowest(c: Any) -> Any:
    x = lowest("BFGS")(c)
    return np.diag(2 / (2 + 1.2 * x**2))


def differences(f: Any, x: Any, step: float = 1e-5) -> Any:
    return np.stack([(f(x + step * e) - f(x - step * e)) / (2 * step) for e in np.eye(x.size)], -1)


# -- the traced solvers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS"])
@pytest.mark.parametrize(
    ("f", "x0"),
    [
        (rosenbrock, np.zeros(2)),
        (himmelblau, np.zeros(2)),
        (himmelblau, np.array([92.0, 0.001])),
        (eggholder, np.full(2, 100.0)),
        (zakharov, np.array([600.0, 700.0, 200.0, 100.0, 90.0, 1e4])),
    ],
)
def test_traced_solvers_find_what_scipy_finds(method: str, f: Any, x0: Any) -> None:
    expected = scipy.optimize.minimize(f, x0, jac=ft.grad(f), method="BFGS")
    found = optimize.minimize(f, x0, method=method)
    assert found.success and found.status == 0
    np.testing.assert_allclose(found.x, expected.x, atol=2e-5)
    np.testing.assert_allclose(found.fun, f(found.x))
    np.testing.assert_allclose(found.jac, ft.grad(f)(found.x))
    compiled = ft.jit(lambda x0: optimize.minimize(f, x0, method=method))(x0)
    assert [type(a) for a in compiled] == [type(b) for b in found]
    np.testing.assert_allclose(compiled.x, found.x, atol=2e-5)
    assert (
        compiled.success and compiled.hess_inv is None if method == "L-BFGS" else compiled.hess_inv.shape[0] == len(x0)
    )


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS"])
def test_a_batch_of_minimizations(method: str) -> None:
    starts = np.random.default_rng(0).normal(size=(4, 3))
    found = ft.jit(ft.vmap(lambda x0: optimize.minimize(rosenbrock, x0, method=method)))(starts)
    for k, x0 in enumerate(starts):
        one = optimize.minimize(rosenbrock, x0, method=method)
        np.testing.assert_allclose(found.x[k], one.x, rtol=1e-6)
        assert (found.nit[k], found.nfev[k], found.success[k]) == (one.nit, one.nfev, one.success)


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS", "l-bfgs-experimental-do-not-use"])
def test_how_traced_solvers_stop(method: str) -> None:
    run = lambda **options: optimize.minimize(rosenbrock, np.zeros(3), method=method, options=options)
    assert run(maxiter=3).status == 1 and run(maxiter=3).nit == 3 and not run(maxiter=3).success
    assert run(maxls=1, gtol=1e-300).status == 2
    assert optimize.minimize(lambda x: np.sum(x) * np.nan, np.ones(2), method=method).status == 3
    assert optimize.minimize(lambda x: np.sum(x**2), np.zeros(2), method=method).nit == 0
    single = optimize.minimize(rosenbrock, np.zeros(3, np.float32), method=method, options={"gtol": 1e-2})
    assert single.x.dtype == np.float32 and single.success


def test_lbfgs_stops_by_progress_and_by_evaluations() -> None:
    assert optimize.minimize(rosenbrock, np.zeros(3), method="L-BFGS", options={"maxfun": 4}).status == 1
    found = optimize.minimize(rosenbrock, np.zeros(3), method="L-BFGS", options={"ftol": 0.5, "gtol": 0.0})
    assert found.success and np.max(np.abs(found.jac)) > 1e-3


def test_bfgs_goes_on_from_a_given_inverse_hessian() -> None:
    exact = np.linalg.inv(ft.hessian(bowl)(np.zeros(2), C))
    options = {"hess_inv0": exact, "c1": 1e-3, "c2": 0.5, "norm": 2}
    found = optimize.minimize(bowl, np.zeros(2), (C,), "BFGS", options=options)
    np.testing.assert_allclose(found.x, lowest("BFGS")(C), atol=1e-5)
    np.testing.assert_allclose(found.hess_inv, np.linalg.inv(ft.hessian(bowl)(found.x, C)), atol=0.1)


def test_pytrees_and_gradients_of_the_users_own() -> None:
    x0 = {"u": np.zeros(2), "v": 0.0}
    f = lambda p: np.sum((p["u"] - 1) ** 2) + (p["v"] - 2) ** 2
    own = lambda p: {"u": 2 * (p["u"] - 1), "v": 2 * (p["v"] - 2)}
    for method in ("BFGS", "L-BFGS", "L-BFGS-B", "Nelder-Mead"):
        for jac in (None, own, True):
            if jac is not None and method == "Nelder-Mead":
                continue
            fun = f if jac is not True else lambda p: (f(p), own(p))
            found = optimize.minimize(fun, x0, method=method, jac=jac)
            np.testing.assert_allclose(found.x["u"], [1, 1], atol=1e-3)
            np.testing.assert_allclose(found.x["v"], 2, atol=1e-3)
            assert found.jac is None if method == "Nelder-Mead" else set(found.jac) == {"u", "v"}
    assert optimize.minimize(lambda x: (x - 1.5) ** 2, [0.0]).x.shape == (1,)
    assert optimize.minimize(lambda x: (x - 1.5) ** 2, 0).x.dtype == np.float64


# -- derivatives of minimizers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["BFGS", "L-BFGS", "L-BFGS-B", "CG", "Newton-CG", "SLSQP", "trust-exact", "TNC", "Nelder-Mead"]
)
def test_the_minimizer_is_differentiable_whoever_finds_it(method: str) -> None:
    f = lowest(method)
    expected = slope_of_lowest(C)
    np.testing.assert_allclose(ft.jacfwd(f)(C), expected, atol=1e-5)
    np.testing.assert_allclose(ft.jit(ft.jacrev(f))(C), expected, atol=1e-5)


@pytest.mark.parametrize("method", ["BFGS", "Newton-CG"])
def test_second_derivatives_batches_and_captured_values(method: str) -> None:
    options = TIGHT.get(method)
    run = lambda c: optimize.minimize(lambda x: bowl(x, c), np.zeros(2), method=method, tol=1e-13, options=options)
    f = lambda c: np.sum(run(c).x ** 2)
    ft.test_util.check_grads(f, (C,), order=2)
    np.testing.assert_allclose(ft.jit(ft.hessian(f))(C), ft.hessian(f)(C), rtol=1e-6, atol=1e-9)
    batch = np.stack([C, C + 1])
    np.testing.assert_allclose(ft.vmap(ft.grad(f))(batch), [ft.grad(f)(c) for c in batch], rtol=1e-6)
    # The value at the minimum moves as the function does there, and its gradient stays zero.
    np.testing.assert_allclose(ft.grad(lambda c: run(c).fun)(C), -2 * (run(C).x - C), atol=1e-7)
    np.testing.assert_allclose(ft.jacobian(lambda c: run(c).jac)(C), np.zeros((2, 2)), atol=1e-9)


def test_the_start_has_no_influence() -> None:
    f = lambda x0: np.sum(optimize.minimize(bowl, x0, (C,), "BFGS").x)
    np.testing.assert_array_equal(ft.grad(f)(np.zeros(2)), [0, 0])


def test_bounds_hold_entries_and_move_them() -> None:
    f = lambda c: optimize.minimize(bowl, np.zeros(2), (c,), bounds=[(None, c[1]), (0.0, None)], tol=1e-13).x
    assert f(C)[0] == C[1]
    expected = np.array([[0, 1], [0, slope_of_lowest(C)[1, 1]]])
    np.testing.assert_allclose(ft.jacobian(f)(C), expected, atol=1e-6)
    np.testing.assert_allclose(ft.jit(ft.jacobian(f))(C), expected, atol=1e-6)
    g = lambda c: optimize.minimize(bowl, np.zeros(2), (c,), bounds=scipy.optimize.Bounds(-1, 0.5), tol=1e-13).x
    np.testing.assert_allclose(ft.jacobian(g)(C), [[0, 0], [0, expected[1, 1]]], atol=1e-6)


CONSTRAINTS = {
    "equation and idle inequality": lambda c: [
        {"type": "eq", "fun": lambda x, c: x[0] + x[1] - c[0], "args": (c,)},
        {"type": "ineq", "fun": lambda x: 10 - x},
    ],
    "disc": lambda c: scipy.optimize.NonlinearConstraint(lambda x: np.sum(x**2), -np.inf, 0.25),
    "ring": lambda c: [scipy.optimize.NonlinearConstraint(lambda x: np.sum(x**2), 4.0, 9.0)],
    "line": lambda c: scipy.optimize.LinearConstraint(np.array([[1.0, 2.0]]), 0.5, 0.5),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_hold_the_minimizer(name: str) -> None:
    f = lambda c: optimize.minimize(bowl, np.array([0.5, 1.0]), (c,), constraints=CONSTRAINTS[name](c), tol=1e-15).x
    np.testing.assert_allclose(ft.jacobian(f)(C), differences(f, C, 1e-4), atol=2e-5)
    np.testing.assert_allclose(ft.jit(ft.jacobian(f))(C), ft.jacobian(f)(C), atol=1e-6)


def test_constraints_with_bounds_and_trust_constr() -> None:
    line = scipy.optimize.LinearConstraint(np.array([[1.0, 1.0]]), 1.0, 1.0)
    f = lambda c: optimize.minimize(bowl, np.zeros(2), (c,), bounds=[(None, 0.6), (None, None)], constraints=line).x
    np.testing.assert_allclose(f(C), [0.6, 0.4], atol=1e-6)
    np.testing.assert_allclose(ft.jacobian(f)(C), np.zeros((2, 2)), atol=1e-9)
    g = lambda c: optimize.minimize(bowl, np.zeros(2), (c,), "trust-constr", constraints=line, tol=1e-12).x
    h = lambda c: optimize.minimize(bowl, np.zeros(2), (c,), "SLSQP", constraints=line, tol=1e-15).x
    np.testing.assert_allclose(ft.jacobian(g)(C), ft.jacobian(h)(C), atol=1e-6)


def test_hessians_of_the_users_own() -> None:
    full, product = ft.hessian(bowl), lambda x, p, c: ft.hessian(bowl)(x, c) @ p
    for keywords in ({"hess": full}, {"hessp": product}):
        f = lambda c, k=keywords: optimize.minimize(bowl, np.zeros(2), (c,), "trust-ncg", tol=1e-13, **k).x
        np.testing.assert_allclose(ft.jit(ft.jacobian(f))(C), slope_of_lowest(C), atol=1e-6)
    found = optimize.minimize(bowl, np.zeros(2), (C,), "trust-constr", hess=scipy.optimize.BFGS(), jac="2-point")
    np.testing.assert_allclose(found.x, lowest("BFGS")(C), atol=1e-4)


def test_a_singular_hessian_has_no_derivative() -> None:
    f = lambda c: optimize.minimize(lambda x: (x[0] - c) ** 2, np.zeros(2), method="BFGS").x[0]
    with pytest.raises(np.linalg.LinAlgError):
        ft.grad(f)(1.0)


def test_scipys_methods_run_functions_as_they_are() -> None:
    def f(x: Any) -> Any:
        return (x[0] - 1) ** 2 if x[0] > 0 else 5 - x[0]

    assert abs(optimize.minimize(f, [3.0], method="L-BFGS-B").x[0] - 1) < 1e-6
    seen: list[Any] = []
    optimize.minimize(bowl, np.zeros(2), (C,), "CG", callback=seen.append)
    assert seen


def test_minimize_scalar() -> None:
    f = lambda a: optimize.minimize_scalar(lambda x, a: (x - a) ** 2 + 0.1 * x**4, args=(a,)).x
    x = f(1.0)
    np.testing.assert_allclose(ft.grad(f)(1.0), 2 / (2 + 1.2 * x**2), rtol=1e-6)
    np.testing.assert_allclose(ft.jit(ft.grad(f))(1.0), ft.grad(f)(1.0), rtol=1e-6)
    g = lambda a: optimize.minimize_scalar(lambda x: (x - 1) ** 2, bounds=(0.0, a)).x
    np.testing.assert_allclose(ft.grad(g)(0.5), 1.0)


# -- roots -----------------------------------------------------------------------------------------------------------


def curves(x: Any, a: Any) -> Any:
    return fnp.stack([x[0] ** 2 + x[1] - a[0], x[0] - x[1] ** 3 - a[1]])


@pytest.mark.parametrize("method", ["hybr", "lm", "broyden1", "krylov"])
def test_root(method: str) -> None:
    options = {"fatol": 1e-12} if method in ("broyden1", "krylov") else None
    f = lambda a: (
        optimize.root(curves, [1.4, 1.0], (a,), method, options=options, tol=1e-13 if options is None else None).x
    )
    a = np.array([3.0, 0.2])
    np.testing.assert_allclose(curves(f(a), a), [0, 0], atol=1e-7)
    np.testing.assert_allclose(ft.jacobian(f)(a), np.linalg.inv(ft.jacobian(curves)(f(a), a)), rtol=1e-5)
    np.testing.assert_allclose(ft.jit(ft.vmap(ft.jacfwd(f)))(np.stack([a, a])), [ft.jacobian(f)(a)] * 2, rtol=1e-5)


def test_root_to_second_order_and_in_pytrees() -> None:
    f = lambda a: optimize.root(curves, np.array([1.4, 1.0]), (a,), tol=1e-14).x
    ft.test_util.check_grads(f, (np.array([3.0, 0.2]),), order=2)
    found = optimize.root(lambda p: {"u": p["u"] ** 2 - 2.0, "v": p["v"] - p["u"]}, {"u": np.ones(2), "v": np.zeros(2)})
    np.testing.assert_allclose(found.x["v"], np.sqrt([2, 2]))
    np.testing.assert_allclose(found.fun["u"], [0, 0], atol=1e-9)
    assert optimize.root(curves, [1.4, 1.0], (np.array([3.0, 0.2]),), jac=False).success


@pytest.mark.parametrize("name", ["brentq", "brenth", "bisect", "ridder"])
def test_bracketing(name: str) -> None:
    find = getattr(optimize, name)
    f = lambda a: find(lambda x, a: x**3 - a, 0.0, 5.0, (a,), xtol=1e-14)
    assert abs(f(8.0) - 2) < 1e-12
    np.testing.assert_allclose([ft.grad(f)(8.0), ft.grad(ft.grad(f))(8.0)], [1 / 12, -1 / 144])
    np.testing.assert_allclose(ft.jit(ft.vmap(ft.grad(f)))(np.array([8.0, 27.0])), [1 / 12, 1 / 27])
    x, facts = ft.jit(lambda a: find(lambda x: x**3 - a, 0.0, 5.0, full_output=True))(8.0)
    assert facts.converged and facts.root == x and facts.function_calls > 2


def test_newton_and_root_scalar() -> None:
    cube = lambda x, a: x**3 - a
    finders = [
        lambda a: optimize.newton(cube, 1.5, args=(a,)),
        lambda a: optimize.newton(cube, 1.5, lambda x, a: 3 * x**2, args=(a,)),
        lambda a: optimize.newton(cube, 1.5, args=(a,), fprime2=True),
        lambda a: optimize.newton(cube, 1.5, args=(a,), x1=1.7),
        lambda a: optimize.newton(cube, 1.5, args=(a,), full_output=True)[0],
        lambda a: optimize.root_scalar(cube, (a,), x0=1.5).root,
        lambda a: optimize.root_scalar(cube, (a,), "halley", x0=1.5).root,
        lambda a: optimize.root_scalar(cube, (a,), x0=1.5, x1=1.7).root,
        lambda a: optimize.root_scalar(cube, (a,), bracket=(0, 5)).root,
        lambda a: optimize.root_scalar(cube, (a,), "toms748", bracket=(0, 5)).root,
    ]
    for f in finders:
        np.testing.assert_allclose([f(8.0), ft.jit(f)(8.0), ft.grad(f)(8.0)], [2, 2, 1 / 12], rtol=1e-7)
    f = lambda a: optimize.newton(cube, np.full(2, 1.5), args=(a,))
    a = np.array([8.0, 27.0])
    np.testing.assert_allclose(f(a), [2, 3])
    np.testing.assert_allclose(ft.jit(ft.jacobian(f))(a), np.diag([1 / 12, 1 / 27]))


def test_fixed_point() -> None:
    f = lambda a: optimize.fixed_point(lambda x, a: (x + a / x) / 2, np.array([1.0, 2.0]), (a,))
    a = np.array([4.0, 9.0])
    np.testing.assert_allclose(ft.jacobian(f)(a), np.diag([1 / 4, 1 / 6]), rtol=1e-7)
    np.testing.assert_allclose(ft.jit(f)(a), [2, 3], rtol=1e-7)


# -- least squares ---------------------------------------------------------------------------------------------------

T = np.linspace(0, 1, 6)
DATA = 2 * np.exp(-1.3 * T) + 0.01 * np.cos(9 * T)


def decay(p: Any, y: Any) -> Any:
    return p[0] * np.exp(-p[1] * T) - y


@pytest.mark.parametrize("loss", ["linear", "soft_l1", "huber", "cauchy", "arctan"])
def test_least_squares(loss: str) -> None:
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15}
    f = lambda y: optimize.least_squares(decay, np.ones(2), args=(y,), loss=loss, f_scale=0.02, **tight).x
    np.testing.assert_allclose(ft.jacobian(f)(DATA), differences(f, DATA), atol=2e-5)
    np.testing.assert_allclose(ft.jit(ft.jacobian(f))(DATA), ft.jacobian(f)(DATA), rtol=1e-5)


def test_fields_of_least_squares() -> None:
    found = optimize.least_squares(decay, np.ones(2), args=(DATA,))
    expected = scipy.optimize.least_squares(decay, np.ones(2), args=(DATA,), jac=ft.jacobian(decay))
    for name in ("x", "cost", "fun", "jac", "grad", "active_mask", "nfev", "success"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6, atol=1e-8)
    bounded = lambda y: optimize.least_squares(decay, np.ones(2), args=(y,), bounds=([0, 0], [np.inf, 1.2])).x
    jac = ft.jacobian(bounded)(DATA)
    np.testing.assert_array_equal(jac[1], np.zeros(6))
    basis = np.exp(-1.2 * T)
    np.testing.assert_allclose(jac[0], basis / (basis @ basis), rtol=1e-4)
    other = optimize.least_squares(decay, np.ones(2), "2-point", args=(DATA,), method="lm", kwargs={})
    np.testing.assert_allclose(other.x, found.x, rtol=1e-6)


def test_curve_fit() -> None:
    model = lambda t, a, b: a * np.exp(-b * t)
    for keywords in ({}, {"sigma": 0.1 + T}, {"sigma": 0.1 + T, "absolute_sigma": True}, {"bounds": (0, 5)}):
        found = optimize.curve_fit(model, T, DATA, **keywords)
        expected = scipy.optimize.curve_fit(model, T, DATA, **keywords)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-4)
    f = lambda y: optimize.curve_fit(model, T, y)[0]
    np.testing.assert_allclose(ft.jacobian(f)(DATA), differences(f, DATA), atol=1e-5)
    assert ft.jit(optimize.curve_fit, static_argnums=0)(model, T, DATA)[1].shape == (2, 2)


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "kind", "message"),
    [
        (lambda: optimize.minimize(rosenbrock, C, args=45, method="BFGS"), TypeError, "args .* must be a tuple"),
        (lambda: optimize.minimize(lambda x: x, C), errors.NonScalarOutputError, "must return one real number"),
        (lambda: optimize.minimize(lambda x: None, C, method="CG"), errors.NonScalarOutputError, "got NoneType"),
        (lambda: optimize.minimize(rosenbrock, C + 1j), errors.DTypeError, "x0 holds complex numbers"),
        (lambda: optimize.minimize(rosenbrock, {"a": "b"}), errors.ArgumentError, "an object of type str"),
        (lambda: optimize.minimize(rosenbrock, C, method=rosenbrock), errors.ArgumentError, "the name of one"),
        (
            lambda: optimize.minimize(rosenbrock, C, method="BFGS", bounds=[(0, 1)] * 2),
            errors.ArgumentError,
            "takes no bounds",
        ),
        (
            lambda: optimize.minimize(rosenbrock, C, method="BFGS", constraints={}),
            errors.ArgumentError,
            "takes no constraints",
        ),
        (lambda: optimize.minimize(rosenbrock, C, method="BFGS", jac="2-point"), errors.ArgumentError, "takes no jac"),
        (
            lambda: optimize.minimize(rosenbrock, C, method="BFGS", options={"eps": 1}),
            errors.ArgumentError,
            "no option 'eps'",
        ),
        (lambda: optimize.minimize(rosenbrock, C, jac=3), errors.ArgumentError, "jac must be"),
        (lambda: optimize.minimize(rosenbrock, C, bounds=[(0, 1)]), errors.ShapeError, "1 pairs for 2 variables"),
        (lambda: optimize.minimize(rosenbrock, C, bounds=[0, 1]), errors.ArgumentError, r"bounds\[0\] must be a pair"),
        (
            lambda: optimize.minimize(rosenbrock, C, constraints={"fun": rosenbrock}),
            errors.ArgumentError,
            "keys 'type' and 'fun'",
        ),
        (
            lambda: optimize.minimize(rosenbrock, C, constraints={"fun": rosenbrock, "type": "le"}),
            errors.ArgumentError,
            "'eq' or 'ineq'",
        ),
        (
            lambda: optimize.minimize(rosenbrock, C, constraints=[3]),
            errors.ArgumentError,
            r"constraints\[0\] must be a dict",
        ),
        (lambda: optimize.minimize(3, C), errors.ArgumentError, "function"),
        (lambda: optimize.root(curves, C, jac=curves), errors.ArgumentError, "jac must be None"),
        (
            lambda: ft.jit(lambda x: optimize.root(lambda x: x[:1], x).x)(C),
            errors.ShapeError,
            "1 values for 2 variables",
        ),
        (lambda: optimize.least_squares(decay, C, loss="cubic"), errors.ArgumentError, "loss must be one of"),
        (lambda: optimize.least_squares(decay, C, jac=decay), errors.ArgumentError, "jac must be None"),
        (lambda: optimize.least_squares(decay, C, bounds=(1, 2, 3)), errors.ArgumentError, "bounds must be a pair"),
        (lambda: optimize.curve_fit(lambda *p: p, T, T), errors.ArgumentError, "give p0"),
        (
            lambda: optimize.curve_fit(lambda t, a: a * t, T, T, sigma=np.eye(6)),
            errors.ShapeError,
            "sigma must be a vector",
        ),
        (lambda: optimize.newton(lambda x: x, np.ones(2), x1=2.0), errors.ArgumentError, "an array x0"),
    ],
)
def test_errors(f: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        f()
