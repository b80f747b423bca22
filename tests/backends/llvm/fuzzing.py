"""Random programs, and random operands of every primitive, on the native backend beside plain NumPy.

Straight programs of integers, booleans and real floats use operations that round in one way: they agree to the bit.
Smooth programs agree to rounding. Primitives get the operands of their samples and others of the same types, strange
values among them, in arrays that fill whole vectors and in ones that do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

import functrans as ft
from functrans.backends.llvm import emit, nest, rows
from functrans.core import dtypes
from functrans.core.primitive import Primitive, Sample, Trait, registry
from functrans.core.trace import aval_of
from tests.passes.fuzzing import compare, straight
from tests.passes.proofs import pool
from tests.testing.random_programs import Program, programs
from tests.testing.test_random_programs import close


@contextmanager
def units(elements: int) -> Iterator[None]:
    """Native code in units, chunks and runs of so many elements; 0 for those of ordinary use."""
    sizes = {"BLOCK": elements, "CHUNK": max(elements // 2, 2), "COLUMNS": elements, "ABREAST": 2, "FEW_UNITS": 4}
    patches = []
    if elements:
        patches += [patch.object(emit, "PARALLEL_COST", 1), patch.object(rows, "TURNS", 2)]
        patches += [patch.object(nest, name, size) for name, size in sizes.items()]
    for p in patches:
        p.start()
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        for p in patches:
            p.stop()


# -- programs ---------------------------------------------------------------------------------------------------------


def run_straight(count: int, start: int) -> int:
    """As many straight programs, drawn from a seed; how many of them could be compared to the bit."""
    exact = 0
    for k in range(count):
        sample = straight(np.random.default_rng([start, k]))
        f = sample.function
        text = f"{sample.text}\nargs = {sample.args!r}"
        found, expected = ft.jit(f, backend="llvm")(*sample.args), f(*sample.args)
        if "complex" in sample.text or any(np.asarray(a).dtype.kind == "c" for a in sample.args):
            _same_types(found, expected, text)
        else:
            compare(found, expected, True, text)
            exact += 1
    return exact


def _same_types(found: Any, expected: Any, text: str) -> None:
    # Products of complex numbers are rounded once where the machine can, and NumPy's are not: near the ends of the
    # range one overflows where the other does not.
    for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(expected), strict=True):
        assert type(a) is type(b) and aval_of(a) == aval_of(b), f"{text}\n{a!r}\n{b!r}"


def run_smooth(count: int, start: int) -> None:
    """As many programs of smooth functions, drawn from a seed."""

    @seed(start)
    @settings(
        max_examples=count, phases=[Phase.generate], database=None, deadline=None, derandomize=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(sample=programs())
    def run(sample: Program) -> None:
        found, expected = ft.jit(sample.function, backend="llvm")(*sample.args), sample.function(*sample.args)
        _same_types(found, expected, repr(sample))
        close(found, expected, 1e-12)

    run()


# -- primitives -------------------------------------------------------------------------------------------------------


def native_primitives() -> list[Primitive]:
    """Those with samples, in order of their names."""
    return [p for _, p in sorted(registry.items()) if p.samples is not None]


def variants(prim: Primitive, sample: Sample, rng: np.random.Generator, count: int) -> Iterator[tuple[Any, ...]]:
    """The operands of a sample, and others: reordered, or drawn from strange values; elementwise ones also longer."""
    yield sample.args
    elementwise = Trait.ELEMENTWISE in prim.traits
    for k in range(count):
        by = int(rng.integers(1, 40)) if elementwise and k % 2 else 1
        yield tuple([_varied(a, by, elementwise, rng) for a in sample.args])


def _varied(a: Any, by: int, strange: bool, rng: np.random.Generator) -> Any:
    if not isinstance(a, np.ndarray) or not a.ndim or a.dtype.kind not in "fciub":
        return a
    x = np.concatenate([a] * by, -1) if by > 1 and a.shape[-1] > 1 else a
    if strange and rng.integers(2):
        return rng.choice(pool(a.dtype), x.shape)
    return rng.permutation(x.reshape(-1)).reshape(x.shape) if strange else x


def check_primitive(prim: Primitive, sample: Sample, args: tuple[Any, ...]) -> None:
    """One primitive on some operands."""

    def f(*xs: Any) -> Any:
        return prim.bind(*xs, **sample.params)

    where = f"{prim.name}{args!r}, {sample.params!r}"
    try:
        expected = f(*args)
    except (ft.errors.FunctransError, np.linalg.LinAlgError, IndexError):
        return
    found = ft.jit(f, backend="llvm")(*args)
    for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(expected), strict=True):
        assert type(a) is type(b) and aval_of(a) == aval_of(b), f"{where}\n{a!r}\n{b!r}"
        dtype = aval_of(b).dtype
        if dtype.kind not in "fc" or dtype == dtypes.float0:
            np.testing.assert_array_equal(a, b, err_msg=where)
            continue
        real = dtypes.real_dtype(dtype)
        eps = float(np.finfo(real).eps)
        scale = float(np.max(np.abs(b), initial=0.0, where=np.isfinite(b)))
        np.testing.assert_allclose(a, b, rtol=64 * eps, atol=64 * eps * scale, err_msg=where)


def run_primitives(start: int, count: int, only: str = "") -> int:
    """Every primitive on its samples and ``count`` variants of each; how many were compared."""
    rng = np.random.default_rng(start)
    done = 0
    for prim in native_primitives():
        if only not in prim.name:
            continue
        for sample in prim.samples():  # type: ignore[misc]
            for args in variants(prim, sample, rng, count):
                check_primitive(prim, sample, args)
                done += 1
    return done
