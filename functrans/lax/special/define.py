"""How a special function becomes a primitive.

SciPy computes the value where it is installed (``cupyx.scipy.special`` for CuPy arrays), and a decomposition, the
function in terms of other primitives, where it is not; the decomposition also serves backends that compile. What the
derivative is, is said in one of three ways: by a rule for each operand, by the decomposition (whose derivative is
taken in its place), or, for the inverse of another function, by the implicit function theorem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.evaluate import compiled
from functrans.core.primitive import Primitive, Sample, Trait, Zero
from functrans.core.stage import stage
from functrans.core.structural import add, convert, elementwise_aval, elementwise_batch, match, rebox, zero_of
from functrans.core.trace import aval_of, running
from functrans.interpreters.jvp import jvp_flat
from functrans.lax import error_functions
from functrans.lax.arithmetic import div, mul, neg
from functrans.lax.creation import ones_like
from functrans.lax.families import TangentRule, accept, tangent_rules
from functrans.util.cache import Bounded

Function = Callable[..., Any]
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

_programs: Bounded[Callable[..., Any]] = Bounded(256)

primitives: dict[str, tuple[Primitive, int]] = {}
"""The primitive of each SciPy function, by SciPy's name, and how many operands it has."""


def working_dtype(dtype: dtypes.DType) -> dtypes.DType:
    """The dtype that a function of operands of some dtype is computed in: half precision by way of single."""
    return FLOAT32 if dtypes.kind(dtype) == "f" and dtype.itemsize < 4 else dtype


def _run(name: str, xp: Any, decompose: Function, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """A decomposition on concrete operands. Branches that are not chosen may overflow, and say nothing."""
    avals = [aval_of(a) for a in args]
    key = (name, xp.__name__, *avals, *params.items())
    program = _programs.get(key)
    if program is None:

        def results(*operands: Any) -> list[Any]:
            out = decompose(*operands, **params)
            return list(out) if isinstance(out, (list, tuple)) else [out]

        with running(None):
            program = _programs.put(key, compiled(stage(results, avals, name), xp))
    with np.errstate(all="ignore"):
        return list(program(*args))


def check_operands(name: str, avals: Sequence[ShapedArray], kinds: str) -> ShapedArray:
    """The type that elementwise operands have together; an error where the function is not computed in it."""
    aval = elementwise_aval(name, avals)
    accept(name, kinds, [aval])
    if dtypes.real_dtype(aval.dtype).itemsize > 8:
        raise errors.DTypeError(
            f"{name}: the operands have type {aval}, and the function is computed in double precision at most. Convert "
            f"them: functrans.lax.convert_element_type(x, float)"
        )
    return aval


def special(
    name: str,
    *rules: TangentRule | None,
    arity: int = 1,
    outputs: int = 1,
    scipy: str | None = None,
    value: Callable[..., Any] | None = None,
    decompose: Function | None = None,
    inverse_of: Function | None = None,
    parts: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    kinds: str = "f",
    samples: Sequence[tuple[Any, ...]] = (),
    order: int = 2,
    diff: tuple[int, ...] | None = None,
    safe: float = 0.5,
) -> Primitive:
    """A primitive that is a function of special importance, element by element.

    Args:
        name: how the text form spells it.
        rules: a tangent rule for each operand: ``rule(t, out, *primals)``. Without any, the derivative is that of
            ``decompose``, of ``inverse_of``, or given by ``jvp``.
        scipy: the name of the ufunc in ``scipy.special``; ``name`` if None, and no such ufunc if it is empty.
        value: ``value(special, *arrays)`` computes it with the module ``scipy.special``, where no ufunc does.
        decompose: the function in terms of other primitives, of floats of one dtype.
        inverse_of: ``inverse_of(*first, y)`` of which this is the inverse in the last operand.
        parts: ``parts(out, *primals)``, the derivatives of a function of several results in its one operand.
        kinds: the dtype kinds that it takes.
        samples: operands, in double precision, to derive the samples from.
        order, diff: see ``Sample``.
        safe: see ``Primitive``.
    """
    ufunc = name if scipy is None else scipy
    source = value or (_ufunc(ufunc) if ufunc else None)

    def infer(*avals: ShapedArray) -> Any:
        aval = check_operands(name, avals, kinds)
        return [aval] * outputs if outputs > 1 else aval

    def impl(xp: Any, *args: Any) -> Any:
        dtype = check_operands(name, [aval_of(a) for a in args], kinds).dtype
        working = working_dtype(dtype)
        library = error_functions.library(xp.__name__) if source else None
        if source and library is not None and (not ufunc or hasattr(library, ufunc.removeprefix("_"))):
            computed = source(library, *[_operand(a, working) for a in args])
        elif decompose is not None:
            computed = _run(name, xp, decomposed, args, {})
        elif library is None:
            raise errors.MissingBackendError(
                f"{name} is computed by SciPy, which is not installed. Install it: pip install scipy"
            )
        else:
            raise errors.MissingBackendError(
                f"{name} is not among the functions of {library.__name__}. Move its operands to the host: x.get()"
            )
        found = computed if isinstance(computed, (list, tuple)) else [computed]
        if xp is np:
            found = [np.asarray(y, dtype)[()] for y in found]
        elif working != dtype:
            found = [y.astype(dtype) for y in found]
        return list(found) if outputs > 1 else found[0]

    def decomposed(*args: Any) -> Any:
        aval = elementwise_aval(name, [aval_of(a) for a in args])
        working = working_dtype(aval.dtype)
        assert decompose is not None
        out = decompose(*[convert(a, working) for a in args])
        found = [rebox(match(y, aval), "numpy") for y in (out if outputs > 1 else [out])]
        return found if outputs > 1 else found[0]

    def specialize(xp: Any, avals: Sequence[ShapedArray]) -> Callable[..., Any]:
        plain = all(a.dtype in (FLOAT32, FLOAT64) and a.box != "python" for a in avals)
        if xp is np and plain and value is None and source is not None and outputs == 1:
            library = error_functions.library("numpy")
            if library is not None and (found := getattr(library, ufunc, None)) is not None:
                function: Callable[..., Any] = found
                return function
        return lambda *args: impl(xp, *args)

    def derive(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
        if inverse_of is not None:
            return _implicit(prim, inverse_of, primals, tangents)
        if parts is not None:
            return _by_parts(prim, parts, primals, tangents)
        assert decompose is not None, name
        return _through(prim, decompose, primals, tangents)

    prim: Primitive = Primitive(
        name,
        shape=infer,
        impl=impl,
        jvp=jvp or (tangent_rules(lambda: prim, *rules, elementwise=True) if rules else derive),
        batch=_batch_all(lambda: prim) if outputs > 1 else elementwise_batch(lambda: prim),
        multiple=outputs > 1,
        kind="library" if decompose is None else None,
        decompose=None if decompose is None else decomposed,
        specialize=specialize,
        samples=lambda: _samples(samples, kinds, order, diff),
        safe=safe if diff is None else tuple(safe if i in diff else None for i in range(arity)),
        traits=frozenset({Trait.ELEMENTWISE, Trait.COSTLY}),
    )
    if ufunc:
        primitives[ufunc] = prim, arity
    assert not rules or len(rules) == arity, name
    return prim


def _ufunc(name: str) -> Callable[..., Any]:
    return lambda library, *args: getattr(library, name)(*args)


def _operand(x: Any, dtype: dtypes.DType) -> Any:
    if isinstance(x, (bool, int, float, complex)) and not isinstance(x, np.generic):
        return dtype.type(x)
    return x if x.dtype == dtype else x.astype(dtype)


def _samples(rows: Sequence[tuple[Any, ...]], kinds: str, order: int, diff: tuple[int, ...] | None) -> list[Sample]:
    found: list[Sample] = []
    for row in rows:
        found.append(Sample(row, {}, order, diff))
    first = rows[0]
    if "f" in kinds:
        single = tuple(np.asarray(x, np.float32) if np.ndim(x) else np.float32(x) for x in first)
        found.append(Sample(single, {}, min(order, 1), diff))
    weak = tuple(np.ravel(x)[0].item() for x in first)
    found.append(Sample(weak, {}, 0, diff))
    return found


# -- derivatives ------------------------------------------------------------------------------------------------------


def refused(name: str, operand: str, mend: str = "") -> TangentRule:
    """The rule of an operand in which the derivative is not known: it says so when it is asked for."""
    text = (
        f"the derivative of {name} in {operand} is not implemented. Hold that operand constant with "
        f"functrans.lax.stop_gradient, or give a rule with functrans.custom_jvp"
    )

    def rule(t: Any, out: Any, *primals: Any) -> Any:
        raise errors.NotDifferentiableError(f"{text}. {mend}" if mend else text)

    return rule


def _strongly(prim: Primitive, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, list[Any], list[Any]]:
    """The result, and operands and tangents in its dtype, none of them weak."""
    out = prim.bind(*primals)
    dtype = aval_of(out[0] if prim.multiple else out).dtype
    strong = [convert(x, dtype) for x in primals]
    return out, strong, [t if isinstance(t, Zero) else convert(t, dtype) for t in tangents]


def _through(prim: Primitive, f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    out, primals, tangents = _strongly(prim, primals, tangents)
    _, (t,) = jvp_flat(lambda *xs: [f(*xs)], primals, tangents)
    return out, zero_of(out) if isinstance(t, Zero) else match(t, aval_of(out))


def _implicit(prim: Primitive, f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """``f(*first, y) = p`` gives ``f_y dy = dp - f_first dfirst``."""
    out, (*first, _), (*moved, dp) = _strongly(prim, primals, tangents)
    slope = partial_derivative(f, len(first))(*first, out)
    total = dp
    if any(not isinstance(t, Zero) for t in moved):
        _, (t,) = jvp_flat(lambda *xs: [f(*xs, out)], first, moved)
        total = neg(t) if isinstance(dp, Zero) else add(dp, neg(t)) if not isinstance(t, Zero) else dp
    if isinstance(total, Zero):
        return out, zero_of(out)
    return out, match(div(total, slope), aval_of(out))


def _by_parts(prim: Primitive, parts: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The JVP of several results of one operand, from their derivatives."""
    out, primals, (t,) = _strongly(prim, primals, tangents)
    if isinstance(t, Zero):
        return out, [zero_of(o) for o in out]
    return out, [match(mul(t, d), aval_of(o)) for o, d in zip(out, parts(out, *primals), strict=True)]


def _batch_all(prim_of: Callable[[], Primitive]) -> Any:
    one = elementwise_batch(prim_of)

    def batch(axis: Any, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> tuple[Any, Any]:
        outs, dim = one(axis, args, dims, **params)
        return outs, [dim] * len(outs)

    return batch


def with_derivative(f: Function, operand: int, *xs: Any) -> tuple[Any, Any]:
    """The value of an elementwise function and its derivative in one operand, by forward mode."""

    def along(x: Any) -> list[Any]:
        return [f(*xs[:operand], x, *xs[operand + 1 :])]

    x = xs[operand]
    (out,), (t,) = jvp_flat(along, (x,), (ones_like(x),))
    return out, mul(out, 0.0) if isinstance(t, Zero) else t


def partial_derivative(f: Function, operand: int, order: int = 1) -> Function:
    """The derivative of an elementwise function in one operand, some times over."""
    if order == 0:
        return f
    return partial_derivative(lambda *xs: with_derivative(f, operand, *xs)[1], operand, order - 1)


def derivatives(
    name: str,
    function: Function,
    parameters: Sequence[int],
    others: dict[int, Callable[..., Any]],
    *,
    arity: int,
    samples: Sequence[tuple[Any, ...]],
) -> Primitive:
    """The primitive whose parameter ``orders`` says how often ``function`` is differentiated in each operand.

    Args:
        function: a composition of primitives.
        parameters: the operands in which it is differentiated.
        others: ``density(*operands)``, the derivative of ``function`` in each of the other operands.
    """

    def partials(f: Function, orders: Sequence[int]) -> Function:
        for i, order in enumerate(orders):
            f = partial_derivative(f, i, order)
        return f

    def infer(*avals: ShapedArray, orders: tuple[int, ...]) -> ShapedArray:
        return check_operands(name, avals, "f")

    def decompose(*args: Any, orders: tuple[int, ...]) -> Any:
        aval = elementwise_aval(name, [aval_of(a) for a in args])
        working = working_dtype(aval.dtype)
        return rebox(match(partials(function, orders)(*[convert(a, working) for a in args]), aval), "numpy")

    def impl(xp: Any, *args: Any, orders: tuple[int, ...]) -> Any:
        infer(*[aval_of(a) for a in args], orders=orders)
        return _run(name, xp, decompose, args, {"orders": orders})[0]

    def rule(i: int) -> TangentRule:
        def along(t: Any, out: Any, *primals: Any, orders: tuple[int, ...]) -> Any:
            if i in others:
                dtype = aval_of(out).dtype
                return mul(t, partials(others[i], orders)(*[convert(x, dtype) for x in primals]))
            more = tuple(n + (k == i) for k, n in enumerate(orders))
            return mul(t, prim.bind(*primals, orders=more))

        return along

    first = tuple(int(i == parameters[0]) for i in range(arity))
    prim: Primitive = Primitive(
        name,
        shape=infer,
        impl=impl,
        decompose=decompose,
        jvp=tangent_rules(lambda: prim, *map(rule, range(arity)), elementwise=True),
        batch=elementwise_batch(lambda: prim),
        samples=lambda: [s._replace(params={"orders": first}) for s in _samples(samples, "", 1, None)],
        traits=frozenset({Trait.ELEMENTWISE, Trait.COSTLY}),
    )
    return prim
