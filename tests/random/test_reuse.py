"""``functrans.debug_key_reuse``: what uses a key up, and where that is seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import random
from functrans.errors import KeyReuseError

SEEDS = iter(range(10**6, 2 * 10**6))


@pytest.fixture(autouse=True)
def debugging() -> Iterator[None]:
    with ft.debug_key_reuse():
        yield


@pytest.fixture
def key() -> Any:
    """A key that no other test has used."""
    return random.key(next(SEEDS))


@pytest.mark.parametrize(
    "use",
    [
        random.normal,
        random.uniform,
        random.split,
        random.bits,
        lambda k: random.gamma(k, 2.0),
        lambda k: random.permutation(k, 3),
        lambda k: random.choice(k, 3),
        lambda k: random.randint(k, (), 0, 3),
        lambda k: random.multivariate_normal(k, np.zeros(2), np.eye(2)),
        lambda k: ft.nn.initializers.he_normal()(k, (2, 2)),
    ],
)
def test_a_second_use_raises(use: Any, key: Any) -> None:
    use(key)
    with pytest.raises(KeyReuseError):
        use(key)


def test_both_lines_are_named(key: Any) -> None:
    random.normal(key)  # the first
    with pytest.raises(KeyReuseError) as info:
        random.uniform(key)
    first = test_both_lines_are_named.__code__.co_firstlineno + 1
    file = "test_reuse.py"
    assert f"functrans.random.uniform at {file}:{first + 2}" in str(info.value)
    assert f"functrans.random.normal at {file}:{first} " in str(info.value)


def test_new_keys_may_be_used(key: Any) -> None:
    a, b = random.split(key)
    random.normal(a), random.normal(b)
    c = random.fold_in(b, 1)
    random.normal(c)
    # fold_in leaves its key as it is, and gives new ones.
    root = random.key(next(SEEDS))
    for i in range(3):
        random.normal(random.fold_in(root, i))
    random.normal(root)
    random.normal(random.clone(root))


def test_a_seed_gives_a_new_key() -> None:
    def run() -> Any:
        a, b = random.split(random.key(77))
        return random.normal(a) + random.normal(b)

    assert run() == run()
    raw = random.PRNGKey(77)
    random.normal(raw)
    with pytest.raises(KeyReuseError):
        random.normal(raw)


def test_keys_are_known_by_value(key: Any) -> None:
    keys = random.split(key, 3)
    random.normal(keys[1])
    with pytest.raises(KeyReuseError):
        ft.vmap(random.normal)(keys)
    with pytest.raises(KeyReuseError):
        random.uniform(random.key_data(keys)[1])


def test_under_vmap_jit_and_scan(key: Any) -> None:
    keys = random.split(key, 3)
    ft.vmap(random.normal)(keys)
    with pytest.raises(KeyReuseError):
        ft.vmap(random.normal)(keys)
    twice = ft.jit(lambda k: random.normal(k) + random.uniform(k))
    with pytest.raises(KeyReuseError):
        twice(random.key(next(SEEDS)))
    once = ft.jit(random.normal)
    k = random.key(next(SEEDS))
    once(k)
    with pytest.raises(KeyReuseError):
        once(k)
    captured = random.key(next(SEEDS))
    with pytest.raises(KeyReuseError):
        ft.lax.scan(lambda c, x: (c, random.normal(captured)), 0.0, np.arange(2.0))

    def step(k: Any, x: Any) -> Any:
        k, s = random.split(k)
        return k, random.normal(s)

    ft.lax.scan(step, random.key(next(SEEDS)), np.arange(3.0))
    ft.jit(ft.grad(lambda x, k: x * random.normal(k)))(1.0, random.key(next(SEEDS)))


def test_recomputation_is_no_second_use(key: Any) -> None:
    @ft.checkpoint
    def layer(x: Any, k: Any) -> Any:
        return np.sin(x) * random.normal(k)

    first, second = random.split(key)
    assert np.isfinite(ft.grad(layer)(1.0, first))
    assert np.isfinite(ft.jit(ft.grad(layer))(1.0, second))


def test_off_by_default_and_again_afterwards(key: Any) -> None:
    f = ft.jit(random.normal)
    f(key)
    with ft.debug_key_reuse(False):
        assert f(key) == f(key)
        random.normal(key), random.normal(key)
