"""Every dtype in native kernels: each operation on special values, against NumPy, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import functrans as ft
from functrans.backends.llvm import emit, strided
from functrans.backends.llvm.complex_functions import COMPLEX as COMPLEX_FUNCTIONS
from functrans.backends.llvm.formats import is_narrow
from functrans.backends.llvm.operations import PARAMETERS, ROWS
from functrans.backends.llvm.runtime import machine
from functrans.backends.llvm.strided import copied
from functrans.core import dtypes
from functrans.core.avals import shaped
from functrans.core.primitive import Primitive, Trait, registry
from functrans.errors import FunctransError

ml_dtypes = pytest.importorskip("ml_dtypes")

INTEGERS = [np.dtype(f"{kind}{size}") for size in (1, 2, 4, 8) for kind in "iu"]
FLOATS = [np.dtype(t) for t in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]
SHORT = [
    np.dtype(getattr(ml_dtypes, f"float8_{name}")) for name in ("e3m4", "e4m3b11fnuz", "e4m3fn", "e4m3fnuz", "e5m2")
]
COMPLEX = [np.dtype(np.complex64), np.dtype(np.complex128)]
ALL = [np.dtype(bool), *INTEGERS, *FLOATS, *SHORT, *COMPLEX]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def special(dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Values where rules change."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        values = [info.min, info.min + 1, 0, 1, 2, 7, 12, info.max // 3, info.max - 1, info.max]
        return np.array([*values, *((-1, -2, -7) if info.min else ())], dtype)
    if dtype.kind == "c":
        parts = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan], dtypes.real_dtype(dtype))
        out = np.empty((7, 7), dtype)
        out.real, out.imag = parts[:, None], parts
        return out.ravel()
    info = dtypes.finfo(dtype)
    values = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 7.25, 0.1, -6.6, info.max, -info.max, info.tiny]
    values += [info.smallest_subnormal, -info.smallest_subnormal, np.inf, -np.inf, np.nan]
    return np.array([float(v) for v in values]).astype(dtype)


def random(dtype: np.dtype[Any], n: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Values of all magnitudes, or any bits."""
    rng = np.random.default_rng(seed)
    if dtype.kind == "b":
        return rng.integers(0, 2, n).astype(bool)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        found = rng.integers(info.min, info.max, n, dtype, endpoint=True)
        return found >> rng.integers(0, info.bits, n).astype(dtype)
    if dtype.kind == "c":
        return (rng.normal(size=n) + 1j * rng.normal(size=n)).astype(dtype)
    return (rng.normal(size=n) * 2.0 ** rng.integers(-6, 6, n)).astype(dtype)


def same(found: Any, expected: Any, name: str = "") -> None:
    """The same dtype, shape and bits, but for those of NaN."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype, name
    assert found.shape == expected.shape, name
    if expected.dtype.kind == "c":
        same(found.real, expected.real, name)
        same(found.imag, expected.imag, name)
        return
    wide = expected.dtype if expected.dtype.kind in "biu" else np.float64
    a, b = found.astype(wide), expected.astype(wide)
    differ = ~((a == b) | ((a != a) & (b != b)))
    if expected.dtype.kind not in "biu":
        differ |= (np.signbit(a) != np.signbit(b)) & (a == a) & (b == b)
    where = np.flatnonzero(differ)
    shown = f"{found.ravel()[where[:8]]} for {expected.ravel()[where[:8]]}"
    assert not where.size, f"{name} {expected.dtype}: at {where[:8]}, {shown}"


def close(found: Any, expected: Any, name: str = "", units: int = 4) -> None:
    """The same but for some units in the last place of the larger part."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype, name
    eps = units * float(dtypes.finfo(dtypes.real_dtype(expected.dtype)).eps)
    size = np.where(np.isfinite(expected), abs(expected), 1.0)
    for part in ("real", "imag"):
        a, b = getattr(found, part), getattr(expected, part)
        good = (a == b) | ((a != a) & (b != b)) | (abs(a - b) <= eps * size)
        if not good.all():
            at = np.flatnonzero(~good)[:8]
            raise AssertionError(f"{name} {expected.dtype}: at {at}, {found.ravel()[at]} for {expected.ravel()[at]}")


SKIPPED = PARAMETERS | {"complex", "ldexp", "select"}
ELEMENTWISE = [
    prim
    for name, prim in sorted(registry.items())
    if name in ROWS and Trait.ELEMENTWISE in prim.traits and Trait.COSTLY not in prim.traits and name not in SKIPPED
]
ROUNDED = {"abs", "sign", "sqrt", "safe_sqrt"}
"""Which NumPy leaves to the C library for complex numbers."""
UNORDERED_ZEROS = {"max", "min", "fmax", "fmin"}
"""Which zero is the larger one, NumPy leaves to the machine."""


def arity(prim: Primitive) -> int:
    assert prim.samples is not None
    return len(next(iter(prim.samples())).args)


def takes(prim: Primitive, dtype: np.dtype[Any]) -> bool:
    """Whether a primitive is defined for a dtype, and NumPy computes it."""
    avals = [shaped((2,), dtype, "array")] * arity(prim)
    try:
        prim.shape(*avals)
        prim.bind(*[np.ones(2, dtype)] * arity(prim))
    except (FunctransError, TypeError):
        return False
    return True


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_elementwise(dtype: np.dtype[Any]) -> None:
    values = special(dtype)
    x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(values, values))
    x, y = np.concatenate([x, random(dtype, 101)]), np.concatenate([y, random(dtype, 101, 1)])
    prims = [p for p in ELEMENTWISE if takes(p, dtype)]

    def f(x: Any, y: Any) -> list[Any]:
        return [p.bind(x) if arity(p) == 1 else p.bind(x, y) for p in prims]

    lowered = ft.jit(f, backend="llvm").lower(x, y)
    assert not [p.name for p in prims if f" {p.name}(" in lowered.as_text("python")]
    for prim, found, expected in zip(prims, ft.jit(f, backend="llvm")(x, y), f(x, y), strict=True):
        if prim.name in UNORDERED_ZEROS:
            found, expected = found + dtype.type(0), expected + dtype.type(0)
        if prim.name in ROUNDED and dtype.kind == "c":
            close(found, expected, prim.name)
        else:
            same(found, expected, prim.name)


# -- casts ------------------------------------------------------------------------------------------------------------


def castable(old: np.dtype[Any], new: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Values whose cast is defined."""
    values = np.concatenate([special(old), random(old, 301)])
    if new.kind in "iu" and old.kind not in "biu":
        info = np.iinfo(new)
        wide = values.real.astype(np.float64)
        values = values[np.isfinite(wide) & (wide > max(info.min, -(2.0**53)) - 1) & (wide < min(info.max, 2.0**53))]
    return values


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("old", ALL, ids=str)
def test_casts(old: np.dtype[Any], portable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine(), "half", machine().half and not portable)
    news = [d for d in ALL if d != old]
    values = [castable(old, new) for new in news]

    def f(*xs: Any) -> list[Any]:
        return [ft.lax.convert_element_type(x, new) for x, new in zip(xs, news, strict=True)]

    lowered = ft.jit(f, backend="llvm").lower(*values)
    assert "astype" not in lowered.as_text("python")
    for new, found, expected in zip(news, ft.jit(f, backend="llvm")(*values), f(*values), strict=True):
        same(found, expected, f"{old} to {new}")


@pytest.mark.parametrize("dtype", [d for d in FLOATS + SHORT if is_narrow(d)], ids=str)
def test_every_narrow_float(dtype: np.dtype[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """All bits to float32 and back, and what lies between two neighbours, and just beside that."""
    bits = np.arange(1 << (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}")
    values = bits.view(dtype)
    wide = np.sort(values.astype(np.float32)[np.isfinite(values.astype(np.float32))])
    middle = (wide[:-1].astype(np.float64) + wide[1:]) / 2
    near = np.concatenate([middle, np.nextafter(middle, np.inf), np.nextafter(middle, -np.inf), wide * 1.99])
    short = near.astype(np.float32)
    for half in {False, machine().half}:
        monkeypatch.setattr(machine(), "half", half)
        g = ft.jit(
            lambda x, y, z: (x.astype(np.float32), x.astype(np.float64), y.astype(dtype), z.astype(dtype), -x),
            backend="llvm",
        )
        found = g(values, near, short)
        wide = (values.astype(np.float32), values.astype(np.float64), near.astype(dtype), short.astype(dtype), -values)
        for a, b in zip(found, wide, strict=True):
            same(a, b)


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_bits(dtype: np.dtype[Any]) -> None:
    x = random(dtype, 37)
    others = [d for d in ALL if d.itemsize == dtype.itemsize and d.kind != "b" != dtype.kind and d != dtype]

    def f(x: Any) -> list[Any]:
        return [ft.lax.bitcast_convert_type(x, d) for d in others]

    for found, expected in zip(ft.jit(f, backend="llvm")(x), f(x), strict=True):
        same(found, expected)


# -- operations with operands of several kinds ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_parameters(dtype: np.dtype[Any]) -> None:
    x = np.concatenate([special(dtype), random(dtype, 83)])
    n = np.arange(x.size) * 41 % 600 - 300
    pred = n > 0

    def f(x: Any, n: Any, pred: Any) -> list[Any]:
        found = [np.where(pred, x, 0.5), np.where(pred, -1, x), np.where(pred, x, x[::-1])]
        if dtype != ml_dtypes.bfloat16:
            found += [ft.lax.ldexp(x, n), ft.lax.ldexp(x, n.astype(np.int8)), ft.lax.ldexp(x, n * 2**40)]
            found += [ft.lax.ldexp(x, n * 5)]
        found += [ft.lax.reduce_precision(x, *bits) for bits in ((5, 10), (8, 7), (4, 3), (2, 1))]
        return found

    assert "where" not in ft.jit(f, backend="llvm").lower(x, n, pred).as_text("python")
    for k, (a, b) in enumerate(zip(ft.jit(f, backend="llvm")(x, n, pred), f(x, n, pred), strict=True)):
        same(a, b, str(k))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_operations_with_two_results(dtype: np.dtype[Any]) -> None:
    x = np.concatenate([special(dtype), random(dtype, 70), special(dtype) * dtype.type(0.7)])

    def f(x: Any) -> list[Any]:
        return [*ft.lax.modf(x), *ft.lax.frexp(x)]

    text = ft.jit(f, backend="llvm").lower(x).as_text("python")
    assert "modf" not in text and "frexp" not in text
    for a, b in zip(ft.jit(f, backend="llvm")(x), f(x), strict=True):
        same(a, b)


def test_parts_of_complex_numbers() -> None:
    for dtype in COMPLEX:
        z = np.concatenate([special(dtype), random(dtype, 29)])

        def f(z: Any) -> list[Any]:
            return [
                z.real, z.imag, np.conj(z), ft.lax.complex(z.imag, z.real), z * 2.0, 3 + z, z / 1.5, z * (1 - 2j),
                z.real * 2j, np.where(z.real > 0, z, 1.0), z == 1.0, np.where(z.real > 0, 1j, z),
            ]  # fmt: skip

        for k, (a, b) in enumerate(zip(ft.jit(f, backend="llvm")(z), f(z), strict=True)):
            same(a, b, str(k))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_powers_of_integers(dtype: np.dtype[Any]) -> None:
    x = np.concatenate([special(dtype), random(dtype, 50)])

    def f(x: Any) -> list[Any]:
        return [np.power(x, n) for n in (0, 1, 2, 3, 7, 20)] + [x**2, x**5]

    for a, b in zip(ft.jit(f, backend="llvm")(x), f(x), strict=True):
        same(a, b)
    if dtype.kind == "u":
        y = random(dtype, x.size, 1)
        same(ft.jit(lambda x, y: np.power(x, y), backend="llvm")(x, y), np.power(x, y))


def test_lengths() -> None:
    for dtype in (np.float32, np.float64):
        values = special(np.dtype(dtype))
        x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(values, values))
        x, y = np.concatenate([x, random(np.dtype(dtype), 999)]), np.concatenate([y, random(np.dtype(dtype), 999, 1)])
        close(ft.jit(lambda x, y: np.hypot(x, y), backend="llvm")(x, y), np.hypot(x, y), units=1)


# -- numbers of Python ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_python_numbers(dtype: np.dtype[Any]) -> None:
    x = np.concatenate([special(dtype), random(dtype, 41)])
    numbers: list[Any] = {"b": [True], "i": [3, -3, True], "u": [3, True]}.get(dtype.kind, [3, 0.1, True, -1e9])
    if dtype.kind == "c":
        numbers.append(2 - 1j)

    def f(x: Any, n: Any) -> list[Any]:
        found = [np.multiply(x, n), np.add(x, n), np.maximum(x, n), np.equal(x, n)]
        return found if dtype.kind == "c" or isinstance(n, complex) else [*found, np.less(n, x), np.where(x, x, n)]

    for n in numbers:
        expected = ft.jit(f, backend="numpy")(x, n)
        for a, b in zip(ft.jit(f, backend="llvm")(x, n), expected, strict=True):
            same(a, b, repr(n))
        for a, b in zip(ft.jit(lambda x: f(x, n), backend="llvm")(x), expected, strict=True):  # noqa: B023
            same(a, b, repr(n))


@pytest.mark.parametrize("n", [300, -300, 2**40, -1, 128, 127])
def test_numbers_that_do_not_fit(n: int) -> None:
    x = np.arange(-4, 4, dtype=np.int8)

    def compare(x: Any, n: Any) -> list[Any]:
        return [x < n, n <= x, x == n, x != n]

    for f in (ft.jit(compare, backend="llvm"), lambda x, n: ft.jit(lambda x: compare(x, n), backend="llvm")(x)):
        for a, b in zip(f(x, n), compare(x, n), strict=True):
            same(a, b)
    add = ft.jit(lambda x, n: x + n, backend="llvm")
    if -128 <= n < 128:
        same(add(x, n), x + n)
    else:
        with pytest.raises(OverflowError, match="out of bounds for int8"):
            add(x, n)


def test_numbers_beside_unsigned_integers() -> None:
    """They are looked at once a call, wherever they are used; what 64 bits hold is taken too."""
    for dtype in (np.uint8, np.uint32, np.uint64):
        x = np.arange(5, dtype=dtype)
        f = ft.jit(lambda x, n: (x + n, x * n - n), backend="llvm")
        for n in (3, int(np.iinfo(np.uint8).max), 2**63 + 7 if dtype is np.uint64 else 0):
            for a, b in zip(f(x, n), (x + n, x * n - n), strict=True):
                same(a, b)
        for wrong in (-1, int(np.iinfo(dtype).max) + 1):
            with pytest.raises(OverflowError):
                x + wrong
            with pytest.raises(OverflowError):
                f(x, wrong)
    scaled = ft.jit(lambda x, n: x * n, backend="llvm")
    for n in (3, 10**30, 3):
        same(scaled(np.ones(3), n), np.ones(3) * n)


# -- reductions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_reductions(dtype: np.dtype[Any]) -> None:
    lax = ft.lax
    names = ["sum", "prod", "max", "min", "any", "all"]
    ties = special(dtype)
    if dtype.kind == "c":
        ties = ties[np.isfinite(ties)]
    table = np.resize(ties, (5, 37))
    table[2] = random(dtype, 37)
    table[3, :20] = table[3, 20]

    def f(x: Any) -> list[Any]:
        found = [getattr(lax, f"reduce_{name}")(x, axes) for name in names for axes in ((0,), (1,), (0, 1))]
        found += [arg(x, axis) for arg in (lax.argmax, lax.argmin) for axis in (0, 1)]
        return found + [cum(x, axis) for cum in (lax.cumsum, lax.cumprod, lax.cummax, lax.cummin) for axis in (0, 1)]

    labels = [(name, axes) for name in names for axes in ((0,), (1,), (0, 1))]
    labels += [(name, axis) for name in ("argmax", "argmin") for axis in (0, 1)]
    labels += [(name, axis) for name in ("cumsum", "cumprod", "cummax", "cummin") for axis in (0, 1)]
    for label, a, b in zip(labels, ft.jit(f, backend="llvm")(table), f(table), strict=True):
        if label[0] in ("sum", "prod") and dtype.kind not in "biu":
            continue
        zero = 0 if "max" in label[0] or "min" in label[0] else None
        same(a if zero is None else a + a.dtype.type(0), b if zero is None else b + b.dtype.type(0), str(label))


@pytest.mark.parametrize("dtype", [d for d in (*FLOATS, *COMPLEX)], ids=str)
def test_sums_and_products(dtype: np.dtype[Any]) -> None:
    """Sums of narrow floats are rounded once; others err by less than NumPy's pairwise ones may."""
    x = (random(dtype, 40 * 333) * (0.125 if dtype.itemsize == 2 else 1)).astype(dtype).reshape(40, 333)
    exact = x.astype(np.clongdouble if dtype.kind == "c" else np.longdouble)
    eps = float(dtypes.finfo(dtypes.real_dtype(dtype)).eps)
    for axes in ((0,), (1,), (0, 1)):
        found = ft.jit(lambda x: ft.lax.reduce_sum(x, axes), backend="llvm")(x)  # noqa: B023
        assert found.dtype == dtype
        true = np.sum(exact, axes)
        error = abs(found.astype(exact.dtype) - true)
        if is_narrow(dtype):
            assert np.all(error <= eps * (abs(true) + 1e-4 * np.sum(abs(exact), axes)))
        else:
            assert np.all(error <= 4 * eps * np.sum(abs(exact), axes))
    y = (
        np.exp(1j * random(np.dtype(np.float64), 90))
        if dtype.kind == "c"
        else 1 + random(np.dtype(np.float64), 90) / 99
    )
    y = y.astype(dtype)
    found = ft.jit(lambda y: ft.lax.reduce_prod(y), backend="llvm")(y)
    true = np.prod(y.astype(exact.dtype))
    assert abs(found.astype(exact.dtype) - true) <= (1 if dtype.itemsize == 2 else 60) * eps * abs(true)


def test_products_of_what_is_infinite() -> None:
    z = np.array([[complex(np.inf, 1), 2j], [complex(0, -0.0), 3]])
    for axis in (0, 1):
        f = lambda z: ft.lax.reduce_prod(z[:1] if axis == 0 else z[:, :1], (axis,))  # noqa: B023
        same(ft.jit(f, backend="llvm")(z), f(z))


# -- functions of complex numbers -------------------------------------------------------------------------------------

FUNCTIONS = sorted(set(COMPLEX_FUNCTIONS) - {"pow"})


def parts_of(dtype: np.dtype[Any], values: Any) -> np.ndarray[Any, Any]:
    """Complex numbers with all pairs of some parts."""
    values = np.asarray(values, dtypes.real_dtype(dtype))
    z = np.empty((values.size, values.size), dtype)
    z.real, z.imag = values[:, None], values
    return z.ravel()


@pytest.mark.parametrize("dtype", COMPLEX, ids=str)
def test_complex_functions(dtype: np.dtype[Any]) -> None:
    info = np.finfo(dtype)
    large = 0.985 * float(np.log(info.max))
    z = parts_of(dtype, [0.0, -0.0, 1.0, -1.0, 2.5, -0.5, np.inf, -np.inf, np.nan, large, -large, 30.0, 1.05 * large])
    rng = np.random.default_rng(5)
    r = rng.normal(size=(2, 1500)) * np.exp(2 * rng.normal(size=(2, 1500)))
    r = (r[0] + 1j * r[1]).astype(dtype)
    prims = [registry[name] for name in FUNCTIONS]

    def f(z: Any) -> list[Any]:
        return [p.bind(z) for p in prims]

    compiled = ft.jit(f, backend="llvm")
    for name, found, expected in zip(FUNCTIONS, compiled(z), f(z), strict=True):
        for a, b in ((found.real, expected.real), (found.imag, expected.imag)):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=0, err_msg=name)
            known = ~np.isnan(b)
            np.testing.assert_array_equal(np.signbit(a[known]), np.signbit(b[known]), err_msg=name)
    exact = f(r.astype(np.clongdouble if dtype == np.complex128 else np.complex128))
    for name, found, rounded, true in zip(FUNCTIONS, compiled(r), f(r), exact, strict=True):
        good = (abs(true) < info.max) & (abs(true) > info.tiny)

        def error(x: Any, true: Any = true, good: Any = good) -> float:
            return float(np.max(abs(x[good].astype(true.dtype) - true[good]) / abs(true[good]))) / float(info.eps)

        assert error(found) <= max(3.0, 1.1 * error(rounded)), name


@pytest.mark.parametrize("dtype", COMPLEX, ids=str)
def test_complex_powers(dtype: np.dtype[Any]) -> None:
    z = np.concatenate([random(dtype, 200), np.zeros(6, dtype)])
    n = np.concatenate([np.round(random(dtype, 100).real * 4), random(dtype, 106, 1)]).astype(dtype)
    n[-6:] = [0, 2, -1, 0.5j, 1 - 1j, 3.5]

    def f(z: Any, n: Any) -> list[Any]:
        fixed = [z**k for k in (0, 1, 2, 3, 5, -1, -2, 0.5, 1.5)]
        return [np.power(z, n), np.power(z, 3), np.power(z, -4), np.power(z, 2.5), z ** (1 + 2j), *fixed]

    for k, (a, b) in enumerate(zip(ft.jit(f, backend="llvm")(z, n), f(z, n), strict=True)):
        np.testing.assert_allclose(a, b, rtol=100 * float(np.finfo(dtype).eps), err_msg=str(k))


# -- operands that are not C-contiguous -------------------------------------------------------------------------------


def layouts(whole: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """An array of three axes in other orders, in parts, backwards, and repeated."""
    unaligned = np.zeros(whole.nbytes + 1, np.uint8)[1:].view(whole.dtype).reshape(whole.shape)
    unaligned[...] = whole
    return {
        "transposed": whole.T,
        "swapped": np.swapaxes(whole, 0, 1),
        "steps": whole[::2, 1::3],
        "backwards": whole[::-1, :, ::-1],
        "one": whole[..., 3],
        "repeated": np.broadcast_to(whole[:1, :, :1], whole.shape),
        "fortran": np.asfortranarray(whole),
        "unaligned": unaligned,
        "swapped bytes": whole.astype(whole.dtype.newbyteorder()),
        "some": np.swapaxes(whole, 0, 1)[::-2],
    }


@pytest.mark.parametrize("dtype", [np.float64, np.complex64, np.int8, np.float16], ids=lambda d: np.dtype(d).name)
def test_strides(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strided, "LARGE", 1)
    monkeypatch.setattr(strided, "SEEN", 0)
    whole = random(np.dtype(dtype), 9 * 14 * 8).reshape(9, 14, 8)

    def f(x: Any) -> list[Any]:
        total = np.max(x, 0) if x.dtype.itemsize == 2 else np.sum(x, 0)
        return [x * 2 + 1, total, x[::-1].T - 1, np.cumsum(x, -1) + x]

    compiled = ft.jit(f, backend="llvm")
    for name, x in layouts(whole).items():
        for a, b in zip(compiled(x), f(x), strict=True):
            assert a.dtype == b.dtype.newbyteorder("=")
            np.testing.assert_allclose(a, b, rtol=1e-5 if dtype == np.complex64 else 1e-14, atol=1e-5, err_msg=name)


def test_strides_are_read_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some calls nothing is copied, whether on one thread or several; few strides have a variant."""
    monkeypatch.setattr(strided, "MOST", 2)
    copies: list[Any] = []
    monkeypatch.setattr(strided, "copied", lambda a: copies.append(a) or copied(a))
    x = np.random.default_rng(0).normal(size=(300, 200))
    for cost in (1, emit.PARALLEL_COST):
        monkeypatch.setattr(emit, "PARALLEL_COST", cost)
        f = ft.jit(lambda x, y: np.tanh(x) * y + 1, backend="llvm")
        for k, given in enumerate((x[:, ::-1], x[::-1], x[::-1, ::-1], x[::-1])):
            y = np.ones(given.shape)
            for _ in range(strided.SEEN):
                np.testing.assert_allclose(f(given, y), np.tanh(given) + 1, rtol=1e-13, atol=1e-15)
            copies.clear()
            np.testing.assert_allclose(f(given, y), np.tanh(given) + 1, rtol=1e-13, atol=1e-15)
            assert any(a is given for a in copies) == (k == 2)


def test_arrays_that_are_written_over_keep_their_layout() -> None:
    x = np.random.default_rng(0).normal(size=(400, 200))
    f = ft.jit(lambda x: np.tanh(x * 2) + 1, backend="llvm", donate_argnums=0)
    for _ in range(strided.SEEN + 2):
        given = x.copy().T
        np.testing.assert_allclose(f(given), np.tanh(x.T * 2) + 1, rtol=1e-13, atol=1e-15)
