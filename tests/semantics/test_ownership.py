"""Results of transformed functions share memory with nothing: arguments, captured arrays, each other, residuals."""

from __future__ import annotations

import numpy as np
import pytest

import functrans as ft

BUFFER = np.arange(4.0)


@ft.custom_vjp
def forwarded(x: object) -> tuple[object, object]:
    return x, x


forwarded.defvjp(lambda x: ((x, x), None), lambda _, cts: (cts[0],))

PROGRAMS = {
    "identity": lambda x: x,
    "twice": lambda x: (x, x),
    "view": lambda x: x[1:],
    "transposed": lambda x: x.reshape(2, 2).T,
    "captured": lambda x: BUFFER,
    "captured_view": lambda x: (BUFFER[1:], x),
    "reshape": lambda x: x.reshape(2, 2),
    "broadcast": lambda x: np.broadcast_to(x, (2, 4)),
    "same_twice": lambda x: (lambda y: (y, y, y[1:]))(x * 2),
    "real": lambda x: np.real(x),
    "ravel": lambda x: np.ravel(x),
    "custom": lambda x: forwarded(x),
    "view of custom": lambda x: (forwarded(x)[0][1:], x),
    "where": lambda x: np.where(np.array(True), x, x),
}


def arrays(tree: object) -> list[np.ndarray]:
    return [leaf for leaf in ft.tree.leaves(tree) if isinstance(leaf, np.ndarray)]


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize(
    "transform",
    [
        ft.jit,
        lambda f: ft.jit(ft.jit(f)),
        lambda f: lambda x: ft.jvp(f, (x,), (np.ones_like(x),)),
        lambda f: lambda x: ft.linearize(f, x)[0],
        lambda f: lambda x: ft.vjp(f, x)[0],
        lambda f: lambda x: ft.vmap(f, in_axes=None, out_axes=None, axis_size=1)(x),
        lambda f: lambda x: ft.vjp(lambda x: sum(np.sum(a) for a in ft.tree.leaves(f(x))), x)[1](1.0),
    ],
)
def test_results_own_their_memory(name: str, transform: object) -> None:
    x = np.arange(4.0)
    outs = arrays(transform(PROGRAMS[name])(x))  # type: ignore[operator]
    for i, out in enumerate(outs):
        assert out.flags.writeable and out.base is None
        assert not np.shares_memory(out, x)
        assert not np.shares_memory(out, BUFFER)
        for other in outs[i + 1 :]:
            assert not np.shares_memory(out, other)


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_own_their_memory(name: str) -> None:
    def loss(x: np.ndarray, c: np.ndarray) -> object:
        return sum(np.sum(a * np.sum(c)) for a in ft.tree.leaves(PROGRAMS[name](x)))

    x, c = np.arange(4.0), np.ones(4)
    gx, gc = ft.grad(loss, (0, 1))(x, c)
    for g in (gx, gc):
        assert type(g) is np.ndarray and g.flags.writeable and g.flags.c_contiguous and g.base is None
        assert not np.shares_memory(g, x) and not np.shares_memory(g, c)
    assert not np.shares_memory(gx, gc)


def test_writing_to_a_value_does_not_change_a_pending_gradient() -> None:
    x = np.arange(3.0)
    y, pullback = ft.vjp(np.exp, x)
    expected = np.exp(np.arange(3.0))
    y[:] = 0
    x[:] = 7
    np.testing.assert_array_equal(pullback(np.ones(3))[0], expected)
    np.testing.assert_array_equal(pullback(np.ones(3))[0], expected)


def test_writing_to_an_argument_after_linearize() -> None:
    x = np.arange(3.0)
    _, tangent = ft.linearize(lambda x: x * x, x)
    x[:] = 100
    np.testing.assert_array_equal(tangent(np.ones(3)), [0.0, 2.0, 4.0])


def test_writing_to_a_captured_array_after_vjp() -> None:
    buffer = np.ones(3)
    _, pullback = ft.vjp(lambda x: x * buffer, np.arange(3.0))
    buffer[:] = 5
    np.testing.assert_array_equal(pullback(np.ones(3))[0], np.ones(3))


@pytest.mark.parametrize("size", [3, 100_000])
def test_a_captured_buffer_rewritten_within_the_function(size: int) -> None:
    buffer = np.ones(size)

    def f(x: np.ndarray) -> object:
        y = x * buffer
        buffer[:] = 5
        return np.sum(y)

    x = np.zeros(size)
    try:
        g = ft.grad(f)(x)
    except ft.errors.MutatedResidualError:
        assert size > 10_000
    else:
        np.testing.assert_array_equal(g, np.ones(size))
    assert buffer.flags.writeable


def test_arrays_are_writeable_again_after_grad_even_when_it_fails() -> None:
    big = np.ones(100_000)
    view = big[1:]

    def f(x: np.ndarray) -> object:
        _ = x * view
        raise RuntimeError("user's own")

    with pytest.raises(RuntimeError, match="user's own"):
        ft.grad(f)(np.ones(99_999))
    assert big.flags.writeable and view.flags.writeable
    big[0] = 2
    view[0] = 3


def test_residuals_are_frozen_only_while_grad_runs() -> None:
    big = np.ones(100_000)
    ft.grad(lambda x: np.sum(x * big))(big)
    big[:] = 2
    assert big[0] == 2


def test_the_input_is_not_changed_by_the_transformations() -> None:
    x = np.arange(4.0)
    before = x.copy()
    for transform in (ft.grad, lambda f: ft.jit(ft.grad(f)), ft.hessian, ft.jit):
        transform(lambda x: np.sum(x**3 * np.flip(x)))(x)
        np.testing.assert_array_equal(x, before)


def test_the_result_of_stop_gradient_may_be_written_to() -> None:
    def f(x: np.ndarray) -> object:
        y = np.exp(x)
        s = ft.stop_gradient(y)
        s[:] = 0
        return np.sum(y)

    x = np.arange(3.0)
    np.testing.assert_allclose(ft.grad(f)(x), np.exp(x))
