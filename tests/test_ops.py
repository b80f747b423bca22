"""Segments against a loop over labels; empty and unknown labels, derivatives, transformations, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans import errors
from functrans.ops import segment_max, segment_min, segment_prod, segment_sum
from functrans.test_util import check_grads

REDUCTIONS: dict[Any, tuple[Any, float]] = {
    segment_sum: (np.sum, 0.0),
    segment_prod: (np.prod, 1.0),
    segment_max: (np.max, -np.inf),
    segment_min: (np.min, np.inf),
}
EACH = pytest.mark.parametrize("f", REDUCTIONS, ids=lambda f: f.__name__)
RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(7, 2, 3))
IDS = np.array([3, 0, 3, 1, 0, 3, 5])


def by_label(f: Any, data: Any, ids: Any, count: int) -> Any:
    reduce, empty = REDUCTIONS[f]
    rows = [data[ids == k] for k in range(count)]
    return np.array([reduce(r, axis=0) if len(r) else np.full(data.shape[1:], empty) for r in rows])


@EACH
def test_values(f: Any) -> None:
    np.testing.assert_allclose(f(DATA, IDS), by_label(f, DATA, IDS, 6), rtol=1e-15, strict=True)
    np.testing.assert_allclose(f(DATA, IDS, 8), by_label(f, DATA, IDS, 8), rtol=1e-15, strict=True)
    np.testing.assert_allclose(f(DATA[:, 0, 0], IDS.astype(np.uint8)), by_label(f, DATA[:, 0, 0], IDS, 6), rtol=1e-15)
    np.testing.assert_array_equal(f(DATA.tolist(), IDS.tolist()), f(DATA, IDS), strict=True)


@EACH
def test_labels_out_of_bounds_are_left_out(f: Any) -> None:
    ids = np.array([3, 0, -1, 1, 0, 2, 9])
    np.testing.assert_allclose(f(DATA, ids, 3), by_label(f, DATA, ids, 3), rtol=1e-15)
    np.testing.assert_array_equal(f(DATA[:0], ids[:0], 2), by_label(f, DATA[:0], ids[:0], 2))
    assert f(DATA, ids, 0).shape == f(DATA[:0], ids[:0]).shape == (0, 2, 3)


@EACH
def test_dtypes(f: Any) -> None:
    ids = np.array([0, 2, 0])
    for dtype in (np.int8, np.uint16, np.int64, np.float32):
        out = f(np.array([3, 1, 2], dtype), ids)
        assert out.dtype == dtype
        kept = out[[0, 2]]
        np.testing.assert_array_equal(kept, by_label(f, np.array([3, 1, 2]), ids, 3)[[0, 2]])
    info = np.iinfo(np.int8)
    empty = {segment_sum: 0, segment_prod: 1, segment_max: info.min, segment_min: info.max}[f]
    assert f(np.array([3, 1, 2], np.int8), ids)[1] == empty
    flags = f(np.array([True, True, False]), ids)
    expected = {segment_sum: [1, 0, 1], segment_prod: [0, 1, 1]}.get(f)
    if expected is not None:
        np.testing.assert_array_equal(flags, np.array(expected), strict=True)
    else:
        np.testing.assert_array_equal(flags, [f is segment_max, f is segment_min, True], strict=True)


@EACH
def test_under_transformations(f: Any) -> None:
    np.testing.assert_array_equal(ft.jit(lambda x, i: f(x, i, 8))(DATA, IDS), f(DATA, IDS, 8), strict=True)
    np.testing.assert_array_equal(ft.jit(lambda x: f(x, IDS, 6))(DATA), f(DATA, IDS), strict=True)
    # Unused labels give infinities, which finite differences cannot use.
    check_grads(lambda x: f(x, IDS)[[0, 1, 3, 5]], (DATA,), order=2)
    batch, ids = np.stack([DATA, -DATA]), np.stack([IDS, IDS[::-1]])
    each = ft.vmap(lambda x, i: f(x, i, 6))(batch, ids)
    np.testing.assert_allclose(each, np.stack([f(batch[k], ids[k], 6) for k in range(2)]), rtol=1e-14)
    data_only = ft.vmap(lambda x: f(x, IDS))(batch)
    np.testing.assert_allclose(data_only, np.stack([f(b, IDS) for b in batch]), rtol=1e-14)
    ids_only = ft.vmap(lambda i: f(DATA, i, 6))(ids)
    np.testing.assert_allclose(ids_only, np.stack([f(DATA, i, 6) for i in ids]), rtol=1e-14)


def test_ties_and_zeros() -> None:
    x, ids = np.array([2.0, 5.0, 2.0, 2.0]), np.array([0, 1, 0, 0])
    for f in (segment_max, segment_min):
        gradient = ft.grad(lambda x, f=f: np.sum(f(x, ids)))(x)
        np.testing.assert_allclose(gradient, [1 / 3, 1, 1 / 3, 1 / 3], rtol=1e-15)
    x = np.array([0.0, 5.0, 3.0, 4.0])
    np.testing.assert_array_equal(ft.grad(lambda x: np.sum(segment_prod(x, ids)))(x), [12, 1, 0, 0])


def test_complex_numbers() -> None:
    z = DATA + 1j * DATA[::-1]
    np.testing.assert_allclose(segment_sum(z, IDS), by_label(segment_sum, z, IDS, 6), rtol=1e-15)
    np.testing.assert_allclose(segment_prod(z, IDS), by_label(segment_prod, z, IDS, 6), rtol=1e-14)
    for f in (segment_max, segment_min):
        with pytest.raises(errors.DTypeError, match=f"{f.__name__}: data of type c128.7,2,3. have no order"):
            f(z, IDS)


@EACH
def test_errors(f: Any) -> None:
    with pytest.raises(errors.IndexingError, match=f"{f.__name__}: segment_ids must be integers, got f64"):
        f(DATA, IDS.astype(float))
    with pytest.raises(errors.ShapeError, match=r"segment_ids needs shape \(n,\) .*; got \(6,\) and \(7, 2, 3\)"):
        f(DATA, IDS[1:])
    with pytest.raises(errors.ShapeError, match=r"got \(7, 2\) and \(7, 2, 3\)"):
        f(DATA, np.zeros((7, 2), int))
    with pytest.raises(errors.ShapeError, match=r"got \(1,\) and \(\)"):
        f(1.0, np.zeros(1, int))
    with pytest.raises(errors.ArgumentError, match="num_segments must not be negative, got -1"):
        f(DATA, IDS, -1)
    with pytest.raises(errors.ConcretizationError, match=f"{f.__name__}: .* segment_ids.* Pass num_segments"):
        ft.jit(f)(DATA, IDS)


def test_promises_about_labels_change_nothing() -> None:
    data, labels = np.array([1.0, 2.0, 4.0]), np.array([2, 0, 3])
    for f in (segment_sum, segment_prod, segment_max, segment_min):
        plain = f(data, labels, 4)
        np.testing.assert_array_equal(f(data, labels, 4, indices_are_sorted=False, unique_indices=True), plain)
