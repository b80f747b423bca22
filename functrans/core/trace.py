"""Traces and tracers.

A transformation runs the user's function on tracers: stand-ins for arrays which hand every operation to a
``Trace``. Traces are stackless: a trace holds its parent, makes itself the current one (a context variable, so that
threads and coroutines do not see each other's) while it runs the user's function, and runs its own rules under
its parent. There are no level numbers, so nothing has to be kept in step with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any
from weakref import ref

from functrans import errors
from functrans.core.avals import ShapedArray, aval_of_concrete
from functrans.util.source import Source, user_source

if TYPE_CHECKING:
    from functrans.core.primitive import Params, Primitive


class Trace:
    """What one running transformation does with an operation."""

    __slots__ = ("__weakref__", "ended", "parent")

    differentiates = False
    """Whether values carry derivatives, which a conversion to a Python number would lose."""

    def __init__(self, parent: Trace | None) -> None:
        self.parent = parent
        self.ended = False
        started = _started.get()
        if started is not None:
            started.append(ref(self))

    def process(self, prim: Primitive, args: Sequence[Any], params: Params) -> Any:
        """Apply a primitive. Operands that are not this trace's tracers are constants to it."""
        raise NotImplementedError

    def constant(self, value: Any, fixed: bool = False) -> Any:
        """A concrete array as an operand: a tracer where this trace's own tracers may index it.

        ``fixed`` says that nobody else holds the array, so that its contents may decide shapes and branches.
        """
        return value if self.parent is None else self.parent.constant(value, fixed)

    def concrete(self, tracer: Tracer) -> Any:
        """The concrete value inside a tracer, or None where there is none."""
        return None

    def known(self, tracer: Tracer) -> Any:
        """The value inside a tracer on which a shape depends, or None where it cannot be had.

        A trace that can start again with an input made static does so.
        """
        return self.concrete(tracer)

    def origin(self, tracer: Tracer) -> str:
        """A sentence about where the tracer came from, for error messages."""
        return ""

    def need(self, tracer: Tracer, error: type[errors.ConcretizationError], use: str) -> Any:
        """The concrete value which ``use`` cannot do without; ``error`` where there is none."""
        raise error(
            f"{use} needs the contents of a traced value of type {tracer.aval}, which it does not have while its "
            f"function is being traced. {tracer.describe_origin()}{self.mend(error)}"
        )

    def mend(self, error: type[errors.ConcretizationError]) -> str:
        """What to write instead of what needs a value, for error messages."""
        return _MENDS.get(error, "")


_MENDS: dict[type[errors.ConcretizationError], str] = {
    errors.TracerBoolError: (
        "Write functrans.numpy.where(cond, a, b) or functrans.lax.cond in place of a branch, functrans.lax.while_loop "
        "in place of a loop, or make the argument that decides it static with static_argnums; a loop of a fixed number "
        "of steps may stay a Python loop"
    ),
    errors.TracerConversionError: (
        "Keep it an array: x.astype(float) in place of float(x), functrans.numpy functions in place of math's; or "
        "make the argument static with static_argnums"
    ),
    errors.TracerArrayError: (
        "Use the function of the same name in functrans.numpy, decorate your function with @functrans.numpy_code, "
        "or call the library through functrans.pure_callback"
    ),
}

_current: ContextVar[Trace | None] = ContextVar("functrans_trace", default=None)
_scope: ContextVar[str] = ContextVar("functrans_scope", default="")
_source: ContextVar[Source | None] = ContextVar("functrans_source", default=None)

reverse_mode: ContextVar[bool] = ContextVar("functrans_reverse_mode", default=False)
"""Whether JVP rules run on behalf of reverse mode, where a ``custom_vjp`` rule takes precedence."""

_started: ContextVar[list[ref[Trace]] | None] = ContextVar("functrans_started", default=None)

current_trace = _current.get
set_trace = _current.set
reset_trace = _current.reset


@contextmanager
def running(trace: Trace | None) -> Iterator[None]:
    """Make ``trace`` the current one."""
    token: Token[Trace | None] = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def live_traces() -> Iterator[list[ref[Trace]]]:
    """Collect weak references to the traces that the block starts."""
    traces: list[ref[Trace]] = []
    token = _started.set(traces)
    try:
        yield traces
    finally:
        _started.reset(token)


@contextmanager
def source_context(source: Source | None) -> Iterator[None]:
    """Say that what is bound now belongs to a place in the user's program that has been left already."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


set_source = _source.set
reset_source = _source.reset


def current_source() -> Source | None:
    """The user's line that is being executed, or on whose behalf a rule runs."""
    return _source.get() or user_source(_scope.get())


@contextmanager
def named_scope(name: str) -> Iterator[None]:
    """Prefix the source of the operations in the block with a name.

    >>> import functrans as ft
    >>> def f(x):
    ...     with ft.named_scope("encoder"):
    ...         return x * 2.0
    >>> str(ft.make_jaxpr(f)(1.0).eqns[0].source).split(":")[0]
    'encoder'
    """
    if not isinstance(name, str):
        raise errors.ArgumentError(f"named_scope: the name must be a string, got {type(name).__name__}")
    outer = _scope.get()
    token = _scope.set(f"{outer}/{name}" if outer else name)
    try:
        yield
    finally:
        _scope.reset(token)


class ArrayOperators:
    """The methods and operators of tracers. ``functrans.numpy`` fills them in (the one sanctioned late binding)."""

    __slots__ = ()


AS_TEXT = "the format "
"""How a use begins that makes a message of a value, and so loses no derivative."""


class Tracer(ArrayOperators):
    """A stand-in for an array while a function is being transformed.

    Attributes:
        _trace: the trace that it belongs to (NumPy code calls ``x.trace()``).
        aval: what is known of it.
        payload: what its trace keeps for it.
    """

    __slots__ = ("__weakref__", "_trace", "aval", "payload")
    __array_priority__ = 1000.0

    def __init__(self, trace: Trace, aval: ShapedArray, payload: Any) -> None:
        self._trace = trace
        self.aval = aval
        self.payload = payload

    @property
    def shape(self) -> tuple[Any, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> Any:
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        return len(self.aval.shape)

    @property
    def size(self) -> int:
        return self.aval.size

    @property
    def itemsize(self) -> int:
        return int(self.aval.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        return self.aval.size * self.itemsize

    @property
    def weak_type(self) -> bool:
        return self.aval.weak

    def describe_origin(self) -> str:
        text = self._trace.origin(self)
        return f"{text} " if text else ""

    def __bool__(self) -> bool:
        return bool(self._concrete(errors.TracerBoolError, "`if`, `while`, `and`, `or`, `not` or `assert`"))

    def __float__(self) -> float:
        return float(self._converted("float()"))

    def __int__(self) -> int:
        return int(self._converted("int()"))

    def __complex__(self) -> complex:
        return complex(self._converted("complex()"))

    def __index__(self) -> int:
        if self.aval.dtype.kind not in "iu":
            raise TypeError(f"an index, a shape or a length must be an integer, got a traced value of type {self.aval}")
        value = self._concrete(errors.TracerConversionError, "an index, a shape or a length")
        index: int = value.__index__()
        return index

    def __hash__(self) -> int:
        """The hash of a Python number, as a key of a dict asks for it; other values have none, as arrays have none."""
        if self.aval.box != "python":
            raise TypeError(f"unhashable type: a traced value of type {self.aval}")
        return hash(self._converted("a hash, as a key of a dict has it,"))

    def item(self, *args: Any) -> Any:
        """The value, or the element at an index, as a Python scalar; raises where it is not known while tracing."""
        if args:
            element: Any = self
            element = (
                element.ravel()[args[0]]
                if len(args) == 1 and not isinstance(args[0], tuple)
                else (element[args[0] if len(args) == 1 else args])
            )
            return element.item()
        value = self._converted(".item()")
        return value.item() if hasattr(value, "item") else value

    def tolist(self) -> Any:
        """The value as nested Python lists; raises where the value is not known while tracing."""
        value = self._converted(".tolist()")
        return value.tolist() if hasattr(value, "tolist") else value

    def _converted(self, use: str) -> Any:
        if self.aval.dtype.kind not in "biu" and self._trace.differentiates:
            raise errors.TracerConversionError(
                f"{use} of a traced value of type {self.aval} would lose its derivative: what is computed from the "
                f"Python number is a constant. {self.describe_origin()}Keep it an array (numpy.sin, not math.sin;"
                f" an assignment out[i] = x into a NumPy array converts too: use functrans.numpy.stack or "
                f"x.at[i].set(v), or decorate the function with @functrans.numpy_code), or say that it is a constant "
                f"with functrans.stop_gradient(x)"
            )
        return self._concrete(errors.TracerConversionError, use)

    def _concrete(self, error: type[errors.ConcretizationError], use: str) -> Any:
        value = self._trace.concrete(self)
        return self._trace.need(self, error, use) if value is None else value

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if not self._trace.differentiates and self._trace.concrete(self) is None:
            self._trace.known(self)
        raise errors.TracerArrayError(
            f"a traced value of type {self.aval} was handed to code that needs a NumPy array: an extension module, "
            f"np.array([...]) or np.asarray of it, an assignment into a NumPy array, or an index `table[i]` into one. "
            f"Converting it would lose its derivative. {self.describe_origin()}Use functrans.numpy in place of numpy "
            f"there (functrans.numpy.asarray(table)[i] or functrans.numpy.take(table, i) for an index), decorate your "
            f"function with @functrans.numpy_code, or call the library through functrans.pure_callback"
        )

    def __format__(self, spec: str) -> str:
        """Formatted for a message: the value where it is known, which is no way for a derivative to get lost."""
        if not spec:
            return str(self)
        return format(self._concrete(errors.TracerConversionError, f"{AS_TEXT}{spec!r}"), spec)

    def __repr__(self) -> str:
        value = self._trace.concrete(self)
        inside = "" if value is None else f", value={value!r}"
        return f"Tracer<{self.aval}>({type(self._trace).__name__.removesuffix('Trace').lower()}{inside})"

    def __reduce__(self) -> Any:
        raise errors.LeakedTracerError(f"a traced value of type {self.aval} cannot be pickled or copied deeply")


class Reference:
    """What stands for an array whose contents may change, as a buffer of ``numpy_code`` does.

    It is no operand: whoever meets one reads it, and goes on with what it holds at the time.
    """

    __slots__ = ()

    def read(self) -> Any:
        """The array or tracer that it holds now, which no later store changes."""
        raise NotImplementedError


def aval_of(value: Any) -> ShapedArray:
    """The aval of an array, a scalar or a tracer.

    Raises:
        ArgumentError: for any other object.
    """
    if isinstance(value, Tracer):
        return value.aval
    aval = aval_of_concrete(value)
    if aval is None:
        raise errors.ArgumentError(
            f"an array or a number is needed, got {value!r} of type {type(value).__name__}"
            if len(repr(value)) < 200
            else f"an array or a number is needed, got an object of type {type(value).__name__}"
        )
    return aval


def known(value: Any) -> Any:
    """The contents of a value on which a shape depends: the value itself if it is concrete, None if unknown."""
    return value._trace.known(value) if isinstance(value, Tracer) else value


def is_array(value: Any) -> bool:
    """Whether a value is an array, a number or a tracer: whatever a primitive takes as an operand."""
    return isinstance(value, Tracer) or aval_of_concrete(value) is not None
