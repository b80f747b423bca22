"""``numpy_code`` on a table of NumPy programs: under every transformation their values and derivatives are NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.test_util import check_grads
from tests.numpy.numpy_programs import PROGRAMS

X = np.array([0.7, 1.3, -0.4, 2.1])
XS = np.stack([X, 2 * X, X + 1])
NAMES = sorted(PROGRAMS)


def real_leaves(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The results that have derivatives, complex ones as real and imaginary part."""

    def leaves(x: Any) -> list[Any]:
        found = [leaf for leaf in ft.tree.leaves(f(x)) if np.result_type(leaf).kind in "fc"]
        return [part for leaf in found for part in ([leaf.real, leaf.imag] if np.iscomplexobj(leaf) else [leaf])]

    return leaves


def assert_same(found: Any, expected: Any) -> None:
    """Equal in structure, type, dtype, shape and, to rounding, in value."""
    leaves, tree = ft.tree.flatten(found)
    others, other_tree = ft.tree.flatten(expected)
    assert tree == other_tree
    for a, b in zip(leaves, others, strict=True):
        assert type(a) is type(b)
        assert np.result_type(a) == np.result_type(b) and np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-13)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_untransformed_it_is_the_function_itself(name: str) -> None:
    assert_same(ft.numpy_code(PROGRAMS[name])(X), PROGRAMS[name](X))


def test_jit(name: str) -> None:
    assert_same(ft.jit(ft.numpy_code(PROGRAMS[name]))(X), PROGRAMS[name](X))


@pytest.mark.parametrize("transform", ["jvp", "vjp", "linearize"])
def test_values_under_differentiation(name: str, transform: str) -> None:
    f = ft.numpy_code(PROGRAMS[name])
    found = ft.jvp(f, (X,), (X,))[0] if transform == "jvp" else getattr(ft, transform)(f, X)[0]
    assert_same(found, PROGRAMS[name](X))


def test_derivatives_against_finite_differences(name: str) -> None:
    f = real_leaves(PROGRAMS[name])
    g = real_leaves(ft.numpy_code(PROGRAMS[name]))
    assert len(f(X)) > 0
    check_grads(lambda x: g(x), (X,), order=2)
    # The differences above are of NumPy's own program, which runs where nothing is transformed.
    assert_same(g(X), f(X))


def test_compiled_derivatives(name: str) -> None:
    f = real_leaves(ft.numpy_code(PROGRAMS[name]))
    jacobian = ft.jacfwd(f)(X)
    for compiled in (ft.jit(ft.jacrev(f)), ft.jit(ft.jacfwd(f))):
        for a, b in zip(compiled(X), jacobian, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    summed = lambda x: sum(np.sum(np.sin(leaf)) for leaf in f(x))
    np.testing.assert_allclose(ft.jit(ft.hessian(summed))(X), ft.hessian(summed)(X), rtol=1e-9, atol=1e-10)


def test_batched(name: str) -> None:
    f = ft.numpy_code(PROGRAMS[name])
    batch = ft.tree.leaves(ft.vmap(f)(XS))
    compiled = ft.tree.leaves(ft.jit(ft.vmap(f))(XS))
    for k, x in enumerate(XS):
        for a, b, c in zip(batch, compiled, ft.tree.leaves(PROGRAMS[name](x)), strict=True):
            np.testing.assert_allclose(a[k], c, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(b[k], c, rtol=1e-12, atol=1e-14)


def test_per_example_gradients(name: str) -> None:
    f = real_leaves(ft.numpy_code(PROGRAMS[name]))
    summed = lambda x: sum(np.sum(leaf * leaf) for leaf in f(x))
    rows = ft.vmap(ft.grad(summed))(XS)
    for x, row in zip(XS, rows, strict=True):
        np.testing.assert_allclose(row, ft.grad(summed)(x), rtol=1e-10, atol=1e-12)
