"""``extend.primitive``: operations of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.api.boundary import boundary
from functrans.api.staging import ShapeDtypeStruct
from functrans.core import dtypes
from functrans.core import primitive as definitions
from functrans.core.avals import ShapedArray, shaped
from functrans.core.primitive import BatchAxis, Params, Primitive, Trait, Undefined, Zero
from functrans.core.structural import add, convert, elementwise_batch, instantiate, zero_of
from functrans.core.trace import aval_of, is_array, reverse_mode
from functrans.interpreters.batch import materialize
from functrans.lax.control.custom_rules import Backward, custom_linear_p
from functrans.lax.control.mapping import map as lax_map

BATCHES = ("loop", "elementwise", "leading")

_defined: set[str] = set()


class Operation:
    """An operation of the user's: call it with arrays as operands and static parameters by keyword.

    The methods fill in what was left out when it was defined, as decorators.
    """

    def __init__(self, name: str, impl: Callable[..., Any], multiple: bool) -> None:
        self.name = name
        self.multiple = multiple
        self.rules: dict[str, Any] = {}
        self.lowering: dict[str, Callable[..., Any]] = {}
        self._impl = impl
        self.__name__ = name
        self.__doc__ = getattr(impl, "__doc__", None)
        if name in _defined:
            # A cell of a notebook that runs again, say. Jaxprs made before keep the operation that they were made with.
            definitions.registry.pop(name, None)
        self.primitive = Primitive(
            name,
            shape=self._shape,
            impl=self._run,
            specialize=self._specialize,
            jvp=self._jvp,
            transpose=self._transpose,
            batch=self._batch,
            multiple=multiple,
            kind="library",
            samples=lambda: [],
            traits=frozenset({Trait.VIEW, Trait.COSTLY}),
        )
        _defined.add(name)

    def __call__(self, *operands: Any, **params: Any) -> Any:
        for i, x in enumerate(operands):
            if not is_array(x):
                raise errors.ArgumentError(
                    f"{self.name}: operand {i} is an object of type {type(x).__name__}; operands are arrays and "
                    f"numbers. Static values are parameters: pass them by keyword"
                )
        for key, value in params.items():
            try:
                hash(value)
            except TypeError:
                raise errors.ArgumentError(
                    f"{self.name}: the parameter {key} is an object of type {type(value).__name__}, which is not "
                    f"hashable. Parameters are static; arrays are operands, passed by position"
                ) from None
        # A Python number is an operand like any other: its dtype does not give way to that of the others.
        strong = [convert(x, aval_of(x).dtype) if aval_of(x).box == "python" else x for x in operands]
        return self.primitive.bind(*strong, **dict(sorted(params.items())))

    def def_shape(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the shape rule; see ``primitive``."""
        self._set("shape", rule)
        return rule

    def def_jvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the forward derivative rule; see ``primitive``."""
        self._set("jvp", rule)
        return rule

    def def_vjp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the reverse derivative rule; see ``primitive``."""
        self._set("vjp", rule)
        return rule

    def def_transpose(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the transpose; see ``primitive``."""
        self._set("transpose", rule)
        return rule

    def def_batch(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the batching rule; see ``primitive``."""
        self._set("batch", rule)
        return rule

    def def_lowering(self, backend: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Set the code for a backend: ``@op.def_lowering("cupy")`` above a function like ``impl``."""

        def decorate(code: Callable[..., Any]) -> Callable[..., Any]:
            self._check_callable(f"lowering[{backend!r}]", code)
            self.lowering[backend] = code
            return code

        return decorate

    def _set(self, slot: str, rule: Any) -> None:
        if slot == "jvp" and isinstance(rule, (tuple, list)):
            for part in rule:
                if part is not None:
                    self._check_callable("jvp, given for each operand", part)
            rule = tuple(rule)
        elif not (slot == "batch" and isinstance(rule, str)):
            self._check_callable(slot, rule)
        elif rule not in BATCHES:
            raise errors.ArgumentError(f"{self.name}: batch must be a function or one of {BATCHES}, got {rule!r}")
        if slot in self.rules:
            raise errors.ArgumentError(
                f"{self.name}: {slot} was given already, and programs may have been compiled with it. Define the "
                f"operation anew to change it"
            )
        self.rules[slot] = rule

    def _check_callable(self, slot: str, rule: Any) -> None:
        if not callable(rule):
            raise errors.ArgumentError(
                f"extend.primitive({self.name!r}): {slot} must be a function, got an object of type "
                f"{type(rule).__name__}"
            )

    def __repr__(self) -> str:
        return f"<operation {self.name}>"

    # -- the slots of the primitive ---------------------------------------------------------------------------------

    def _shape(self, *avals: ShapedArray, **params: Any) -> Any:
        rule = self.rules.get("shape")
        if rule is None:
            raise errors.MissingRuleError(
                f"the operation {self.name!r} has no shape rule, which every transformation asks for: a function of "
                f"the operands' shapes and dtypes that says those of the result. Write "
                f"`@{self.name}.def_shape` above, say, `def shape(x): return functrans.ShapeDtypeStruct(x.shape, "
                f"x.dtype)`, or pass it as shape="
            )
        found = rule(*[ShapeDtypeStruct(a.shape, a.dtype) for a in avals], **params)
        outs = list(found) if self.multiple and isinstance(found, (tuple, list)) else [found]
        if self.multiple != isinstance(found, (tuple, list)):
            raise errors.OutputError(
                f"{self.name}: the shape rule returned {type(found).__name__}; "
                + (
                    "a list of them is needed, as it has multiple=True"
                    if self.multiple
                    else "pass multiple=True for several results"
                )
            )
        results = []
        for out in outs:
            if not (hasattr(out, "shape") and hasattr(out, "dtype")):
                raise errors.OutputError(
                    f"{self.name}: the shape rule must return a functrans.ShapeDtypeStruct, got an object of type "
                    f"{type(out).__name__}"
                )
            shape = tuple(out.shape)
            results.append(shaped(shape, dtypes.canonical(np.dtype(out.dtype)), "array" if shape else "numpy"))
        return results if self.multiple else results[0]

    def _code(self, xp: Any) -> Callable[..., Any]:
        backend = xp.__name__
        return self.lowering.get(backend, self._impl)

    def _run(self, xp: Any, *arrays: Any, **params: Any) -> Any:
        expected = self._shape(*map(aval_of, arrays), **params) if "shape" in self.rules else None
        return self._finish(xp, self._code(xp)(*arrays, **params), expected)

    def _specialize(self, xp: Any, avals: Sequence[ShapedArray], **params: Any) -> Callable[..., Any]:
        code, expected = self._code(xp), self._shape(*avals, **params)
        return lambda *arrays: self._finish(xp, code(*arrays, **params), expected)

    def _finish(self, xp: Any, result: Any, expected: Any) -> Any:
        """What the implementation returned, checked to be what the shape rule foretold."""
        if not self.multiple:
            return self._checked(xp, result, expected)
        if not isinstance(result, (tuple, list)):
            raise errors.OutputError(
                f"{self.name} has multiple=True, and its implementation returned an object of type "
                f"{type(result).__name__} in place of a list of results"
            )
        avals = [None] * len(result) if expected is None else expected
        if len(avals) != len(result):
            raise errors.OutputError(
                f"{self.name}: the implementation returned {len(result)} results, and the shape rule says {len(avals)}"
            )
        return [self._checked(xp, out, aval) for out, aval in zip(result, avals, strict=True)]

    def _checked(self, xp: Any, out: Any, aval: ShapedArray | None) -> Any:
        array = xp.asarray(out)
        if aval is not None and (
            array.shape != aval.shape
            or (array.dtype != aval.dtype and not np.can_cast(array.dtype, aval.dtype, "same_kind"))
        ):
            raise errors.OutputError(
                f"{self.name}: the implementation returned an array of dtype {array.dtype} and shape {array.shape}, "
                f"and the shape rule says {aval}. Mend the one that is wrong"
            )
        if aval is not None and array.dtype != aval.dtype:
            array = array.astype(aval.dtype)
        return array if array.shape or xp is not np else array[()]

    def _jvp(self, primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        jvp, vjp = self.rules.get("jvp"), self.rules.get("vjp")
        if vjp is not None and (jvp is None or reverse_mode.get()):
            return self._by_vjp(primals, tangents, params)
        if isinstance(jvp, tuple):
            return self._by_operand(jvp, primals, tangents, params)
        if jvp is None:
            raise errors.MissingRuleError(
                f"the operation {self.name!r} has no derivative. Write `@{self.name}.def_jvp` above "
                f"`def jvp(primals, tangents{self._keywords(params)}): return result, tangent_of_result`, or "
                f"`@{self.name}.def_vjp` above `def vjp(cotangent, result, *primals{self._keywords(params)}): return "
                f"cotangents`, a tuple with one for each operand; or pass the operands through functrans.stop_gradient"
            )
        outs, found = jvp(tuple(primals), tuple(map(instantiate, tangents)), **params)
        pairs = zip(outs, found, strict=True) if self.multiple else [(outs, found)]
        checked = [self._fitted("the JVP rule", "the result", t, aval_of(o).tangent()) for o, t in pairs]
        return outs, checked if self.multiple else checked[0]

    @staticmethod
    def _keywords(params: Params) -> str:
        return "".join(f", *, {k}" if i == 0 else f", {k}" for i, k in enumerate(params))

    def _fitted(self, rule: str, what: str, t: Any, aval: ShapedArray) -> Any:
        """A tangent or cotangent in the dtype that it must have; ``Zero`` for None."""
        if t is None or isinstance(t, Zero) or aval.dtype == dtypes.float0:
            return Zero(aval)
        got = aval_of(t)
        if got.shape != aval.shape or not np.can_cast(got.dtype, aval.dtype, "same_kind"):
            raise errors.CustomRuleError(
                f"{self.name}: {rule} gave an array of type {got} for {what}, and {aval} is needed. It has the shape "
                f"of what it belongs to: sum over axes that were broadcast"
            )
        return convert(t, aval.dtype)

    def _by_operand(
        self, jvps: tuple[Any, ...], primals: Sequence[Any], tangents: Sequence[Any], params: Params
    ) -> tuple[Any, Any]:
        if len(jvps) != len(primals):
            raise errors.CustomRuleError(
                f"{self.name}: jvp has {len(jvps)} rules, and it was called with {len(primals)} operands. Give one "
                f"for each operand, None where it has no influence"
            )
        result = self.primitive.bind(*primals, **params)
        outs = result if self.multiple else [result]
        totals: list[Any] = [zero_of(o) for o in outs]
        for i, (rule, t) in enumerate(zip(jvps, tangents, strict=True)):
            if rule is None or isinstance(t, Zero):
                continue
            found = rule(t, result, *primals, **params)
            for k, part in enumerate(found if self.multiple else [found]):
                term = self._fitted(f"the JVP rule of operand {i}", "the result", part, aval_of(outs[k]).tangent())
                if not isinstance(term, Zero):
                    totals[k] = term if isinstance(totals[k], Zero) else add(totals[k], term)
        return result, totals if self.multiple else totals[0]

    def _by_vjp(self, primals: Sequence[Any], tangents: Sequence[Any], params: Params) -> tuple[Any, Any]:
        result = self.primitive.bind(*primals, **params)
        outs = result if self.multiple else [result]
        n = len(outs)
        vjp = self.rules["vjp"]

        def rule(residuals: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
            cts = [instantiate(ct) for ct in cotangents]
            values, points = residuals[:n], residuals[n:]
            found = vjp(
                cts if self.multiple else cts[0], list(values) if self.multiple else values[0], *points, **params
            )
            if not isinstance(found, (tuple, list)) or len(found) != len(points):
                raise errors.CustomRuleError(
                    f"{self.name}: the VJP rule must return a tuple with a cotangent for each of the {len(points)} "
                    f"operands, None where there is none. Write (ct,) for a single operand"
                )
            return [None if ct is None or isinstance(ct, Zero) else ct for ct in found]

        live = tuple(not isinstance(t, Zero) for t in tangents)
        linear_out = [dtypes.is_inexact(aval_of(o).dtype) for o in outs]
        avals = tuple(aval_of(p) for p in primals)
        bwd = Backward(self.name, rule, live, avals, tuple(aval_of(o) for o in outs), n + len(primals))
        given = [t for t in tangents if not isinstance(t, Zero)]
        found = iter(custom_linear_p.bind(*outs, *primals, *given, bwd=bwd))
        ts = [next(found) if lin else zero_of(o) for o, lin in zip(outs, linear_out, strict=True)]
        return result, ts if self.multiple else ts[0]

    def _transpose(self, cotangent: Any, *operands: Any, **params: Any) -> list[Any]:
        rule = self.rules.get("transpose")
        linear = [i for i, x in enumerate(operands) if isinstance(x, Undefined)]
        if rule is None:
            raise errors.MissingRuleError(
                f"reverse mode has to transpose the operation {self.name!r}, which a derivative rule calls as linear "
                f"in operand {linear[0]}, and it has no transpose. Write `@{self.name}.def_transpose` above "
                f"`def transpose(cotangent, *operands{self._keywords(params)}): return cotangents`, a list with one "
                f"for each operand, where functrans.extend.is_linear(operand) says which are wanted, and None for the "
                f"others. If it is not linear, its derivative must not be made of it"
            )
        ct = list(map(instantiate, cotangent)) if self.multiple else cotangent
        found = rule(ct, *operands, **params)
        if not isinstance(found, (tuple, list)) or len(found) != len(operands):
            raise errors.CustomRuleError(
                f"{self.name}: the transpose must return a list with a cotangent or None for each of the "
                f"{len(operands)} operands"
            )
        results: list[Any] = [None] * len(operands)
        for i in linear:
            ct = self._fitted("the transpose", f"operand {i}", found[i], operands[i].aval.cotangent())
            results[i] = None if isinstance(ct, Zero) else ct
        return results

    def _batch(self, axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> Any:
        rule = self.rules.get("batch", "loop")
        if rule == "elementwise":
            out, dim = elementwise_batch(lambda: self.primitive)(axis, args, dims, **params)
            return (out, [dim] * len(out)) if self.multiple else (out, dim)
        if rule == "leading":
            outs = self.primitive.bind(*[materialize(axis, x, d) for x, d in zip(args, dims, strict=True)], **params)
            return (outs, [0] * len(outs)) if self.multiple else (outs, 0)
        if rule == "loop":
            return self._loop(axis, args, dims, params)
        outs, out_dims = rule(axis.size, tuple(args), tuple(dims), **params)
        if self.multiple and (isinstance(out_dims, int) or out_dims is None):
            out_dims = [out_dims] * len(outs)
        for out, d in zip(outs, out_dims, strict=True) if self.multiple else [(outs, out_dims)]:
            shape = aval_of(out).shape
            if d is not None and not (isinstance(d, int) and 0 <= d < len(shape) and shape[d] == axis.size):
                raise errors.CustomRuleError(
                    f"{self.name}: the batching rule says that axis {d!r} of a result of shape {shape} is the batch, "
                    f"of extent {axis.size}"
                )
        return outs, out_dims

    def _loop(self, axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], params: Params) -> Any:
        """One example after another."""
        shared = {i: x for i, (x, d) in enumerate(zip(args, dims, strict=True)) if d is None}
        rows = tuple([materialize(axis, x, d) for x, d in zip(args, dims, strict=True) if d is not None])

        def one(examples: tuple[Any, ...]) -> Any:
            given = iter(examples)
            return self.primitive.bind(*[shared[i] if i in shared else next(given) for i in range(len(dims))], **params)

        outs = lax_map(one, rows)
        return (outs, [0] * len(outs)) if self.multiple else (outs, 0)


def is_linear(operand: Any) -> bool:
    """Whether an operand of a transpose rule is one whose cotangent is wanted; it has an ``aval`` and no value."""
    return isinstance(operand, Undefined)


@boundary
def primitive(
    name: str,
    impl: Callable[..., Any],
    *,
    shape: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | Sequence[Callable[..., Any] | None] | None = None,
    vjp: Callable[..., Any] | None = None,
    transpose: Callable[..., Any] | None = None,
    batch: Callable[..., Any] | str | None = None,
    multiple: bool = False,
    lowering: Mapping[str, Callable[..., Any]] | None = None,
) -> Operation:
    """A new operation, which takes part in every transformation like those of the package.

    What is left out may be filled in later, by ``op.def_jvp`` and its like as decorators. A slot that a transformation
    needs and that is empty raises an error which says what to write.

    Args:
        name: what jaxprs and messages call it; an identifier that no operation of the package has.
        impl: ``impl(*arrays, **params)`` computes it, with NumPy alone or any library. It gets arrays and NumPy
            scalars, and must not write to them.
        shape: ``shape(*operands, **params)`` gives the ``ShapeDtypeStruct`` of the result for those of the operands; a
            list of them with ``multiple``.
        jvp: the forward derivative, either ``jvp(primals, tangents, **params)``, which returns the result and its
            tangent (zero tangents are given as arrays of zeros, those of integers have dtype ``float0``); or one rule
            for each operand, ``rule(tangent, result, *primals, **params)``, None where it has no influence: the
            contributions are summed. Reverse mode transposes it, so the rules are linear in the tangents.
        vjp: the reverse derivative, ``vjp(cotangent, result, *primals, **params)``, which returns a tuple with a
            cotangent (or None) for each operand. Without ``jvp``, forward mode transposes it; with both, each mode
            takes its own.
        transpose: ``transpose(cotangent, *operands, **params)`` for an operation that is linear in operands, and used
            as such in derivative rules: returns a list with a cotangent or None for each. ``is_linear(operand)`` says
            which have no value but are wanted.
        batch: what ``vmap`` does: ``"loop"`` (the default) runs one example after another; ``"elementwise"`` says that
            ``impl`` broadcasts as a ufunc does; ``"leading"`` that it takes further leading axes on all operands, as
            functions of ``numpy.linalg`` do; or a rule ``batch(axis_size, operands, axes, **params)`` that returns the
            result and the axis of the batch in it. ``axes`` has the batch axis of each operand, or None.
        multiple: whether the result is a list.
        lowering: code for particular backends, ``{"cupy": function}``, in place of ``impl``.

    Returns:
        A function ``op(*operands, **params)``. Operands are arrays and numbers; params are static and hashable.

    Raises:
        ArgumentError: the name is taken, or a slot holds no function.

    >>> import math, numpy as np, functrans as ft
    >>> gamma = ft.extend.primitive(
    ...     "lgamma_of_the_math_module",
    ...     np.vectorize(math.lgamma, otypes=[float]),
    ...     shape=lambda x: ft.ShapeDtypeStruct(x.shape, np.float64),
    ...     batch="elementwise",
    ... )
    >>> ft.jit(gamma)(np.array([3.0, 5.0])).round(3)
    array([0.693, 3.178])
    """
    if not str(name).isidentifier():
        raise errors.ArgumentError(f"extend.primitive: the name must be an identifier, got {name!r}")
    if name in definitions.registry and name not in _defined:
        raise errors.ArgumentError(
            f"extend.primitive: the package has an operation {name!r} of its own. Choose another name"
        )
    if not callable(impl):
        raise errors.ArgumentError(
            f"extend.primitive({name!r}): impl must be a function of arrays, got an object of type "
            f"{type(impl).__name__}"
        )
    op = Operation(name, impl, bool(multiple))
    given = {"shape": shape, "jvp": jvp, "vjp": vjp, "transpose": transpose, "batch": batch}
    for slot, rule in given.items():
        if rule is not None:
            op._set(slot, rule)
    for backend, code in (lowering or {}).items():
        op.def_lowering(backend)(code)
    return op
