"""Which elements of a linear program's results depend on which elements of its inputs.

A pattern is a SciPy matrix of booleans with a row for each element of a value and a column for each element of the
inputs. What an operation does to it follows from the family of the operation: elementwise ones join the rows of their
operands, movements are run on the numbers of the elements, reductions join rows. An operation of no family makes every
result depend on every element of its operands: a pattern may be too large, and never too small.

The program is that of a JVP, in which every operation is linear in the tangents. So an operation with a derivative of
zero cuts a dependence, and a rule of the user's is what is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.avals import ShapedArray
from functrans.core.evaluate import sized
from functrans.core.jaxpr import Atom, Eqn, Jaxpr, Literal, Var, sizes_in
from functrans.core.primitive import BatchAxis, Primitive, Trait
from functrans.core.stage import stage
from functrans.core.structural import sum_p
from functrans.core.trace import reset_trace, set_trace
from functrans.interpreters.batch import batch_jaxpr
from functrans.lax.contraction import dot_general_p, free_axes
from functrans.lax.control.cond import cond_p
from functrans.lax.control.custom_batch import custom_vmap_p
from functrans.lax.control.custom_linear import linear_call_p
from functrans.lax.control.custom_rules import custom_linear_p
from functrans.lax.control.loop import while_p
from functrans.lax.control.scan import scan_p
from functrans.lax.convolution import conv_p
from functrans.lax.cumulative import cumsum_p, linear_recurrence_p
from functrans.lax.dynamic import dynamic_update_slice_p
from functrans.lax.gather import scatter_add_p, take_index_p
from functrans.lax.indexing import basic_set_p
from functrans.lax.scatter import scatter_p
from functrans.lax.windows import reduce_window_sum_p, window_gather_p
from functrans.util.lists import split as runs

Pattern = Any
"""A ``scipy.sparse`` matrix of booleans; None where nothing depends on the inputs."""

UNROLLED = 256
"""Loops of so many steps are followed step by step; longer ones as if each step came after every other one."""


class Values:
    """The contents of variables that are no tangents, computed as they are asked for.

    Attributes:
        moved: whether one of them depended on the point at which the program is linearised.
    """

    def __init__(self, jaxpr: Jaxpr, points: dict[Atom, Any]) -> None:
        self._makes: dict[Atom, Eqn] = {out: eqn for eqn in jaxpr.eqns for out in eqn.outs}
        self._known: dict[Atom, Any] = dict(zip(jaxpr.constvars, jaxpr.consts, strict=True))
        self._moving: dict[Atom, bool] = dict.fromkeys(jaxpr.constvars, False)
        self._points = points
        self.moved = False

    def _input(self, var: Atom, constant: bool) -> tuple[Any, bool]:
        """The contents of an input, None where they are not known, and whether they depend on the point."""
        return self._points.get(var), var in self._points

    def get(self, atom: Atom, constant: bool = False) -> Any:
        """The contents; None where they are not known, or where they must be ``constant`` and are not."""
        if isinstance(atom, Literal):
            return atom.value
        pending: list[Atom] = [atom]
        while pending:
            var = pending[-1]
            eqn = self._makes.get(var)
            if var in self._known:
                pending.pop()
            elif eqn is None:
                value, moving = self._input(var, constant)
                if value is None:
                    return None
                self._known[var], self._moving[var] = value, moving
            elif eqn.effects:
                return None
            else:
                inputs = [a for a in eqn.inputs if isinstance(a, Var)]
                inputs += sizes_in(tuple(eqn.params.values()))
                missing = [a for a in inputs if a not in self._known]
                pending.extend(missing)
                if not missing:
                    self._compute(eqn, any(self._moving[a] for a in inputs))
        if self._moving[atom]:
            if constant:
                return None
            self.moved = True
        return self._known[atom]

    def _compute(self, eqn: Eqn, moving: bool) -> None:
        eqn = sized(eqn, self._known)
        inputs = [a.value if isinstance(a, Literal) else self._known[a] for a in eqn.inputs]
        token = set_trace(None)
        try:
            result = eqn.prim.bind(*inputs, **eqn.params)
        finally:
            reset_trace(token)
        for out, value in zip(eqn.outs, result if eqn.prim.multiple else [result], strict=True):
            self._known[out], self._moving[out] = value, moving


class _Inner(Values):
    """The contents of variables of a called jaxpr, whose inputs the caller knows."""

    def __init__(self, jaxpr: Jaxpr, eqn: Eqn, outer: Values) -> None:
        super().__init__(jaxpr, {})
        self._given: dict[Atom, Atom] = dict(zip(jaxpr.invars, eqn.inputs, strict=True))
        self._outer = outer

    def _input(self, var: Atom, constant: bool) -> tuple[Any, bool]:
        given = self._given[var]
        fixed = self._outer.get(given, True)
        return (fixed, False) if fixed is not None or constant else (self._outer.get(given), True)


class _Unknown(Values):
    """Inside of loops and branches no contents are known."""

    def __init__(self) -> None:
        self.moved = False

    def get(self, atom: Atom, constant: bool = False) -> Any:
        return atom.value if isinstance(atom, Literal) else None


# -- matrices of booleans -------------------------------------------------------------------------------------------


def _size(aval: ShapedArray) -> int:
    return math.prod(aval.shape)


def _matrix(rows: Any, columns: Any, shape: tuple[int, int]) -> Pattern:
    from scipy.sparse import csr_array

    rows, columns = np.broadcast_arrays(rows, columns)
    return csr_array((np.ones(rows.size, bool), (rows.ravel(), columns.ravel())), shape)


def identity(size: int, columns: int, start: int) -> Pattern:
    """The pattern of an input, whose elements have the columns from ``start`` on."""
    return _matrix(np.arange(size), np.arange(start, start + size), (size, columns))


def _picked(pattern: Pattern, rows: np.ndarray) -> Pattern:
    """Some rows of a pattern, by number; empty ones for negative numbers."""
    flat = rows.ravel()
    (inside,) = np.nonzero(flat >= 0)
    if inside.size == flat.size:
        return pattern[flat]
    return _matrix(inside, flat[inside], (flat.size, pattern.shape[0])) @ pattern


def _joined(patterns: Sequence[Pattern]) -> Pattern:
    total = None
    for p in patterns:
        if p is not None:
            total = p if total is None else total + p
    return total


def _grouped(pattern: Pattern, groups: np.ndarray, count: int) -> Pattern:
    """The rows of each group joined."""
    return _matrix(groups.ravel(), np.arange(groups.size), (count, groups.size)) @ pattern


def _numbers(shape: Sequence[int]) -> np.ndarray:
    return np.arange(math.prod(shape)).reshape(shape)


# -- families ---------------------------------------------------------------------------------------------------------


def _conservative(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    joined = _joined([None if p is None else _grouped(p, np.zeros(p.shape[0], int), 1) for p in patterns])
    return [joined[np.zeros(_size(o.aval), int)] for o in eqn.outs]


def _elementwise(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    found = []
    for out in eqn.outs:
        rows = []
        for a, p in zip(eqn.inputs, patterns, strict=True):
            if p is not None:
                same = a.aval.shape == out.aval.shape
                rows.append(p if same else _picked(p, np.broadcast_to(_numbers(a.aval.shape), out.aval.shape)))
        found.append(_joined(rows))
    return found


def _moved(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    """The operation on the numbers of the elements, counted from 1; 0 for what depends on no input."""
    operands: list[Any] = []
    total = 0
    for a, p in zip(eqn.inputs, patterns, strict=True):
        if p is not None:
            operands.append(_numbers(a.aval.shape) + (total + 1))
            total += p.shape[0]
        elif a.aval.dtype.kind in "iub":
            value = values.get(a)
            if value is None:
                return _conservative(eqn, patterns, values)
            operands.append(value)
        else:
            operands.append(np.zeros(a.aval.shape, int))
    stacked = _stacked([p for p in patterns if p is not None])
    result = eqn.prim.impl(np, *operands, **eqn.params)
    found = []
    for out in result if eqn.prim.multiple else [result]:
        numbers = np.asarray(out).ravel()
        found.append(_picked(stacked, np.where((numbers > 0) & (numbers <= total), numbers - 1, -1)))
    return found


def _stacked(patterns: Sequence[Pattern]) -> Pattern:
    from scipy.sparse import vstack

    return patterns[0] if len(patterns) == 1 else vstack(patterns, "csr")


def _summed(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    return [_reduced(patterns[0], eqn.inputs[0].aval.shape, eqn.params["axes"])]


def _reduced(pattern: Pattern, shape: Sequence[int], axes: Sequence[int]) -> Pattern:
    """The rows of an array joined over some axes."""
    kept = [n for a, n in enumerate(shape) if a not in axes]
    groups = np.broadcast_to(np.expand_dims(_numbers(kept), tuple(axes)), shape)
    return _grouped(pattern, groups, math.prod(kept))


def _running(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    """Each element depends on those before it."""
    shape, axis = eqn.outs[0].aval.shape, eqn.params["axis"]
    n = shape[axis]
    joined = _joined(patterns)
    if n > 2000:
        whole = _reduced(joined, shape, (axis,))
        kept = [1 if a == axis else m for a, m in enumerate(shape)]
        return [_picked(whole, np.broadcast_to(_numbers(kept), shape))]
    later, earlier = np.tril_indices(n)
    if eqn.params["reverse"]:
        later, earlier = earlier, later
    numbers = np.moveaxis(_numbers(shape), axis, 0).reshape(n, -1)
    size = math.prod(shape)
    return [_matrix(numbers[later], numbers[earlier], (size, size)) @ joined]


def _dot(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    (contract, batch) = eqn.params["dimension_numbers"]
    avals = [a.aval for a in eqn.inputs]
    out_shape = eqn.outs[0].aval.shape
    n_batch = len(batch[0])
    frees = [free_axes(a.ndim, c, b) for a, c, b in zip(avals, contract, batch, strict=True)]
    found = []
    for side, p in enumerate(patterns):
        if p is None:
            continue
        other = 1 - side
        shape, kept = avals[side].shape, [*batch[side], *frees[side]]
        fixed = values.get(eqn.inputs[other], constant=True) if not n_batch and avals[other].ndim <= 2 else None
        if fixed is not None and len(contract[0]) == 1:
            found.append(_by_matrix(p, shape, contract[side][0], np.asarray(fixed), contract[other][0], side))
            continue
        joined = _reduced(p, shape, contract[side])
        # Its rows are in the order of the axes that remain; the result has batch axes, then those of either operand.
        order = [a for a in range(len(shape)) if a not in contract[side]]
        numbers = _numbers([shape[a] for a in order]).transpose([order.index(a) for a in kept])
        first = n_batch if side == 0 else n_batch + len(frees[0])
        places = [*range(n_batch), *range(first, first + len(frees[side]))]
        new = tuple(a for a in range(len(out_shape)) if a not in places)
        found.append(_picked(joined, np.broadcast_to(np.expand_dims(numbers, new), out_shape)))
    return [_joined(found)]


def _by_matrix(pattern: Pattern, shape: Sequence[int], axis: int, matrix: Any, along: int, side: int) -> Pattern:
    """A product with a constant vector or matrix, whose zeros are no dependences."""
    matrix = np.moveaxis(matrix, along, -1).reshape(-1, shape[axis]) != 0
    free = [n for a, n in enumerate(shape) if a != axis]
    k = math.prod(free)
    numbers = np.moveaxis(_numbers(shape), axis, 0).reshape(shape[axis], k)
    rows, columns = np.nonzero(matrix)
    m = len(matrix)
    # The axes of the first operand come first.
    places = np.arange(k)[:, None] * m + rows if side == 0 else rows * k + np.arange(k)[:, None]
    return _matrix(places, numbers[columns].T, (k * m, numbers.size)) @ pattern


def _window(extent: int, out: int, window: int, stride: int, low: int, dilation: int, window_dilation: int) -> Any:
    """For one axis, pairs of a position of a sliding window and an element in it."""
    positions, k = np.arange(out)[:, None], np.arange(window)[None, :]
    at = positions * stride + k * window_dilation - low
    inside = (at % dilation == 0) & (at >= 0) & (at // dilation < extent)
    positions = np.broadcast_to(positions, at.shape)[inside]
    return _matrix(positions, at[inside] // dilation, (out, extent))


def _windows(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    from scipy.sparse import kron

    geometry = eqn.params["geometry"]
    whole: Pattern = _matrix(np.zeros(1, int), np.zeros(1, int), (1, 1))
    shapes = zip(eqn.inputs[0].aval.shape, eqn.outs[0].aval.shape, *geometry, strict=True)
    for extent, out, window, stride, (low, _), dilation, window_dilation in shapes:
        whole = kron(whole, _window(extent, out, window, stride, low, dilation, window_dilation), "csr")
    return [whole @ patterns[0]]


def _convolved(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    from scipy.sparse import kron

    x, w, out = eqn.inputs[0].aval.shape, eqn.inputs[1].aval.shape, eqn.outs[0].aval.shape
    found = []
    if patterns[0] is not None:
        apart = np.arange(x[0] * x[1])
        whole = _matrix(apart, apart, (apart.size, apart.size))
        whole = kron(whole, np.ones((out[2], x[2]), bool), "csr")
        names = ("strides", "padding", "lhs_dilation", "rhs_dilation")
        for extent, n, window, stride, (low, _), dilation, window_dilation in zip(
            x[3:], out[3:], w[3:], *(eqn.params[name] for name in names), strict=True
        ):
            whole = kron(whole, _window(extent, n, window, stride, low, dilation, window_dilation), "csr")
        found.append(whole @ patterns[0])
    if patterns[1] is not None:
        # The kernels of an output channel reach all of that channel.
        joined = _reduced(patterns[1], w, range(2, len(w)))
        numbers = _numbers(w[:2]).reshape(w[0], 1, w[1], *[1] * (len(out) - 3))
        found.append(_picked(joined, np.broadcast_to(numbers, out)))
    return [_joined(found)]


def _scatter_add(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    indices = [values.get(a) for a in eqn.inputs[1:]]
    if any(i is None for i in indices):
        return _conservative(eqn, patterns, values)
    params = {key: eqn.params[key] for key in ("axes", "at", "mode")}
    return [_placed(patterns[0], eqn.outs[0].aval.shape, indices, params)]


def _placed(pattern: Pattern, shape: Sequence[int], indices: Sequence[Any], params: dict[str, Any]) -> Pattern:
    """Rows joined at the places that indices name: what a gather with these indices would read from there."""
    numbers = np.asarray(take_index_p.impl(np, _numbers(shape) + 1, *indices, **params)).ravel()
    size = math.prod(shape)
    inside = np.nonzero((numbers > 0) & (numbers <= size))[0]
    return _matrix(numbers[inside] - 1, inside, (size, numbers.size)) @ pattern


def _scatter(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    op = eqn.params["op"]
    if op == "set":
        return _moved(eqn, patterns, values)
    indices = [values.get(a) for a in eqn.inputs[2:]]
    if any(i is None for i in indices):
        return _conservative(eqn, patterns, values)
    params = {key: eqn.params[key] for key in ("axes", "at", "mode")}
    placed = None if patterns[1] is None else _placed(patterns[1], eqn.outs[0].aval.shape, indices, params)
    return [_joined([patterns[0], placed])]


# -- regions ----------------------------------------------------------------------------------------------------------


def _call(jaxpr: Jaxpr, patterns: Sequence[Pattern], values: Values | None = None) -> list[Pattern]:
    return propagate(jaxpr, patterns, _Unknown() if values is None else values)


def _scan(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    params = eqn.params
    jaxpr, n_consts, n_carry, length = (params[key] for key in ("jaxpr", "n_consts", "n_carry", "length"))
    patterns = patterns[params["counted"] :]
    start = n_consts + n_carry
    if params["counted"] or not isinstance(length, int):
        return _conservative(eqn, patterns, values)
    consts, carry, xs = runs(patterns, (n_consts, n_carry))
    shapes = [v.aval.shape for v in jaxpr.invars[start:]]
    out_shapes = [v.aval.shape for v in jaxpr.outvars[n_carry:]]
    if length <= UNROLLED:
        rows: list[list[Pattern]] = [[] for _ in out_shapes]
        steps = range(length - 1, -1, -1) if params["reverse"] else range(length)
        for i in steps:
            slices = [
                None if p is None else p[np.arange(i * math.prod(s), (i + 1) * math.prod(s))]
                for p, s in zip(xs, shapes, strict=True)
            ]
            outs = _call(jaxpr, [*consts, *carry, *slices])
            carry = outs[:n_carry]
            for row, out in zip(rows, outs[n_carry:], strict=True):
                row.append(out)
        columns = next(p.shape[1] for p in patterns if p is not None)
        stacked = [
            _stacked_rows(row[::-1] if params["reverse"] else row, math.prod(s), columns)
            for row, s in zip(rows, out_shapes, strict=True)
        ]
        return [*carry, *stacked]
    if all(p is None for p in carry):
        batched = [False] * start + [True] * len(xs)
        mapped, _ = batch_jaxpr(jaxpr, BatchAxis(length), batched, [*[False] * n_carry, *[True] * len(out_shapes)])
        outs = _call(mapped, [*consts, *carry, *xs])
        if all(p is None for p in outs[:n_carry]):
            return outs
    joined = [None if p is None else _reduced(p, (length, *s), (0,)) for p, s in zip(xs, shapes, strict=True)]
    carry, outs = _settled(jaxpr, consts, carry, joined)
    repeated = [
        None if p is None else _picked(p, np.broadcast_to(_numbers((1, *s)), (length, *s)))
        for p, s in zip(outs, out_shapes, strict=True)
    ]
    return [*carry, *repeated]


def _stacked_rows(rows: Sequence[Pattern], size: int, columns: int) -> Pattern:
    if all(p is None for p in rows):
        return None
    empty = _matrix(np.zeros(0, int), np.zeros(0, int), (size, columns))
    return _stacked([empty if p is None else p for p in rows])


def _settled(jaxpr: Jaxpr, consts: Any, carry: Any, xs: Any) -> tuple[list[Pattern], list[Pattern]]:
    """The patterns of carries after any number of steps, and of the other results of a step."""
    n_carry = len(carry)
    while True:
        outs = _call(jaxpr, [*consts, *carry, *xs])
        new = [_joined([a, b]) for a, b in zip(carry, outs[:n_carry], strict=True)]
        if [0 if p is None else p.nnz for p in new] == [0 if p is None else p.nnz for p in carry]:
            return new, outs[n_carry:]
        carry = new


def _while(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    params = eqn.params
    if params["saves"] is not None:
        return _conservative(eqn, patterns, values)
    start = params["n_cond"] + params["n_body"]
    return _settled(params["body"], patterns[params["n_cond"] : start], patterns[start:], [])[0]


def _cond(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    found = [_call(branch, patterns[1:]) for branch in eqn.params["branches"]]
    return [_joined(column) for column in zip(*found, strict=True)]


def _custom_linear(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    """A rule of the user's in reverse mode, transposed as forward mode does it."""
    bwd = eqn.params["bwd"]
    k = bwd.n_residuals
    jaxpr = stage(lambda *xs: bwd.forward(xs[:k], xs[k:]), [a.aval for a in eqn.inputs], bwd.name)
    return _call(jaxpr, patterns)


def _custom_vmap(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    """A function with a batching rule of the user's, as it is for one example."""
    staged, consts = eqn.params["rule"].staged([a.aval for a in eqn.inputs])
    return _call(staged.jaxpr, [*[None] * len(consts), *patterns])


def _linear_call(eqn: Eqn, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    a, b, _ = eqn.params["sizes"]
    return _call(eqn.params["forward"], [*patterns[:a], *patterns[a + b :]])


_RULES: dict[Primitive, Callable[[Eqn, Sequence[Pattern], Values], list[Pattern]]] = {
    sum_p: _summed,
    cumsum_p: _running,
    linear_recurrence_p: _running,
    dot_general_p: _dot,
    conv_p: _convolved,
    reduce_window_sum_p: _windows,
    scatter_add_p: _scatter_add,
    scatter_p: _scatter,
    basic_set_p: _moved,
    dynamic_update_slice_p: _moved,
    window_gather_p: _moved,
    scan_p: _scan,
    while_p: _while,
    cond_p: _cond,
    custom_linear_p: _custom_linear,
    custom_vmap_p: _custom_vmap,
    linear_call_p: _linear_call,
}


def propagate(jaxpr: Jaxpr, patterns: Sequence[Pattern], values: Values) -> list[Pattern]:
    """The patterns of the results of a jaxpr, from those of its inputs."""
    found: dict[Atom, Pattern] = {v: p for v, p in zip(jaxpr.invars, patterns, strict=True) if p is not None}
    for eqn in jaxpr.eqns:
        given = [found.get(a) for a in eqn.inputs]
        if all(p is None for p in given):
            continue
        rule = _RULES.get(eqn.prim)
        body = eqn.params.get("jaxpr")
        if rule is not None:
            outs = rule(eqn, given, values)
        elif eqn.prim.kind == "call" and isinstance(body, Jaxpr):
            outs = _call(body, given, _Inner(body, eqn, values))
        elif Trait.ELEMENTWISE in eqn.prim.traits:
            outs = _elementwise(eqn, given, values)
        elif Trait.MOVEMENT in eqn.prim.traits:
            outs = _moved(eqn, given, values)
        else:
            outs = _conservative(eqn, given, values)
        found.update((v, p) for v, p in zip(eqn.outs, outs, strict=True) if p is not None)
    return [found.get(v) for v in jaxpr.outvars]
