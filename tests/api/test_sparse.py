"""Sparse Jacobians and Hessians: the entries of the dense ones, from few products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import functrans as ft
from functrans import errors
from functrans.api.sparse import compress
from functrans.core import primitive

X = np.array([0.5, -1.0, 2.0, 0.3, 1.5, -0.7])
A = np.array([[2.0, 0, 0, 1, 0, 0], [0, 0, 3, 0, 0, 0], [0, 1, 0, 0, 0, 4]])
I = np.array([3, 0, 0, 5])  # noqa: E741


def second_difference(x: Any) -> Any:
    padded = np.pad(x, 1)
    return padded[2:] - 2 * x + padded[:-2] + x**3


def local_loop(x: Any) -> Any:
    return ft.lax.scan(lambda c, row: (c, np.sin(row) * row), 0.0, x)[1]


def running_loop(x: Any) -> Any:
    return ft.lax.scan(lambda c, row: (c * row, c + row), 1.0, x)


def branching(x: Any) -> Any:
    return ft.lax.cond(x[0] > 0, lambda x: x[:3] ** 2, lambda x: x[3:] * x[0], x)


def stepping(x: Any) -> Any:
    return ft.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, np.sin(c[1]) * 2), (0, x))[1]


def buffered(x: Any) -> Any:
    out = ft.lax.at(np.zeros(4))[1:3].set(x[:2] * x[2:4])
    return ft.lax.at(out)[np.array([0, 0, 3])].add(x[3:])


def straight_through(x: Any) -> Any:
    f = ft.custom_jvp(lambda x: np.round(x))
    f.defjvp(lambda p, t: (np.round(p[0]), t[0]))
    return f(x)


def reversed_rule(x: Any) -> Any:
    f = ft.custom_vjp(lambda x: np.sin(x))
    f.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (ct * np.cos(x),))
    return f(x)


FUNCTIONS: dict[str, tuple[Callable[[Any], Any], int]] = {
    # how many entries the pattern has
    "elementwise": (lambda x: np.sin(x) * x, 6),
    "constant parts": (lambda x: np.concatenate([x[:2] ** 2, np.ones(3), np.floor(x)]), 2),
    "difference": (second_difference, 16),
    "reshaped": (lambda x: x.reshape(2, 3).T[::-1] * np.array([1.0, 2.0]), 6),
    "broadcast": (lambda x: x[:3, None] * x[3:], 18),
    "sums": (lambda x: np.sum(x.reshape(2, 3) ** 2, axis=0), 6),
    "running sum": (lambda x: np.cumsum(x)[::-1], 21),
    "running product": (np.cumprod, 21),
    "constant matrix": (lambda x: A @ np.sin(x), 5),
    "constant matrix behind": (lambda x: x.reshape(3, 2).T @ A[:, :4], 8),
    "matrices": (lambda x: x.reshape(2, 3) @ x.reshape(3, 2), 18),
    "gathered": (lambda x: x[I] ** 2, 4),
    "scattered": (buffered, 7),
    "masked": (lambda x: np.where(x > 0, x, x[::-1] * 2), 12),
    "sorted": (lambda x: np.sort(x)[:2] ** 2, 2),
    "convolved": (lambda x: np.convolve(x, np.array([1.0, 2.0, 3.0]), "same"), 16),
    "windows": (lambda x: ft.lax.reduce_window_sum(x.reshape(2, 3), (1, 2), (1, 1)), 8),
    "largest in windows": (lambda x: ft.lax.reduce_window_max(x, (2,), (2,)), 3),
    "jitted": (ft.jit(lambda x: second_difference(x)[I]), 9),
    "checkpointed": (ft.checkpoint(second_difference), 16),
    "mapped": (lambda x: ft.vmap(lambda row: row * row[0])(x.reshape(3, 2)), 9),
    "loop over slices": (local_loop, 6),
    "loop with a state": (running_loop, 27),
    "branch": (branching, 8),
    "steps": (stepping, 6),
    "own forward rule": (straight_through, 6),
    "own reverse rule": (reversed_rule, 6),
    "no family": (lambda x: np.fft.rfft(x).real, 24),
    "a number": (lambda x: np.sum(np.sin(x)), 6),
    "nothing": (lambda x: np.zeros(3), 0),
}


def dense(J: Any) -> Any:
    return np.vstack([np.asarray(j).reshape(-1, X.size) for j in (J if isinstance(J, tuple) else (J,))])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_entries_are_those_of_the_dense_jacobian(name: str) -> None:
    f, entries = FUNCTIONS[name]
    J = ft.jacobian(f, sparse=True)(X)
    blocks = J if isinstance(J, tuple) else (J,)
    assert all(isinstance(block, scipy.sparse.csr_array) for block in blocks)
    np.testing.assert_allclose(np.vstack([b.toarray() for b in blocks]), dense(ft.jacobian(f)(X)), atol=1e-12)
    assert sum(b.nnz for b in blocks) == entries


def test_indices_that_depend_on_the_point_are_followed_at_each_point() -> None:
    J = ft.jacobian(lambda x: np.sort(x)[:2] ** 2, sparse=True)
    for x in (X, X[::-1].copy(), -X):
        np.testing.assert_allclose(J(x).toarray(), ft.jacobian(lambda x: np.sort(x)[:2] ** 2)(x))


def test_captured_values_may_change_between_calls() -> None:
    index = np.array([0, 1])
    scale = 2.0
    J = ft.jacobian(lambda x: scale * x[index], sparse=True)
    np.testing.assert_array_equal(J(X).nonzero()[1], [0, 1])
    index[:] = 4, 5
    scale = 3.0
    np.testing.assert_array_equal(J(X).nonzero()[1], [4, 5])
    assert J(X).data.tolist() == [3.0, 3.0]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[int]]:
    """An identity whose derivative notes how many directions go through it."""
    monkeypatch.setattr(primitive, "registry", primitive.registry.copy())
    sizes: list[int] = []

    def batch(size: int, args: Any, axes: Any) -> Any:
        sizes.append(size)
        return args[0], axes[0]

    def like(x: Any) -> Any:
        return ft.ShapeDtypeStruct(x.shape, x.dtype)

    note = ft.extend.primitive("note_direction", lambda x: x, shape=like, batch=batch)
    # To the pattern it is an elementwise operation.
    note.primitive.traits |= {"elementwise"}
    f = ft.custom_jvp(lambda x: x)
    f.defjvp(lambda p, t: (p[0], note(t[0])))
    return f, sizes


def test_a_banded_jacobian_takes_as_many_products_as_its_band_is_wide(counted: tuple[Any, list[int]]) -> None:
    identity, sizes = counted
    n = 10_000

    def f(x: Any) -> Any:
        x = identity(x)
        return np.concatenate([x[:2], x[2:] * x[1:-1] - np.cos(x[:-2])])

    x = np.linspace(0.0, 1.0, n)
    J = ft.jacobian(f, sparse=True)(x)
    assert sum(sizes) == 3  # the band is 2 wide beside the diagonal
    rows = np.arange(2, n)
    np.testing.assert_allclose(J[rows, rows], x[1:-1])
    np.testing.assert_allclose(J[rows, rows - 1], x[2:])
    np.testing.assert_allclose(J[rows, rows - 2], np.sin(x[:-2]))
    assert J.nnz == 3 * (n - 2) + 2


def test_few_rows_take_products_from_the_left() -> None:
    def f(x: Any) -> Any:
        return np.concatenate([x**2, np.array([1.0, 2.0]) * np.sum(x)])

    x = np.linspace(0.0, 1.0, 300)
    np.testing.assert_allclose(ft.jacobian(f, sparse=True)(x).toarray(), ft.jacobian(f)(x))
    pattern = scipy.sparse.csr_array(np.vstack([np.eye(300, dtype=bool), np.ones((2, 300), bool)]))
    found = compress(pattern, False)
    assert found.by_rows and found.count == 3


class TestHessian:
    @staticmethod
    def rosenbrock(x: Any) -> Any:
        return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    def test_values(self) -> None:
        x = np.linspace(-1.0, 1.0, 40)
        H = ft.hessian(self.rosenbrock, sparse=True)(x)
        np.testing.assert_allclose(H.toarray(), ft.hessian(self.rosenbrock)(x), atol=1e-10)
        assert H.nnz == 40 + 2 * 39

    def test_symmetry_saves_products(self) -> None:
        # An arrow: every column shares the first row, and star colours need two groups.
        pattern = np.eye(50, dtype=bool)
        pattern[0] = pattern[:, 0] = True
        found = compress(scipy.sparse.csr_array(pattern), True)
        assert found.count == 2

        def arrow(x: Any) -> Any:
            return x[0] * np.sum(np.sin(x)) + np.sum(x**4)

        x = np.linspace(0.1, 1.0, 50)
        np.testing.assert_allclose(ft.hessian(arrow, sparse=True)(x).toarray(), ft.hessian(arrow)(x), atol=1e-12)

    def test_random_patterns(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(5):
            pairs = rng.integers(0, 12, (15, 2))

            def f(x: Any, pairs: Any = pairs) -> Any:
                return np.sum(np.sin(x[pairs[:, 0]] * x[pairs[:, 1]]))

            x = rng.normal(size=12)
            np.testing.assert_allclose(ft.hessian(f, sparse=True)(x).toarray(), ft.hessian(f)(x), atol=1e-12)


def test_pytrees_arguments_and_auxiliary_data() -> None:
    def f(d: Any, y: Any, n: int) -> Any:
        return {"p": d["a"][:2] * y, "q": (np.sum(d["b"]), n)}, d["a"] * 2

    d = {"a": X[:3], "b": np.ones((2, 2))}
    J, aux = ft.jacobian(f, (0, 1), has_aux=True, sparse=True)(d, X[:2], 3)
    np.testing.assert_array_equal(aux, 2 * X[:3])
    D = ft.jacobian(lambda d, y: f(d, y, 3)[0], (0, 1))(d, X[:2])
    np.testing.assert_array_equal(J["p"][0]["a"].toarray(), D["p"][0]["a"])
    np.testing.assert_array_equal(J["p"][1].toarray(), D["p"][1])
    assert J["p"][0]["b"].shape == (2, 4) and J["p"][0]["b"].nnz == 0
    np.testing.assert_array_equal(J["q"][0][0]["b"].toarray(), np.ones((1, 4)))
    assert J["q"][1][0]["a"].shape == (1, 3)
    assert ft.jacobian(lambda x, y: x * y, argnums=1, sparse=True)(X, X).diagonal().tolist() == X.tolist()


def test_dtypes() -> None:
    x = X.astype(np.float32)
    assert ft.jacobian(np.sin, sparse=True)(x).dtype == np.float32
    z = X + 1j * X[::-1]
    J = ft.jacobian(lambda z: z[1:] * z[:-1], holomorphic=True, sparse=True)(z)
    np.testing.assert_allclose(J.toarray(), ft.jacobian(lambda z: z[1:] * z[:-1], holomorphic=True)(z))


def test_longer_loops_are_followed_conservatively() -> None:
    x = np.linspace(0.0, 1.0, 300)

    def f(x: Any) -> Any:
        return ft.lax.scan(lambda c, row: (c * 0.5, c + row), x[:2], x)[1]

    np.testing.assert_allclose(ft.jacobian(f, sparse=True)(x).toarray(), ft.jacobian(f)(x).reshape(600, 300))
    J = ft.jacobian(local_loop, sparse=True)(x)
    assert J.nnz == 300


def test_errors() -> None:
    with pytest.raises(errors.ConcretizationError, match="cannot be called inside of jit"):
        ft.jit(lambda x: ft.jacobian(np.sin, sparse=True)(x).sum())(X)
    with pytest.raises(errors.NonScalarOutputError, match=r"has type c128\[6\]"):
        ft.jacobian(lambda x: x * 1j, sparse=True)(X)
    with pytest.raises(errors.GradientInputError, match="derivatives are taken in floats"):
        ft.jacobian(np.sin, sparse=True)(np.arange(3))
    with pytest.raises(errors.ArgumentError, match="transforms a function"):
        ft.hessian(3.0, sparse=True)
