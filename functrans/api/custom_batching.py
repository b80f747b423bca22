"""``custom_vmap``: a function of which the user says what ``vmap`` makes of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.arguments import check_outputs, flatten_arrays, leaf_path
from functrans.api.boundary import boundary, check_callable, name_of
from functrans.core.closure import Closures, Composite
from functrans.core.primitive import BatchAxis
from functrans.core.stage import stage
from functrans.core.structural import convert
from functrans.core.trace import aval_of, current_trace
from functrans.core.tree import broadcast_prefix, describe_mismatch, tree_flatten
from functrans.core.treedef import PyTreeDef
from functrans.interpreters.batch import example_aval
from functrans.lax.control.custom_batch import BatchRule, custom_vmap_p
from functrans.lax.control.mapping import map as lax_map


class custom_vmap(Composite):
    """A function with a batching rule of its own.

    The rule holds under every order of transformations: nested ``vmap``, ``jit``, and derivatives, for which the rule
    itself is differentiated. So it has to be made of operations that have derivatives where these are asked for.

    Args:
        f: a function of pytrees of arrays.

    >>> import numpy as np, functrans as ft
    >>> @ft.custom_vmap
    ... def f(x, y):
    ...     return x * y
    >>> @f.def_vmap
    ... def rule(axis_size, in_batched, x, y):
    ...     print(axis_size, in_batched)
    ...     return x * y, True
    >>> ft.vmap(f, (0, None))(np.ones(3), 2.0)
    3 [True, False]
    array([2., 2., 2.])
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        check_callable("custom_vmap", f)
        functools.update_wrapper(self, f, updated=())
        self.f = f
        self.rule: Callable[..., Any] | None = None
        self._where = name_of(f)

    def def_vmap(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule: ``rule(axis_size, in_batched, *args)`` returns ``(result, out_batched)``.

        ``in_batched`` has a pytree of booleans for each argument. What is batched has the batch as its first axis, in
        the result too. ``out_batched`` has the structure of the result, or is a prefix of it: True for all of it, say.
        """
        check_callable("def_vmap", rule)
        self.rule = rule
        return rule

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is None:
            return self.f(*args, **kwargs)
        if kwargs:
            bound = inspect.signature(self.f).bind(*args, **kwargs)
            bound.apply_defaults()
            if bound.kwargs:
                raise errors.CustomRuleError(
                    f"{self._where} has a batching rule and was given keyword-only arguments "
                    f"({', '.join(bound.kwargs)}), for which the rule has no place. Make them positional, or close "
                    f"over them"
                )
            args = bound.args
        leaves, treedef = flatten_arrays(f"custom_vmap({self._where})", "argument ", args)
        call = _Call(self, treedef)
        captured = call.closures.tracers
        rule = BatchRule(self._where, call.fun, call.mapped, len(captured))
        outs = custom_vmap_p.bind(*captured, *leaves, rule=rule)
        assert call.out_tree is not None
        return call.out_tree.unflatten(outs)

    def parts(self) -> list[Any]:
        return [self.f, self.rule]

    def replace_parts(self, parts: list[Any]) -> None:
        self.f, self.rule = parts

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<custom_vmap {self._where}>"


class _Call:
    """One call, flat. The first arrays are traced values that the function and its rule close over."""

    def __init__(self, custom: custom_vmap, in_tree: PyTreeDef) -> None:
        self.custom = custom
        self.in_tree = in_tree
        self.where = custom._where
        self.closures = Closures([custom])
        self.out_tree: PyTreeDef | None = None

    def _opened(self, flat: Sequence[Any]) -> tuple[custom_vmap, Sequence[Any]]:
        n = len(self.closures.tracers)
        return (self.closures.substitution(flat[:n])(self.custom), flat[n:]) if n else (self.custom, flat)

    def fun(self, *flat: Any) -> list[Any]:
        custom, leaves = self._opened(flat)
        outs, self.out_tree = check_outputs(self.where, custom.f(*self.in_tree.unflatten(leaves)))
        return outs

    def mapped(self, axis: BatchAxis, batched: Sequence[bool], flat: Sequence[Any]) -> tuple[list[Any], list[bool]]:
        where = f"the batching rule of {self.where}"
        custom, leaves = self._opened(flat)
        n = len(self.closures.tracers)
        if any(batched[:n]):
            raise errors.CustomRuleError(
                f"{where}: {self.where} closes over a value that is batched, of which the rule knows nothing. Pass "
                f"that value as an argument"
            )
        if custom.rule is None:
            raise errors.CustomRuleError(
                f"{self.where} was declared with custom_vmap and has no rule: write @{self.where}.def_vmap above a "
                f"function (axis_size, in_batched, *args) that returns (result, out_batched)"
            )
        avals = [aval_of(x) for x in flat]
        examples = [example_aval(a, 0) if b else a for a, b in zip(avals, batched, strict=True)]
        expected = stage(self.fun, examples, self.where).out_avals
        assert self.out_tree is not None
        in_batched = list(self.in_tree.unflatten(batched[n:]))
        pair = custom.rule(axis.size, in_batched, *self.in_tree.unflatten(leaves))
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise errors.CustomRuleError(f"{where} must return a pair (result, out_batched), got {type(pair).__name__}")
        outs, tree = check_outputs(where, pair[0])
        if tree != self.out_tree:
            raise errors.CustomRuleError(
                f"{where} must return what {self.where} returns: {describe_mismatch(self.out_tree, tree)}"
            )
        try:
            out_batched = broadcast_prefix(pair[1], pair[0], name="out_batched", full_name="result")
        except errors.TreeStructureError as error:
            raise errors.CustomRuleError(f"{where}: out_batched is no prefix of the result: {error}") from None
        fitted = []
        for i, (out, b, aval) in enumerate(zip(outs, out_batched, expected, strict=True)):
            if not isinstance(b, bool):
                raise errors.CustomRuleError(f"{where}: out_batched must hold booleans, got {b!r}")
            wanted = (axis.size, *aval.shape) if b else aval.shape
            got = aval_of(out)
            if got.shape != wanted or not np.can_cast(got.dtype, aval.dtype, "same_kind"):
                raise errors.CustomRuleError(
                    f"{where}: {leaf_path('the result', pair[0], i)} has dtype {got.dtype} and shape {got.shape}; "
                    f"{aval.dtype} and {wanted} are needed, as {self.where} returns {aval} and the result is "
                    f"{f'a batch of {axis.size}' if b else 'said to be no batch'}"
                )
            fitted.append(convert(out, aval.dtype) if got.dtype != aval.dtype else out)
        return fitted, list(out_batched)


@boundary
def sequential_vmap(f: Callable[..., Any]) -> custom_vmap:
    """A function that ``vmap`` runs on one example after another, with the memory of one.

    >>> import numpy as np, functrans as ft
    >>> from functrans.custom_batching import sequential_vmap
    >>> ft.vmap(sequential_vmap(np.dot))(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([1., 4.])
    """
    check_callable("sequential_vmap", f)
    custom = custom_vmap(f)

    @custom.def_vmap
    def rule(axis_size: Any, in_batched: Sequence[Any], *args: Any) -> tuple[Any, bool]:
        leaves, treedef = tree_flatten(args)
        batched = tree_flatten(in_batched)[0]

        def one(rows: Sequence[Any]) -> Any:
            given = iter(rows)
            return f(*treedef.unflatten([next(given) if b else x for x, b in zip(leaves, batched, strict=True)]))

        return lax_map(one, [x for x, b in zip(leaves, batched, strict=True) if b]), True

    return custom
