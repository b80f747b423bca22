"""Pytrees as vectors: order, dtypes, the way back, transformations, errors."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import scipy.optimize

import functrans as ft
from functrans import errors
from functrans.flatten_util import ravel_pytree
from functrans.test_util import check_grads

Pair = namedtuple("Pair", ["a", "b"])
TREE = {"w": np.arange(6.0).reshape(2, 3), "b": Pair(np.array(7.0), [8.0, (), None]), "a": np.zeros((0, 2))}


def assert_trees_equal(found: Any, expected: Any) -> None:
    leaves, treedef = ft.tree.flatten(expected)
    ours, found_def = ft.tree.flatten(found)
    assert found_def == treedef
    for a, b in zip(ours, leaves, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.shape(a) == np.shape(b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
        assert isinstance(a, np.ndarray) == isinstance(b, np.ndarray)


def test_there_and_back() -> None:
    vector, unravel = ravel_pytree(TREE)
    np.testing.assert_array_equal(vector, [7.0, 8, 0, 1, 2, 3, 4, 5], strict=True)
    assert type(vector) is np.ndarray
    assert_trees_equal(unravel(vector), TREE)
    np.testing.assert_array_equal(unravel(vector + 1)["w"], TREE["w"] + 1)
    np.testing.assert_array_equal(ravel_pytree(unravel(vector))[0], vector)


@pytest.mark.parametrize("tree", [3.5, np.float32(3.5), np.arange(4), np.zeros((2, 0)), np.array([True, False])])
def test_a_single_leaf(tree: Any) -> None:
    vector, unravel = ravel_pytree(tree)
    np.testing.assert_array_equal(vector, np.ravel(tree), strict=True)
    assert_trees_equal(unravel(vector), np.float64(tree) if isinstance(tree, float) else tree)


def test_no_leaves() -> None:
    for tree in ((), {}, None, {"a": [None, ()]}):
        vector, unravel = ravel_pytree(tree)
        np.testing.assert_array_equal(vector, np.zeros(0), strict=True)
        assert unravel(vector) == tree
        with pytest.raises(errors.ShapeError, match=r"unravel: a vector of shape \(0,\) is needed, got shape \(2,\)"):
            unravel(np.zeros(2))


def test_dtypes_are_promoted_and_restored() -> None:
    tree = [np.arange(2, dtype=np.int8), np.ones(2, np.float32), np.array([1j], np.complex64), np.array([True])]
    vector, unravel = ravel_pytree(tree)
    assert vector.dtype == np.complex64
    assert_trees_equal(unravel(vector), tree)
    assert ravel_pytree(tree[:2])[0].dtype == np.float32
    assert ravel_pytree([np.ones(1, np.float32), np.ones(1)])[0].dtype == np.float64
    assert ravel_pytree([np.ones(1, np.int64), np.ones(1, np.int8)])[0].dtype == np.int64


def test_results_own_their_memory() -> None:
    x = np.ones(3)
    vector, unravel = ravel_pytree(x)
    assert not np.shares_memory(vector, x)
    given = np.arange(3.0)
    assert not np.shares_memory(unravel(given), given)
    given = np.arange(8.0)
    found = ravel_pytree(TREE)[1](given)
    given[:] = -1
    np.testing.assert_array_equal(found["w"], [[2, 3, 4], [5, 6, 7]])
    np.testing.assert_array_equal(found["b"].a, 0)


def quadratic(tree: Any) -> Any:
    return np.sum(tree["w"] ** 2) * tree["b"].a + np.sin(tree["b"].b[0])


def test_under_transformations() -> None:
    vector, unravel = ravel_pytree(TREE)
    by_vector = ft.grad(lambda v: quadratic(unravel(v)))(vector)
    by_tree = ft.grad(quadratic)(TREE)
    np.testing.assert_allclose(by_vector, ravel_pytree(by_tree)[0], rtol=1e-15)
    np.testing.assert_array_equal(ft.jit(ft.grad(lambda v: quadratic(unravel(v))))(vector), by_vector)
    check_grads(lambda v: quadratic(unravel(v)), (vector,), order=2)
    np.testing.assert_array_equal(ft.jit(lambda tree: ravel_pytree(tree)[0])(TREE), vector)
    (pulled,) = ft.vjp(lambda tree: ravel_pytree(tree)[0], TREE)[1](vector)
    assert_trees_equal(ft.tree.map(np.asarray, pulled), ft.tree.map(np.asarray, TREE))
    batch = np.stack([vector, 2 * vector])
    mapped = ft.vmap(unravel)(batch)
    np.testing.assert_array_equal(mapped["w"], np.stack([TREE["w"], 2 * TREE["w"]]))
    np.testing.assert_array_equal(ft.vmap(lambda tree: ravel_pytree(tree)[0])(mapped), batch)
    jacobian = ft.jacobian(unravel)(vector)
    np.testing.assert_array_equal(jacobian["w"].reshape(6, 8), np.eye(8)[2:])


def test_integer_leaves_carry_no_derivative() -> None:
    vector, unravel = ravel_pytree([np.array([2, 3]), np.array([1.5])])

    def loss(v: Any) -> Any:
        counts, x = unravel(v)
        return np.sum(counts) * x[0] ** 2

    np.testing.assert_array_equal(ft.grad(loss)(vector), [0, 0, 15])


def test_a_solver_that_knows_vectors_alone() -> None:
    start, unravel = ravel_pytree({"x": np.zeros(2), "y": 1.0})

    def loss(tree: Any) -> Any:
        return np.sum((tree["x"] - np.array([1.0, -2.0])) ** 2) + (tree["y"] - 3.0) ** 4

    result = scipy.optimize.minimize(ft.value_and_grad(lambda v: loss(unravel(v))), start, jac=True, method="BFGS")
    found = unravel(result.x)
    np.testing.assert_allclose(found["x"], [1, -2], atol=1e-5)
    np.testing.assert_allclose(found["y"], 3, atol=2e-2)


@pytest.mark.parametrize("shape", [(7,), (9,), (8, 1), ()])
def test_vectors_of_another_length(shape: Any) -> None:
    _, unravel = ravel_pytree(TREE)
    with pytest.raises(errors.ShapeError, match=r"unravel: a vector of shape \(8,\) is needed, got shape"):
        unravel(np.zeros(shape))


def test_what_is_no_array() -> None:
    with pytest.raises(errors.ArgumentError, match=r"ravel_pytree: pytree\['name'\] is an object of type str"):
        ravel_pytree({"name": "linear", "w": np.ones(2)})
    _, unravel = ravel_pytree(TREE)
    with pytest.raises(errors.ArgumentError, match="unravel: an array or a number is needed, got dict"):
        unravel({"w": 1.0})
    np.testing.assert_array_equal(unravel([0.0] * 8)["w"], np.zeros((2, 3)))
