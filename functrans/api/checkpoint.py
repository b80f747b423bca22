"""``checkpoint``: values that are computed again in the backward pass, instead of being kept for it."""

from __future__ import annotations

import enum
import functools
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.arguments import check_argnums, check_outputs, leaf_path
from functrans.api.boundary import boundary, check_callable, name_of
from functrans.api.staging import abstract
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.capture import Rebuild, transformation
from functrans.core.evaluate import sized
from functrans.core.jaxpr import Jaxpr, Literal, Var, sizes_in
from functrans.core.stage import JaxprTrace
from functrans.core.trace import Tracer, aval_of, current_trace, is_array, reset_trace, set_trace
from functrans.core.tree import tree_flatten, tree_map, tree_structure
from functrans.core.treedef import PyTreeDef
from functrans.interpreters.linearize import linearize_flat
from functrans.lax.control.body import Body, BodyTrace, body_of
from functrans.lax.control.remat import (
    Policy,
    SaveAllButNames,
    SaveEither,
    SaveNames,
    checkpoint_p,
    dots_saveable,
    dots_with_no_batch_dims_saveable,
    everything_saveable,
    maker,
    name_p,
    nothing_saveable,
)

# -- names and policies ---------------------------------------------------------------------------------------------


def _names(where: str, names: Sequence[Any]) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str):
            raise errors.ArgumentError(f"{where}: names are strings, got {name!r} of type {type(name).__name__}")
    return tuple(names)


def checkpoint_name(x: Any, name: str) -> Any:
    """``x`` itself, with a name by which the policies of ``checkpoint`` know it.

    Args:
        x: an array, or a pytree of arrays.
        name: any string.

    >>> import functrans as ft
    >>> ft.ad_checkpoint.checkpoint_name(2.0, "activation")
    2.0
    """
    (name,) = _names("checkpoint_name", [name])
    return tree_map(lambda leaf: name_p.bind(leaf, name=name), x)


def save_only_these_names(*names: str) -> Policy:
    """Save the values that ``checkpoint_name`` gave one of these names."""
    return SaveNames(_names("save_only_these_names", names))


def save_any_names_but_these(*names: str) -> Policy:
    """Save the values that ``checkpoint_name`` gave a name, unless it is one of these."""
    return SaveNames(_names("save_any_names_but_these", names), others=True)


def save_anything_except_these_names(*names: str) -> Policy:
    """Save every value but those that ``checkpoint_name`` gave one of these names."""
    return SaveAllButNames(_names("save_anything_except_these_names", names))


def save_from_both_policies(policy_1: Policy, policy_2: Policy) -> Policy:
    """Save what one of the two policies saves."""
    for policy in (policy_1, policy_2):
        check_callable("save_from_both_policies", policy)
    return SaveEither(policy_1, policy_2)


checkpoint_policies = types.SimpleNamespace(
    everything_saveable=everything_saveable,
    nothing_saveable=nothing_saveable,
    dots_saveable=dots_saveable,
    checkpoint_dots=dots_saveable,
    dots_with_no_batch_dims_saveable=dots_with_no_batch_dims_saveable,
    checkpoint_dots_with_no_batch_dims=dots_with_no_batch_dims_saveable,
    save_only_these_names=save_only_these_names,
    save_any_names_but_these=save_any_names_but_these,
    save_anything_except_these_names=save_anything_except_these_names,
    save_from_both_policies=save_from_both_policies,
)
"""What ``checkpoint`` may be told to save. A policy is a function ``policy(prim, *avals, **params)``."""


# -- checkpoint -----------------------------------------------------------------------------------------------------


@boundary
def checkpoint(
    f: Callable[..., Any] | None = None,
    *,
    prevent_cse: bool = True,
    policy: Policy | None = None,
    static_argnums: int | Sequence[int] = (),
    concrete: bool = False,
) -> Callable[..., Any]:
    """A function like ``f`` whose intermediate values are not kept for the backward pass, but computed again in it.

    Reverse mode keeps what each operation needs for its derivative. Of a checkpointed function it keeps the arguments
    alone (and what ``policy`` says), and runs the function a second time once a cotangent arrives. A chain of ``n``
    layers, checkpointed in groups of about ``sqrt(n)``, so needs memory for ``2 sqrt(n)`` of them, at the price of one
    more forward pass. Values and derivatives are the same, to any order and under every transformation. Effects
    inside happen once.

    Args:
        f: a function of pytrees of arrays. Without it, a decorator is returned.
        prevent_cse: whether what is computed again is kept apart from what was computed first. Without that the
            compiler may merge the two, and so save the time and not the memory. Inside a ``scan``, where they are in
            two loops, False costs nothing and lets the compiler do more.
        policy: which results of operations are kept after all, one of ``functrans.checkpoint_policies``; none of them
            by default. It sees into jitted functions. A loop inside is run again as a whole; where its steps should
            keep something, checkpoint the body of the loop.
        static_argnums: positional arguments with no arrays to differentiate. An argument that is a single object and no
            array (a string, the ``self`` of a method) is one by itself.
        concrete: whether Python's control flow in ``f`` may depend on the values of its arguments, where these are
            known: in eager mode. It is then traced at every call.

    Returns:
        A function of the same arguments.

    Raises:
        ArgumentError: an argument is no array and not static, or a policy gives no answer.

    >>> import numpy as np, functrans as ft
    >>> layer = ft.checkpoint(lambda x: np.sin(np.sin(x)))
    >>> bool(ft.grad(layer)(1.0) == np.cos(np.sin(1.0)) * np.cos(1.0))
    True
    """
    if f is None:
        return functools.partial(
            checkpoint, prevent_cse=prevent_cse, policy=policy, static_argnums=static_argnums, concrete=concrete
        )
    check_callable("checkpoint", f)
    positions = check_argnums("checkpoint", static_argnums)
    if policy is not None:
        if not callable(policy):
            raise errors.ArgumentError(
                f"checkpoint: the policy must be a function, as those of functrans.checkpoint_policies are, got an "
                f"object of type {type(policy).__name__}"
            )
        try:
            hash(policy)
        except TypeError:
            raise errors.ArgumentError("checkpoint: the policy must be hashable, as functions are") from None
    where = f"checkpoint({name_of(f)})"

    @boundary
    @functools.wraps(f, updated=())
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if current_trace() is None:
            return f(*args, **kwargs)
        n = len(args)
        for i in positions:
            if not -n <= i < n:
                raise errors.ArgumentError(
                    f"{where}: static_argnums={i} asks for an argument that the call does not have: it has {n} "
                    f"positional argument{'' if n == 1 else 's'}"
                )
        # What is no array, as a string or the self of a method, has no derivative and no residual.
        static = {i % n for i in positions} | {i for i, a in enumerate(args) if _is_other(a)}
        fixed = tuple((i, args[i]) for i in sorted(static))
        dynamic = tuple([a for i, a in enumerate(args) if i not in static])
        leaves, treedef = tree_flatten((dynamic, kwargs))
        for i, leaf in enumerate(leaves):
            if not is_array(leaf):
                raise errors.ArgumentError(
                    f"{where}: {_argument(dynamic, kwargs, i)} is an object of type {type(leaf).__name__}; an array or "
                    f"a number is needed there. Name arguments that are no arrays in static_argnums, or close over them"
                )
        avals = [aval_of(leaf) for leaf in leaves]
        called = _spread(f, fixed)
        body = _concrete_body(where, called, treedef, leaves) if concrete else body_of(where, called, treedef, avals)
        outs = checkpoint_p.bind(
            *body.consts, *leaves, jaxpr=body.jaxpr, name=name_of(f), prevent_cse=bool(prevent_cse), policy=policy
        )
        return body.out_tree.unflatten(outs)

    return transformation(
        checkpointed,
        f,
        Rebuild(checkpoint, prevent_cse=prevent_cse, policy=policy, static_argnums=positions, concrete=concrete),
    )


remat = checkpoint


def _argument(dynamic: Any, kwargs: Any, i: int) -> str:
    n = len(tree_flatten(dynamic)[0])
    return leaf_path("argument ", dynamic, i) if i < n else leaf_path("keyword argument ", kwargs, i - n)


def _is_other(value: Any) -> bool:
    """Whether an argument is one object that is no array."""
    return not is_array(value) and tree_structure(value).num_nodes == 1 and value is not None


_VALUES = (bool, int, float, complex, str, bytes, enum.Enum, type, type(None), types.FunctionType, types.ModuleType)


def _is_value(value: Any) -> bool:
    """Whether an object that equals this one means the same program."""
    return isinstance(value, _VALUES) or (type(value) is tuple and all(map(_is_value, value)))


def _spread(f: Callable[..., Any], fixed: Sequence[tuple[int, Any]]) -> Callable[..., Any]:
    """``f`` as a function of the tuple of its dynamic arguments and the dict of its keyword arguments."""

    def spread(dynamic: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args = list(dynamic)
        for i, value in fixed:
            args.insert(i, value)
        return f(*args, **kwargs)

    # A list has no hash: a function around an object that may change its attributes is not found again by caches.
    known = all(_is_value(value) for _, value in fixed)
    return transformation(spread, f, Rebuild(_spread, fixed if known else list(fixed)))


class _ConcreteTrace(BodyTrace):
    """Records a body, and computes beside it what Python's control flow asks for."""

    __slots__ = ("_done", "_values")
    differentiates = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._done = 0
        self._values: dict[Any, Any] = {}

    def give(self, tracer: Tracer, value: Any) -> None:
        if isinstance(value, Tracer):
            self.captures[tracer.payload] = value
            value = value._trace.concrete(value)
        if value is not None:
            self._values[tracer.payload] = value

    def concrete(self, tracer: Tracer) -> Any:
        values = self._values
        for var, constant in self.constants.values():
            if var not in values:
                found = constant._trace.concrete(constant) if isinstance(constant, Tracer) else constant
                if found is not None:
                    values[var] = found
        token = set_trace(None)
        try:
            for eqn in self.eqns[self._done :]:
                self._done += 1
                if eqn.effects or not all(isinstance(a, Literal) or a in values for a in eqn.inputs):
                    continue
                if self.sizing:
                    if not all(size in values for size in sizes_in(tuple(eqn.params.values()))):
                        continue
                    eqn = sized(eqn, values)
                inputs = [a.value if isinstance(a, Literal) else values[a] for a in eqn.inputs]
                result = eqn.prim.bind(*inputs, **eqn.params)
                values.update(zip(eqn.outs, result if eqn.prim.multiple else [result], strict=True))
        finally:
            reset_trace(token)
        return values.get(tracer.payload)


def _concrete_body(where: str, f: Callable[..., Any], treedef: PyTreeDef, leaves: Sequence[Any]) -> Body:
    trace = _ConcreteTrace(name_of(f))
    inputs = [trace.input(aval_of(leaf)) for leaf in leaves]
    for tracer, leaf in zip(inputs, leaves, strict=True):
        trace.give(tracer, leaf)
    token = set_trace(trace)
    try:
        outs, out_tree = check_outputs(where, f(*treedef.unflatten(inputs)))
    finally:
        reset_trace(token)
        trace.ended = True
    jaxpr, consts = trace.finish(inputs, outs).hoisted()
    return Body(jaxpr, consts, out_tree)


# -- looking at residuals -------------------------------------------------------------------------------------------


@boundary
def saved_residuals(f: Callable[..., Any], *args: Any, **kwargs: Any) -> list[tuple[ShapedArray, str]]:
    """The arrays that reverse mode keeps of ``f`` between its forward and its backward pass.

    Args:
        f: a function of pytrees of arrays.
        args, kwargs: its arguments; ``ShapeDtypeStruct`` will do. Nothing is computed.

    Returns:
        A pair for each residual: its type, and where it comes from.

    >>> import numpy as np, functrans as ft
    >>> f = ft.checkpoint(lambda x: np.sin(np.sin(x)))
    >>> ft.ad_checkpoint.saved_residuals(lambda x: f(np.exp(x)), 1.0)[0][1].split(" at ")[0]
    'the result of exp'
    """
    check_callable("saved_residuals", f)
    where = f"saved_residuals({name_of(f)})"
    avals, treedef = abstract(where, "argument ", (args, kwargs))
    trace = JaxprTrace(current_trace(), name_of(f))
    inputs = [trace.input(a) for a in avals]
    live = [dtypes.is_inexact(a.dtype) for a in avals]

    def flat(*given: Any) -> list[Any]:
        rest = iter(given)
        leaves = [next(rest) if a else x for a, x in zip(live, inputs, strict=True)]
        positional, named = treedef.unflatten(leaves)
        return check_outputs(where, f(*positional, **named))[0]

    token = set_trace(trace)
    try:
        tape = linearize_flat(flat, [x for a, x in zip(live, inputs, strict=True) if a])
    finally:
        reset_trace(token)
        trace.ended = True
    found: dict[Any, tuple[ShapedArray, str]] = {}
    places: dict[Any, int] = {}
    jaxpr = Jaxpr([], trace.eqns, [])
    for node in tape.nodes:
        for value in node.residuals:
            if isinstance(value, Tracer) and value._trace is trace:
                var = value.payload
                if var not in found:
                    i = next((i for i, t in enumerate(inputs) if t.payload is var), None)
                    places[var] = len(inputs) if i is None else i
                    found[var] = value.aval, _made_by(jaxpr, var) if i is None else _argument(args, kwargs, i)
            elif isinstance(value, Tracer) or np.ndim(value):
                found.setdefault(id(value), (aval_of(value), "a constant"))
    return [found[key] for key in sorted(found, key=lambda key: places.get(key, len(inputs)))]


def _made_by(jaxpr: Jaxpr, var: Var) -> str:
    known = maker(jaxpr, var)
    if known is None:
        return "a constant"
    eqn, _ = known
    what = f"the name {eqn.params['name']!r}" if eqn.prim is name_p else f"the result of {eqn.prim.name}"
    return f"{what} at {eqn.source}" if eqn.source else what


@boundary
def print_saved_residuals(f: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Print what reverse mode keeps of ``f``, a line for each array; ``saved_residuals`` returns it.

    >>> import numpy as np, functrans as ft
    >>> ft.ad_checkpoint.print_saved_residuals(lambda x, y: x * y, np.ones(3), 2.0)
    f64[3] from argument 0
    f64[]* from argument 1
    """
    for aval, origin in saved_residuals(f, *args, **kwargs):
        print(f"{aval} from {origin}")
