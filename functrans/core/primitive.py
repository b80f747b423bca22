"""Primitives: the operations that the jaxpr language is made of.

A primitive is a record of rule slots. Interpreters know the slots, never the primitives, so an operation is
defined in one block in one file and nothing else needs an edit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from functrans import errors
from functrans.core import extended
from functrans.core.avals import ShapedArray
from functrans.core.finite import check_forward, is_debugging
from functrans.core.trace import Tracer, aval_of, current_source, current_trace

Params = dict[str, Any]
Kind = Literal["call", "loop", "branch", "library", "custom"]


REGIONS = ("call", "loop", "branch", "custom")


class Zero:
    """A tangent or cotangent known to be zero. It is kept symbolic, and instantiated as late as possible."""

    __slots__ = ("aval",)

    def __init__(self, aval: ShapedArray) -> None:
        self.aval = aval

    def __repr__(self) -> str:
        return f"Zero({self.aval})"


class Undefined:
    """Stands, in a transpose rule, for an operand in which the operation is linear and whose value is unknown."""

    __slots__ = ("aval",)

    def __init__(self, aval: ShapedArray) -> None:
        self.aval = aval

    def __repr__(self) -> str:
        return f"Undefined({self.aval})"


class BatchAxis(NamedTuple):
    """The axis that ``vmap`` adds.

    Attributes:
        size: its extent.
        name: the name that collectives know it by.
        live: which examples are there at all, one boolean for each, where control flow of the batch left some of
            them out: what has effects passes those over. None for all of them.
        directions: whether the examples are directions of one derivative. What depends on none of them happens once
            then, and not for each.
    """

    size: Any
    name: Any = None
    live: Any = None
    directions: bool = False


ORDERED = "ordered"
"""The effect of what must keep its place among others of its kind."""
UNORDERED = "unordered"
"""The effect of what happens for each example of a batch, one after another."""
PER_EXAMPLE = frozenset({ORDERED, UNORDERED})


class Sample(NamedTuple):
    """Example inputs of a primitive, from which every check of it is derived.

    Attributes:
        args: arrays and Python scalars.
        params: the static parameters.
        order: up to which order derivatives are compared with finite differences; 0 where the operation is
            piecewise constant or the example stands at a kink.
        diff: which operands derivatives are checked in; None for every inexact one.
        vary: how batches of it are made: the elements of an operand in another order, or all of them scaled, where
            another order would leave the domain.
    """

    args: tuple[Any, ...]
    params: Params = {}  # noqa: RUF012 - never written to
    order: int = 2
    diff: tuple[int, ...] | None = None
    vary: Literal["reorder", "scale"] = "reorder"


class Picked(NamedTuple):
    """An index that an operand of a movement holds; one below zero counts from the end.

    Attributes:
        operand: the number of the operand, of integers.
        position: the place of the integer in it.
        extent: how many places there are to choose from.
        mode: what an integer means that lies outside even so: ``raise``, an error; ``clip``, the nearest place inside;
            ``drop``, that there is no element.
        turn: what is added to an integer below zero.
        offset: an index that is added to the place.
    """

    operand: int
    position: tuple[Any, ...]
    extent: int
    mode: str
    turn: int
    offset: Any = 0


class Source(NamedTuple):
    """Where an element of a movement's result comes from.

    Attributes:
        operand: the number of the operand; None where the element is the one index of ``position``, as a number.
        position: for each of its axes an index, or what is ``Picked``.
        guard: ``(index, low, high)``; where an index is outside of ``range(low, high)``, the element is ``other``.
        other: the number of a 0-d operand, or a ``Source``; zero if None.
    """

    operand: int | None
    position: tuple[Any, ...]
    guard: tuple[tuple[Any, int, int], ...] = ()
    other: int | Source | None = None


@dataclass(eq=False)
class Primitive:
    """One operation and all that is known of it.

    Arrays are positional, static metadata are keywords: hashable, printable and compared by value.

    Attributes:
        name: how the text form spells it.
        shape: ``shape(*avals, **params)`` gives the aval of the result, or a list of them for ``multiple``.
        impl: ``impl(xp, *arrays, **params)`` computes it with the array module ``xp`` (numpy or cupy).
        jvp: ``jvp(primals, tangents, **params)`` gives results and their tangents. A tangent may be ``Zero``.
        transpose: ``transpose(cotangent, *operands, **params)`` gives a cotangent (or None) for each operand.
            An operand is a value, or ``Undefined`` where the operation is linear in it.
        batch: ``batch(axis, operands, dims, **params)`` gives the results and their batch dimensions. A
            dimension is None where the operand is not batched.
        multiple: whether the results are a list.
        scalar: the NumPy ufunc that an elementwise operation applies to each element, by name.
        decompose: ``decompose(*operands, **params)``, the operation in terms of other primitives.
        kind: what a backend has to know of an operation that is neither: a region (call, loop, branch), a
            ``library`` call, or a ``custom`` rule carrier.
        index: for a movement, where in its operands the elements of the result stand: ``index(position, *avals, **p)``
            takes an index for each axis of the result and gives a ``Source``, or None where they do not say.
        monoid: for a reduction or a running reduction, how two elements combine: ``add mul max min and or``, or
            ``argmax argmin`` for the place of an extremum.
        specialize: ``specialize(xp, avals, **params)`` gives a callable of the arrays alone, where knowing the
            static parts makes a faster one than ``impl``.
        into: ``into(xp, avals, **params)`` gives a callable of the arrays and of one more, which it writes the result
            to; None where the operation cannot. Compilers use it for results whose memory is planned.
        over: ``over(xp, avals, **params)`` gives a callable of the arrays that writes the result over the first one,
            which is in row-major order and read by nobody else, and returns it; None where the operation cannot. Its
            attribute ``subscript``, if it has one, says that it does what ``x[i] = update`` does, errors apart.
        flops: ``flops(*avals, **params)`` counts the operations of what is neither elementwise nor a reduction.
        inline: for calls, what they may be replaced by once no transformation follows: ``inline(inputs, **params)``
            gives a jaxpr and its inputs, or None.
        split: for regions, the known/unknown split (see ``interpreters.split``).
        linearize: ``linearize(primals, live, **params)`` gives results and a ``Linear`` map, for operations that carry
            a reverse rule of the user's, which runs on the actual values.
        stage: ``stage(avals, params)`` gives further operands and the params to record, for operations that carry
            Python functions.
        jet: ``jet(order, series, **params)`` gives the Taylor coefficients of the results for those of the operands
            (see ``lax.taylor``), where a recurrence is cheaper than what follows from ``jvp``.
        samples: a thunk that gives ``Sample``s for the systematic tests.
        traits: see ``Trait``.
        effects: ``effects(**params)`` gives the effects of one application; none if absent.
        safe: for an elementwise operation, a value of its operands at which all derivatives are finite, or one for each
            of them, None for one that stays; None for an operation that is linear in all of them, or constant.
            ``safe_where`` puts it where nobody looks.
        not_differentiable: why there is no derivative, in words for the user; set instead of ``jvp``.
    """

    name: str
    shape: Callable[..., Any]
    impl: Callable[..., Any]
    jvp: Callable[..., Any] | None = None
    transpose: Callable[..., Any] | None = None
    batch: Callable[..., Any] | None = None
    multiple: bool = False
    scalar: str | None = None
    decompose: Callable[..., Any] | None = None
    kind: Kind | None = None
    index: Callable[..., Source | None] | None = None
    monoid: str | None = None
    inline: Callable[..., Any] | None = None
    into: Callable[..., Callable[..., Any] | None] | None = None
    over: Callable[..., Callable[..., Any] | None] | None = None
    flops: Callable[..., int] | None = None
    specialize: Callable[..., Callable[..., Any]] | None = None
    split: Callable[..., Any] | None = None
    linearize: Callable[..., Any] | None = None
    stage: Callable[..., Any] | None = None
    dce: Callable[..., Any] | None = None
    jet: Callable[..., Any] | None = None
    samples: Callable[[], Iterable[Sample]] | None = None
    traits: frozenset[str] = field(default_factory=frozenset)
    effects: Callable[..., frozenset[str]] | None = None
    safe: float | tuple[float | None, ...] | None = 0.5
    not_differentiable: str | None = None

    def __post_init__(self) -> None:
        if self.name in registry:
            raise ValueError(f"a primitive named {self.name!r} exists already")
        registry[self.name] = self

    def bind(self, *args: Any, **params: Any) -> Any:
        """Apply the primitive: the current trace decides what that means; without one it is computed."""
        trace = current_trace()
        if trace is not None:
            return trace.process(self, args, params)
        return self.compute(args, params)

    def compute(self, args: Sequence[Any], params: Params) -> Any:
        """The result for concrete operands."""
        for arg in args:
            if isinstance(arg, Tracer):
                raise leaked(arg, f"the operation {self.name!r}")
        if self.kind not in REGIONS and extended.involved(args):
            result = self._compute_extended(args, params)
        else:
            xp = array_module(args, repr(self.name))
            if _cupy is not None and xp is np:
                xp = self._where_made(args, params)
            result = self.impl(xp, *args, **params)
        if is_debugging():
            for value in result if self.multiple else [result]:
                check_forward(value, current_source(), self.name)
        return result

    def _where_made(self, args: Sequence[Any], params: Params) -> Any:
        """The module that makes an array out of no arrays."""
        xp = creating(np)
        if xp is np or self.multiple or any(isinstance(a, np.ndarray) and a.ndim for a in args):
            return np
        return xp if self.shape(*map(aval_of, args), **params).box == "array" else np

    def _compute_extended(self, args: Sequence[Any], params: Params) -> Any:
        function = partial(self.impl, array_module(args, repr(self.name)), **params)
        shape = partial(self.shape, **params)
        return extended.computed(function, shape, args, self.multiple, Trait.ELEMENTWISE in self.traits)

    def has(self, trait: str) -> bool:
        return trait in self.traits

    def rule(self, slot: str) -> Callable[..., Any]:
        """The rule in a slot; MissingRuleError where it is empty."""
        found = getattr(self, slot)
        if found is None:
            if slot == "jvp" and self.not_differentiable is not None:
                raise errors.NotDifferentiableError(
                    f"{self.name} cannot be differentiated: {self.not_differentiable}. Pass its operands through "
                    f"functrans.lax.stop_gradient, or give a rule with functrans.custom_jvp"
                )
            raise errors.MissingRuleError(
                f"the primitive {self.name!r} has no {slot!r} rule. Give one where the primitive is defined, or wrap "
                f"the operation in a function with functrans.custom_jvp or functrans.custom_vjp"
            )
        rule: Callable[..., Any] = found
        return rule

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return find, (self.name,)


registry: dict[str, Primitive] = {}
"""Every primitive that is loaded, by name: for the parser of the text form and for the systematic tests."""


def find(name: str) -> Primitive:
    """The primitive of that name."""
    if name not in registry:
        load_all()
    try:
        return registry[name]
    except KeyError:
        raise errors.JaxprError(f"no primitive is named {name!r}") from None


_loaders: list[Callable[[], None]] = []


def load_with(loader: Callable[[], None]) -> Callable[[], None]:
    """Name a function that loads the families of primitives which are loaded at first use only."""
    _loaders.append(loader)
    return loader


def load_all() -> None:
    """Load every family of primitives that the package has."""
    for loader in _loaders:
        loader()


class Trait:
    """The traits that passes and backends ask for, instead of lists of primitives."""

    ELEMENTWISE = "elementwise"
    """Applies to each element apart; operands broadcast as in NumPy, and weak scalars adopt the others' dtype."""
    COMMUTATIVE = "commutative"
    MOVEMENT = "movement"
    """Each element of the result is an element of an operand (or a constant)."""
    VIEW = "view"
    """A movement whose result may share memory with its operand."""
    REDUCTION = "reduction"
    CUMULATIVE = "cumulative"
    """A running reduction along an axis."""
    COMPOUND = "compound"
    """The implementation makes the very calls that the decomposition is written in."""
    COSTLY = "costly"
    """Better saved than computed a second time."""
    COLLECTIVE = "collective"
    """Computes across named axes, which its parameter ``axes`` lists."""
    THREADED = "threaded"
    """The library that computes it runs threads of its own."""
    BARRIER = "barrier"
    """No pass moves or merges work across it."""


_cupy: Any = None


def array_module(args: Iterable[Any], operation: str = "one operation") -> Any:
    """numpy, or cupy where an operand lives on the device."""
    global _cupy
    for arg in args:
        module = type(arg).__module__
        if module.startswith("cupy"):
            if _cupy is None:
                import cupy

                _cupy = cupy
            for other in args:
                if isinstance(other, np.ndarray) and other.ndim:
                    raise errors.MixedArraysError(
                        f"a NumPy array and a CuPy array met in {operation}. Nothing is transferred implicitly: "
                        "move one of them with cupy.asarray(x) or x.get()"
                    )
            return _cupy
    return np


_creating: ContextVar[Any] = ContextVar("creating", default=None)
"""The module of the arrays that a transformation was given, where it is not numpy."""


def creating(xp: Any) -> Any:
    """The module in which an operation without array operands makes its result."""
    if xp is np and _cupy is not None:
        return _creating.get() or np
    return xp


def device_seen() -> bool:
    """Whether an array of a device has been met by this process: until then, everything is numpy's."""
    return _cupy is not None


def created_by(xp: Any) -> Token[Any]:
    """Have new arrays made by a module, until ``created_until``."""
    return _creating.set(xp)


def created_until(token: Token[Any]) -> None:
    _creating.reset(token)


def leaked(tracer: Tracer, where: str) -> errors.LeakedTracerError:
    """The error for a tracer met outside its transformation."""
    return errors.LeakedTracerError(
        f"{where} got a traced value of type {tracer.aval} that belongs to a transformation which has ended, or that "
        f"runs in another thread, or around a block of ensure_compile_time_eval. {tracer.describe_origin()}Return such "
        f"a value from the transformed function instead of storing it in a list, a global or an attribute. "
        f"functrans.checking_leaks() finds where it was stored"
    )
