"""Solutions of equations, differentiated by the implicit function theorem rather than through the solver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.core.avals import ShapedArray, shaped
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Jaxpr
from functrans.core.primitive import BatchAxis, Primitive, Sample, Undefined, Zero
from functrans.core.stage import stage
from functrans.core.structural import add, instantiate, zero_of
from functrans.core.trace import aval_of, current_trace
from functrans.core.tree import describe_mismatch, tree_flatten, tree_map, tree_structure
from functrans.core.treedef import PyTreeDef
from functrans.interpreters.batch import batch_jaxpr, materialize
from functrans.interpreters.jvp import jvp_flat
from functrans.interpreters.transpose import transpose_jaxpr
from functrans.lax.arithmetic import div, mul, neg
from functrans.lax.control.body import body_of, check_function, flatten_operands, leaf_path, name_of
from functrans.lax.control.custom_rules import Rules, custom_p
from functrans.lax.control.region import fit, results_fitted, runner
from functrans.lax.selection import stop_gradient
from functrans.util.lists import split as runs

# -- linear equations -----------------------------------------------------------------------------------------------

# Operands: constants of the function, its transpose, the solver and the transposed solver, then the right-hand side.
# ``sizes`` counts the constants. Results: the solution, and what the solver gives besides. ``vecmat`` is the transpose
# of ``matvec``, and ``transpose_solve`` solves with it; without them there is no reverse mode.

Sizes = tuple[int, int, int, int]


def _shape(
    *avals: ShapedArray,
    matvec: Jaxpr,
    vecmat: Jaxpr | None,
    solve: Jaxpr,
    transpose_solve: Jaxpr | None,
    sizes: Sizes,
) -> list[ShapedArray]:
    given = [*runs(avals, sizes)[2], *avals[sum(sizes) :]]
    for i, (a, e) in enumerate(zip(given, solve.in_avals, strict=True)):
        if (a.shape, a.dtype) != (e.shape, e.dtype):
            raise errors.JaxprError(f"linear_solve: operand {i} of the solver has type {a}, and it asks for {e}")
    return list(solve.out_avals)


def _run(xp: Any, *args: Any, solve: Jaxpr, sizes: Sizes, **params: Any) -> list[Any]:
    return list(runner(solve, xp)(*runs(args, sizes)[2], *args[sum(sizes) :]))


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[list[Any], list[Any]]:
    """From A x = b follows A dx = db - dA x."""
    sizes, matvec = params["sizes"], params["matvec"]
    n = sum(sizes)
    outs = linear_solve_p.bind(*primals, **params)
    k = len(primals) - n
    x = outs[:k]
    consts, consts_t = primals[: sizes[0]], tangents[: sizes[0]]
    rhs = list(tangents[n:])
    if any(not isinstance(t, Zero) for t in consts_t):
        zeros_t = [zero_of(v) for v in x]
        _, moved = jvp_flat(lambda *args: evaluate(matvec, args), [*consts, *x], [*consts_t, *zeros_t])
        rhs = [_difference(b, m) for b, m in zip(rhs, moved, strict=True)]
    none = [zero_of(o) for o in outs]
    if all(isinstance(b, Zero) for b in rhs):
        return outs, none
    given = [fit(instantiate(b), aval_of(p)) for b, p in zip(rhs, primals[n:], strict=True)]
    return outs, [*linear_solve_p.bind(*primals[:n], *given, **params)[:k], *none[k:]]


def _difference(a: Any, b: Any) -> Any:
    """The difference of two tangents, of which either may be zero."""
    if isinstance(b, Zero):
        return a
    return neg(b) if isinstance(a, Zero) else add(a, neg(b))


def _transpose(cotangents: Sequence[Any], *operands: Any, **params: Any) -> list[Any]:
    sizes = params["sizes"]
    n = sum(sizes)
    if params["transpose_solve"] is None:
        raise errors.NotDifferentiableError(
            "custom_linear_solve has no derivative in reverse mode without a solver for the transposed equation. Pass "
            "transpose_solve=, or symmetric=True where the matrix is its own transpose"
        )
    matvec, vecmat, solve, transpose_solve = runs(operands[:n], sizes[:3])
    k = len(operands) - n
    # Leaves of the right-hand side that are known here are zeros, as linearity demands.
    avals = [x.aval if isinstance(x, Undefined) else aval_of(x) for x in operands[n:]]
    given = [fit(instantiate(ct), a.cotangent()) for ct, a in zip(cotangents, avals, strict=False)]
    outs = linear_solve_p.bind(
        *vecmat,
        *matvec,
        *transpose_solve,
        *solve,
        *given,
        matvec=params["vecmat"],
        vecmat=params["matvec"],
        solve=params["transpose_solve"],
        transpose_solve=params["solve"],
        sizes=(sizes[1], sizes[0], sizes[3], sizes[2]),
    )
    return [
        *[None] * n,
        *(o if isinstance(x, Undefined) else None for o, x in zip(outs[:k], operands[n:], strict=True)),
    ]


def _batch(
    axis: BatchAxis, args: Sequence[Any], dims: Sequence[int | None], **params: Any
) -> tuple[list[Any], list[int]]:
    sizes = params["sizes"]
    n = sum(sizes)
    batched = [d is not None for d in dims]
    operands = [
        materialize(axis, x, d) if d is not None or i >= n else x
        for i, (x, d) in enumerate(zip(args, dims, strict=True))
    ]
    groups = runs(batched[:n], sizes[:3])
    consts = runs(operands[:n], sizes[:3])
    mapped: dict[str, Jaxpr | None] = {}
    counts: list[int] = []
    given: list[Any] = []
    for name, mask, values in zip(("matvec", "vecmat", "solve", "transpose_solve"), groups, consts, strict=True):
        jaxpr = params[name]
        if jaxpr is None:
            mapped[name], own = None, ()
        else:
            rest = len(jaxpr.invars) - len(mask)
            mapped[name], own = batch_jaxpr(jaxpr, axis, [*mask, *[True] * rest], True)[0].hoisted()
        given += [*own, *values]
        counts.append(len(own) + len(values))
    outs = linear_solve_p.bind(*given, *operands[n:], **mapped, sizes=tuple(counts))
    return outs, [0] * len(outs)


def _samples() -> list[Sample]:
    vector = shaped((2,), np.dtype(np.float64))
    times = stage(lambda d, x: [mul(d, x)], [vector, vector], "matvec")
    over = stage(lambda d, b: [div(b, d)], [vector, vector], "solve")
    d, b = np.array([0.5, -2.0]), np.array([1.0, 3.0])
    params = {"matvec": times, "vecmat": times, "solve": over, "transpose_solve": over, "sizes": (1, 1, 1, 1)}
    # In the constants the implementation is not what the derivative says: the solver is taken at its word.
    return [Sample((d, d, d, d, b), params, diff=(4,))]


linear_solve_p: Primitive = Primitive(
    "linear_solve",
    shape=_shape,
    impl=_run,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    multiple=True,
    kind="custom",
    samples=_samples,
)


def custom_linear_solve(
    matvec: Callable[[Any], Any],
    b: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    transpose_solve: Callable[[Callable[[Any], Any], Any], Any] | None = None,
    symmetric: bool = False,
    has_aux: bool = False,
) -> Any:
    """The ``x`` with ``matvec(x) = b`` that ``solve(matvec, b)`` gives, with derivatives of the solution.

    The derivative solves one more equation with the same matrix, as ``A dx = db - dA x``, whatever the solver does
    inside: it may loop as long as it likes, and its precision is that of the derivative. Differentiable in ``b`` and in
    what ``matvec`` closes over; in reverse mode the transposed equation is solved.

    Args:
        matvec: a linear function of a pytree like ``b``.
        b: the right-hand side, a pytree of arrays.
        solve: a function of ``matvec`` and a right-hand side that gives the solution.
        transpose_solve: the same for the transposed equation: it gets the transpose of ``matvec`` and a right-hand
            side. Without it there is no reverse mode.
        symmetric: whether ``matvec`` is its own transpose; then ``solve`` serves for both.
        has_aux: whether ``solve`` gives a pair of the solution and something else, which has no derivative.

    Returns:
        The solution, or the pair.

    Raises:
        TreeStructureError, ShapeError, DTypeError: for a solution that is not like ``b``.
        NotDifferentiableError: in reverse mode without a transposed solver.

    >>> import numpy as np, functrans as ft
    >>> A, b = np.array([[4.0, 1.0], [2.0, 3.0]]), np.array([1.0, 2.0])
    >>> def jacobi(matvec, b):
    ...     return ft.lax.fori_loop(0, 60, lambda _, x: x + (b - matvec(x)) / np.array([4.0, 3.0]), np.zeros(2))
    >>> solve = lambda b: ft.lax.custom_linear_solve(lambda x: A @ x, b, jacobi, transpose_solve=jacobi)
    >>> np.allclose(ft.jacrev(solve)(b), np.linalg.inv(A))
    True
    """
    where = f"custom_linear_solve({name_of(matvec)})"
    check_function("custom_linear_solve", "matvec", matvec)
    check_function("custom_linear_solve", "solve", solve)
    leaves, tree = flatten_operands(where, "b", b)
    if current_trace() is None:
        out = solve(matvec, b)
        solution = _pair(where, out)[0] if has_aux else out
        found, found_tree = tree_flatten(solution)
        _check_solution(where, b, leaves, tree, list(map(aval_of, found)), found_tree)
        return out
    avals = [_settled(aval_of(x)) for x in leaves]
    given = list(map(fit, leaves, avals))
    forward = _staged_function(where, "matvec", matvec, tree, avals, b)
    primal, aux_tree = _staged_solver(where, solve, matvec, tree, avals, b, has_aux)
    backward: tuple[Jaxpr, Sequence[Any]] | None = None
    transposed: tuple[Jaxpr, Sequence[Any]] | None = None
    if symmetric:
        backward, transposed = forward, primal
    elif transpose_solve is not None:
        check_function("custom_linear_solve", "transpose_solve", transpose_solve)
        backward = _transposed(*forward, avals), forward[1]
        flat = backward

        def vecmat(x: Any) -> Any:
            return tree.unflatten(evaluate(flat[0], [*flat[1], *tree_flatten(x)[0]]))

        transposed = _staged_solver(where, transpose_solve, vecmat, tree, avals, b, has_aux)[0]
    groups = [forward, backward, primal, transposed]
    consts = [list(g[1]) if g is not None else [] for g in groups]
    outs = linear_solve_p.bind(
        *(c for group in consts for c in group),
        *given,
        matvec=forward[0],
        vecmat=None if backward is None else backward[0],
        solve=primal[0],
        transpose_solve=None if transposed is None else transposed[0],
        sizes=tuple(map(len, consts)),
    )
    k = len(leaves)
    solution = tree.unflatten(outs[:k])
    return (solution, aux_tree.unflatten(outs[k:])) if aux_tree is not None else solution


def _settled(aval: ShapedArray) -> ShapedArray:
    """A right-hand side as the equation sees it: a Python number is an array like any other."""
    box = "numpy" if aval.box == "python" else aval.box
    return aval.update(box=box)


def _pair(where: str, out: Any) -> tuple[Any, Any]:
    if not isinstance(out, tuple) or len(out) != 2:
        raise errors.OutputError(f"{where}: with has_aux the solver must return a pair (solution, aux), got {out!r}")
    return out


def _check_solution(
    where: str, b: Any, leaves: Sequence[Any], tree: PyTreeDef, found: Sequence[ShapedArray], found_tree: PyTreeDef
) -> None:
    if found_tree != tree:
        difference = describe_mismatch(tree, found_tree, "the solution", "in b", "in the solution")
        raise errors.TreeStructureError(f"{where}: the solution must have the structure of b. {difference}")
    for i, (x, a) in enumerate(zip(leaves, found, strict=True)):
        aval = aval_of(x)
        if aval.shape != a.shape or (aval.dtype != a.dtype and not aval.weak):
            kind = errors.ShapeError if aval.shape != a.shape else errors.DTypeError
            raise kind(
                f"{where}: {leaf_path('the solution', b, i)} must be like {leaf_path('b', b, i)}, of type {aval}, and "
                f"has type {a}"
            )


def _staged_function(
    where: str, label: str, f: Callable[[Any], Any], tree: PyTreeDef, avals: Sequence[ShapedArray], b: Any
) -> tuple[Jaxpr, tuple[Any, ...]]:
    body = body_of(f"{where}: {label}", f, tree_structure((tree.unflatten(range(len(avals))),)), avals)
    _check_solution(where, b, tree_flatten(b)[0], tree, body.out_avals, body.out_tree)
    return results_fitted(body.jaxpr, avals), body.consts


def _staged_solver(
    where: str,
    solve: Callable[..., Any],
    matvec: Callable[[Any], Any],
    tree: PyTreeDef,
    avals: Sequence[ShapedArray],
    b: Any,
    has_aux: bool,
) -> tuple[tuple[Jaxpr, Sequence[Any]], PyTreeDef | None]:
    """A solver from its constants and the flat right-hand side to the flat solution, and to what it gives besides."""
    aux_tree: list[PyTreeDef] = []

    def flat(*args: Any) -> list[Any]:
        out = solve(matvec, tree.unflatten(args))
        solution, aux = _pair(where, out) if has_aux else (out, None)
        found, found_tree = tree_flatten(solution)
        _check_solution(where, b, tree_flatten(b)[0], tree, list(map(aval_of, found)), found_tree)
        more, structure = tree_flatten(aux)
        aux_tree[:] = [structure]
        return [*map(fit, found, avals), *more]

    jaxpr, consts = stage(flat, avals, name_of(solve)).hoisted()
    return (jaxpr, consts), aux_tree[0] if has_aux else None


def _transposed(jaxpr: Jaxpr, consts: Sequence[Any], avals: Sequence[ShapedArray]) -> Jaxpr:
    """The transpose of a linear function in its last inputs, of the same constants."""
    linear = [*[False] * len(consts), *[True] * len(avals)]
    closed, own = transpose_jaxpr(jaxpr, linear, [True] * len(avals), True)[0].hoisted()
    if own:
        raise errors.JaxprError("the transpose of a linear function has constants")
    return results_fitted(closed, avals)


# -- roots ----------------------------------------------------------------------------------------------------------


def custom_root(
    f: Callable[[Any], Any],
    initial_guess: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    tangent_solve: Callable[[Callable[[Any], Any], Any], Any],
    has_aux: bool = False,
) -> Any:
    """The ``x`` with ``f(x) = 0`` that ``solve(f, initial_guess)`` gives, with derivatives of the root.

    By the implicit function theorem the derivative in what ``f`` closes over solves one linear equation at the root,
    ``f'(x) dx = -df``, whatever the solver does inside. The initial guess has no influence on a root, and no
    derivative.

    Args:
        f: a function from a pytree of arrays to one of the same structure and shapes.
        initial_guess: where the solver starts.
        solve: a function of ``f`` and the guess that gives the root.
        tangent_solve: a function of a linear function ``g`` (the derivative of ``f`` at the root) and a right-hand
            side ``y`` that solves ``g(x) = y``: ``lambda g, y: y / g(1.0)`` for numbers.
        has_aux: whether ``solve`` gives a pair of the root and something else, which has no derivative.

    Returns:
        The root, or the pair.

    >>> import numpy as np, functrans as ft
    >>> def newton(f, x):
    ...     return ft.lax.while_loop(lambda x: np.abs(f(x)) > 1e-14, lambda x: x - f(x) / ft.grad(f)(x), x)
    >>> root = lambda a: ft.lax.custom_root(lambda x: x * x - a, 1.0, newton, lambda g, y: y / g(1.0))
    >>> np.round([root(2.0), ft.grad(root)(2.0), ft.grad(ft.grad(root))(2.0)], 6)
    array([ 1.414214,  0.353553, -0.088388])
    """
    where = f"custom_root({name_of(f)})"
    for label, function in (("f", f), ("solve", solve), ("tangent_solve", tangent_solve)):
        check_function("custom_root", label, function)
    leaves, tree = flatten_operands(where, "initial_guess", initial_guess)
    if current_trace() is None:
        return solve(f, initial_guess)
    guess = tree_map(stop_gradient, initial_guess)
    start = [_settled(aval_of(x)) for x in leaves]
    aux_tree: list[PyTreeDef] = []

    def find(*args: Any) -> list[Any]:
        out = solve(f, tree.unflatten(args))
        root, aux = _pair(where, out) if has_aux else (out, None)
        found, found_tree = tree_flatten(root)
        if found_tree != tree:
            difference = describe_mismatch(tree, found_tree, "the root", "in the guess", "in the root")
            raise errors.TreeStructureError(f"{where}: the root must have the structure of the guess. {difference}")
        more, structure = tree_flatten(aux)
        aux_tree[:] = [structure]
        return [*found, *more]

    solver, solver_consts = stage(find, start, name_of(solve)).hoisted()
    n_guess = len(leaves)
    roots = [_settled(a) for a in solver.out_avals[:n_guess]]
    body = body_of(where, f, tree_structure((tree.unflatten(range(n_guess)),)), roots)
    if body.out_tree != tree or [a.shape for a in body.out_avals] != [a.shape for a in roots]:
        raise errors.ShapeError(
            f"{where}: f must return what it is given, {tree} of shapes {[a.shape for a in roots]}; it returns "
            f"{body.out_tree} of shapes {[a.shape for a in body.out_avals]}"
        )
    n_f, n_solver = len(body.consts), len(solver_consts)
    flat_f = results_fitted(body.jaxpr, roots)

    def fun(*args: Any) -> list[Any]:
        outs = evaluate(solver, args[n_f:])
        return [*map(fit, outs[:n_guess], roots), *outs[n_guess:]]

    def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        outs = custom_p.bind(*primals, rules=rules)
        x, consts = outs[:n_guess], list(primals[:n_f])
        still = [zero_of(v) for v in x]
        none = [zero_of(o) for o in outs]
        _, moved = jvp_flat(lambda *args: evaluate(flat_f, args), [*consts, *x], [*tangents[:n_f], *still])
        if all(isinstance(m, Zero) for m in moved):
            return outs, none
        rhs = [neg(instantiate(m)) for m in moved]

        def derivative(v: Any) -> Any:
            directions = [fit(t, a) for t, a in zip(tree_flatten(v)[0], roots, strict=True)]
            fixed = [zero_of(c) for c in consts]
            _, out = jvp_flat(lambda *args: evaluate(flat_f, args), [*consts, *x], [*fixed, *directions])
            return tree.unflatten([instantiate(t) for t in out])

        dx = custom_linear_solve(derivative, tree.unflatten(rhs), tangent_solve, transpose_solve=tangent_solve)
        return outs, [*tree_flatten(dx)[0], *none[n_guess:]]

    rules = Rules(where, fun, jvp, None, None)
    operands = [*body.consts, *map(stop_gradient, solver_consts), *map(fit, tree_flatten(guess)[0], start)]
    outs = custom_p.bind(*operands, rules=rules)
    assert len(operands) == n_f + n_solver + n_guess
    root = tree.unflatten(outs[:n_guess])
    return (root, aux_tree[0].unflatten(outs[n_guess:])) if has_aux else root
