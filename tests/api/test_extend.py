"""functrans.extend.primitive: operations of the user's, in every transformation, and what is said of empty slots."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import functrans as ft
from functrans import errors
from functrans.core import primitive
from functrans.extend import is_linear
from functrans.test_util import check_grads

X = np.array([0.5, 1.0, 2.0])
_numbers = count()


@pytest.fixture(autouse=True)
def operations_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(primitive, "registry", primitive.registry.copy())
    yield


def like(x: Any, *_: Any, **__: Any) -> ft.ShapeDtypeStruct:
    return ft.ShapeDtypeStruct(x.shape, x.dtype)


def fresh(*args: Any, **kwargs: Any) -> Any:
    return ft.extend.primitive(f"operation{next(_numbers)}", *args, **kwargs)


def dawsn(**kwargs: Any) -> Any:
    return fresh(scipy.special.dawsn, shape=like, **kwargs)


def by_jvp() -> Any:
    op = dawsn()

    @op.def_jvp
    def jvp(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        out = op(x)
        return out, t * (1 - 2 * x * out)

    return op


FORMS = {
    "jvp": by_jvp,
    "jvp for each operand": lambda: dawsn(jvp=[lambda t, out, x: t * (1 - 2 * x * out)]),
    "vjp": lambda: dawsn(vjp=lambda ct, out, x: (ct * (1 - 2 * x * out),), batch="elementwise"),
    "both": lambda: dawsn(
        jvp=[lambda t, out, x: t * (1 - 2 * x * out)],
        vjp=lambda ct, out, x: (ct * (1 - 2 * x * out),),
        batch=lambda size, args, axes: (batched(args[0]), axes[0]),
    ),
}


def batched(x: Any) -> Any:
    """The same function for a batch, as another operation."""
    return BATCHED[0](x)


BATCHED: list[Any] = []


@pytest.mark.parametrize("form", FORMS)
def test_a_special_function_in_every_transformation(form: str) -> None:
    BATCHED[:] = [dawsn(jvp=[lambda t, out, x: t * (1 - 2 * x * out)], batch="elementwise")]
    op = FORMS[form]()
    np.testing.assert_array_equal(op(X), scipy.special.dawsn(X))
    np.testing.assert_array_equal(ft.jit(op)(X), scipy.special.dawsn(X))
    assert type(ft.jit(op)(0.5)) is type(op(0.5)) is np.float64
    check_grads(op, (X,), order=2)
    check_grads(ft.jit(op), (X,), order=2)
    slope = 1 - 2 * X * scipy.special.dawsn(X)
    np.testing.assert_allclose(ft.vmap(ft.grad(op))(X), slope)
    np.testing.assert_allclose(ft.jit(ft.vmap(ft.grad(op)))(X), slope)
    np.testing.assert_allclose(ft.vmap(op)(np.stack([X, 2 * X])), scipy.special.dawsn(np.stack([X, 2 * X])))
    np.testing.assert_allclose(ft.grad(lambda x: np.sum(ft.vmap(op)(x)))(X), slope)
    np.testing.assert_allclose(ft.hessian(lambda x: np.sum(op(x)))(X), np.diag(ft.vmap(ft.grad(ft.grad(op)))(X)))
    assert op.primitive.name in str(ft.make_jaxpr(op)(X))
    np.testing.assert_allclose(
        ft.lax.scan(lambda c, x: (op(c) + x, None), 0.5, X)[0],
        ft.jit(lambda x: ft.lax.scan(lambda c, x: (op(c) + x, None), 0.5, x)[0])(X),
    )


def solve_toeplitz() -> Any:
    """A linear solver, linear in its second operand."""

    def impl(c: Any, b: Any, *, trans: bool) -> Any:
        return scipy.linalg.solve_toeplitz((c, np.r_[c[0], np.zeros(len(c) - 1)])[:: -1 if trans else 1], b)

    def matvec(c: Any, x: Any, trans: bool) -> Any:
        n = c.shape[0]
        lower = sum(c[k] * np.eye(n, k=-k) for k in range(n))
        return (lower.T if trans else lower) @ x

    op = fresh(impl, shape=lambda c, b, trans: ft.ShapeDtypeStruct(b.shape, np.result_type(c.dtype, b.dtype)))
    op.def_jvp(
        [
            lambda t, out, c, b, trans: op(c, -matvec(t, out, trans), trans=trans),
            lambda t, out, c, b, trans: op(c, t, trans=trans),
        ]
    )

    @op.def_transpose
    def transpose(ct: Any, c: Any, b: Any, trans: bool) -> Any:
        assert is_linear(b) and not is_linear(c)
        return [None, op(c, ct, trans=not trans)]

    return op


def test_an_operation_that_is_linear_in_an_operand() -> None:
    op = solve_toeplitz()
    c, b = np.array([4.0, 1.0, 0.5]), X
    expected = scipy.linalg.solve_toeplitz((c, np.array([4.0, 0, 0])), b)
    np.testing.assert_allclose(op(c, b, trans=False), expected)
    check_grads(lambda c, b: op(c, b, trans=False), (c, b), order=2)
    check_grads(ft.jit(lambda c, b: op(c, b, trans=True)), (c, b), order=2)
    # Without a batching rule: one example after another, whatever is batched.
    cs, bs = np.stack([c, c + 1]), np.stack([b, -b])
    for axes in ((0, 0), (0, None), (None, 0)):
        args = [x if a == 0 else x[0] for x, a in zip((cs, bs), axes, strict=True)]
        loop = np.stack(
            [op(*[x[k] if a == 0 else x for x, a in zip(args, axes, strict=True)], trans=False) for k in (0, 1)]
        )
        np.testing.assert_allclose(ft.vmap(lambda c, b: op(c, b, trans=False), axes)(*args), loop)
    grads = ft.vmap(ft.grad(lambda c, b: np.sum(op(c, b, trans=False))))(cs, bs)
    np.testing.assert_allclose(grads[1], ft.grad(lambda c: np.sum(op(c, bs[1], trans=False)))(cs[1]))


def test_several_results_and_leading_axes() -> None:
    def impl(a: Any) -> Any:
        w, v = np.linalg.eigh(a)
        return w, v

    op = fresh(
        impl,
        shape=lambda a: [ft.ShapeDtypeStruct(a.shape[:-1], a.dtype), like(a)],
        multiple=True,
        batch="leading",
        vjp=lambda cts, out, a: ((out[1] * cts[0][..., None, :]) @ np.swapaxes(out[1], -1, -2),),
    )
    a = np.array([[2.0, 0.3], [0.3, 1.0]])
    w, _ = op(a)
    np.testing.assert_allclose(w, np.linalg.eigvalsh(a))
    batch = np.stack([a, 2 * a])
    np.testing.assert_allclose(ft.jit(ft.vmap(op))(batch)[0], np.linalg.eigvalsh(batch))
    gradient = ft.grad(lambda a: np.sum(op(a)[0] ** 2))
    np.testing.assert_allclose(gradient(a), 2 * a)
    np.testing.assert_allclose(ft.vmap(gradient)(batch), 2 * batch)
    np.testing.assert_allclose(ft.jvp(lambda a: op(a)[0].sum(), (a,), (a,))[1], np.trace(a))


def test_results_own_their_memory_and_operands_are_left_alone() -> None:
    op = fresh(lambda x: x, shape=like, jvp=[lambda t, out, x: t])
    out = ft.jit(op)(X)
    assert not np.shares_memory(out, X)
    value, gradient = ft.value_and_grad(lambda x: np.sum(op(x)))(X)
    assert value == X.sum() and gradient.tolist() == [1.0, 1.0, 1.0]


def test_code_for_a_backend() -> None:
    runs: list[str] = []
    op = fresh(lambda x: x, shape=like, lowering={"numpy": lambda x: runs.append("numpy") or np.sin(x)})
    np.testing.assert_array_equal(ft.jit(op)(X), np.sin(X))
    assert op(0.5) == np.sin(0.5)
    assert runs == ["numpy", "numpy"]
    assert op.lowering.keys() == {"numpy"}


def test_a_definition_that_runs_again() -> None:
    name = f"operation{next(_numbers)}"
    first = ft.extend.primitive(name, np.sin, shape=like)
    second = ft.extend.primitive(name, np.cos, shape=like)
    assert ft.jit(first)(0.5) == np.sin(0.5) and ft.jit(second)(0.5) == np.cos(0.5)
    assert pickle.loads(pickle.dumps(second.primitive)) is second.primitive


class TestEmptySlots:
    """Each error says what to write."""

    def test_shape(self) -> None:
        op = fresh(np.sin)
        assert op(0.5) == np.sin(0.5)
        with pytest.raises(errors.MissingRuleError, match=rf"`@{op.name}\.def_shape` above, say, `def shape\(x\)"):
            ft.jit(op)(0.5)
        op.def_shape(like)
        assert ft.jit(op)(0.5) == np.sin(0.5)

    def test_derivative(self) -> None:
        op = fresh(lambda x, *, n: n * x, shape=like)
        with pytest.raises(errors.MissingRuleError, match=r"def jvp\(primals, tangents, \*, n\): return result"):
            ft.grad(lambda x: op(x, n=2))(0.5)
        op.def_vjp(lambda ct, out, x, n: (n * ct,))
        assert ft.grad(lambda x: op(x, n=2))(0.5) == 2
        assert ft.jvp(lambda x: op(x, n=2), (0.5,), (1.0,))[1] == 2

    def test_transpose(self) -> None:
        op = fresh(lambda x: 2 * x, shape=like)
        op.def_jvp([lambda t, out, x: op(t)])
        assert ft.jvp(op, (0.5,), (1.0,))[1] == 2
        with pytest.raises(errors.MissingRuleError, match=r"linear in operand 0, and it has no transpose\. Write `@"):
            ft.grad(op)(0.5)
        op.def_transpose(lambda ct, x: [op(ct)])
        assert ft.grad(op)(0.5) == 2


@pytest.mark.parametrize(
    ("define", "error", "message"),
    [
        (lambda: ft.extend.primitive("sin", np.sin), errors.ArgumentError, "an operation 'sin' of its own"),
        (lambda: ft.extend.primitive("two words", np.sin), errors.ArgumentError, "must be an identifier"),
        (lambda: fresh(3), errors.ArgumentError, "impl must be a function of arrays"),
        (lambda: fresh(np.sin, jvp=3), errors.ArgumentError, "jvp must be a function, got an object of type int"),
        (lambda: fresh(np.sin, batch="fast"), errors.ArgumentError, "batch must be a function or one of"),
        (lambda: dawsn().def_shape(like), errors.ArgumentError, "shape was given already"),
        (lambda: dawsn()("text"), errors.ArgumentError, "operand 0 is an object of type str"),
        (lambda: dawsn()(X, n=[1]), errors.ArgumentError, "the parameter n is an object of type list"),
        (lambda: ft.jit(fresh(np.sum, shape=like))(X), errors.OutputError, "Mend the one that is wrong"),
        (lambda: ft.jit(fresh(np.sin, shape=lambda x: x.shape))(X), errors.OutputError, "pass multiple=True"),
        (lambda: ft.jit(fresh(np.sin, shape=lambda x: 3))(X), errors.OutputError, "must return a functrans.Shape"),
        (lambda: fresh(np.sin, shape=like, multiple=True)(X), errors.OutputError, "a list of them is needed"),
        (
            lambda: ft.grad(lambda x: np.sum(dawsn(vjp=lambda ct, out, x: ct)(x)))(X),
            errors.CustomRuleError,
            "must return a tuple with a cotangent for each of the 1",
        ),
        (
            lambda: ft.grad(lambda x: np.sum(dawsn(jvp=[lambda t, out, x: np.sum(t)])(x)))(X),
            errors.CustomRuleError,
            r"gave an array of type f64\[\] for the result",
        ),
        (
            lambda: ft.grad(lambda x: np.sum(dawsn(jvp=[None, None])(x)))(X),
            errors.CustomRuleError,
            "jvp has 2 rules, and it was called with 1 operands",
        ),
        (
            lambda: ft.vmap(dawsn(batch=lambda n, args, axes: (args[0], 5)))(X),
            errors.CustomRuleError,
            "says that axis 5 of a result",
        ),
    ],
)
def test_errors(define: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        define()
