"""Random jaxprs, built equation by equation, and primitives that exist for the length of a test only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from functrans.core.avals import ShapedArray, shaped
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, SizeVar, Var, dce, effects_of
from functrans.core.primitive import Primitive, registry
from functrans.core.structural import add_p, broadcast_p, convert_p, rebox_p, sum_p, transpose_p
from functrans.errors import FunctransError
from functrans.lax.arithmetic import mul_p, neg_p, sub_p

F64 = np.dtype(np.float64)
DTYPES = [np.dtype(c) for c in "?bhilBHILefdgFDG"]
PYTHON_DTYPES = [np.dtype(c) for c in (bool, int, float, complex)]
PRIMITIVES = [add_p, sub_p, mul_p, neg_p, convert_p, broadcast_p, transpose_p, sum_p, rebox_p]
SHAPES = [(), (3,), (1,), (2, 3), (3, 3), (0, 3)]


def f64(*shape: Any, box: Any = "array") -> ShapedArray:
    return shaped(shape, F64, box)


class Extra(NamedTuple):
    """Primitives that the core's own tests need and the core does not have.

    ``call`` calls its jaxpr; ``choose`` takes a tuple of jaxprs; ``tell`` has an effect and no result; ``find`` gives
    a size and an array of that size.
    """

    call: Primitive
    choose: Primitive
    tell: Primitive
    find: Primitive


def _dce_call(eqn: Eqn, used: Sequence[bool]) -> Eqn:
    outs = tuple(out for out, u in zip(eqn.outs, used, strict=True) if u)
    return eqn._replace(outs=outs, params=eqn.params | {"jaxpr": dce(eqn.params["jaxpr"], used)})


def _find_shape(x: ShapedArray, *, keep: bool) -> list[ShapedArray]:
    n = SizeVar()
    return [n.aval, shaped((n, *x.shape[1:]), x.dtype)]


EXTRA = Extra(
    Primitive(
        "test_call",
        shape=lambda *avals, jaxpr, name: list(jaxpr.out_avals),
        impl=lambda xp, *args, jaxpr, name: evaluate(jaxpr, args),
        multiple=True,
        kind="call",
        dce=_dce_call,
    ),
    Primitive(
        "test_choose",
        shape=lambda which, *avals, branches: list(branches[0].out_avals),
        impl=lambda xp, which, *args, branches: evaluate(branches[int(which)], args),
        multiple=True,
        kind="branch",
    ),
    Primitive(
        "test_tell",
        shape=lambda *avals, words: [],
        impl=lambda xp, *args, words: [],
        multiple=True,
        effects=lambda *, words: frozenset({"speech"}),
    ),
    Primitive(
        "test_find",
        shape=_find_shape,
        impl=lambda xp, x, *, keep: [len(x), x],
        multiple=True,
        kind="library",
    ),
)


@contextmanager
def registered(prims: Sequence[Primitive] = EXTRA) -> Iterator[None]:
    """Let texts find primitives for the length of a block; the checks of all primitives never meet them."""
    registry.update((prim.name, prim) for prim in prims)
    try:
        yield
    finally:
        for prim in prims:
            del registry[prim.name]


for _prim in EXTRA:
    del registry[_prim.name]


def variant(prim: Primitive, **slots: Any) -> Primitive:
    """An unregistered copy of a primitive with some slots changed."""
    copy = object.__new__(Primitive)
    copy.__dict__.update(vars(prim) | slots)
    return copy


def eqn(prim: Primitive, *inputs: Any, **params: Any) -> Eqn:
    """An equation with the results that the shape rule gives; inputs may be numbers."""
    atoms = tuple(a if isinstance(a, (Var, Literal)) else Literal(a) for a in inputs)
    found = prim.shape(*[a.aval for a in atoms], **params)
    outs = tuple(Var(aval) for aval in (found if prim.multiple else [found]))
    return Eqn(prim, atoms, outs, params, None, effects_of(prim, params))


def _python_numbers(dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    return {"b": st.booleans(), "i": st.integers(-300, 300), "f": st.floats(), "c": st.complex_numbers()}[dtype.kind]


@st.composite
def numbers(draw: st.DrawFn) -> Any:
    """A Python number or a NumPy scalar of any dtype, NaN and infinities and signed zeros included."""
    if draw(st.booleans()):
        return draw(_python_numbers(draw(st.sampled_from(PYTHON_DTYPES))))
    dtype = draw(st.sampled_from(DTYPES))
    with np.errstate(all="ignore"):
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            return dtype.type(draw(st.integers(int(info.min), int(info.max))))
        if dtype.kind == "b":
            return np.bool(draw(st.booleans()))
        if dtype.kind == "f":
            # A third has digits that only the widest dtype keeps.
            return dtype.type(draw(st.floats())) / dtype.type(draw(st.sampled_from([1, 3])))
        number = np.zeros((), dtype)
        number.real, number.imag = draw(st.floats()), draw(st.floats())
        return number[()]


@st.composite
def avals(draw: st.DrawFn, sizes: Sequence[SizeVar] = ()) -> ShapedArray:
    """A type: any dtype, 0-d ones in every box; extents may be the given size variables."""
    shape = draw(st.sampled_from([*SHAPES, *((n, 3) for n in sizes), *((2, n) for n in sizes)]))
    box = draw(st.sampled_from(["python", "numpy", "array"])) if shape == () else "array"
    return shaped(shape, draw(st.sampled_from(PYTHON_DTYPES if box == "python" else DTYPES)), box)


def _equation(draw: st.DrawFn, atoms: Sequence[Atom], sizes: Sequence[SizeVar], call: Primitive | None) -> Eqn:
    """An equation on the given atoms; FunctransError where operands that were drawn do not fit."""

    def operand() -> Atom:
        return draw(st.sampled_from(atoms)) if atoms and draw(st.integers(0, 3)) else Literal(draw(numbers()))

    x = operand()
    prim = draw(st.sampled_from([*PRIMITIVES, call] if call is not None else PRIMITIVES))
    axes = range(x.aval.ndim)
    if prim is call:
        inputs = [operand() for _ in range(draw(st.integers(0, 3)))]
        # A region has its own scope, so sizes reach it as operands only.
        inputs = [a for a in inputs if all(isinstance(d, int) for d in a.aval.shape)]
        inner = draw(programs(in_avals=[a.aval for a in inputs]))
        return eqn(call, *inputs, jaxpr=inner, name=draw(st.sampled_from(["f", "<lambda>", "in", "f32", "a b", "ü"])))
    if prim in (add_p, sub_p, mul_p):
        return eqn(prim, x, operand())
    if prim is neg_p:
        return eqn(prim, x)
    if prim is convert_p:
        return eqn(prim, x, dtype=draw(st.sampled_from(DTYPES)))
    if prim is broadcast_p:
        lead = draw(st.sampled_from([2, *sizes]))
        return eqn(prim, x, shape=(lead, *x.aval.shape), dims=tuple(a + 1 for a in axes))
    if prim is transpose_p:
        return eqn(prim, x, axes=tuple(draw(st.permutations(list(axes)))))
    if prim is sum_p:
        return eqn(prim, x, axes=tuple(a for a in axes if draw(st.booleans())))
    box = draw(st.sampled_from(["python", "numpy", "array"]))
    if x.aval.shape != () or (box == "python" and x.aval.dtype not in PYTHON_DTYPES):
        box = "array"
    return eqn(rebox_p, x, box=box)


@st.composite
def programs(
    draw: st.DrawFn,
    in_avals: Sequence[ShapedArray] | None = None,
    call: Primitive | None = None,
    with_sizes: bool = False,
) -> Jaxpr:
    """A well-formed jaxpr. Its inputs are drawn unless their types are given; then it has no constants either."""
    sizes = [SizeVar() for _ in range(draw(st.integers(0, 2)))] if with_sizes else []
    constvars: list[Var] = []
    if in_avals is None:
        in_avals = draw(st.lists(avals(sizes=sizes), max_size=3))
        constvars = [Var(a) for a in draw(st.lists(avals().filter(lambda a: a.box == "array"), max_size=2))]
    invars = [*sizes, *map(Var, in_avals)]
    atoms: list[Atom] = [*constvars, *invars]
    eqns = []
    for _ in range(draw(st.integers(0, 6))):
        try:
            made = _equation(draw, atoms, sizes, call)
        except FunctransError:
            continue
        eqns.append(made)
        atoms.extend(made.outs)
    outvars = draw(st.lists(st.sampled_from(atoms), max_size=3)) if atoms else []
    outvars += map(Literal, draw(st.lists(numbers(), max_size=1)))
    return Jaxpr(invars, eqns, outvars, constvars, [contents(v.aval) for v in constvars])


def contents(aval: ShapedArray, start: float = -1.0) -> Any:
    """A value of a type: some negative, some zero, some positive elements."""
    with np.errstate(all="ignore"):
        array = (np.arange(aval.size) + start).reshape(aval.shape).astype(aval.dtype)
    return array if aval.box == "array" else array[()] if aval.box == "numpy" else array.item()


def outcome(function: Callable[[], Sequence[Any]]) -> Any:
    """The types and all digits of what a function gives, or the type of what it raises."""
    with np.errstate(all="ignore"), np.printoptions(threshold=1000, floatmode="unique"):
        try:
            return [(type(x), repr(x)) for x in function()]
        except (FunctransError, OverflowError, ValueError, TypeError) as error:
            return type(error)
