"""Kernels: what fusion makes of a program, that the language means what it says, and that tiles compute it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.backends.numpy import program, tiles
from functrans.backends.numpy.target import target
from functrans.config import override
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Eqn, Jaxpr, Literal
from functrans.kernel import reference
from functrans.kernel.fuse import fuse
from functrans.kernel.index import Axis, index_of
from functrans.kernel.ir import Kernel
from functrans.passes import default

X = np.linspace(-2.0, 2.0, 24).reshape(4, 6)
V = np.linspace(0.5, 1.5, 6)


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def layer_norm(x: Any, g: Any, b: Any) -> Any:
    centred = x - x.mean(1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * g + b


def cross_entropy(x: Any) -> Any:
    top = x.max(1, keepdims=True)
    return np.log(np.exp(x - top).sum(1)) + top[:, 0] - x[:, 2]


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], int]] = {
    "chain": (lambda x: np.tanh(x * 2.0 + 1.0) * x, (X,), 1),
    "softmax": (softmax, (X,), 1),
    "layer norm": (layer_norm, (X, V, V), 1),
    "cross entropy": (cross_entropy, (X,), 1),
    "sum of all": (lambda x: np.sum(x * x), (X,), 1),
    "sum of columns": (lambda x: np.sum(np.abs(x), 0), (X,), 1),
    "two results": (lambda x: (np.sin(x), np.sum(np.sin(x), 1)), (X,), 1),
    "neighbours": (lambda x: x[:, 1:] - x[:, :-1], (X,), 1),
    "transposed": (lambda x: np.sin(x).T + x.T, (X,), 1),
    "reversed": (lambda x: x[::-1, ::2] * 3.0, (X,), 1),
    "scan": (lambda x: np.cumsum(np.exp(x), 1) / 2.0, (X,), 1),
    "scan backwards": (lambda x: np.cumsum(x[:, ::-1], 1)[:, ::-1] + x, (X,), 2),
    "places": (lambda x: np.argmax(np.abs(x), 1) * 2, (X,), 1),
    "masks": (lambda x: np.where(x > 0, x, np.exp(x)), (X,), 1),
    "any and all": (lambda x: ((x > 1).any(1), (x > -3).all(1)), (X,), 2),
    "casts": (lambda x: (x * 3).astype(np.int32) + np.int32(1), (X,), 1),
    "complex": (lambda x: np.abs(np.exp(1j * x)), (X,), 1),
    "integers": (lambda x: (x // 3) % 5, (np.arange(24).reshape(4, 6),), 1),
    "outer": (lambda x, v: x * v + v, (X, V), 1),
    "columns of rows": (lambda x: x / np.sqrt(np.sum(x * x, 1))[:, None], (X,), 1),
    "gradient of softmax": (ft.grad(lambda x: np.sum(softmax(x) ** 2)), (X,), 2),
}


def lowered(f: Callable[..., Any], args: tuple[Any, ...]) -> Jaxpr:
    return default(ft.jit(f).lower(*args).jaxpr)


def read(env: dict[Any, Any], atom: Any) -> Any:
    return atom.value if isinstance(atom, Literal) else env[atom]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_meaning_of_fused_kernels(name: str) -> None:
    f, args, kernels = PROGRAMS[name]
    jaxpr = lowered(f, args)
    nodes = fuse(jaxpr, target)
    assert sum(isinstance(n, Kernel) for n in nodes) == kernels
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, jaxpr.consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    for node in nodes:
        if isinstance(node, Kernel):
            env.update(reference.run(node, env))
            continue
        assert isinstance(node, Eqn)
        result = node.prim.impl(np, *[read(env, a) for a in node.inputs], **node.params)
        env.update(zip(node.outs, result if node.prim.multiple else [result], strict=True))
    for v, expected in zip(jaxpr.outvars, evaluate(jaxpr, args), strict=True):
        np.testing.assert_allclose(read(env, v), expected, rtol=1e-13, atol=1e-15)


@pytest.fixture(params=[32, 64, 200])
def tiny(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of a few elements, on several threads, for arrays of any size."""
    monkeypatch.setattr(program, "SMALL", 2)
    monkeypatch.setattr(program, "PARALLEL_BYTES", 1)
    monkeypatch.setattr(program, "is_one_call", lambda kernel: False)
    monkeypatch.setattr(tiles, "TILE_BYTES", request.param)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", PROGRAMS)
def test_tiles(name: str, threads: int) -> None:
    f, args, _ = PROGRAMS[name]
    with override("threads", threads):
        found = ft.tree.leaves(ft.jit(f)(*args))
    for a, b in zip(found, ft.tree.leaves(f(*args)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
        assert type(a) is type(b) and a.dtype == b.dtype


def test_threads_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "PARALLEL_BYTES", 1)
    x = np.random.default_rng(0).standard_normal((700, 300))
    for f in (lambda x: np.sum(np.sin(x)), lambda x: np.sum(np.sin(x), 0), lambda x: np.max(np.sin(x) * 2, 1), softmax):
        results = []
        for threads in (1, 2, 5):
            with override("threads", threads):
                results.append(ft.jit(f)(x))
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_array_equal(results[0], results[2])


def test_index_arithmetic() -> None:
    i, j = index_of(Axis("i", 4)), index_of(Axis("j", 3))
    linear = 3 * i + j
    assert linear // 3 == i and linear % 3 == j
    assert (linear // 6) * 6 + linear % 6 != linear and ((2 * linear) // 2) == linear
    assert (linear + 3) // 3 == i + 1 and (5 - j) - 5 == -1 * j
    assert linear.bounds() == (0, 11) and (-1 * linear).bounds() == (-11, 0)
    for a in range(4):
        for b in range(3):
            assert (3 * a + b + 1) // 3 == a + (b + 1) // 3


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_what_is_computed_once_a_row_is_stored_along_it(backend: str) -> None:
    def f(x: Any) -> Any:
        places = np.argmax(x, 0).astype(np.uint8)
        return places, np.broadcast_to(places, (2, 6)), np.square(np.broadcast_to(places, (2, 6)))

    for found, expected in zip(ft.jit(f, backend=backend)(X), f(X), strict=True):
        np.testing.assert_array_equal(found, expected)
