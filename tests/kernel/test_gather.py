"""Indices that kernels compute: what fusion makes of gathers, and that it means what the operations mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import lax
from functrans.backends.numpy.target import NumpyTarget
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Eqn, Jaxpr, Literal, Var
from functrans.core.primitive import registry
from functrans.kernel import reference
from functrans.kernel.fuse import Node, fuse
from functrans.kernel.index import Axis, Index, Position, Value, index_of
from functrans.kernel.ir import Kernel
from functrans.kernel.text import kernel_text
from functrans.passes import default

GOLDEN = Path(__file__).parent.parent / "golden" / "kernel_gather.txt"


class AnyIndex(NumpyTarget):
    """A device that reads wherever it is told to."""

    guards = True

    def moves(self, eqn: Eqn) -> bool:
        return True

    def reads(self, position: Position) -> bool:
        return True


def fused(f: Callable[..., Any], *args: Any) -> tuple[Jaxpr, list[Node]]:
    jaxpr = default(ft.jit(f).lower(*args).jaxpr)
    return jaxpr, fuse(jaxpr, AnyIndex())


def run(jaxpr: Jaxpr, nodes: list[Node], args: Any) -> list[Any]:
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, jaxpr.consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return atom.value if isinstance(atom, Literal) else env[atom]

    for node in nodes:
        if isinstance(node, Kernel):
            env.update(reference.run(node, env))
            continue
        assert isinstance(node, Eqn)
        result = node.prim.impl(np, *map(read, node.inputs), **node.params)
        env.update(zip(node.outs, result if node.prim.multiple else [result], strict=True))
    return [read(v) for v in jaxpr.outvars]


X = np.linspace(-2.0, 2.0, 42).reshape(6, 7)
PLACES = np.array([3, -1, 0, 5, -6, 2, 2, 4])

PROGRAMS: dict[str, tuple[Callable[..., Any], int]] = {
    "rows": (lambda x, i: x[i] * 2.0 + 1.0, 1),
    "of an index that is computed": (lambda x, i: x[(i * 3) % 6] * 2.0, 1),
    "columns": (lambda x, i: x[:, i % 7] - x[:, :1], 2),
    "elements": (lambda x, i: x[i, i + 1] * 2.0, 1),
    "clipped": (lambda x, i: lax.take(x, i * 5, 1, mode="clip") * 2.0, 1),
    "filled": (lambda x, i: lax.take(x, i * 5, 1, mode="fill", fill_value=7.0) * 2.0, 1),
    "nested": (lambda x, i: x[i[i % 4]] * 2.0, 1),
    "of what is computed": (lambda x, i: np.sin(x)[i[:3]] * 2.0, 1),
    "of a reshape": (lambda x, i: x.reshape(3, 14)[i % 3, 5] * 2.0, 1),
    "reduced": (lambda x, i: np.sum(x[i] * 2.0, 1), 1),
    "at the largest": (lambda x, i: x[np.arange(6), np.argmax(x, 1)] * 2.0, 1),
    "a slice": (lambda x, i: lax.dynamic_slice(x, (i[0], i[1]), (3, 4)) * 2.0, 1),
    "permuted": (lambda x, i: lax.permute(x, np.argsort(x, 0), 0) * 2.0, 1),
    "put together": (lambda x, i: np.concatenate([x, x, x], 0) * 2.0, 1),
    "stacked": (lambda x, i: np.stack([x, x], 1) * 2.0, 2),
    "a counter": (lambda x, i: x * np.arange(5000)[:7], 1),
    "one hot": (lambda x, i: lax.one_hot(i, 5000)[:, :9] * 2.0, 1),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_meaning_of_computed_indices(name: str) -> None:
    f, kernels = PROGRAMS[name]
    jaxpr, nodes = fused(f, X, PLACES)
    assert sum(isinstance(n, Kernel) for n in nodes) == kernels
    used = [a for a, v in zip((X, PLACES), jaxpr.invars, strict=True)]
    for a, b in zip(run(jaxpr, nodes, used), evaluate(jaxpr, used), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


MOVED = [p for _, p in sorted(registry.items()) if p.index is not None and p.samples is not None]


@pytest.mark.parametrize("prim", MOVED, ids=lambda p: p.name)
def test_positions_are_those_of_the_operation(prim: Any) -> None:
    assert prim.samples is not None
    for sample in prim.samples():
        jaxpr = ft.make_jaxpr(lambda *args, s=sample: prim.bind(*args, **s.params))(*sample.args)
        nodes = fuse(jaxpr, AnyIndex())
        expected = prim.impl(np, *map(np.asarray, sample.args), **sample.params)
        (found,) = run(jaxpr, nodes, sample.args)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("mode", ["raise", "drop"])
@pytest.mark.parametrize("seed", range(12))
def test_gathers_of_any_form(seed: int, mode: str) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 4, rng.integers(1, 4)))
    x = rng.standard_normal(shape).astype(rng.choice(["float64", "float32", "int16", "complex64"]))
    axes = tuple(sorted(rng.choice(len(shape), rng.integers(1, len(shape) + 1), replace=False).tolist()))
    middle = tuple(rng.integers(1, 4, rng.integers(0, 3)).tolist())
    spread = 0 if mode == "raise" else 3
    indices = []
    for a in axes:
        own = tuple(n if rng.random() < 0.7 else 1 for n in middle)[rng.integers(0, len(middle) + 1) :]
        dtype = str(rng.choice(["int64", "int8", "uint8", "uint64"]))
        low = 0 if dtype[0] == "u" else -shape[a] - spread
        indices.append(np.asarray(rng.integers(low, shape[a] + spread, own)).astype(dtype))
    at = int(rng.integers(0, len(shape) - len(axes) + 1))
    params = {"axes": axes, "at": at, "mode": mode}
    take = registry["take_index"]
    jaxpr = ft.make_jaxpr(lambda *args: take.bind(*args, **params))(x, *indices)
    (found,) = run(jaxpr, fuse(jaxpr, AnyIndex()), (x, *indices))
    np.testing.assert_array_equal(found, take.impl(np, x, *indices, **params))


def test_an_index_out_of_bounds() -> None:
    jaxpr, nodes = fused(lambda x, i: x[i] * 2.0, X, PLACES)
    with pytest.raises(IndexError, match="index 6 is out of bounds for axis 0 with extent 6"):
        run(jaxpr, nodes, (X, PLACES + 1))


def test_counters_that_are_wanted_are_made() -> None:
    def f(x: Any) -> Any:
        counter = lax.iota(np.int64, (7,))
        return x + counter, counter

    jaxpr = ft.make_jaxpr(f)(X)
    nodes = fuse(jaxpr, AnyIndex())
    assert len(nodes) == 2 and not nodes[0].inputs
    for a, b in zip(run(jaxpr, nodes, (X,)), evaluate(jaxpr, (X,)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_computed_indices_as_text() -> None:
    names: dict[Var, str] = {}
    texts = []
    for f in (PROGRAMS["filled"][0], PROGRAMS["of a reshape"][0], PROGRAMS["a slice"][0], PROGRAMS["put together"][0]):
        texts += [kernel_text(n, names) for n in fused(f, X, PLACES)[1] if isinstance(n, Kernel)]
    assert "\n".join(texts) == GOLDEN.read_text()


def test_bounds_and_axes_of_computed_places() -> None:
    i = Axis("i", 4)
    inside, anywhere = (Value(5, 5, mode, 0, frozenset([i])) for mode in ("raise", "drop"))
    index = 3 * Index(0, ((inside, 1),)) + index_of(Axis("j", 3))
    assert index.bounds() == (0, 14) and index // 3 == Index(0, ((inside, 1),))
    assert i in index.axes() and list(index.values()) == [inside]
    assert Index(0, ((anywhere, 1),)).bounds()[0] < 0
