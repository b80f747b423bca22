"""The user's functions, made again with NumPy's stand-ins in place of NumPy.

A function is rebuilt from its code with other globals and, where needed, other cells. Its globals are a ``Globals``: a
view of the module's own namespace that translates what is read from it, so that a name that the module rebinds is
seen, and callees are rebuilt as they are reached, recursive ones included. The module itself is not touched.
"""

from __future__ import annotations

import builtins
import functools
import os
import site
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from functrans.core.trace import Tracer
from functrans.numpy.code.buffer import lift_foreign
from functrans.numpy.code.entry import MARK, entered, is_rebuilt, leave
from functrans.numpy.code.mirror import mirror, settle
from functrans.numpy.code.namespaces import (
    MATH,
    LibraryStand,
    LiveNamespace,
    is_numpy,
    translate_library,
    translate_math,
    translate_numpy,
)
from functrans.numpy.code.specials import specials

_MISSING: Any = object()
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
_PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None), type})


@functools.cache
def _libraries() -> tuple[str, ...]:
    """The folders of Python and of what is installed."""
    folders = [p for k, p in sysconfig.get_paths().items() if k.endswith("lib") or k == "stdlib"]
    folders += [site.getusersitepackages(), *site.getsitepackages()]
    return (*{os.path.abspath(p) + os.sep for p in folders}, _PACKAGE)


def top_package(value: Any) -> str:
    """The first part of the name of the module that a function comes from."""
    module = getattr(value, "__module__", None)
    return module.partition(".")[0] if isinstance(module, str) else ""


class Globals(dict[str, Any]):
    """The namespace of a module as its rebuilt functions see it. What they store lies here until the call ends."""

    def __init__(self, original: dict[str, Any], rebinder: Rebinder) -> None:
        super().__init__()
        self.original = original
        self.rebinder = rebinder
        self.translated: dict[str, tuple[Any, Any]] = {}
        # The interpreter reads this one entry without asking.
        dict.__setitem__(self, "__builtins__", rebinder.builtins)

    def __getitem__(self, name: str) -> Any:
        value = dict.get(self, name, _MISSING)
        if value is not _MISSING:
            return value
        value = self.original[name]
        known = self.translated.get(name)
        if known is not None and known[0] is value:
            return known[1]
        result = self.rebinder.translate(name, value)
        if self.rebinder.lasts(value):
            self.translated[name] = value, result
        return result

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or name in self.original

    def __iter__(self) -> Iterator[str]:
        return iter(self.original)

    def keys(self) -> Any:
        """The names, which are the module's."""
        return self.original.keys()

    def get(self, name: str, default: Any = None) -> Any:
        """The translated value of a name."""
        return self[name] if name in self else default

    def flush(self) -> None:
        """Give the module what its functions stored in globals."""
        for name in [n for n in dict.keys(self) if n != "__builtins__"]:
            self.original[name] = leave(dict.pop(self, name))


class Rebinder:
    """Rebuilds a function, and what it calls.

    Attributes:
        package: the top-level package of the function: code from it is the user's own wherever it is installed.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self.namespaces: dict[int, Globals] = {}
        self.functions: dict[types.FunctionType, types.FunctionType] = {}
        self.classes: dict[type, type] = {}
        self.builtins = {**vars(builtins), "__import__": self._import, MARK: True}

    # -- what is the user's own -------------------------------------------------------------------------------------

    def is_own(self, f: types.FunctionType) -> bool:
        """Whether a function is the user's own rather than a library's."""
        if self.package and top_package(f) == self.package:
            return True
        return not f.__code__.co_filename.startswith((*_libraries(), "<frozen", "<functrans"))

    def _is_own_module(self, module: types.ModuleType) -> bool:
        if self.package and module.__name__.partition(".")[0] == self.package:
            return True
        file = getattr(module, "__file__", None)
        return file is not None and not file.startswith(_libraries()) and module.__name__ not in sys.stdlib_module_names

    def lasts(self, value: Any) -> bool:
        """Whether a translation can be kept: it holds no array and no cell, whose contents change."""
        if isinstance(value, (Tracer, np.ndarray, functools.partial)) or getattr(value, "rebuild", None) is not None:
            return False
        return not (isinstance(value, types.FunctionType) and value.__closure__)

    # -- translation ------------------------------------------------------------------------------------------------

    def concerns(self, value: Any) -> bool:
        """Whether a value may need translation."""
        if type(value) in _PLAIN or isinstance(value, type):
            return id(value) in specials
        if isinstance(value, (np.ndarray, Tracer, types.ModuleType, functools.partial)):
            return True
        return callable(value)

    def translate(self, name: str, value: Any, session: Session | None = None) -> Any:
        """What stands for a value that a function reads; the value itself where it needs nothing."""
        if not self.concerns(value):
            return value
        kind = type(value)
        if kind is np.ndarray or kind is Tracer:
            return lift_foreign(value, f"the array {name!r}, which the function did not make,")
        if is_numpy(value):
            return translate_numpy(name, value)
        if kind is types.ModuleType:
            return self._module(name, value)
        if kind is types.FunctionType and getattr(value, "rebuild", None) is None:
            if top_package(value) == "functrans" and not self.is_own(value):
                return translate_library(name, value)
            return self.function(value, session or Session())
        if getattr(value, "rebuild", None) is not None:
            return self._transformed(value, session or Session())
        if kind is functools.partial:
            return self._partial(name, value, session or Session())
        if kind is types.MethodType and isinstance(value.__func__, types.FunctionType) and self.is_own(value.__func__):
            return self.method(value, session or Session())
        if top_package(value) == "functrans" or top_package(kind) == "functrans":
            return translate_library(name, value)
        return translate_math(name, value)

    def _module(self, name: str, module: types.ModuleType) -> Any:
        if module.__name__ == "math":
            return MATH
        if module.__name__.partition(".")[0] == "functrans":
            return translate_library(name, module)
        return LiveNamespace(module, self.namespace(vars(module))) if self._is_own_module(module) else module

    def namespace(self, original: dict[str, Any]) -> Globals:
        """The globals of rebuilt functions of a module."""
        known = self.namespaces.get(id(original))
        if known is None:
            known = self.namespaces[id(original)] = Globals(original, self)
        return known

    def function(self, f: types.FunctionType, session: Session) -> types.FunctionType:
        """A function made again; the function itself where it is a library's."""
        if is_rebuilt(f):
            return f
        known = self.functions.get(f) or session.functions.get(f)
        if known is not None:
            return known
        own = self.is_own(f)
        if not own and not self._carries_own(f):
            return f
        cells = tuple([session.cell(c, self) for c in f.__closure__ or ()])
        names = self.namespace(f.__globals__) if own else f.__globals__
        copy = types.FunctionType(f.__code__, names, f.__name__, None, cells)
        (session.functions if f.__closure__ else self.functions)[f] = copy
        copy.__dict__.update(f.__dict__)
        copy.__qualname__, copy.__doc__, copy.__module__ = f.__qualname__, f.__doc__, f.__module__
        if getattr(f, "__annotate__", None) is None:
            copy.__annotations__ = f.__annotations__
        else:  # From Python 3.14 on reading them would evaluate them, and names may be missing.
            copy.__annotate__ = f.__annotate__  # type: ignore[attr-defined]
        arguments = f.__code__.co_varnames[: f.__code__.co_argcount]
        if f.__defaults__:
            given = zip(arguments[-len(f.__defaults__) :], f.__defaults__, strict=True)
            copy.__defaults__ = tuple([self.translate(n, v, session) for n, v in given])
        if f.__kwdefaults__:
            copy.__kwdefaults__ = {n: self.translate(n, v, session) for n, v in f.__kwdefaults__.items()}
        for name, old, new in zip(f.__code__.co_freevars, f.__closure__ or (), cells, strict=True):
            session.fill(self, name, old, new)
        return copy

    def _carries_own(self, f: types.FunctionType) -> bool:
        """Whether a library's function, a wrapper made by a decorator, closes over one of the user's."""
        for cell in f.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:
                continue
            if isinstance(value, types.FunctionType) and self.is_own(value):
                return True
        return False

    def method(self, method: types.MethodType, session: Session) -> Callable[..., Any]:
        """A bound method, on a stand-in for its object whose other methods are rebuilt too."""
        function = self.function(method.__func__, session)  # type: ignore[arg-type]
        return types.MethodType(function, mirror(method.__self__, self, session))

    def _partial(self, name: str, value: functools.partial[Any], session: Session) -> Any:
        args = [self.translate(f"{name}.args[{i}]", a, session) for i, a in enumerate(value.args)]
        kwargs = {k: self.translate(k, v, session) for k, v in value.keywords.items()}
        return functools.partial(self.translate(name, value.func, session), *args, **kwargs)

    def _transformed(self, value: Any, session: Session) -> Any:
        """A transformed function of the user's: transformed anew around the rebuilt one."""
        inner = value.__wrapped__
        rebuilt = self.translate("", inner, session)
        if getattr(value.rebuild, "transformation", None) is decorator[0]:
            return rebuilt
        if rebuilt is inner:
            return LibraryStand(value)
        return LibraryStand(value.rebuild(entered(rebuilt)))

    def _import(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        """What ``import`` inside a rebuilt function does."""
        names = globals.original if isinstance(globals, Globals) else globals
        return self.translate(name, builtins.__import__(name, names, locals, fromlist, level))

    def flush(self) -> None:
        """Give the modules what was stored in their globals."""
        for names in self.namespaces.values():
            if dict.__len__(names) > 1:
                names.flush()


decorator: list[Any] = [None]
"""``numpy_code`` itself, which puts itself here: a function that it decorates needs no second rebuilding."""


class Session:
    """One call: the functions with cells that were rebuilt for it, their cells, and the objects that were mirrored."""

    def __init__(self) -> None:
        self.functions: dict[types.FunctionType, types.FunctionType] = {}
        self.cells: dict[int, tuple[types.CellType, types.CellType]] = {}
        self.filled: list[tuple[types.CellType, types.CellType, Any]] = []
        self.twins: dict[int, tuple[Any, Any]] = {}

    def cell(self, old: types.CellType, rebinder: Rebinder) -> types.CellType:
        """The cell to read in place of one: itself where what lies in it needs no translation."""
        known = self.cells.get(id(old))
        if known is not None:
            return known[1]
        try:
            value = old.cell_contents
        except ValueError:
            return old
        if not rebinder.concerns(value):
            return old
        new = types.CellType()
        self.cells[id(old)] = old, new
        return new

    def fill(self, rebinder: Rebinder, name: str, old: types.CellType, new: types.CellType) -> None:
        """Put the translation of what lies in one cell into the other."""
        if new is old or any(n is new for _, n, _ in self.filled):
            return
        self.filled.append((old, new, None))
        place = len(self.filled) - 1
        new.cell_contents = value = rebinder.translate(name, old.cell_contents, self)
        self.filled[place] = old, new, value

    def close(self) -> None:
        """Give the user's own cells and objects what was stored in their stand-ins."""
        for old, new, put in self.filled:
            try:
                now = new.cell_contents
            except ValueError:
                # The function deleted the variable.
                continue
            if now is not put:
                old.cell_contents = leave(now)
        for obj, twin in self.twins.values():
            if twin is not obj:
                settle(obj)
