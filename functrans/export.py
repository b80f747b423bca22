"""Saved programs: a traced function as bytes, which a process without its source can load, check and run.

A saved program is text (the jaxpr), numbers (the arrays that it captured, and checksums) and nothing that runs by being
read: loading one executes nothing, and what is damaged, foreign or newer than this version raises.

>>> import numpy as np, functrans as ft
>>> exported = ft.export.export(lambda w, x: np.tanh(x @ w).sum(), derivatives=1)(np.ones((3, 2)), np.ones((4, 3)))
>>> again = ft.export.loads(exported.dumps())
>>> float(again(np.ones((3, 2)), np.ones((4, 3)))).__round__(6)
7.960438
>>> ft.grad(again)(np.ones((3, 2)), np.ones((4, 3))).shape
(3, 2)
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from functrans import errors
from functrans.api.custom import custom_vjp
from functrans.api.jit import Jitted, jit
from functrans.api.linear import vjp
from functrans.api.stages import Lowered
from functrans.core import dtypes
from functrans.core.avals import ShapedArray
from functrans.core.check import check
from functrans.core.evaluate import evaluate
from functrans.core.jaxpr import Jaxpr, subjaxprs
from functrans.core.parser import from_text
from functrans.core.trace import aval_of
from functrans.core.tree import describe_mismatch, tree_flatten
from functrans.core.treedef import PyTreeDef
from functrans.passes.inline import Inline

__all__ = ["Exported", "export", "load", "loads"]

MAGIC = b"functrans program\n"
FORMAT = 1


class _Part(NamedTuple):
    """One function of an exported program: the program itself, or a pullback."""

    jaxpr: Jaxpr
    in_tree: PyTreeDef
    out_tree: PyTreeDef


class Exported:
    """A function at given types of its arguments, without the Python code that it came from.

    Calling it checks the arguments against these types. It may be transformed: batched and jitted always, and
    differentiated in reverse mode as often as ``derivatives`` of ``export`` asked for.

    Attributes:
        name: of the function.
        in_avals, out_avals: types of the arguments' and the results' leaves, in order.
    """

    def __init__(self, name: str, parts: Sequence[_Part]) -> None:
        self.name = name
        self._parts = tuple(parts)
        self.in_avals = parts[0].jaxpr.in_avals
        self.out_avals = parts[0].jaxpr.out_avals
        self._call = _callable(name, self._parts)

    @property
    def derivatives(self) -> int:
        """How often it can be differentiated."""
        return len(self._parts) - 1

    @property
    def trace_count(self) -> int:
        """How often calls have traced the function, which ``export`` has done once for all: never."""
        return 0

    def as_text(self) -> str:
        """The jaxpr's text."""
        return str(self._parts[0].jaxpr)

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def dumps(self) -> bytes:
        """The program as bytes."""
        return _write(self.name, self._parts)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program to a file, which appears whole or not at all."""
        target = Path(path)
        partial_file = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            partial_file.write_bytes(self.dumps())
            partial_file.replace(target)
        finally:
            partial_file.unlink(missing_ok=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return loads, (self.dumps(),)

    def __repr__(self) -> str:
        types = ", ".join(map(str, self.in_avals))
        return f"<exported {self.name}({types}), {self.derivatives} derivatives>"


def export(f: Callable[..., Any], *, derivatives: int = 0) -> Callable[..., Exported]:
    """A function of example arguments that gives ``f`` at their types, ready to be saved.

    Arrays that ``f`` captures are saved with their contents. Arguments are pytrees of tuples, lists, dicts and None.

    Args:
        f: a function, jitted or not.
        derivatives: how many times the saved program can be differentiated in reverse mode. Rules given by
            ``custom_jvp`` and ``custom_vjp`` are followed.

    Raises:
        ExportError: ``f`` calls back into Python, or a container is of a class that another process may not have.
    """
    jitted = f if isinstance(f, Jitted) else jit(f)
    name = getattr(f, "__name__", type(f).__name__)

    def at(*args: Any) -> Exported:
        parts = [_part(jitted, args)]
        function: Callable[..., Any] = jitted
        for _ in range(derivatives):
            results = parts[-1].out_tree.unflatten([_example(a) for a in parts[-1].jaxpr.out_avals])
            function = partial(_pullback, function)
            args = (args, results)
            parts.append(_part(jit(function), args))
        return Exported(name, parts)

    return at


def _pullback(function: Callable[..., Any], args: tuple[Any, ...], cotangents: Any) -> Any:
    return vjp(function, *args)[1](cotangents)


def _example(aval: ShapedArray) -> Any:
    tangent = aval.cotangent()
    if tangent.dtype == dtypes.float0:
        return np.zeros(tangent.shape, dtypes.float0)
    return np.ones(tangent.shape, tangent.dtype) if tangent.shape else tangent.dtype.type(1)


def of_lowered(lowered: Lowered) -> Exported:
    """What ``jit(f).lower(*args)`` gave, without derivatives; pickling it goes this way."""
    return Exported(lowered.name, [_part_of(lowered)])


def _part(jitted: Jitted, args: tuple[Any, ...]) -> _Part:
    return _part_of(jitted.lower(*args))


def _part_of(lowered: Lowered) -> _Part:
    name, program = lowered.name, lowered._program
    function: Any = lowered._function
    jaxpr = Inline().run(program.jaxpr)
    hidden = program.hidden(function.captured) or ()
    n = len(hidden)
    fixed = tuple([np.array(x) if isinstance(x, np.ndarray) else x for x in hidden])
    jaxpr = jaxpr.replace(
        invars=jaxpr.invars[n:], constvars=(*jaxpr.invars[:n], *jaxpr.constvars), consts=(*fixed, *jaxpr.consts)
    )
    if program.values or len(program.dynamic) != len(jaxpr.invars):
        raise errors.ExportError(
            f"export({name}): an argument decides about the program itself (a static argument, or a Python number used "
            f"as a shape or a branch). Bind it first: export(lambda *rest: f(value, *rest))"
        )
    _check_pure(name, jaxpr)
    for tree in (lowered._in_tree, program.out_tree):
        _tree_to_json(tree.unflatten(list(range(tree.num_leaves))), name)
    return _Part(jaxpr, lowered._in_tree, program.out_tree)


def _check_pure(name: str, jaxpr: Jaxpr) -> None:
    for eqn in jaxpr.eqns:
        if eqn.effects or any(callable(p) and not isinstance(p, (type, np.dtype)) for p in eqn.params.values()):
            where = "" if eqn.source is None else f" at {eqn.source}"
            raise errors.ExportError(
                f"export({name}): the operation {eqn.prim.name}{where} calls back into Python, which a saved program "
                f"cannot. Leave callbacks out of what is exported, or write the operation with functrans.numpy"
            )
        for body in subjaxprs(eqn):
            _check_pure(name, body)


# -- running -----------------------------------------------------------------------------------------------------------


def _callable(name: str, parts: Sequence[_Part]) -> Callable[..., Any]:
    """A function that runs the first part, and whose derivative is the next one."""
    part, rest = parts[0], parts[1:]
    run = jit(_Runner(part))

    def checked(*args: Any) -> Any:
        leaves, tree = tree_flatten((args,))
        if tree != part.in_tree:
            raise errors.TreeStructureError(
                f"{name}: the exported program takes arguments of another structure: "
                f"{describe_mismatch(part.in_tree, tree)}"
            )
        for i, (x, aval) in enumerate(zip(leaves, part.jaxpr.in_avals, strict=True)):
            now = aval_of(x)
            if (now.shape, now.dtype) != (aval.shape, aval.dtype):
                raise errors.ArgumentError(
                    f"{name}: the exported program was traced for {aval} as leaf {i} of its arguments, got {now}. "
                    f"Export it for these types too"
                )
        return run(*args)

    checked.__name__ = name
    outer = custom_vjp(checked)
    if rest:
        pull = _callable(f"{name}_vjp", rest)
        outer.defvjp(lambda *args: (checked(*args), args), lambda args, ct: pull(args, ct))
    else:

        def refuse(*args: Any) -> Any:
            raise errors.NotDifferentiableError(
                f"{name} was exported without (further) derivatives. Export it with a larger `derivatives`"
            )

        outer.defvjp(refuse, refuse)
    return outer


class _Runner:
    """A part as a function of its arguments."""

    def __init__(self, part: _Part) -> None:
        self.part = part
        self.__name__ = "exported"

    def __call__(self, *args: Any) -> Any:
        leaves, _ = tree_flatten((args,))
        return self.part.out_tree.unflatten(evaluate(self.part.jaxpr, leaves))


# -- bytes -------------------------------------------------------------------------------------------------------------


def _write(name: str, parts: Sequence[_Part]) -> bytes:
    blobs: list[bytes] = []
    written = []
    for part in parts:
        consts = []
        for value in part.jaxpr.consts:
            array = np.ascontiguousarray(value)
            consts.append({"dtype": array.dtype.str, "name": array.dtype.name, "shape": list(np.shape(value))})
            blobs.append(array.tobytes())
        written.append(
            {
                "jaxpr": str(part.jaxpr),
                "consts": consts,
                "in_tree": _tree_to_json(part.in_tree.unflatten(list(range(part.in_tree.num_leaves))), name),
                "out_tree": _tree_to_json(part.out_tree.unflatten(list(range(part.out_tree.num_leaves))), name),
            }
        )
    head = json.dumps({"name": name, "numpy": np.__version__, "parts": written}).encode()
    body = MAGIC + struct.pack("<IQ", FORMAT, len(head)) + head + b"".join(blobs)
    return body + hashlib.sha256(body).digest()


def loads(data: bytes) -> Exported:
    """The program that ``Exported.dumps`` wrote.

    Raises:
        ExportError: the bytes are damaged, are no program, or were written by a newer version.
    """
    if not data.startswith(MAGIC):
        raise errors.ExportError("these bytes are no saved program of functrans: they do not begin like one")
    if len(data) < len(MAGIC) + 12 + 32:
        raise errors.ExportError("the saved program is damaged: it ends too soon")
    form, length = struct.unpack_from("<IQ", data, len(MAGIC))
    if form > FORMAT:
        raise errors.ExportError(
            f"the saved program has format {form}, and this version of functrans reads up to {FORMAT}: "
            f"install a newer one"
        )
    body, digest = data[:-32], data[-32:]
    if hashlib.sha256(body).digest() != digest:
        raise errors.ExportError("the saved program is damaged: its checksum does not fit. Save it again")
    start = len(MAGIC) + 12
    try:
        head = json.loads(body[start : start + length])
        parts, at = [], start + length
        for entry in head["parts"]:
            part, at = _read_part(entry, body, at)
            parts.append(part)
        name = str(head["name"])
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise errors.ExportError(f"the saved program cannot be read: {error}") from error
    return Exported(name, parts)


def load(path: str | os.PathLike[str]) -> Exported:
    """The program in a file that ``Exported.save`` wrote; see ``loads``."""
    return loads(Path(path).read_bytes())


def _read_part(entry: Any, body: bytes, at: int) -> tuple[_Part, int]:
    consts = []
    for item in entry["consts"]:
        dtype = dtypes.canonical(np.dtype(item["dtype"] if np.dtype(item["dtype"]).kind != "V" else item["name"]))
        shape = tuple([int(n) for n in item["shape"]])
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if dtype.hasobject or at + size > len(body):
            raise ValueError(f"a constant of type {dtype} and shape {shape} does not fit what follows")
        consts.append(np.frombuffer(body[at : at + size], dtype).reshape(shape).copy())
        at += size
    jaxpr = from_text(entry["jaxpr"], consts)
    check(jaxpr)
    _check_pure("loads", jaxpr)
    trees = [tree_flatten(_tree_from_json(entry[key]))[1] for key in ("in_tree", "out_tree")]
    if trees[0].num_leaves != len(jaxpr.invars) or trees[1].num_leaves != len(jaxpr.outvars):
        raise ValueError("the structure of the arguments or the results does not fit the program")
    return _Part(jaxpr, *trees), at


def _tree_to_json(tree: Any, name: str) -> Any:
    """Containers as JSON; a leaf is its number."""
    kind = type(tree)
    if kind is int or tree is None:
        return tree
    if kind in (tuple, list):
        return {kind.__name__: [_tree_to_json(x, name) for x in tree]}
    if kind in (dict, OrderedDict):
        if not all(isinstance(k, (str, int)) and not isinstance(k, bool) for k in tree):
            raise errors.ExportError(
                f"export({name}): the keys of a dict must be strings or ints, got {list(tree)!r}. Rename them"
            )
        return {kind.__name__: [[k, _tree_to_json(x, name)] for k, x in tree.items()]}
    raise errors.ExportError(
        f"export({name}): arguments and results may be tuples, lists, dicts and None; another process may not have the "
        f"class {kind.__name__}. Take it apart before, for example with dataclasses.asdict or namedtuple._asdict"
    )


_CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "tuple": lambda items: tuple(map(_tree_from_json, items)),
    "list": lambda items: list(map(_tree_from_json, items)),
    "dict": lambda items: {k: _tree_from_json(x) for k, x in items},
    "OrderedDict": lambda items: OrderedDict((k, _tree_from_json(x)) for k, x in items),
}


def _tree_from_json(value: Any) -> Any:
    if value is None or type(value) is int:
        return value
    ((kind, items),) = value.items()
    return _CONTAINERS[kind](items)
