"""Calls of jitted functions that native code enters at once.

Where the native backend is installed, ``jit`` makes objects that the interpreter calls through a native function. It
tries the signatures that the object was called with before, and runs their programs without a line of Python; what it
does not know it leaves to ``Jitted.__call__``. So a signature is met in Python first, and *settled* at its second call.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from functrans.api.boundary import presented
from functrans.api.program import Program
from functrans.config import generation
from functrans.core.avals import ShapedArray
from functrans.util.cache import on_clear

_CHAIN = 16
"""Signatures that are tried before Python is asked."""
_NO_CALL = 0
_alive: weakref.WeakSet[Settled] = weakref.WeakSet()


class Settled:
    """The tables of one jitted function.

    A call that comes to Python although its program is settled has something about it that tables do not admit: an odd
    array, or a captured value that is equal to what it was and not the same object. The table is made anew then, ever
    more seldom.
    """

    __slots__ = ("__weakref__", "chain", "misses", "owner", "tables")

    def __init__(self, owner: Any) -> None:
        self.owner = weakref.ref(owner)
        self.chain: Any = None
        self.tables: dict[Hashable, Any] = {}
        self.misses: dict[Hashable, int] = {}
        _alive.add(self)
        owner.cache.settled.add(self)

    def settle(self, program: Program, nargs: int, names: tuple[str, ...]) -> None:
        """Have calls with so many arguments, and named ones, run the program natively, if they can."""
        if self.chain is not None and self.chain.generation is not generation[0]:
            self.forget()
        key = (program, nargs, names)
        misses = self.misses.get(key, 0)
        if len(self.misses) > 4 * _CHAIN:
            self.misses = {k: n for k, n in self.misses.items() if k in self.tables}
        self.misses[key] = misses + 1
        if misses & (misses - 1):
            return
        table = _table(self.owner(), program, nargs, names)
        self.tables.pop(key, None)
        if table is not None:
            self.tables = dict([(key, table), *self.tables.items()][:_CHAIN])
            self._publish()

    def _publish(self) -> None:
        from functrans.backends.llvm import dispatch

        owner = self.owner()
        if owner is None:
            return
        chain = dispatch.Chain(list(self.tables.values()), type(owner).__call__, presented)
        owner._chain = chain.address
        owner._function = dispatch.entry()["functrans_call"]
        self.chain = chain

    def forget(self) -> None:
        """Drop the tables and the programs that they keep."""
        owner = self.owner()
        if owner is not None:
            owner._function = _NO_CALL
        self.chain = None
        self.tables = {}
        self.misses = {}


def _table(jitted: Any, program: Program, nargs: int, names: tuple[str, ...]) -> Any:
    """The table by which native code runs a program for some form of call; None where it cannot."""
    from functrans.backends.llvm import dispatch

    if program.contents:
        return None
    checks = dispatch.Checks(nargs, names)
    try:
        _arguments(jitted, program, checks)
        for place, value in program.guards:
            checks.guard(checks.captured(jitted.captured, place), value, jitted.captured.read(place))
        for i, (place, aval) in enumerate(program.places):
            checks.operand(checks.captured(jitted.captured, place), aval, i)
        return dispatch.Table(program.native, checks, program.out_tree)
    except dispatch.Unsuitable:
        return None


def _arguments(jitted: Any, program: Program, checks: Any) -> None:
    """The checks of the arguments, as ``Jitted`` tells static ones from traced ones."""
    from functrans.backends.llvm import dispatch

    nargs, names = checks.nargs, checks.names
    first = len(jitted.bound_args)
    static: dict[Any, Any] = dict(program.static)
    if None in static:
        raise dispatch.Unsuitable
    traced: list[int] = []
    for i in range(first + nargs):
        if i not in static:
            traced.append(i - first if i >= first else checks.constant(jitted.bound_args[i]))
        elif i >= first:
            _static(checks, i - first, static[i])
    named: dict[str, int] = {}
    for name in {**jitted.bound_kwargs, **dict.fromkeys(names)}:
        if name not in static:
            given = name in names
            named[name] = nargs + names.index(name) if given else checks.constant(jitted.bound_kwargs[name])
        elif name in names:
            _static(checks, nargs + names.index(name), static[name])
    parts = program.treedef.child_treedefs
    slots: list[int] = []
    for part, slot in zip(parts[0].child_treedefs, traced, strict=True):
        slots += checks.tree(part, slot)
    if named:
        for name, part in zip(parts[1].aux, parts[1].child_treedefs, strict=True):
            slots += checks.tree(part, named[name])
    operands = {leaf: len(program.places) + k for k, leaf in enumerate(program.dynamic)}
    for i, (slot, kind) in enumerate(zip(slots, program.types, strict=True)):
        if not isinstance(kind, ShapedArray):
            checks.equal(slot, *kind)
        elif i in operands:
            checks.operand(slot, kind, operands[i])
        else:
            checks.number(slot, program.values[i])


def _static(checks: Any, slot: int, key: Any) -> None:
    """Require a static argument, given by the key that the cache knows it by."""
    if isinstance(key, tuple):
        checks.equal(slot, *key)
        return

    def equal(value: Any) -> tuple[Any, ...] | None:
        return () if isinstance(value, np.ndarray) and type(key)(value) == key else None

    checks.hook(slot, equal, 0)


@cache
def is_installed() -> bool:
    """Whether there is a native backend to call."""
    return find_spec("llvmlite") is not None


def _forget_all() -> None:
    for settled in list(_alive):
        settled.forget()


on_clear(_forget_all)
