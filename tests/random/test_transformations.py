"""Samples are the same under ``jit``, under ``vmap`` over keys as in a loop, and with keys carried through loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import random
from tests.random.cases import CASES

# One of each sampler: what differs between the cases is the argument.
SAMPLERS = [name for name in CASES if (name.endswith("-float64") and "_high" not in name) or "-" not in name]
BY_LINEAR_ALGEBRA = ("multivariate", "orthogonal")


def agree(name: str, found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    assert found.dtype == expected.dtype
    if name.startswith(BY_LINEAR_ALGEBRA):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", SAMPLERS)
def test_jit_and_vmap(name: str) -> None:
    def sample(key: Any) -> Any:
        return CASES[name].call(random, key)

    keys = random.split(random.key(11), 3)
    rows = [sample(k) for k in keys]
    agree(name, ft.jit(sample)(keys[0]), rows[0])
    agree(name, ft.vmap(sample)(keys), np.stack(rows))
    if name in ("gamma-float64", "poisson-float64", "permutation", "normal-float64"):
        agree(name, ft.jit(ft.vmap(sample))(keys), np.stack(rows))


def test_a_scalar_is_the_element_of_an_array_of_keys() -> None:
    keys = random.split(random.key(3), 200)
    for dtype in (np.float64, np.float32, np.float16):
        mapped = ft.vmap(lambda k, dtype=dtype: random.normal(k, dtype=dtype))(keys)
        assert [random.normal(k, dtype=dtype) for k in keys] == list(mapped)


def test_parameters_are_mapped_as_in_a_loop() -> None:
    keys, a = random.split(random.key(5), 4), np.array([0.3, 1.0, 2.5, 40.0])
    for f in (
        lambda k, a: random.gamma(k, a, (3,)),
        lambda k, a: random.poisson(k, a, (3,)),
        lambda k, a: random.binomial(k, 10 * a, 0.4),
        lambda k, a: random.randint(k, (3,), 0, (10 * a).astype(int) + 1),
        lambda k, a: random.truncated_normal(k, -a, a, (3,)),
    ):
        expected = np.stack([f(k, x) for k, x in zip(keys, a, strict=True)])
        np.testing.assert_array_equal(ft.vmap(f)(keys, a), expected)
        same_key = np.stack([f(keys[0], x) for x in a])
        np.testing.assert_array_equal(ft.vmap(f, in_axes=(None, 0))(keys[0], a), same_key)


def test_large_arrays_are_filled_block_by_block_alike() -> None:
    n = 40000
    for dtype in (np.float64, np.float32):
        whole = random.normal(random.key(1), (n,), dtype)
        np.testing.assert_array_equal(random.normal(random.key(1), (8, n // 8), dtype).ravel(), whole)
        np.testing.assert_array_equal(ft.jit(lambda k, d=dtype: random.normal(k, (n,), d))(random.key(1)), whole)
    keys = random.split(random.key(2), 3)
    rows = np.stack([random.bits(k, (n // 2,), np.uint16) for k in keys])
    np.testing.assert_array_equal(ft.vmap(lambda k: random.bits(k, (n // 2,), np.uint16))(keys), rows)


def test_a_key_in_the_carry_of_loops() -> None:
    def step(key: Any, x: float) -> Any:
        key, subkey = random.split(key)
        return key, x + random.normal(subkey)

    xs = np.arange(4.0)
    for make in (random.key, random.PRNGKey):
        key, expected = make(0), []
        for x in xs:
            key, subkey = random.split(key)
            expected.append(x + random.normal(subkey))
        last, found = ft.lax.scan(step, make(0), xs)
        assert found.tolist() == expected
        np.testing.assert_array_equal(random.key_data(last), random.key_data(key))
        last = ft.lax.fori_loop(0, 4, lambda i, k: random.split(k)[0], make(0))
        np.testing.assert_array_equal(random.key_data(last), random.key_data(key))
        chosen = ft.jit(lambda p, k: ft.lax.cond(p, lambda k: random.fold_in(k, 1), lambda k: k, k))(True, make(0))
        np.testing.assert_array_equal(random.key_data(chosen), random.key_data(random.fold_in(make(0), 1)))


def test_dropout_is_the_same_in_value_and_gradient() -> None:
    def loss(w: Any, key: Any, x: Any) -> Any:
        mask = random.bernoulli(key, 0.5, x.shape)
        return np.sum(np.where(mask, x, 0.0) @ w)

    key, x, w = random.key(4), np.arange(12.0).reshape(4, 3), np.ones(3)
    kept = np.where(random.bernoulli(key, 0.5, x.shape), x, 0.0)
    np.testing.assert_array_equal(ft.grad(loss)(w, key, x), kept.sum(0))
    np.testing.assert_array_equal(ft.jit(ft.grad(loss))(w, key, x), kept.sum(0))
    per_example = ft.vmap(ft.grad(loss), in_axes=(None, 0, 0))(w, random.split(key, 4), x)
    assert per_example.shape == (4, 3)


def test_samples_do_not_depend_on_their_number() -> None:
    assert random.uniform(random.key(0), (5,)).tolist() == random.uniform(random.key(0), (9,)).tolist()[:5]
