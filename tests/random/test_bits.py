"""The generator: its published test vectors, blocks, counters of more than 32 bits, fewer bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors, random
from functrans.lax import random_bits as bits
from functrans.lax.threefry import threefry2x32, threefry2x32_p

# Random123's known answers for threefry2x32 with 20 rounds: key, counter, result.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize("key, counter, expected", KNOWN)
def test_known_answers(key: Any, counter: Any, expected: Any) -> None:
    words = [np.uint32(w) for w in (*key, *counter)]
    assert threefry2x32(*words) == expected
    for size in (1, 5, 40000):
        for found, word in zip(threefry2x32(*words[:3], np.full(size, words[3])), expected, strict=True):
            assert found.shape == (size,) and (found == word).all()
    arrays = [np.array([w]) for w in words]
    assert [int(w[0]) for w in threefry2x32_p.decompose(*arrays)] == list(expected)
    assert tuple(int(w) for w in ft.jit(lambda *w: threefry2x32(*w))(*words)) == expected


@pytest.mark.parametrize(
    "shapes",
    [
        ((), (), (), (40000,)),
        ((7, 1), (7, 1), (), (20000,)),
        ((20000, 1), (1,), (), (3,)),
        ((2, 1, 1), (1,), (), (9, 5000)),
    ],
)
def test_blocks_do_not_show(shapes: Any) -> None:
    rng = np.random.default_rng(0)
    words = [np.asarray(rng.integers(0, 2**32, s, np.uint32)) for s in shapes]
    originals = [w.copy() for w in words]
    with np.errstate(over="ignore"):
        expected = threefry2x32_p.decompose(*np.broadcast_arrays(*words))
    for found, e in zip(threefry2x32(*words), expected, strict=True):
        np.testing.assert_array_equal(found, e)
    for w, o in zip(words, originals, strict=True):
        np.testing.assert_array_equal(w, o)


def test_counters_go_on_beyond_32_bits() -> None:
    high, low = bits._counted(2**32 - 2, 2**32 + 2)
    assert (high.tolist(), low.tolist()) == ([0, 0, 1, 1], [2**32 - 2, 2**32 - 1, 0, 1])
    high, low = bits._counted(5 * 2**32 - 1, 5 * 2**32 + 1)
    assert (high.tolist(), low.tolist()) == ([4, 5], [2**32 - 1, 0])


def test_operands_are_checked() -> None:
    with pytest.raises(errors.DTypeError, match="count2 has type i64"):
        threefry2x32(*[np.uint32(0)] * 3, np.arange(3))
    with pytest.raises(errors.ShapeError, match="do not broadcast"):
        threefry2x32(*[np.uint32(0)] * 2, np.zeros(2, np.uint32), np.zeros(3, np.uint32))


@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_bits(width: int) -> None:
    dtype = np.dtype(f"u{width // 8}")
    found = random.bits(random.key(1), (4000,), dtype)
    assert found.dtype == dtype
    share = np.unpackbits(found.view(np.uint8)).mean()
    assert abs(share - 0.5) < 0.02
    assert random.bits(random.key(1), (), dtype) == found[0]
    assert random.bits(random.key(1), (0, 2), dtype).shape == (0, 2)


def test_moments() -> None:
    """The samplers sample what they say: means and deviations of 20000 samples."""
    n, key = 20000, random.key(123)
    for samples, mean, deviation in (
        (random.uniform(key, (n,)), 0.5, 12**-0.5),
        (random.normal(key, (n,)), 0.0, 1.0),
        (random.exponential(key, (n,)), 1.0, 1.0),
        (random.gumbel(key, (n,)), np.euler_gamma, np.pi / 6**0.5),
        (random.laplace(key, (n,)), 0.0, 2**0.5),
        (random.logistic(key, (n,)), 0.0, np.pi / 3**0.5),
        (random.gamma(key, 3.0, (n,)), 3.0, 3**0.5),
        (random.beta(key, 2.0, 3.0, (n,)), 0.4, 0.2),
        (random.poisson(key, 4.0, (n,)), 4.0, 2.0),
        (random.poisson(key, 50.0, (n,)), 50.0, 50**0.5),
        (random.binomial(key, 40, 0.1, (n,)), 4.0, 3.6**0.5),
        (random.binomial(key, 40, 0.6, (n,)), 24.0, 9.6**0.5),
        (random.geometric(key, 0.25, (n,)), 4.0, 12**0.5),
        (random.wald(key, 2.0, (n,)), 2.0, 8**0.5),
        (random.triangular(key, 0.0, 1.0, 2.0, (n,)), 1.0, 6**-0.5),
        (random.randint(key, (n,), 0, 6), 2.5, (35 / 12) ** 0.5),
        (random.t(key, 9.0, (n,)), 0.0, (9 / 7) ** 0.5),
        (random.chisquare(key, 4.0, (n,)), 4.0, 8**0.5),
        (random.choice(key, 3, (n,), p=np.array([0.2, 0.3, 0.5])), 1.3, 0.61**0.5),
        (random.categorical(key, np.log([0.2, 0.3, 0.5]), shape=(n,)), 1.3, 0.61**0.5),
    ):
        assert abs(np.mean(samples) - mean) < 5 * deviation / n**0.5
        assert abs(np.std(samples) / deviation - 1) < 0.1


def test_edges_of_parameters() -> None:
    key = random.key(2)
    np.testing.assert_array_equal(random.binomial(key, np.array([0.0, 5.0, 5.0]), np.array([0.5, 0.0, 1.0])), [0, 0, 5])
    assert np.isnan(random.binomial(key, -1, 0.5)) and np.isnan(random.binomial(key, 3, np.nan))
    assert np.isnan(random.binomial(key, 3, 1.5)) and random.binomial(key, np.inf, 0.5) == np.inf
    np.testing.assert_array_equal(random.poisson(key, np.array([0.0, -1.0, np.nan])), [0, -1, -1])
    assert random.geometric(key, 1.0) == 1
    assert np.isnan(random.gamma(key, np.nan)) and random.gamma(key, 0.0) == 0.0
    assert random.randint(key, (), 5, 5) == 5 and random.randint(key, (), 7, 2) == 7
    assert random.randint(key, (50,), -500, 500, np.int8).dtype == np.int8
    assert random.truncated_normal(key, 3.0, 3.5, (50,)).min() > 3.0
    np.testing.assert_array_equal(np.sort(random.permutation(key, np.arange(7))), np.arange(7))
    assert random.permutation(key, 0).shape == (0,) and random.permutation(key, 1).tolist() == [0]
    assert random.choice(key, np.zeros((3, 0, 2)), (0,), axis=1).shape == (3, 0, 2)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda k: random.normal(k, (2,), int), errors.DTypeError, "normal: dtype must be a float dtype"),
        (lambda k: random.uniform(k, (2,), np.longdouble), errors.DTypeError, "64 bits"),
        (lambda k: random.bits(k, (2,), np.int32), errors.DTypeError, "unsigned"),
        (lambda k: random.randint(k, (2,), 0, 3, float), errors.DTypeError, "integer dtype"),
        (lambda k: random.rademacher(k, (2,), np.uint8), errors.DTypeError, "-1"),
        (lambda k: random.gamma(k, np.ones(3), (2,)), errors.ShapeError, r"gamma: shape=\(2,\) has no room"),
        (lambda k: random.normal(k, (-1,)), errors.ShapeError, "negative"),
        (lambda k: random.gamma(k, 1j), errors.ArgumentError, "argument a must be a real number"),
        (lambda k: random.pareto(k, "b"), errors.ArgumentError, "argument b must be a real number"),
        (lambda k: random.randint(k, (), 0, "b"), errors.ArgumentError, "maxval"),
        (lambda k: random.gumbel(k, mode="x"), errors.ArgumentError, "'highest', got 'x'"),
        (lambda k: random.bernoulli(k, 1), errors.DTypeError, "p must hold floats"),
        (lambda k: random.bernoulli(k, 0.5, mode="x"), errors.ArgumentError, "'low' or 'high'"),
        (lambda k: random.dirichlet(k, 1.0), errors.ShapeError, "an axis for the coordinates"),
        (lambda k: random.multinomial(k, 3.0, 0.5), errors.ShapeError, "an axis for the classes"),
        (lambda k: random.categorical(k, 1.0), errors.ShapeError, "an axis for the classes"),
        (lambda k: random.categorical(k, np.zeros((2, 3)), shape=(5,)), errors.ShapeError, "must end with"),
        (lambda k: random.categorical(k, np.zeros(3), shape=(5,), replace=False), errors.ArgumentError, "5 samples"),
        (lambda k: random.choice(k, 3, (5,), replace=False), errors.ArgumentError, "5 elements cannot be chosen"),
        (lambda k: random.choice(k, 0), errors.ArgumentError, "no element"),
        (lambda k: random.choice(k, 1.5), errors.ArgumentError, "argument a must be an integer"),
        (lambda k: random.choice(k, 3, p=np.ones(2)), errors.ShapeError, "each of the 3 elements"),
        (lambda k: random.permutation(k, 1.5), errors.ArgumentError, "argument x must be an integer"),
        (lambda k: random.permutation(k, -1), errors.ArgumentError, "negative"),
        (lambda k: random.permutation(k, np.ones(2), axis=1), errors.ShapeError, "out of bounds"),
        (lambda k: random.multivariate_normal(k, 0.0, np.eye(2)), errors.ShapeError, "a mean of shape"),
        (lambda k: random.multivariate_normal(k, np.zeros(2), np.eye(3)), errors.ShapeError, r"\(3, 3\)"),
        (lambda k: random.multivariate_normal(k, np.zeros(2), np.eye(2), method="lu"), errors.ArgumentError, "'lu'"),
        (lambda k: random.orthogonal(k, 2.5), errors.ArgumentError, "argument n"),
        (lambda k: ft.jit(lambda n: random.permutation(k, n))(np.ones(())), errors.ArgumentError, "known while"),
    ],
)
def test_errors(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(random.key(0))
