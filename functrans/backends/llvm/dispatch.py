"""Tables by which ``caller`` runs a program: what the arguments have to be, and how the results are put together.

A table holds addresses of Python objects, and keeps the objects themselves alive. What native code cannot look at (a
registered class, a static argument that is an array) it asks a Python function for.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from functrans.backends.llvm import arrays, caller
from functrans.backends.llvm.allocator import allocator, pooled
from functrans.backends.llvm.caller_tables import APART, ENTRY, NO_LOCK, OWNS, Build, Op, Result
from functrans.backends.llvm.runtime import machine
from functrans.backends.llvm.strided import is_large
from functrans.config import active_modes, generation
from functrans.core.avals import ShapedArray
from functrans.core.callees import MISSING, Spot
from functrans.core.capture import Captured, Contents, FrozenArray, Place, same
from functrans.core.dtypes import is_extended
from functrans.core.trace import Reference, Tracer, current_trace
from functrans.core.tree import tree_flatten
from functrans.core.tree_compile import compile_matcher
from functrans.core.tree_nodes import DICT, LIST, NONE, TUPLE
from functrans.core.treedef import LEAF, PyTreeDef, registered

LOCK_COST = 1 << 17
"""Simple instructions above which a program runs without the interpreter's lock: some twenty microseconds."""
_LARGEST = 1 << 15
"""Bytes of a frame without its arena: larger signatures are called by Python."""


class Native(NamedTuple):
    """A program that is one native function, as it hangs on the Python function which ``prepare`` returns.

    Attributes:
        address: of ``i32 function(ptr arena, ptr operands)``. The operands are the addresses of the inputs of the jaxpr
            and then of its outputs, all of them. It gives 0, or anything else where a Python exception is set.
        avals: the types of the inputs and of the outputs.
        arena: the bytes of memory that it works in, at a multiple of 64.
        cost: simple instructions of a call, roughly.
        owner: what keeps the code alive.
        python: whether it calls Python or sets exceptions, and so needs the interpreter's lock.
        strided: the inputs for which the Python function has variants, where they are not C-contiguous.
    """

    address: int
    avals: tuple[Sequence[ShapedArray], Sequence[ShapedArray]]
    arena: int
    cost: int
    owner: Any
    python: bool = False
    strided: frozenset[int] = frozenset()


def packed(name: str, count: int, attributes: str = "nounwind") -> str:
    """The text of ``name_packed``, which calls a segment with the addresses that lie in an array."""
    lines = [f"define i32 @{name}_packed(ptr %arena, ptr %operands) {attributes} {{"]
    for i in range(count):
        lines.append(f"  %p{i} = getelementptr ptr, ptr %operands, i64 {i}")
        lines.append(f"  %a{i} = load ptr, ptr %p{i}")
    given = ", ".join(["ptr %arena", *(f"ptr %a{i}" for i in range(count))])
    return "\n".join([*lines, f"  %r = call i32 @{name}({given})", "  ret i32 %r", "}", ""])


class Unsuitable(Exception):
    """A signature, or something that a function captures, that native code does not check."""


# -- the function that is called ---------------------------------------------------------------------------------------


@cache
def entry() -> dict[str, int]:
    """The addresses of the functions of ``caller``, which stay for the length of the process."""
    symbols = arrays.symbols(*caller.FUNCTIONS) | {
        "functrans_tuple": id(tuple),
        "functrans_list": id(list),
        "functrans_dict": id(dict),
        "functrans_exception": id(Exception),
        "functrans_dict_name": id(_DICT_NAME),
        "functrans_modes": id(active_modes),
        "functrans_trace": id(current_trace.__self__),  # type: ignore[attr-defined]
        "functrans_generation": id(generation),
    }
    host = machine()
    code = host.load(caller.text(), ["functrans_call", "functrans_nothing"], symbols)
    # Jitted functions may be called by what runs last as the interpreter ends.
    for immortal in (code, host, host.linker, active_modes, generation, _DICT_NAME):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(immortal))
    return code.addresses


_DICT_NAME = sys.intern("__dict__")


class Chain:
    """The tables that a jitted function tries, in order.

    Args:
        slow: the Python function that is called where none fits.
        present: makes of an exception what the user sees.
    """

    __slots__ = ("address", "functions", "generation", "tables", "words")

    def __init__(
        self, tables: Sequence[Table], slow: Callable[..., Any], present: Callable[[BaseException], BaseException]
    ) -> None:
        self.tables = tuple(tables)
        self.generation = generation[0]
        self.functions = (slow, present)
        words = [id(self), id(slow), id(present), id(self.generation), len(tables), *[t.address for t in tables]]
        self.words = (ctypes.c_uint64 * len(words))(*words)
        self.address = ctypes.addressof(self.words)


# -- checks ----------------------------------------------------------------------------------------------------------


class Checks:
    """The steps that look at the arguments of a call and at what the function captures.

    Places are slots of the frame: the first are the arguments as they are given, positional ones and then the named.
    """

    def __init__(self, nargs: int, names: tuple[str, ...]) -> None:
        self.nargs = nargs
        self.names = tuple(map(sys.intern, names))
        self.slots = nargs + len(names)
        self.ops: list[tuple[int, ...]] = []
        self.operands: dict[int, ShapedArray] = {}
        self.numbers = 0
        self.held = 0
        self.keep: list[Any] = []
        self.runs_python = False
        self._dims: dict[tuple[int, ...], int] = {}
        self._spaces: dict[int, int] = {}

    def slot(self, count: int = 1) -> int:
        self.slots += count
        return self.slots - count

    def kept(self, value: Any) -> int:
        """The address of an object that lives as long as the table."""
        self.keep.append(value)
        return id(value)

    def words(self, values: Sequence[int]) -> int:
        """The address of an array of words."""
        array = (ctypes.c_int64 * max(len(values), 1))(*values)
        self.keep.append(array)
        return ctypes.addressof(array)

    def dims(self, shape: tuple[int, ...]) -> int:
        if shape not in self._dims:
            self._dims[shape] = self.words(shape)
        return self._dims[shape]

    def _op(self, code: int, source: int, a: int = 0, b: int = 0, target: int = 0, d: int = 0) -> None:
        self.ops.append((code, 8 * source, a, b, target, d))

    def constant(self, value: Any) -> int:
        """The slot of an object that is the same at each call."""
        target = self.slot()
        self._op(Op.CONST, 0, self.kept(value), target=8 * target)
        return target

    def same(self, slot: int, value: Any) -> None:
        self._op(Op.IS, slot, self.kept(value))

    def equal(self, slot: int, cls: type, value: Any) -> None:
        """Require an object of a class that equals another."""
        if cls is bool:
            self.same(slot, value)
            return
        self.runs_python = self.runs_python or cls not in (str, bytes, int, float)
        self._op(Op.EQUAL, slot, self.kept(cls), self.kept(value))

    def number(self, slot: int, value: Any) -> None:
        """Require a Python number that is told apart by what it prints as."""
        if type(value) is int:
            self.equal(slot, int, value)
            return
        if type(value) not in (float, complex):
            raise Unsuitable
        parts = np.array(value).reshape(1).view(np.int64).tolist()
        for i, part in enumerate(parts):
            self._op(Op.BITS, slot, id(type(value)), part, arrays.VALUE + 8 * i)

    def operand(self, slot: int, aval: ShapedArray, index: int) -> None:
        """Require an array or a number of some type, which is the program's input of that index."""
        dtype = aval.dtype
        if not _is_plain(aval):
            raise Unsuitable
        self.operands[index] = aval
        if aval.box == "array":
            self.held += 1
            self._op(Op.ARRAY, slot, self.kept(dtype), self.dims(aval.shape), index, aval.ndim)
        elif aval.box == "numpy":
            self._op(Op.SCALAR, slot, self.kept(dtype.type), target=index)
        elif dtype.kind in "iu":
            self._op(Op.INT, slot, id(int), self.numbers, index)
            self.numbers += 1
        else:
            self._op(Op.SCALAR, slot, id(complex if dtype.kind == "c" else float), target=index)

    def hook(self, slot: int, function: Callable[[Any], tuple[Any, ...] | None], count: int) -> int:
        """Ask a Python function, which gives a tuple of so many objects, or None where the argument does not fit."""
        target = self.slot(count)
        self.runs_python = True
        self.held += 1
        self._op(Op.HOOK, slot, self.kept(partial(_asked, function)), count, 8 * target)
        return target

    def tree(self, treedef: PyTreeDef, slot: int) -> list[int]:
        """Require a structure: the slots of its leaves."""
        if treedef is LEAF:
            return [slot]
        kind, aux, children = treedef.kind, treedef.aux, treedef.child_treedefs
        if kind is NONE:
            self.same(slot, None)
            return []
        count = len(children)
        if kind is TUPLE or _is_namedtuple(treedef):
            target = self.slot(count)
            self._op(Op.TUPLE, slot, self.kept(kind.cls), count, 8 * target)
        elif kind is LIST:
            target = self.slot(count)
            self.held += count
            self._op(Op.LIST, slot, 0, count, 8 * target)
        elif kind is DICT and all(type(key) is str for key in aux):
            target = self.slot(count)
            self.held += count
            keys = self.words([self.kept(sys.intern(key)) for key in aux])
            self._op(Op.DICT, slot, keys, count, 8 * target)
        else:
            matcher = compile_matcher(treedef)
            target = self.hook(slot, lambda tree: _tuple_or_none(matcher(tree)), treedef.num_leaves)
            return list(range(target, target + treedef.num_leaves))
        leaves: list[int] = []
        for i, child in enumerate(children):
            leaves += self.tree(child, target + i)
        return leaves

    # -- what a function captures ------------------------------------------------------------------------------------

    def captured(self, captured: Captured, place: Place) -> int:
        """The slot of the value that lies at a place now."""
        f: Any = captured.function
        if isinstance(captured._read(place), Reference):
            raise Unsuitable
        kind, key = place
        if kind == "callee":
            assert isinstance(key, Spot)
            return self._item(key.owner, key.name) if isinstance(key.owner, dict) else self._cell(key.owner)
        if kind == "cell":
            return self._cell(f.__closure__[key])
        if kind == "global":
            return self._item(f.__globals__, key)
        if kind == "attribute":
            return self._item(None, key, self._space(captured.bound))
        if kind == "default":
            # A tuple does not change: where it is the same, so are its items.
            target = self.slot()
            self.held += 1
            self._op(Op.DEFAULTS, 0, self.kept(f), target=8 * target)
            self.same(target, f.__defaults__)
            return self.constant(f.__defaults__[key])
        target = self.slot()
        self.held += 1
        self._op(Op.KWDEFAULTS, 0, self.kept(f), target=8 * target)
        return self._item(None, key, target)

    def _cell(self, cell: Any) -> int:
        target = self.slot()
        self.held += 1
        self._op(Op.CELL, 0, self.kept(cell), target=8 * target)
        return target

    def _item(self, names: dict[str, Any] | None, key: str, source: int = 0) -> int:
        target = self.slot()
        self.held += 1
        owner = 0 if names is None else self.kept(names)
        self._op(Op.ITEM, source, owner, self.kept(sys.intern(key)), 8 * target)
        return target

    def _space(self, instance: Any) -> int:
        found = self._spaces.get(id(instance))
        if found is None:
            found = self._spaces[id(instance)] = self.slot()
            self.held += 1
            self.runs_python = True
            self._op(Op.NAMESPACE, 0, self.kept(instance), target=8 * found)
        return found

    def guard(self, slot: int, value: Any, now: Any) -> None:
        """Require that a captured value is what it is now, which is what the program was traced with or equals it."""
        if value is MISSING or isinstance(value, (FrozenArray, Tracer)) or not same(value, now):
            raise Unsuitable
        if type(value) is Contents:
            leaves = tree_flatten(now)[0]
            for leaf, known, new in zip(self.tree(value.treedef, slot), value.leaves, leaves, strict=True):
                self.guard(leaf, known, new)
            return
        self.same(slot, now)


def _is_plain(aval: ShapedArray) -> bool:
    """Whether values of a type are addresses of elements, as native code takes and makes them."""
    dtype = aval.dtype
    if is_extended(dtype):
        return aval.box == "array"
    builtin = dtype.isnative and dtype.kind in "biufc" and dtype.isbuiltin == 1 and dtype.itemsize <= 16
    return builtin and all(type(n) is int for n in aval.shape)


def _asked(function: Callable[[Any], Any], value: Any) -> Any:
    try:
        return function(value)
    except Exception:
        return None  # The Python function meets the same error, and says where.


def _tuple_or_none(leaves: list[Any] | None) -> tuple[Any, ...] | None:
    return None if leaves is None else tuple(leaves)


def _is_namedtuple(treedef: PyTreeDef) -> bool:
    """Whether a node is a namedtuple that nobody registered as something else."""
    cls = treedef.kind.cls
    return issubclass(cls, tuple) and cls not in registered and len(treedef.child_treedefs) == len(cls._fields)  # type: ignore[attr-defined]


# -- tables ----------------------------------------------------------------------------------------------------------


class Table:
    """How a program is called for one signature.

    Attributes:
        address: of the table's words.
    """

    __slots__ = ("__weakref__", "address", "keep", "words")

    def __init__(self, native: Native, checks: Checks, out_tree: PyTreeDef) -> None:
        self.words: Any = None
        ins, outs = native.avals
        if checks.operands != dict(enumerate(ins)):
            raise Unsuitable
        unlocked = native.cost > LOCK_COST and not native.python
        flags = (NO_LOCK if unlocked else 0) | (OWNS if unlocked or native.python or checks.runs_python else 0)
        build, depth = _build(out_tree, checks)
        at = 8 * checks.slots
        held, at = at, at + 8 * (1 + checks.held)
        operands, at = at, at + 8 * (len(ins) + len(outs))
        results, at = at, at + 8 * len(outs)
        stack, at = at, at + 8 * depth
        numbers = -(-at // 16) * 16
        unboxed, at = numbers + 16 * len(outs), numbers + 16 * (len(outs) + checks.numbers)
        if at > _LARGEST:
            raise Unsuitable
        arena = -(-at // 64) * 64
        frame = arena + native.arena
        pool = allocator().addresses if frame >= _LARGEST * 2 else {}
        specs = [word for aval in outs for word in _result(aval, checks)]
        fields = {
            "nargs": checks.nargs,
            "names": checks.kept(checks.names) if checks.names else 0,
            "total": checks.nargs + len(checks.names),
            "ops": checks.words(
                [w for op in [*checks.ops, (Op.END, 0, 0, 0, 0, 0)] for w in _placed(op, operands, unboxed, native)]
            ),
            "n_in": len(ins),
            "n_out": len(outs),
            "specs": checks.words(specs),
            "function": native.address,
            "flags": flags,
            "frame": frame,
            "operands": operands,
            "numbers": numbers,
            "results": results,
            "stack": stack,
            "held": held,
            "arena": arena,
            "take": pool.get("functrans_take", 0),
            "give": pool.get("functrans_give", 0),
            "free": 0,
            "n_build": len(build) // 3,
            "build": checks.words(build),
            "calls": 0,
        }
        self.words = (ctypes.c_int64 * len(ENTRY))(*[fields[name] for name in ENTRY])
        self.address = ctypes.addressof(self.words)
        self.keep = (checks.keep, native)

    @property
    def calls(self) -> int:
        """How many calls went through the table."""
        return int(self.words[ENTRY.index("calls")])

    def __del__(self) -> None:
        if self.words is None:
            return
        at = ENTRY.index("free")
        frame = self.words[at]
        while frame:
            following = ctypes.c_int64.from_address(frame).value
            _free(ctypes.c_void_p.from_address(frame - 8).value)
            frame = following
        self.words[at] = 0


_free = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(("PyMem_RawFree", ctypes.pythonapi))


def _placed(op: tuple[int, ...], operands: int, unboxed: int, native: Native) -> tuple[int, ...]:
    """A step with places in the frame in place of the numbers of operands."""
    code, source, a, b, target, d = op
    if code == Op.ARRAY and target in native.strided and is_large(native.avals[0][target]):
        d += APART
    if code in (Op.ARRAY, Op.SCALAR, Op.INT):
        target = operands + 8 * target
    if code == Op.INT:
        b = unboxed + 16 * b
    return code, source, a, b, target, d


_BOXES = {"f": Result.FLOAT, "i": Result.INT, "b": Result.BOOL, "c": Result.COMPLEX}


def _result(aval: ShapedArray, checks: Checks) -> tuple[int, ...]:
    """How a result is made."""
    dtype, shape = aval.dtype, aval.shape
    if not _is_plain(aval):
        raise Unsuitable
    if aval.box == "python":
        return _BOXES[dtype.kind], 0, 0, 0, 0, 0, 0, 0
    if aval.box == "numpy":
        return Result.SCALAR, checks.kept(dtype), 0, 0, 0, 0, 0, 0
    kind, handler, maker = Result.ARRAY, 0, 0
    if pooled(shape, dtype):
        kind, handler, maker = Result.KEPT, id(allocator().handler), allocator().addresses["functrans_array"]
    size = dtype.itemsize * prod(shape)
    return kind, checks.kept(dtype), len(shape), checks.dims(shape), size, handler, maker, 0


def _build(treedef: PyTreeDef, checks: Checks) -> tuple[list[int], int]:
    """The steps that make a structure of the results, and how many objects stand on the stack at most."""
    words: list[int] = []
    deepest = 0

    def visit(node: PyTreeDef, depth: int) -> None:
        nonlocal deepest
        deepest = max(deepest, depth + 1)
        if node is LEAF:
            words.extend((Build.LEAF, 0, 0))
            return
        kind, aux, children = node.kind, node.aux, node.child_treedefs
        if kind is NONE:
            words.extend((Build.CONST, 0, id(None)))
            return
        for i, child in enumerate(children):
            visit(child, depth + i)
        count = len(children)
        if kind is TUPLE:
            words.extend((Build.TUPLE, count, 0))
        elif kind is LIST:
            words.extend((Build.LIST, count, 0))
        elif kind is DICT and all(type(key) is str for key in aux):
            words.extend((Build.DICT, count, checks.words([checks.kept(sys.intern(key)) for key in aux])))
        else:
            make = kind.cls._make if _is_namedtuple(node) else partial(kind.from_children, aux)  # type: ignore[attr-defined]
            words.extend((Build.HOOK, count, checks.kept(make)))

    if treedef is not LEAF:
        visit(treedef, 0)
    return words, deepest
