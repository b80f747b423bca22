"""``custom_jvp``, ``custom_vjp`` and ``custom_gradient``: derivative rules of the user's."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.arguments import check_outputs, leaf_path
from functrans.api.boundary import check_callable, name_of
from functrans.api.staging import closure_convert
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.closure import Closures, Composite
from functrans.core.primitive import Zero
from functrans.core.structural import convert, instantiate
from functrans.core.trace import aval_of, current_trace, is_array
from functrans.core.tree import broadcast_prefix, describe_mismatch, tree_flatten, tree_map
from functrans.core.treedef import PyTreeDef
from functrans.lax.control.custom_rules import Rules, custom_p


class SymbolicZero:
    """Stands, in a rule declared with ``symbolic_zeros=True``, for a tangent or cotangent that is zero."""

    __slots__ = ("aval",)

    def __init__(self, aval: ShapedArray) -> None:
        self.aval = aval

    @property
    def shape(self) -> tuple[Any, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> Any:
        return self.aval.dtype

    def __repr__(self) -> str:
        return f"SymbolicZero({self.aval})"


class CustomVJPPrimal:
    """An argument as a forward rule declared with ``symbolic_zeros=True`` gets it.

    Attributes:
        value: the array.
        perturbed: whether it is being differentiated.
    """

    __slots__ = ("perturbed", "value")

    def __init__(self, value: Any, perturbed: bool) -> None:
        self.value = value
        self.perturbed = perturbed

    def __repr__(self) -> str:
        return f"CustomVJPPrimal({self.value!r}, perturbed={self.perturbed})"


def custom_vjp_primal_tree_values(tree: Any) -> Any:
    """A pytree with the arrays in place of ``CustomVJPPrimal``s.

    >>> custom_vjp_primal_tree_values({"x": CustomVJPPrimal(2.0, True)})
    {'x': 2.0}
    """
    return tree_map(lambda leaf: leaf.value if isinstance(leaf, CustomVJPPrimal) else leaf, tree)


def _is_symbolic(x: Any) -> bool:
    return isinstance(x, SymbolicZero)


class _CustomFunction(Composite):
    """A function with derivative rules. Either kind may be added to it, or both."""

    def __init__(
        self, f: Callable[..., Any], nondiff_argnums: Sequence[int] = (), nondiff_argnames: Sequence[str] = ()
    ) -> None:
        check_callable(type(self).__name__, f)
        functools.update_wrapper(self, f, updated=())
        self.f = f
        self._signature: inspect.Signature | None
        try:
            # A ufunc's further arguments are no operands, and a builtin may have no signature at all.
            self._signature = None if isinstance(f, np.ufunc) else inspect.signature(f)
        except (TypeError, ValueError):
            self._signature = None
        parameters = list(self._signature.parameters.values()) if self._signature is not None else []
        self._names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        for name in nondiff_argnames:
            if name not in self._names:
                raise errors.CustomRuleError(
                    f"{type(self).__name__}({name_of(f)}): nondiff_argnames has {name!r}, and the positional arguments "
                    f"are {', '.join(self._names) or 'not known'}"
                )
        self.nondiff_argnums = tuple(sorted({*nondiff_argnums, *map(self._names.index, nondiff_argnames)}))
        self.jvp: Callable[..., Any] | None = None
        self.fwd: Callable[..., Any] | None = None
        self.bwd: Callable[..., Any] | None = None
        self.jvp_symbolic = self.vjp_symbolic = self.optimize_remat = False
        self._where = name_of(f)
        if isinstance(f, _CustomFunction):
            self._adopt(f)

    def _adopt(self, inner: _CustomFunction) -> None:
        """Take over the rules of a custom function that this one is wrapped around."""
        if self.nondiff_argnums and self.nondiff_argnums != inner.nondiff_argnums:
            raise errors.CustomRuleError(
                f"{type(self).__name__}({self._where}): nondiff_argnums={self.nondiff_argnums} is given around a "
                f"{type(inner).__name__} with nondiff_argnums={inner.nondiff_argnums}. Both kinds of rule take the "
                f"same arguments: give the same to both"
            )
        self.f, self.nondiff_argnums = inner.f, inner.nondiff_argnums
        self.jvp, self.fwd, self.bwd = inner.jvp, inner.fwd, inner.bwd
        self.jvp_symbolic, self.vjp_symbolic = inner.jvp_symbolic, inner.vjp_symbolic
        self.optimize_remat = inner.optimize_remat

    # -- declaring rules ------------------------------------------------------------------------------------------

    def defjvp(self, rule: Callable[..., Any], symbolic_zeros: bool = False) -> Callable[..., Any]:
        """Set the forward rule: ``rule(primals, tangents)`` returns the result and its tangent.

        Both arguments are tuples with a member for each differentiable argument; values of
        ``nondiff_argnums`` come before them. The tangent of the result must be linear in the tangents. Tangents of
        integers have dtype ``float0``; with ``symbolic_zeros`` a zero tangent is a ``SymbolicZero``.
        """
        check_callable("defjvp", rule)
        self.jvp = rule
        self.jvp_symbolic = symbolic_zeros
        return rule

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """Set the forward rule one argument at a time.

        Each rule is ``rule(tangent, result, *primals)``, or None for an argument without influence.
        """
        if self.nondiff_argnums:
            raise errors.CustomRuleError(f"{self._where}.defjvps: nondiff_argnums need a rule given by defjvp")

        def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
            result = self(*primals)
            zero = [instantiate(Zero(aval_of(x).tangent())) for x in tree_flatten(result)[0]]
            total = tree_flatten(result)[1].unflatten(zero)
            for r, t in zip(rules, tangents, strict=True):
                if r is not None:
                    total = _tree_add(total, r(t, result, *primals))
            return result, total

        self.defjvp(rule)

    def defvjp(
        self,
        fwd: Callable[..., Any],
        bwd: Callable[..., Any],
        symbolic_zeros: bool = False,
        optimize_remat: bool = False,
    ) -> None:
        """Set the reverse rule.

        Args:
            fwd: takes the arguments of the function, returns ``(result, residuals)``.
            bwd: ``bwd(residuals, cotangent)`` returns a tuple with a cotangent for each differentiable argument,
                None for one that is zero; values of ``nondiff_argnums`` come before the residuals.
            symbolic_zeros: give ``fwd`` a ``CustomVJPPrimal`` for each array of the differentiable arguments, which
                says whether it is being differentiated, and ``bwd`` a ``SymbolicZero`` for a cotangent that is zero.
            optimize_remat: where the residuals turn out not to be needed, as in the first pass of a ``checkpoint``,
                run the function itself rather than ``fwd``: of use where the two are different programs, and ``fwd``
                the dearer one.
        """
        check_callable("defvjp", fwd)
        check_callable("defvjp", bwd)
        self.fwd, self.bwd = fwd, bwd
        self.vjp_symbolic, self.optimize_remat = symbolic_zeros, optimize_remat

    # -- calling --------------------------------------------------------------------------------------------------

    def _positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Every argument by position, defaults included. Keyword-only arguments keep their defaults."""
        if not kwargs and len(args) >= len(self._names):
            return args
        nowhere = [name for name in kwargs if name not in self._names]
        if nowhere:
            raise errors.CustomRuleError(
                f"{self._where} has a custom rule and was given keyword-only arguments ({', '.join(nowhere)}), for "
                f"which a rule has no place. Make them positional, or close over them"
            )
        assert self._signature is not None
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.args

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is None:
            return self.f(*args, **kwargs)
        args = self._positional(args, kwargs)
        for i in self.nondiff_argnums:
            if not -len(args) <= i < len(args):
                raise errors.CustomRuleError(
                    f"{self._where}: nondiff_argnums={i} is out of range for {len(args)} arguments"
                )
        fixed = {i % len(args): args[i % len(args)] for i in self.nondiff_argnums}
        dynamic = tuple(a for i, a in enumerate(args) if i not in fixed)
        every, treedef = tree_flatten(dynamic)
        places = [i for i, leaf in enumerate(every) if is_array(leaf)]
        if len(places) != len(every):
            bad = next(i for i in range(len(every)) if i not in places)
            raise errors.CustomRuleError(
                f"{self._where}: {leaf_path('argument ', dynamic, bad)} is an object of type "
                f"{type(every[bad]).__name__}. Name arguments that are no arrays in nondiff_argnums"
            )
        call = _Call(self, fixed, len(args), treedef)
        captured = call.closures.tracers
        rules = Rules(
            self._where,
            call.fun,
            call.jvp if self.jvp is not None else None,
            call.fwd if self.fwd is not None else None,
            call.bwd if self.bwd is not None else None,
            len(captured),
            optimize_remat=self.optimize_remat,
        )
        outs = custom_p.bind(*captured, *every, rules=rules)
        return call.out_tree.unflatten(outs)

    def parts(self) -> list[Any]:
        return [self.f, self.jvp, self.fwd, self.bwd]

    def replace_parts(self, parts: list[Any]) -> None:
        self.f, self.jvp, self.fwd, self.bwd = parts

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._where}>"


def _tree_add(a: Any, b: Any) -> Any:
    leaves, treedef = tree_flatten(a)
    others, _ = tree_flatten(b)
    return treedef.unflatten([x + y for x, y in zip(leaves, others, strict=True)])


class _Call:
    """One call of a custom function: its rules on flat arrays, with the structures that they met.

    The first arrays are the values of ``closures.tracers``: what the function, its rules and its arguments that are
    not differentiable close over.
    """

    def __init__(self, custom: _CustomFunction, fixed: dict[int, Any], n_args: int, in_tree: PyTreeDef) -> None:
        self.custom = custom
        self.fixed = fixed
        self.n_args = n_args
        self.in_tree = in_tree
        self.where = custom._where
        self.closures = Closures([custom, *fixed.values()])
        self._out_tree: PyTreeDef | None = None
        self._res_tree: PyTreeDef | None = None
        self._res_static: dict[int, Any] = {}

    def _opened(self, flat: Sequence[Any]) -> tuple[_CustomFunction, list[Any], Sequence[Any]]:
        """The function and its fixed arguments around the captured values given first, and the other arrays."""
        n = len(self.closures.tracers)
        if not n:
            return self.custom, [self.fixed[i] for i in sorted(self.fixed)], flat
        remade = self.closures.substitution(flat[:n])
        return remade(self.custom), [remade(self.fixed[i]) for i in sorted(self.fixed)], flat[n:]

    @property
    def out_tree(self) -> PyTreeDef:
        assert self._out_tree is not None
        return self._out_tree

    def _arguments(self, fixed: Sequence[Any], dynamic: Sequence[Any]) -> list[Any]:
        rest = iter(self.in_tree.unflatten(dynamic))
        given = iter(fixed)
        return [next(given) if i in self.fixed else next(rest) for i in range(self.n_args)]

    def _result(self, where: str, out: Any) -> list[Any]:
        leaves, tree = check_outputs(where, out)
        if self._out_tree is None:
            self._out_tree = tree
        elif tree != self._out_tree:
            raise errors.CustomRuleError(
                f"{where} must return what {self.where} returns: {describe_mismatch(self._out_tree, tree)}"
            )
        return leaves

    def fun(self, *flat: Any) -> list[Any]:
        custom, fixed, dynamic = self._opened(flat)
        return self._result(self.where, custom.f(*self._arguments(fixed, dynamic)))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        where = f"the JVP rule of {self.where}"
        custom, fixed, primals = self._opened(primals)
        tangents = tangents[len(self.closures.tracers) :]
        rule = custom.jvp
        assert rule is not None
        symbolic = custom.jvp_symbolic
        given = [(SymbolicZero(t.aval) if symbolic else instantiate(t)) if isinstance(t, Zero) else t for t in tangents]
        pair = rule(*fixed, self.in_tree.unflatten(primals), self.in_tree.unflatten(given))
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise errors.CustomRuleError(f"{where} must return a pair (result, tangent), got {type(pair).__name__}")
        outs = self._result(where, pair[0])
        ts, tree = tree_flatten(pair[1], is_leaf=_is_zero)
        if tree != self.out_tree:
            raise errors.CustomRuleError(
                f"{where}: the tangent must have the structure of the result: {describe_mismatch(self.out_tree, tree)}"
            )
        return outs, [self._tangent(where, t, aval_of(o)) for t, o in zip(ts, outs, strict=True)]

    def _tangent(self, where: str, t: Any, aval: ShapedArray) -> Any:
        wanted = aval.tangent()
        if wanted.dtype == dtypes.float0 or t is None or _is_symbolic(t):
            return Zero(wanted)
        got = aval_of(t)
        if got.shape != wanted.shape or not np.can_cast(got.dtype, wanted.dtype, "same_kind"):
            raise errors.CustomRuleError(f"{where}: a tangent of type {wanted} is needed for the result, got {got}")
        return convert(t, wanted.dtype) if got.dtype != wanted.dtype else t

    def fwd(self, live: Sequence[bool], flat: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        where = f"the forward rule of {self.where}"
        custom, fixed, dynamic = self._opened(flat)
        rule = custom.fwd
        assert rule is not None
        if custom.vjp_symbolic:
            perturbed = live[len(self.closures.tracers) :]
            dynamic = [CustomVJPPrimal(x, p) for x, p in zip(dynamic, perturbed, strict=True)]
        pair = rule(*self._arguments(fixed, dynamic))
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise errors.CustomRuleError(f"{where} must return a pair (result, residuals), got {type(pair).__name__}")
        outs = self._result(where, pair[0])
        for i, leaf in enumerate(tree_flatten(pair[1])[0]):
            if isinstance(leaf, CustomVJPPrimal):
                raise errors.CustomRuleError(
                    f"{where}: {leaf_path('its residuals', pair[1], i)} is a CustomVJPPrimal. Keep its .value, or all "
                    f"of them by functrans.custom_derivatives.custom_vjp_primal_tree_values"
                )
        leaves, self._res_tree = tree_flatten(pair[1])
        self._res_static = {i: x for i, x in enumerate(leaves) if not is_array(x)}
        captured = flat[: len(self.closures.tracers)]
        return outs, [*captured, *(x for i, x in enumerate(leaves) if i not in self._res_static)]

    def bwd(self, residuals: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        where = f"the reverse rule of {self.where}"
        custom, fixed, kept = self._opened(residuals)
        rule = custom.bwd
        assert rule is not None and self._res_tree is not None
        rest = iter(kept)
        leaves = [
            self._res_static[i] if i in self._res_static else next(rest) for i in range(self._res_tree.num_leaves)
        ]
        symbolic = custom.vjp_symbolic
        cts = [
            (SymbolicZero(ct.aval) if symbolic else instantiate(ct)) if isinstance(ct, Zero) else ct
            for ct in cotangents
        ]
        results = rule(*fixed, self._res_tree.unflatten(leaves), self.out_tree.unflatten(cts))
        parts = self.in_tree.children()
        if not isinstance(results, (tuple, list)):
            raise errors.CustomRuleError(
                f"{where} must return a tuple with a cotangent for each differentiable argument of {self.where}, got "
                f"{type(results).__name__}. Write (ct,) for a single argument"
            )
        if len(results) != len(parts):
            raise errors.CustomRuleError(
                f"{where} must return {len(parts)} cotangent{'' if len(parts) == 1 else 's'}, one for each "
                f"differentiable argument of {self.where}, got {len(results)}"
            )
        flat: list[Any] = [None] * len(self.closures.tracers)
        for k, (result, part) in enumerate(zip(results, parts, strict=True)):
            if result is None:
                flat.extend([None] * part.num_leaves)
                continue
            leaves, tree = tree_flatten(result, is_leaf=_is_zero)
            found = leaves if tree == part else _spread_zeros(result, part)
            if found is None:
                raise errors.CustomRuleError(
                    f"{where}: cotangent {k} must have the structure of argument {k}: {describe_mismatch(part, tree)}"
                )
            flat.extend(None if _is_symbolic(x) or _is_float0(x) else x for x in found)
        return flat


def _spread_zeros(result: Any, part: PyTreeDef) -> list[Any] | None:
    """The leaves of a cotangent in which None stands for whole subtrees; None where the rest does not fit."""
    try:
        leaves = broadcast_prefix(result, part.unflatten(range(part.num_leaves)), is_leaf=_is_zero)
    except errors.TreeStructureError:
        return None
    dense = [x for x in tree_flatten(result, is_leaf=_is_zero)[0] if not _is_zero(x)]
    return leaves if [id(x) for x in leaves if not _is_zero(x)] == list(map(id, dense)) else None


def _is_zero(x: Any) -> bool:
    return x is None or _is_symbolic(x)


def _is_float0(x: Any) -> bool:
    return getattr(x, "dtype", None) == dtypes.float0


class custom_jvp(_CustomFunction):
    """A function with a forward derivative rule of its own; reverse mode follows by transposition.

    Args:
        f: the function.
        nondiff_argnums: positional arguments that are no arrays, or have no derivative.
        nondiff_argnames: the same by name.

    >>> import numpy as np, functrans as ft
    >>> @ft.custom_jvp
    ... def log1pexp(x):
    ...     return np.log(1.0 + np.exp(x))
    >>> @log1pexp.defjvp
    ... def rule(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), t * (1.0 - 1.0 / (1.0 + np.exp(x)))
    >>> float(ft.grad(log1pexp)(100.0))
    1.0
    """


class custom_vjp(_CustomFunction):
    """A function with a reverse derivative rule of its own. Forward mode transposes that rule.

    Args:
        f: the function.
        nondiff_argnums: positional arguments that are no arrays, or have no derivative.
        nondiff_argnames: the same by name.

    >>> import numpy as np, functrans as ft
    >>> @ft.custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda residuals, ct: (np.clip(ct, -1.0, 1.0),))
    >>> float(ft.grad(lambda x: 5.0 * clipped(x))(2.0))
    1.0
    """


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function that returns its result together with its reverse rule.

    Args:
        f: returns ``(result, vjp)``, where ``vjp(cotangent)`` gives a cotangent, or a tuple of one for each argument.

    >>> import numpy as np, functrans as ft
    >>> @ft.custom_gradient
    ... def f(x):
    ...     return x**2, lambda ct: 10.0 * ct
    >>> float(ft.grad(f)(3.0))
    10.0
    """
    check_callable("custom_gradient", f)
    where = f"custom_gradient({name_of(f)})"

    def checked(*args: Any) -> Any:
        pair = f(*args)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not callable(pair[1]):
            raise errors.CustomRuleError(f"{where}: the function must return a pair (result, vjp function)")
        return pair

    @functools.wraps(f, updated=())
    def value(*args: Any) -> Any:
        return checked(*args)[0]

    custom = custom_vjp(value)

    def fwd(*args: Any) -> Any:
        result, pullback = checked(*args)
        converted, constants = closure_convert(pullback, result)
        return result, (constants, _Held(converted), len(args))

    def bwd(residuals: Any, ct: Any) -> Any:
        constants, held, n = residuals
        cts = held.value(ct, *constants)
        return cts if isinstance(cts, (tuple, list)) and len(cts) == n else (cts,)

    custom.defvjp(fwd, bwd)
    return custom


class _Held:
    """An object that travels among residuals and is no pytree."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value
