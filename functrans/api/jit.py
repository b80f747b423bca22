"""``jit``: a function is traced once for each signature, compiled, and called through the compiled program."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from functrans import backends, errors
from functrans.api.arguments import Argnums, check_argnums, leaf_path
from functrans.api.boundary import boundary, check_callable, check_leaks, name_of, presented
from functrans.api.native import Settled, is_installed
from functrans.api.paths import Miss, Paths
from functrans.api.program import Cache, Program, Signature, describe_signature
from functrans.api.specialize import Specializer, asking
from functrans.api.stages import Lowered
from functrans.api.staging import ShapeDtypeStruct
from functrans.api.tracing import Branches, Inline, is_staged, trace_program
from functrans.backends.base import Backend
from functrans.config import active_modes, any_mode, config, generation
from functrans.core.capture import Captured, Rebuild
from functrans.core.trace import Tracer, aval_of, current_trace, is_array
from functrans.core.tree import tree_flatten
from functrans.interpreters.batch import named_axes
from functrans.util.cache import Bounded
from functrans.util.vectorcall import natively_callable

_shared: Bounded[Cache] = Bounded(512)
_alive: weakref.WeakValueDictionary[Hashable, Cache] = weakref.WeakValueDictionary()


def _cache_for(key: Hashable, bound: Any) -> Cache:
    """The programs of one function. A fresh lambda of the same code finds those of the last one.

    Those of a method go with the object that it is ``bound`` to.
    """
    cache = _alive.get(key)
    if cache is None:
        cache = Cache(config.cache_size)
        _alive[key] = cache
        if hasattr(type(bound), "__weakref__"):
            weakref.finalize(bound, _shared.discard, key).atexit = False
    _shared.put(key, cache)
    return cache


class Jitted:
    """A compiled function, as ``jit`` returns it. It is called as the function itself is.

    Attributes:
        trace_count: how often the function has been traced, by this object and by others that ``jit`` made of the
            same function with the same options, which share one cache.
    """

    native = False
    """Whether objects of the class may be called by native code."""

    def __init__(
        self,
        f: Callable[..., Any],
        static_argnums: tuple[int, ...],
        static_argnames: tuple[str, ...],
        donate: tuple[int, ...],
        backend: str | None,
        specialize: int | None = None,
    ) -> None:
        functools.update_wrapper(self, f, updated=())
        self.f = f
        self.static_argnums = static_argnums
        self.static_argnames = static_argnames
        self.donate = donate
        self.backend = backend
        self.specialize = specialize
        self.bound_args: tuple[Any, ...] = ()
        self.bound_kwargs: dict[str, Any] = {}
        target = f
        while isinstance(target, functools.partial):
            self.bound_args = target.args + self.bound_args
            self.bound_kwargs = {**target.keywords, **self.bound_kwargs}
            target = target.func
        self.target = target
        self.captured = Captured(target)
        shift = len(self.bound_args)
        options = (
            tuple(i + shift for i in static_argnums), static_argnames, tuple(i + shift for i in donate), backend,
            specialize,
        )  # fmt: skip
        fixed = [i for i, a in enumerate(self.bound_args) if not _is_arrays(a)]
        self.static = frozenset([*options[0], *fixed])
        self.fixed_names = frozenset(n for n, a in self.bound_kwargs.items() if not _is_arrays(a))
        self.donated = frozenset(options[2])
        self.key = (self.captured.key, options)
        self.cache = _cache_for(self.key, self.captured.bound)
        self.rebuild = Rebuild(
            jit,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            donate_argnums=donate,
            backend=backend,
            specialize=specialize,
        )
        self.plain = not (static_argnums or static_argnames or self.bound_args or self.bound_kwargs)
        self.settled: Settled | None = None

    # -- calling --------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self.plain and current_trace() is None and not active_modes:
                tree = (args, kwargs) if kwargs else (args,)
                for program in self.cache.recent:
                    leaves = program.enter(tree)
                    if leaves is not None and program.generation is generation[0]:
                        hidden = () if program.bare else program.hidden(self.captured)
                        if hidden is not None:
                            outs = (program.ready or program.run)(*hidden, *leaves)
                            if program.native is not None and self.native:
                                self._settle(program, args, kwargs)
                            return outs if program.single else program.finish(outs)
            return self._call(args, kwargs)
        except Miss as miss:
            missed = miss
        except Exception as error:
            shown = presented(error)
            if shown is error:
                raise  # Bare: `raise error` would put this frame into the traceback again.
            raise shown  # noqa: B904 - the error that NumPy hid behind another
        return self._further(missed, args, kwargs)

    def _further(self, miss: Miss, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Go on where the outcome of a branch is new."""
        try:
            return self._specializer(miss.paths.limit).further(self._signature(args, kwargs), miss)
        except Exception as error:
            shown = presented(error)
            if shown is error:
                raise
            raise shown  # noqa: B904 - as above

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if any_mode():
            if config.disable_jit:
                return self.f(*args, **kwargs)
            if config.check_leaks:
                return check_leaks(self._run, (args, kwargs), {})
        return self._run(args, kwargs)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        staged = is_staged(current_trace())
        if staged and self.specialize is not None:
            return self._inline(self.specialize, args, kwargs)
        signature = self._signature(args, kwargs)
        try:
            found = self.cache.lookup(signature, self.captured)
            if found is None and self.specialize is not None:
                return self._specializer(self.specialize).first(signature)
            program, hidden = found or self._traced(signature)
        except Inline as inline:
            if inline.trace.signature is not signature:
                raise
            return self.f(*args, **kwargs)
        except Branches as branches:
            if branches.trace.signature is not signature:
                raise
            return self._specializer(branches.limit).first(signature)
        if staged and isinstance(program, Paths):
            return self._inline(program.limit, args, kwargs)
        if current_trace() is None and not any_mode():
            if self.plain:
                self.cache.remember(program)
            if found and program.native is not None and self.native and program.keep:
                self._settle(program, args, kwargs)
        return program.apply([*hidden, *[signature.leaves[i] for i in program.dynamic]])

    def _settle(self, program: Program, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Have further calls like this one enter native code at once."""
        if self.settled is None:
            self.settled = Settled(self)
        self.settled.settle(program, len(args), tuple(kwargs))

    def _inline(self, limit: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the function itself under the trace of an outer ``jit``, which paths belong to."""
        with asking(limit or None):
            return self.f(*args, **kwargs)

    def _traced(self, signature: Signature) -> tuple[Program, Sequence[Any]]:
        program = trace_program(self.target, self.captured, signature, self.donated, self._backend(), self.cache)
        hidden = program.hidden(self.captured)
        assert hidden is not None
        return program, hidden

    def _specializer(self, limit: int) -> Specializer:
        return Specializer(self.target, self.captured, self.donated, self._backend(), self.cache, limit)

    def _backend(self) -> Backend:
        return backends.find(self.backend or config.backend or backends.default_backend())

    def _signature(self, args: tuple[Any, ...], kwargs: dict[str, Any], abstract: bool = False) -> Signature:
        """What a call is, to the cache: structure, types of arrays, values of statics.

        With ``abstract``, ``ShapeDtypeStruct``s stand for arrays.
        """
        where = f"jit({name_of(self.f)})"
        if self.bound_args or self.bound_kwargs:
            args = self.bound_args + args
            kwargs = {**self.bound_kwargs, **kwargs}
        static: list[tuple[Any, Any]] = []
        traced: list[Any] = []
        for i, a in enumerate(args):
            if i in self.static or i - len(args) in self.static:
                static.append((i, _static_key(where, f"argument {i}", a)))
            else:
                traced.append(a)
        named = {}
        for name, a in kwargs.items():
            if name in self.static_argnames or (name in self.fixed_names and a is self.bound_kwargs[name]):
                static.append((name, _static_key(where, f"argument {name!r}", a)))
            else:
                named[name] = a
        axes = named_axes()
        if axes:
            static.append((None, ("axes", axes)))
        tree = (tuple(traced), named) if named else (tuple(traced),)
        leaves, treedef = tree_flatten(tree)
        types: list[Any] = []
        for i, leaf in enumerate(leaves):
            kind = type(leaf)
            if kind is np.ndarray or isinstance(leaf, Tracer):
                types.append(aval_of(leaf))
            elif kind is bool or kind is str or kind is bytes:
                types.append((kind, leaf))
            elif abstract and kind is ShapeDtypeStruct:
                types.append(leaf.aval)
            else:
                try:
                    types.append(aval_of(leaf))
                except errors.ArgumentError:
                    types.append(_opaque(where, tree, i, leaf))
        return Signature(where, args, kwargs, leaves, treedef, tuple(types), tuple(static), self._backend().name)

    # -- looking into it -----------------------------------------------------------------------------------------

    @property
    def trace_count(self) -> int:
        return self.cache.traces

    def clear_cache(self) -> None:
        """Forget every compiled program of this function."""
        self.cache.clear()

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """The function at given arguments, as it goes through the compiler. See ``Lowered``."""
        try:
            signature = self._signature(args, kwargs, abstract=True)
            found = self.cache.lookup(signature, self.captured)
            if found is not None and not isinstance(found[0], Paths):
                program = found[0]
            else:
                program = self._straight(signature)
            return Lowered(name_of(self.f), program, self, signature.treedef)
        except Inline:
            raise errors.ConcretizationError(
                f"jit({name_of(self.f)}).lower: the function needs the value of a number or an array that another "
                f"transformation traces. Lower it outside of that one"
            ) from None
        except Exception as error:
            raise presented(error)  # noqa: B904 - as above

    def _straight(self, signature: Signature) -> Program:
        """The program of a function without branches; its validations are taken to pass."""
        if self.specialize is None:
            try:
                return self._traced(signature)[0]
            except Branches as branches:
                if branches.trace.signature is not signature:
                    raise
        try:
            return trace_program(self.target, self.captured, signature, self.donated, self._backend(), None, True)
        except (errors.TracerBoolError, Branches) as error:
            raise errors.ConcretizationError(
                f"jit({name_of(self.f)}).lower: the function has a program for each path through its branches, and so "
                f"none to show. Write functrans.lax.cond in place of the branch"
            ) from error

    def explain(self) -> str:
        """Why the function was traced as often as it was: what changed, from what to what."""
        lines = [f"{name_of(self.f)} was traced {self.cache.traces} time{'' if self.cache.traces == 1 else 's'}"]
        for i, (signature, reason) in enumerate(self.cache.history, 1):
            lines.append(f"{i}. {describe_signature(signature)}")
            if reason:
                lines.append(f"   {reason}")
        return "\n".join(lines)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        method = self.f.__get__(instance, owner)
        shift = [i - 1 for i in self.static_argnums if i > 0]
        donate = [i - 1 for i in self.donate if i > 0]
        return type(self)(method, tuple(shift), self.static_argnames, tuple(donate), self.backend, self.specialize)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.rebuild, (self.f,)

    def __repr__(self) -> str:
        return f"<jit of {name_of(self.f)}, traced {self.cache.traces} times>"


def _is_arrays(value: Any) -> bool:
    """Whether a bound argument of a partial is passed as one, and not kept as the Python value that it is."""
    leaves = tree_flatten(value)[0]
    return all(map(is_array, leaves)) and any(isinstance(x, (np.ndarray, np.generic, Tracer)) for x in leaves)


def _opaque(where: str, tree: Any, i: int, leaf: Any) -> Any:
    path = leaf_path("argument ", tree[0], i) if len(tree) == 1 else f"leaf {i} of the arguments"
    raise errors.ArgumentError(
        f"{where}: {path} is an object of type {type(leaf).__name__}, which cannot be traced. Pass it through "
        f"static_argnums or static_argnames, or close over it"
    ) from None


_STATIC_BYTES = 1 << 16


class _StaticArray:
    """A static array: compared by its contents, which are copied."""

    __slots__ = ("key",)

    def __init__(self, array: np.ndarray) -> None:
        self.key = (array.dtype, array.shape, array.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _StaticArray) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _static_key(where: str, label: str, value: Any) -> Hashable:
    """A static argument as a part of a cache key: its type and value."""
    if isinstance(value, Tracer):
        raise errors.ConcretizationError(
            f"{where}: {label} is static and got a traced value of type {value.aval}. Static arguments have to be "
            f"Python values: leave it out of static_argnums, or do not transform with respect to it"
        )
    if isinstance(value, np.ndarray):
        if value.nbytes > _STATIC_BYTES:
            raise errors.UnhashableStaticError(
                f"{where}: {label} is static and got an array of {value.nbytes} bytes. A static array is compared by "
                f"its contents, up to {_STATIC_BYTES} bytes. Pass it as an ordinary argument"
            )
        return _StaticArray(value)
    try:
        hash(value)
    except TypeError:
        raise errors.UnhashableStaticError(
            f"{where}: {label} is static and got a {type(value).__name__}, which cannot be hashed. Pass a tuple in "
            f"place of a list, a frozen dataclass in place of a dict, or make it an ordinary argument"
        ) from None
    return (type(value), value)


def _parameters(f: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        return None


def _check_static(f: Callable[..., Any], nums: tuple[int, ...], names: tuple[str, ...], what: str) -> None:
    parameters = _parameters(f)
    if parameters is None:
        return
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for i in nums:
        if not variadic and not -len(positional) <= i < len(positional):
            raise errors.StaticArgumentError(
                f"jit({name_of(f)}): {what}={i} is out of range for a function of {len(positional)} positional "
                f"argument{'' if len(positional) == 1 else 's'}"
            )
    keywords = {p.name for p in parameters if p.kind is not p.VAR_POSITIONAL}
    if names and not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for name in names:
            if name not in keywords:
                raise errors.StaticArgumentError(
                    f"jit({name_of(f)}): static_argnames={name!r} names no parameter; they are "
                    f"{', '.join(sorted(keywords))}"
                )


def _resolve(f: Callable[..., Any], nums: tuple[int, ...], names: tuple[str, ...]) -> tuple[Any, Any]:
    """Static positions and names, each completed from the other by the function's signature."""
    parameters = _parameters(f)
    if parameters is None:
        return nums, names
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    nums = tuple(i % len(positional) if -len(positional) <= i < 0 else i for i in nums)
    all_names = dict.fromkeys(names) | {positional[i]: None for i in nums if i < len(positional)}
    all_nums = dict.fromkeys(nums) | {positional.index(n): None for n in names if n in positional}
    return tuple(all_nums), tuple(all_names)


@boundary
def jit(
    f: Callable[..., Any] | None = None,
    *,
    static_argnums: Argnums = (),
    static_argnames: str | Sequence[str] = (),
    donate_argnums: Argnums = (),
    backend: str | None = None,
    specialize: int | None = None,
) -> Any:
    """Compile a function.

    The function is traced at its first call, and again for arguments of other structure, shapes or dtypes, and
    where a value that it captures was rebound. Captured arrays are read at each call; strings, Python bools and
    None among the arguments are static by themselves, and so is a Python number where the function needs its
    value (as a shape, an index, a branch).

    Args:
        f: a pure function of arrays and pytrees of them.
        static_argnums, static_argnames: arguments that stay Python values; another value traces again. Arrays
            among them are compared by contents, up to 64 KiB.
        donate_argnums: positional arguments that the caller does not need any more: a result may take over
            their memory.
        backend: the backend's name; otherwise ``functrans.config.backend``.
        specialize: how many paths through branches on traced values (``if x.sum() > 0:``, ``while err > tol:``,
            ``assert``, ``int(n)``) may be compiled for arguments of one signature. Each outcome that a call meets for
            the first time is traced once; an exception that the function raises on the way is the caller's. An effect
            that precedes a branch has happened when the branch is taken, and happens once. None makes such a branch
            an error. Of nested ``jit``s the outermost has the paths.

    Returns:
        A function that returns what ``f`` returns, in value, dtype, shape and type.

    Raises:
        UnhashableStaticError, StaticArgumentError, ConcretizationError, MissingBackendError.
        PathLimitError: more paths are needed than ``specialize`` allows.

    >>> import numpy as np, functrans as ft
    >>> f = ft.jit(lambda x: np.sum(np.sin(x) ** 2 + np.cos(x) ** 2))
    >>> f(np.zeros(3)), f.trace_count
    (np.float64(3.0), 1)
    >>> @ft.jit(specialize=2)
    ... def root(x):
    ...     if np.any(x < 0.0):
    ...         raise ValueError("negative")
    ...     return np.sqrt(x)
    >>> root(np.array([1.0, 4.0]))
    array([1., 2.])
    """
    if f is None:
        return functools.partial(
            jit,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            donate_argnums=donate_argnums,
            backend=backend,
            specialize=specialize,
        )
    check_callable("jit", f)
    if isinstance(f, (staticmethod, classmethod)):
        raise errors.ArgumentError("jit: apply @staticmethod or @classmethod outside of @jit, not inside")
    nums = check_argnums("jit", static_argnums)
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    donate = check_argnums("jit", donate_argnums)
    _check_static(f, nums, names, "static_argnums")
    _check_static(f, donate, (), "donate_argnums")
    nums, names = _resolve(f, nums, names)
    if set(nums) & set(donate):
        raise errors.StaticArgumentError(f"jit({name_of(f)}): an argument cannot be both static and donated")
    if backend is not None:
        backends.find(backend)
    if specialize is not None and (type(specialize) is not int or specialize < 1):
        raise errors.ArgumentError(
            f"jit({name_of(f)}): specialize is the number of paths that may be compiled, an int above 0, or None, got "
            f"{specialize!r}"
        )
    cls = natively_callable(Jitted) if is_installed() else Jitted
    return cls(f, nums, names, donate, backend, specialize)
