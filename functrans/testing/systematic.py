"""Every check of a primitive, derived from its ``samples`` slot alone.

The checks are functions of a primitive and one sample. Each raises AssertionError with the primitive, the sample and
what differed. ``cells`` says which of them apply; a rule slot that is empty without a reason is itself a failure.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.grad import grad
from functrans.api.jacobian import hessian
from functrans.api.jit import jit
from functrans.api.linear import jvp, vjp
from functrans.api.vmap import vmap
from functrans.core import dtypes
from functrans.core.check import check
from functrans.core.evaluate import compiled, evaluate
from functrans.core.jaxpr import resize
from functrans.core.primitive import Primitive, Sample, Trait
from functrans.core.stage import stage
from functrans.core.trace import aval_of
from functrans.testing.grads import check_grads

Check = Callable[[Primitive, Sample], None]


def outputs(prim: Primitive, sample: Sample, args: Sequence[Any] | None = None) -> list[Any]:
    """The results of a primitive as a list."""
    out = prim.bind(*(sample.args if args is None else args), **sample.params)
    return list(out) if prim.multiple else [out]


def differentiable(prim: Primitive, sample: Sample) -> tuple[int, ...]:
    """The operands that derivatives are checked in."""
    if prim.not_differentiable is not None or sample.order == 0:
        return ()
    inexact = [i for i, a in enumerate(sample.args) if dtypes.is_inexact(aval_of(a).dtype)]
    return tuple(inexact if sample.diff is None else sample.diff)


def assert_same(a: Any, b: Any, what: str, exact: bool = True) -> None:
    """Equal in type, dtype, shape and value, to the bit or to rounding."""
    x, y = aval_of(a), aval_of(b)
    assert x == y, f"{what}: types {x} and {y}"
    if x.dtype == dtypes.float0:
        return
    if exact:
        np.testing.assert_array_equal(a, b, err_msg=what)
        return
    eps = float(np.finfo(dtypes.real_dtype(x.dtype)).eps) if x.dtype.kind in "fc" else 0.0
    np.testing.assert_allclose(a, b, rtol=64 * eps, atol=64 * eps, err_msg=what)


# -- the checks -------------------------------------------------------------------------------------------------------


def check_shape(prim: Primitive, sample: Sample) -> None:
    """The shape rule foretells shape, dtype and box of what the implementation gives."""
    found = [aval_of(o) for o in outputs(prim, sample)]
    rule = prim.shape(*[aval_of(a) for a in sample.args], **sample.params)
    expected = list(rule) if prim.multiple else [rule]
    # Sizes that only a run can tell are those that it told.
    sizes = {size: n for e, f in zip(expected, found, strict=True) for size, n in zip(e.shape, f.shape, strict=True)}
    expected = [resize(e, sizes.__getitem__) for e in expected]
    assert found == expected, f"{prim}: the shape rule gives {expected}, the implementation {found}"


def check_purity(prim: Primitive, sample: Sample) -> None:
    """Operands are not written to, and results alias them only where the primitive says it gives views."""
    args = [a.copy() if isinstance(a, np.ndarray) else a for a in sample.args]
    for a in args:
        if isinstance(a, np.ndarray):
            a.flags.writeable = False
    outs = outputs(prim, sample, args)
    for a, original in zip(args, sample.args, strict=True):
        np.testing.assert_array_equal(a, original)
        for o in outs:
            if isinstance(a, np.ndarray) and isinstance(o, np.ndarray) and Trait.VIEW not in prim.traits:
                assert not np.shares_memory(a, o), f"{prim} returns a view and lacks Trait.VIEW"


def check_staged(prim: Primitive, sample: Sample) -> None:
    """Staged, verified, printed, run by bind and run as generated source: the same bits."""
    expected = outputs(prim, sample)
    avals = [aval_of(a) for a in sample.args]
    jaxpr = stage(lambda *xs: outputs(prim, sample, xs), avals, prim.name)
    check(jaxpr)
    assert str(jaxpr)
    for how, found in (
        ("evaluate", evaluate(jaxpr, sample.args)),
        ("compiled", list(compiled(jaxpr, np)(*sample.args))),
    ):
        for a, b in zip(found, expected, strict=True):
            assert_same(a, b, f"{prim} by {how}")


def check_decomposition(prim: Primitive, sample: Sample) -> None:
    """The decomposition agrees with the implementation to rounding."""
    if prim.decompose is None:
        return
    found = prim.decompose(*sample.args, **sample.params)
    for a, b in zip(found if prim.multiple else [found], outputs(prim, sample), strict=True):
        assert_same(a, b, f"{prim} decomposed", exact=False)


def check_jit(prim: Primitive, sample: Sample) -> None:
    """Under jit: the same value, dtype, shape and type."""

    def f(*xs: Any) -> Any:
        return outputs(prim, sample, xs)

    for a, b in zip(jit(f)(*sample.args), outputs(prim, sample), strict=True):
        assert_same(a, b, f"jit of {prim}")


def _of_operands(prim: Primitive, sample: Sample, which: Sequence[int]) -> Callable[..., Any]:
    """The inexact results as a function of some operands, the others fixed."""

    def f(*values: Any) -> list[Any]:
        args = list(sample.args)
        for i, v in zip(which, values, strict=True):
            args[i] = v
        return [o for o in outputs(prim, sample, args) if dtypes.is_inexact(aval_of(o).dtype)]

    f.__name__ = prim.name
    return f


def check_derivatives(prim: Primitive, sample: Sample) -> None:
    """Forward and reverse mode against finite differences, to the sample's order."""
    which = differentiable(prim, sample)
    if not which:
        return
    args = tuple(sample.args[i] for i in which)
    f = _of_operands(prim, sample, which)
    # Half-precision differences say nothing: there the derivative is compared with that of wider operands.
    if any(aval_of(a).dtype.itemsize < 4 for a in args if dtypes.is_inexact(aval_of(a).dtype)):
        return
    check_grads(f, args, order=1 if any(np.size(a) > 64 for a in args) else sample.order)


def check_modes(prim: Primitive, sample: Sample) -> None:
    """Reverse mode is the transpose of forward mode, for each operand alone and in its dtype."""
    for i in differentiable(prim, sample):
        f = _of_operands(prim, sample, (i,))
        x = sample.args[i]
        rng = np.random.default_rng(i)
        aval = aval_of(x)
        value, pullback = vjp(f, x)
        v = _random(rng, aval)
        tangent = jvp(f, (x,), (v,))[1]
        cts = [_random(rng, aval_of(o)) for o in value]
        (pulled,) = pullback(cts)
        assert aval_of(pulled).dtype == aval.dtype, f"{prim}: cotangent of dtype {aval_of(pulled).dtype} for {aval}"
        assert aval_of(pulled).shape == aval.shape, f"{prim}: cotangent of shape {aval_of(pulled).shape} for {aval}"
        for t, o in zip(tangent, value, strict=True):
            assert aval_of(t).dtype == aval_of(o).dtype, f"{prim}: tangent of dtype {aval_of(t).dtype} for {aval_of(o)}"
        left = sum(np.sum(np.asarray(c, complex) * np.asarray(t, complex)) for c, t in zip(cts, tangent, strict=True))
        right = np.sum(np.asarray(pulled, complex) * np.asarray(v, complex))
        eps = max(_eps(a) for a in [*sample.args, *value])
        scale = 1 + sum(float(np.sum(np.abs(c) * np.abs(t))) for c, t in zip(cts, tangent, strict=True))
        scale += float(np.sum(np.abs(np.asarray(pulled)) * np.abs(np.asarray(v))))
        if not (np.isfinite(left) and np.isfinite(right)):
            continue
        assert abs(np.real(left - right)) <= 200 * eps * scale, f"{prim}: operand {i}: {left} forward, {right} reverse"


def _eps(value: Any) -> float:
    dtype = dtypes.real_dtype(aval_of(value).dtype)
    # A Python number adopts the precision of what it meets.
    weak = aval_of(value).weak
    return float(np.finfo(dtype).eps) if dtypes.is_inexact(dtype) and dtype.kind == "f" and not weak else 0.0


def _random(rng: np.random.Generator, aval: Any) -> Any:
    if not dtypes.is_inexact(aval.dtype):
        return np.zeros(aval.shape, dtypes.float0)
    sample = rng.standard_normal(aval.shape)
    if dtypes.is_complex(aval.dtype):
        sample = sample + 1j * rng.standard_normal(aval.shape)
    array = np.asarray(sample).astype(aval.dtype)
    if aval.shape:
        return array
    return array[()] if aval.box != "python" else array.item()


def check_batching(prim: Primitive, sample: Sample) -> None:
    """vmap against a loop, for every combination of batched operands and for other positions of the axis."""
    n = len(sample.args)
    size = 2
    rng = np.random.default_rng(0)
    for mask in itertools.product((False, True), repeat=n):
        # A batch of Python numbers is an array, which is not weak: that is another program.
        if not any(mask) or any(b and aval_of(a).box == "python" for a, b in zip(sample.args, mask, strict=True)):
            continue
        for last in (False, True):
            batched: list[Any] = []
            axes: list[int | None] = []
            for a, b in zip(sample.args, mask, strict=True):
                if not b:
                    batched.append(a)
                    axes.append(None)
                    continue
                stacked = _perturbed(rng, a, size, sample.vary)
                axis = stacked.ndim - 1 if last else 0
                batched.append(np.moveaxis(stacked, 0, axis))
                axes.append(axis)
            found = vmap(lambda *xs: outputs(prim, sample, xs), in_axes=tuple(axes))(*batched)
            for k in range(size):
                example = [
                    _as_example(np.take(x, k, axis=ax), a) if ax is not None else a
                    for x, ax, a in zip(batched, axes, sample.args, strict=True)
                ]
                for whole, one in zip(found, outputs(prim, sample, example), strict=True):
                    assert whole.dtype == aval_of(one).dtype, f"{prim} batched {mask}: {whole.dtype}, {aval_of(one)}"
                    assert_close(whole[k], one, f"{prim}, batched operands {mask}")


def _as_example(x: Any, like: Any) -> Any:
    return x.item() if isinstance(like, (bool, int, float, complex)) and not isinstance(like, np.generic) else x


def _perturbed(rng: np.random.Generator, a: Any, size: int, vary: str) -> Any:
    """A batch whose first example is the sample and whose others are the sample reordered or scaled."""
    x = np.asarray(a)
    examples = [x]
    for k in range(1, size):
        if x.dtype.kind not in "fc" or (vary == "reorder" and x.size < 2):
            examples.append(x)
        elif vary == "scale":
            examples.append(x * x.dtype.type(1 + 0.25 * k))
        else:
            examples.append(rng.permutation(x.ravel()).reshape(x.shape))
    return np.stack(examples)


def assert_close(a: Any, b: Any, what: str) -> None:
    kind = np.asarray(b).dtype
    if kind.kind not in "fc":
        np.testing.assert_array_equal(a, b, err_msg=what)
        return
    eps = float(np.finfo(dtypes.real_dtype(kind)).eps)
    np.testing.assert_allclose(a, b, rtol=100 * eps, atol=100 * eps, err_msg=what)


def _scalar(prim: Primitive, sample: Sample, i: int) -> Callable[[Any], Any]:
    """A real number made from the results, as a function of one operand: a random weighted sum of squares."""
    f = _of_operands(prim, sample, (i,))

    def loss(x: Any) -> Any:
        total: Any = 0.0
        for o in f(x):
            weights = np.linspace(0.5, 1.5, int(np.prod(aval_of(o).shape, dtype=int))).reshape(aval_of(o).shape)
            weights = weights.astype(dtypes.real_dtype(aval_of(o).dtype))
            part = np.real(o) if dtypes.is_complex(aval_of(o).dtype) else o
            total = total + np.sum(part * weights)
        return total

    return loss


def check_compositions(prim: Primitive, sample: Sample) -> None:
    """jit of grad, grad of jit, vmap of grad, jit of hessian: all equal what they are made of."""
    for i in differentiable(prim, sample):
        x = sample.args[i]
        aval = aval_of(x)
        if dtypes.is_complex(aval.dtype):
            continue
        loss = _scalar(prim, sample, i)
        eager = grad(loss)(x)
        assert_close(jit(grad(loss))(x), eager, f"jit of grad of {prim}")
        assert_close(grad(jit(loss))(x), eager, f"grad of jit of {prim}")
        if aval.box != "python":
            mapped = vmap(grad(loss))(np.stack([np.asarray(x)] * 2))
            assert_close(mapped[1], eager, f"vmap of grad of {prim}")
        if sample.order > 1 and np.size(x) <= 12:
            second = hessian(loss)(x)
            assert_close(jit(hessian(loss))(x), second, f"jit of hessian of {prim}")
            transposed = np.moveaxis(second, range(aval.ndim), range(-aval.ndim, 0)) if aval.ndim else second
            assert_close(transposed, second, f"the hessian of {prim} is symmetric")


def check_slots(prim: Primitive) -> None:
    """No empty cell: a rule for every transformation, or a stated reason for its absence."""
    missing = [slot for slot in ("shape", "impl", "batch") if getattr(prim, slot) is None]
    if prim.jvp is None and prim.not_differentiable is None:
        missing.append("jvp")
    if prim.scalar is None and prim.decompose is None and prim.kind is None:
        missing.append("scalar, decompose or kind")
    if prim.samples is None and prim.kind not in ("call", "loop", "branch", "custom"):
        missing.append("samples")
    if missing:
        raise errors.MissingRuleError(f"the primitive {prim} lacks {', '.join(missing)}")


CHECKS: dict[str, Check] = {
    "shape": check_shape,
    "purity": check_purity,
    "staged": check_staged,
    "decomposition": check_decomposition,
    "jit": check_jit,
    "derivatives": check_derivatives,
    "modes": check_modes,
    "batching": check_batching,
    "compositions": check_compositions,
}


def cells(primitives: Sequence[Primitive]) -> Iterator[tuple[str, Primitive, int, Sample]]:
    """Every (check, primitive, sample) of the matrix."""
    for prim in primitives:
        if prim.samples is None:
            continue
        for k, sample in enumerate(prim.samples()):
            for name in CHECKS:
                yield name, prim, k, sample
