"""Typed keys: arrays of keys, as far as arrays go; raw keys; errors."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, random

KEY = random.key(0)
KEYS = random.split(KEY, (2, 3))
DATA = random.key_data(KEYS)


def same(keys: random.Key, data: Any) -> None:
    np.testing.assert_array_equal(random.key_data(keys), data)


def test_shape_and_type() -> None:
    assert (KEYS.shape, KEYS.ndim, KEYS.size, len(KEYS), KEYS.nbytes) == ((2, 3), 2, 6, 2, 48)
    assert KEY.shape == () and KEY.size == 1
    assert str(KEY.dtype) == "key<fry>" and KEY.dtype == random.key_dtype() == random.key_dtype("threefry2x32")
    assert {KEY.dtype: 1}[random.key_dtype()] == 1
    assert random.key_impl(KEYS) == random.key_impl(random.PRNGKey(0)) == "threefry2x32"
    assert repr(random.key(5)) == "Key(key<fry>[]: [0 5])"
    assert repr(KEYS[0]).startswith("Key(key<fry>[3]:\n[[")
    f = ft.jit(lambda k: random.normal(k) + 0 * (repr(k) == ""))
    f(KEY)
    assert "Key(u32[], u32[])" in f.explain()


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x[1],
        lambda x: x[:, ::2],
        lambda x: x[np.array([1, 0])],
        lambda x: x[..., None, :],
        lambda x: x.reshape(6),
        lambda x: x.reshape((3, 2)),
        lambda x: x.reshape(-1, 2),
        lambda x: x.T,
        lambda x: x.transpose(1, 0),
        lambda x: x.swapaxes(0, 1),
        lambda x: x[None].squeeze(0),
        lambda x: x.take([2, 0], axis=1),
        lambda x: np.concatenate([x, x], axis=-1),
        lambda x: np.stack([x, x], axis=1),
        lambda x: np.broadcast_to(x, (4, 2, 3)),
        lambda x: np.expand_dims(x, 1),
        lambda x: np.roll(x, 1, axis=0),
    ],
)
def test_keys_move_as_arrays_do(move: Any) -> None:
    moved = move(KEYS)
    words = [move(DATA[..., k]) for k in (0, 1)]
    same(moved, np.stack(words, -1))
    same(ft.jit(move)(KEYS), np.stack(words, -1))


def test_ravel_and_split_and_where() -> None:
    same(KEYS.ravel(), DATA.reshape(6, 2))
    same(KEYS.flatten()[5], DATA[1, 2])
    second = np.split(KEYS, 2)[1]
    same(second, DATA[1:])
    same(np.where(np.array([True, False, True]), KEYS[0], KEYS[1]), [DATA[0, 0], DATA[1, 1], DATA[0, 2]])
    assert np.shape(KEYS) == (2, 3) and np.ndim(KEYS) == 2 and np.size(KEYS) == 6


def test_iteration_and_updates() -> None:
    rows = list(KEYS)
    same(rows[1], DATA[1])
    _, b, _ = KEYS[0]
    same(b, DATA[0, 1])
    changed = KEYS.at[0, 1].set(random.key(9))
    same(changed[0, 1], [0, 9])
    same(KEYS, DATA)
    same(KEYS.at[1, 7].get(mode="clip"), DATA[1, 2])


def test_comparison() -> None:
    np.testing.assert_array_equal(KEYS == KEYS[0, 1], [[False, True, False], [False, False, False]])
    assert KEY == random.key(0) and not (KEY != random.key(0)) and KEY != random.key(1)
    assert KEY != 0 and (KEY == None) is False  # noqa: E711
    with pytest.raises(TypeError, match="unhashable"):
        hash(KEY)


def test_keys_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="at"):
        KEY.shape = (1,)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del KEY._first
    with pytest.raises(TypeError):
        KEYS[0] = KEY  # type: ignore[index]
    assert copy.copy(KEY) is KEY and copy.deepcopy(KEY) is KEY and KEY.copy() is KEY
    same(pickle.loads(pickle.dumps(KEYS)), DATA)


def test_keys_are_no_numbers() -> None:
    with pytest.raises(errors.ArgumentError, match="key_data"):
        np.asarray(KEY)
    with pytest.raises(errors.ArgumentError, match="key_data"):
        np.sum(KEYS)
    with pytest.raises(TypeError):
        KEY + 1  # type: ignore[operator]
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(KEY)


def test_keys_are_pytrees() -> None:
    leaves, treedef = ft.tree.flatten({"key": KEYS, "w": np.ones(2)})
    assert [x.shape for x in leaves] == [(2, 3), (2, 3), (2,)]
    same(ft.tree.unflatten(treedef, leaves)["key"], DATA)
    shapes = ft.eval_shape(lambda: random.split(random.key(0), 4))
    assert isinstance(shapes, random.Key) and shapes.shape == (4,)
    # An axis of keys is mapped, whichever it is; there is none of words.
    same(ft.vmap(lambda k: k, in_axes=-1, out_axes=1)(KEYS), DATA)
    same(ft.vmap(lambda k: random.fold_in(k[0], 1), in_axes=1)(KEYS), random.key_data(folded(KEYS[0])))
    out = ft.vmap(lambda k, x: random.normal(k) * x, in_axes=(None, 0))(KEY, np.arange(3.0))
    np.testing.assert_array_equal(out, random.normal(KEY) * np.arange(3.0))
    _, slope = ft.value_and_grad(lambda x, k: x * random.normal(k))(2.0, KEY)
    assert slope == random.normal(KEY)


def folded(keys: random.Key) -> random.Key:
    return ft.vmap(random.fold_in, in_axes=(0, None))(keys, 1)


def test_wrapping() -> None:
    assert (random.wrap_key_data(DATA) == KEYS).all()
    assert random.wrap_key_data(DATA, impl="threefry2x32").shape == (2, 3)
    raw = random.PRNGKey(3)
    assert raw.dtype == np.uint32 and raw.tolist() == [0, 3]
    assert random.split(raw, 4).shape == (4, 2) and random.fold_in(raw, 1).shape == (2,)
    np.testing.assert_array_equal(random.split(raw), random.key_data(random.split(random.key(3))))
    np.testing.assert_array_equal(random.key_data(raw), raw)
    np.testing.assert_array_equal(ft.vmap(random.PRNGKey)(np.arange(3)), [[0, 0], [0, 1], [0, 2]])
    assert random.uniform(np.array([0, 3], np.uint32)) == random.uniform(random.key(3))


@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, -(2**63), 2**64 - 1, np.int8(-2), np.uint64(2**64 - 1)])
def test_seeds(seed: Any) -> None:
    number = int(seed) % 2 ** (32 if isinstance(seed, np.int8) else 64)
    expected = [number >> 32, number & 0xFFFFFFFF]
    same(random.key(seed), expected)
    if not isinstance(seed, int) or -(2**63) <= seed < 2**63:
        same(ft.jit(random.key)(seed), expected)


def test_settings() -> None:
    with ft.enable_custom_prng():
        assert random.PRNGKey(1) == random.key(1)
        made = ft.jit(lambda: random.PRNGKey(1))
        assert isinstance(made(), random.Key)
    assert isinstance(made(), np.ndarray)
    with ft.default_prng_impl("threefry2x32"):
        assert random.key_impl(random.key(0)) == "threefry2x32"
    with pytest.raises(errors.ArgumentError, match="'rbg'"), ft.default_prng_impl("rbg"):
        pass


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: random.key(1.5), errors.ArgumentError, "seed must be an integer, got a value of type f64"),
        (lambda: random.key(True), errors.ArgumentError, "seed must be an integer"),
        (lambda: random.key("a"), errors.ArgumentError, "'a'"),
        (lambda: random.key(2**64), errors.ArgumentError, "more than 64 bits"),
        (lambda: random.key(np.arange(2)), errors.ShapeError, "vmap"),
        (lambda: random.key(KEY), errors.ArgumentError, "got a key"),
        (lambda: random.key(0, impl="rbg"), errors.ArgumentError, "'rbg' is not known"),
        (lambda: random.key(0, impl="threefry2x32", dtype="key<fry>"), errors.ArgumentError, "one of them"),
        (lambda: random.PRNGKey(0, impl="rbg"), errors.ArgumentError, "rbg"),
        (lambda: random.normal(0), errors.ArgumentError, r"normal: argument key must be a random key"),
        (lambda: random.normal(np.array([0, 1])), errors.ArgumentError, r"i64\[2\]"),
        (lambda: random.normal(np.random.default_rng(0)), errors.ArgumentError, "Generator"),
        (lambda: random.normal(KEYS), errors.ShapeError, r"array of keys of shape \(2, 3\)"),
        (lambda: random.normal(random.split(random.PRNGKey(0))), errors.ShapeError, r"shape \(2,\)"),
        (lambda: random.split(KEYS), errors.ShapeError, "vmap"),
        (lambda: random.split(KEY, -1), errors.ShapeError, "negative"),
        (lambda: random.fold_in(KEY, 2**32), errors.ArgumentError, "2\\*\\*32 - 1"),
        (lambda: random.fold_in(KEY, -1), errors.ArgumentError, "got -1"),
        (lambda: random.fold_in(KEY, 0.5), errors.ArgumentError, "integer"),
        (lambda: random.fold_in(KEY, np.arange(2)), errors.ShapeError, "in_axes"),
        (lambda: random.wrap_key_data(np.zeros(3, np.uint32)), errors.ArgumentError, r"u32\[3\]"),
        (lambda: random.wrap_key_data(KEY), errors.ArgumentError, "typed key"),
        (lambda: len(KEY), TypeError, "no length"),
        (lambda: list(KEY), TypeError, "iterated"),
        (lambda: KEY[0], errors.IndexingError, "split"),
        (lambda: KEYS.at[0].set(1), errors.ArgumentError, "int"),
    ],
)
def test_errors(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
