"""Arrays of CuPy, played by the host: every primitive and transformation on them, without a transfer or a wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import functrans as ft
import functrans.numpy as fnp
from functrans import errors, lax
from functrans.backends.cupy import driver
from functrans.core.primitive import Primitive, Sample, load_all, registry
from tests.backends.cupy import standin


@pytest.fixture(autouse=True)
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(driver, "compile_source", lambda source, architecture: source.encode())
    with np.errstate(all="ignore"), standin.installed(monkeypatch) as module:
        yield module


def on_device(x: Any) -> Any:
    return ft.tree.map(lambda a: standin.wrapped(a.copy()) if isinstance(a, np.ndarray) else a, x)


def on_host(x: Any) -> Any:
    return ft.tree.map(lambda a: a._host if isinstance(a, standin.ndarray) else a, x)


def agree(found: Any, expected: Any, rtol: float = 1e-12) -> None:
    for a, b in zip(ft.tree.leaves(found), ft.tree.leaves(expected), strict=True):
        assert isinstance(a, standin.ndarray) or np.ndim(b) == 0, f"an array of the host: {type(a)}"
        a, b = on_host(a), np.asarray(b)
        assert np.shape(a) == b.shape and np.asarray(a).dtype == b.dtype
        eps = float(np.finfo(b.dtype).eps) if b.dtype.kind in "fc" else 0.0
        wide = b.dtype if b.dtype.kind in "biufc" else np.float64
        a, b = np.asarray(a).astype(wide), b.astype(wide)
        np.testing.assert_allclose(a, b, rtol=max(rtol, 100 * eps), atol=100 * eps)


def cases() -> Iterator[tuple[str, Primitive, Sample]]:
    load_all()
    for name, prim in sorted(registry.items()):
        for n, sample in enumerate(prim.samples() if prim.samples else ()):
            if n < 3 and any(isinstance(a, np.ndarray) for a in sample.args) and name != "platform_index":
                if all(isinstance(a, np.ndarray | np.generic | int | float | complex) for a in sample.args):
                    yield f"{name}-{n}", prim, sample


def failures(check: Callable[[Primitive, Sample], None]) -> dict[str, str]:
    """What goes wrong, less what says that CuPy has no such function and where to compute it."""
    wrong = {}
    count = 0
    for name, prim, sample in cases():
        try:
            check(prim, sample)
            count += 1
        except errors.MissingBackendError as error:
            assert "x.get()" in str(error), name
        except Exception as error:
            wrong[name] = f"{type(error).__name__}: {error}"
    assert count > 300
    return wrong


def test_primitives() -> None:
    def check(prim: Primitive, sample: Sample) -> None:
        expected = prim.bind(*sample.args, **sample.params)
        agree(prim.bind(*on_device(sample.args), **sample.params), expected, 1e-6)

    assert not failures(check)


def test_derivatives() -> None:
    def check(prim: Primitive, sample: Sample) -> None:
        smooth = all(isinstance(a, np.ndarray) and a.dtype.kind in "fc" for a in sample.args)
        if prim.jvp is None or prim.not_differentiable or not smooth:
            return

        def f(*xs: Any) -> Any:
            return prim.bind(*xs, **sample.params)

        if not all(np.asarray(out).dtype.kind in "fc" for out in ft.tree.leaves(f(*sample.args))):
            return
        try:
            expected = _pulled(f, sample.args)
        except errors.NotDifferentiableError:
            return
        agree(_pulled(f, on_device(sample.args)), expected, 1e-6)

    assert not failures(check)


def _pulled(f: Callable[..., Any], args: Any) -> list[Any]:
    out, pull = ft.vjp(f, *args)
    return list(pull(ft.tree.map(lambda a: a * 0 + 1, out)))


X = np.linspace(-1.0, 1.0, 12).reshape(3, 4)
KEY = np.array([3, 7], np.uint32)


def network(w: Any, x: Any) -> Any:
    return fnp.sum(fnp.tanh(x @ w) ** 2) / x.size


def recurrence(w: Any, x: Any) -> Any:
    h, _ = lax.scan(lambda h, row: (fnp.tanh(w @ row + h), None), x[0] * 0.0, x)
    return fnp.sum(h)


def newton(x: Any) -> Any:
    return lax.fori_loop(0, 5, lambda i, y: 0.5 * (y + x / y), x)


W = np.linspace(-1.0, 1.0, 16).reshape(4, 4)
PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "network": (network, (W, X)),
    "recurrence": (recurrence, (W, X)),
    "newton": (lambda x: fnp.sum(newton(x)), (X + 3.0,)),
    "branch": (lambda x: lax.cond(True, fnp.sin, fnp.cos, x).sum(), (X,)),
    "creation": (lambda x: fnp.sum(fnp.arange(4.0) * x + fnp.eye(3, 4) + fnp.full((3, 1), 2.0)), (X,)),
    "indexing": (lambda x: fnp.sum(x[:, 1:] * x[::-1, :-1]) + x[1, 2], (X,)),
    "float32": (lambda x: fnp.sum(2.5 * x * (x.shape[0] / 3)), (X.astype(np.float32),)),
}
FORMS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "eager": lambda f: f,
    "grad": ft.grad,
    "jit": ft.jit,
    "jit of grad": lambda f: ft.jit(ft.grad(f)),
    "grad of jit": lambda f: ft.grad(ft.jit(f)),
    "vmap of grad": lambda f: lambda *a: ft.vmap(ft.grad(f), in_axes=(0, *[None] * (len(a) - 1)))(twice(a[0]), *a[1:]),
    "second": lambda f: ft.grad(lambda *a: fnp.sum(ft.grad(f)(*a) ** 2)),
}


def twice(x: Any) -> Any:
    return (
        x.repeat(2, 0).reshape((2, *x.shape))
        if isinstance(x, standin.ndarray)
        else np.repeat(x, 2, 0).reshape((2, *x.shape))
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_transformations(name: str, form: str) -> None:
    f, args = PROGRAMS[name]
    if (name, form) == ("creation", "eager"):
        return  # without a transformation the functions of NumPy make arrays of NumPy
    transformed = FORMS[form](f)
    agree(transformed(*on_device(args)), transformed(*args))


def test_a_training_step_does_not_wait() -> None:
    @ft.jit
    def step(w: Any, x: Any) -> Any:
        return w - 0.1 * ft.grad(network)(w, x)

    w, x = on_device((W, X))
    w = step(w, x)
    standin.waits.clear()
    for _ in range(3):
        w = step(w, x)
    assert standin.waits == [] and standin.launched


def test_nothing_moves_by_itself() -> None:
    with pytest.raises(errors.MixedArraysError, match=r"x\['a'\]|asarray"):
        ft.jit(lambda x: x["a"] + x["b"])({"a": X, "b": on_device(X)})
    with pytest.raises(errors.MixedArraysError, match="device_put"):
        ft.jit(lambda x: x + 1, backend="cupy")(X)
