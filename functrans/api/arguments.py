"""Arguments of transformed functions: which are transformed, flattened to arrays and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from functrans import errors
from functrans.api.boundary import name_of
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.trace import Tracer, aval_of, is_array
from functrans.core.tree import tree_flatten, tree_flatten_with_path
from functrans.core.tree_paths import SequenceKey, keystr
from functrans.core.treedef import PyTreeDef

Argnums = int | Sequence[int]


def check_argnums(transformation: str, argnums: Any) -> tuple[int, ...]:
    """``argnums`` as a tuple."""
    if isinstance(argnums, int) and not isinstance(argnums, bool):
        return (argnums,)
    if isinstance(argnums, (tuple, list)) and all(isinstance(n, int) and not isinstance(n, bool) for n in argnums):
        return tuple(argnums)
    got = repr(argnums) if isinstance(argnums, (str, float, tuple, list)) else f"a {type(argnums).__name__}"
    raise errors.ArgumentError(
        f"{transformation}: argnums must be an int or a tuple of ints, got {got}. The function's own arguments go to "
        f"the transformed function: {transformation}(f)(x)"
    )


def select(transformation: str, f: Any, argnums: tuple[int, ...], args: tuple[Any, ...]) -> tuple[int, ...]:
    """``argnums`` as indices of ``args``: in range, distinct and not negative."""
    n = len(args)
    indices = []
    for i in argnums:
        if not -n <= i < n:
            raise errors.ArgumentError(
                f"{transformation}({name_of(f)}): argnums={i} asks for an argument that the call does not have: "
                f"it has {n} positional argument{'' if n == 1 else 's'}. Arguments that are transformed have to be "
                f"passed by position"
            )
        indices.append(i % n)
    if len(set(indices)) != len(indices):
        raise errors.ArgumentError(f"{transformation}({name_of(f)}): argnums={argnums} names an argument twice")
    return tuple(indices)


def path_name(prefix: str, path: Any) -> str:
    """``argument 0['w'][1]``: a prefix that ends with a space is followed by the position."""
    if prefix.endswith(" ") and path and isinstance(path[0], SequenceKey):
        return f"{prefix}{path[0].idx}{keystr(path[1:])}"
    return f"{prefix}{keystr(path)}"


def flatten_arrays(where: str, label: str, tree: Any) -> tuple[list[Any], PyTreeDef]:
    """The leaves of a pytree, each checked to be an array or a number; ``label`` names the tree in errors."""
    leaves, treedef = tree_flatten(tree)
    for i, leaf in enumerate(leaves):
        if not is_array(leaf):
            path = tree_flatten_with_path(tree)[0][i][0]
            raise errors.ArgumentError(
                f"{where}: {path_name(label, path)} is an object of type {type(leaf).__name__}; an array or a number "
                f"is needed there. Close over it (lambda x: f(x, option)), make it static under jit, or declare the "
                f"field of a dataclass static (name: str = functrans.tree.static())"
            )
    return leaves, treedef


def leaf_path(label: str, tree: Any, i: int) -> str:
    """The name of the i-th leaf of a tree, for errors."""
    return path_name(label, tree_flatten_with_path(tree)[0][i][0])


def check_outputs(where: str, out: Any) -> tuple[list[Any], PyTreeDef]:
    """The leaves of what a function returned, each checked to be an array or a number."""
    leaves, treedef = tree_flatten(out)
    for i, leaf in enumerate(leaves):
        if not is_array(leaf):
            raise errors.OutputError(
                f"{where} must return arrays or numbers, or a pytree of them; {leaf_path('its result', out, i)} is an "
                f"object of type {type(leaf).__name__}. Return what is no array as auxiliary data with has_aux=True, "
                f"or leave it out"
            )
    return leaves, treedef


def check_differentiable(
    where: str, labels: Callable[[int], str], avals: Sequence[ShapedArray], holomorphic: bool, allow_int: bool
) -> None:
    """Reject inputs without a derivative."""
    for i, aval in enumerate(avals):
        kind = dtypes.kind(aval.dtype)
        if kind not in "fc" and not allow_int:
            raise errors.GradientInputError(
                f"{where}: {labels(i)} has type {aval}, and derivatives are taken in floats. Pass x.astype(float), or "
                f"2.0 instead of 2; with allow_int=True its gradient is an array of dtype float0"
            )
        if holomorphic and kind != "c":
            raise errors.GradientInputError(
                f"{where} with holomorphic=True: {labels(i)} has type {aval}, and a complex input is needed"
            )


def check_aux(where: str, out: Any) -> tuple[Any, Any]:
    """Split the pair that a function with auxiliary data returns."""
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        raise errors.OutputError(
            f"{where} with has_aux=True: the function must return a pair (result, auxiliary data), got "
            f"{'a tuple of length ' + str(len(out)) if isinstance(out, tuple) else type(out).__name__}"
        )
    return out[0], out[1]


class Auxiliary:
    """Auxiliary data on its way out of a trace: its arrays travel as outputs, the rest is kept here."""

    def __init__(self) -> None:
        self.leaves: list[Any] = []
        self.treedef: PyTreeDef | None = None
        self.places: list[int] = []

    def take(self, aux: Any) -> list[Any]:
        """The arrays in the auxiliary data."""
        self.leaves, self.treedef = tree_flatten(aux)
        self.places = [i for i, leaf in enumerate(self.leaves) if isinstance(leaf, Tracer)]
        return [self.leaves[i] for i in self.places]

    def give(self, arrays: Sequence[Any]) -> Any:
        """The auxiliary data with the arrays put back."""
        assert self.treedef is not None
        for i, array in zip(self.places, arrays, strict=True):
            self.leaves[i] = array
        return self.treedef.unflatten(self.leaves)


def avals_of(leaves: Sequence[Any]) -> list[ShapedArray]:
    return [aval_of(leaf) for leaf in leaves]
