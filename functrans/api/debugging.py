"""Finding NaNs, infinities and leaks: context managers for a block, or settings of ``functrans.config``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from functrans import errors
from functrans.api.boundary import check_callable, name_of
from functrans.config import override
from functrans.core.capture import Rebuild, transformation
from functrans.core.trace import named_scope, running


def debug_nans(enable: bool = True) -> AbstractContextManager[None]:
    """Raise ``NonFiniteError`` where a transformed function first makes a NaN, naming the user's line.

    A NaN that is born in the backward pass is reported with the line of the forward operation whose derivative
    made it.

    >>> import numpy as np, functrans as ft
    >>> with ft.debug_nans():
    ...     try:
    ...         _ = ft.grad(lambda x: np.sqrt(x) * 0.0)(0.0)
    ...     except ft.errors.NonFiniteError as error:
    ...         print(str(error).split(".")[0])
    a NaN was made in the backward pass
    """
    return _override("debug_nans", enable)


def debug_infs(enable: bool = True) -> AbstractContextManager[None]:
    """Raise ``NonFiniteError`` where a transformed function first makes an infinity; see ``debug_nans``."""
    return _override("debug_infs", enable)


def checking_leaks(enable: bool = True) -> AbstractContextManager[None]:
    """Raise ``LeakedTracerError`` when a traced value outlives its transformation, naming what holds it.

    Every transformation in the block searches the heap when it ends, which is slow.
    """
    return _override("check_leaks", enable)


check_tracer_leaks = checking_leaks


def enable_checks(enable: bool = True) -> AbstractContextManager[None]:
    """Verify every program that is traced in the block: see ``functrans.core.check``.

    It finds faults in the rules of primitives, not in the user's function.

    >>> import functrans as ft
    >>> with ft.enable_checks():
    ...     ft.jit(lambda x: 2.0 * x)(1.5)
    3.0
    """
    return _override("enable_checks", enable)


def log_compiles(enable: bool = True) -> AbstractContextManager[None]:
    """Report each compilation of a jitted function, as a warning of the logger ``functrans``.

    >>> import logging, sys, functrans as ft
    >>> handler = logging.StreamHandler(sys.stdout)
    >>> logging.getLogger("functrans").addHandler(handler)
    >>> with ft.log_compiles():
    ...     _ = ft.jit(lambda x: x + 1.5)(1.0)
    jit(<lambda>) was traced for (f64[]*), on the numpy backend
    >>> logging.getLogger("functrans").removeHandler(handler)
    """
    return _override("log_compiles", enable)


def explain_cache_misses(enable: bool = True) -> AbstractContextManager[None]:
    """Report why a jitted function is traced again, as a warning of the logger ``functrans``.

    ``Jitted.explain`` tells the same of one function afterwards.
    """
    return _override("explain_cache_misses", enable)


def ensure_compile_time_eval() -> AbstractContextManager[None]:
    """Compute what stands in the block at once, although a function is being traced.

    Under ``jit`` the functions of ``functrans.numpy`` give traced values even where all operands are known; in the
    block they give NumPy's arrays, of which shapes and branches may be made. Traced values cannot be used in it.

    >>> import numpy as np, functrans as ft
    >>> @ft.jit
    ... def f(x):
    ...     with ft.ensure_compile_time_eval():
    ...         n = int(ft.numpy.sum(ft.numpy.arange(4)))
    ...     return x.reshape(n)
    >>> f(np.ones((2, 3)))
    array([1., 1., 1., 1., 1., 1.])
    """
    return running(None)


def named_call(f: Callable[..., Any], *, name: str | None = None) -> Callable[..., Any]:
    """The function with its operations under a name: see ``named_scope``.

    Args:
        name: the function's own name if None.

    >>> import functrans as ft
    >>> g = ft.named_call(lambda x: x * 2.0, name="double")
    >>> str(ft.make_jaxpr(g)(1.0).eqns[0].source).split(":")[0]
    'double'
    """
    check_callable("named_call", f)
    if name is not None and not isinstance(name, str):
        raise errors.ArgumentError(f"named_call: name must be a string or None, got {type(name).__name__}")
    label = name_of(f) if name is None else name

    def call(*args: Any, **kwargs: Any) -> Any:
        with named_scope(label):
            return f(*args, **kwargs)

    return transformation(call, f, Rebuild(named_call, name=name))


def debug_key_reuse(enable: bool = True) -> AbstractContextManager[None]:
    """Raise ``KeyReuseError`` where a random key is used a second time, naming the lines of both uses.

    Sampling and ``split`` use a key up; ``fold_in`` does not. A key is known by its value, also under ``vmap``, in
    loops and in what ``jit`` compiles within the block; one that ``split``, ``fold_in``, ``functrans.random.clone``
    or a seed gives is new.

    >>> import functrans as ft
    >>> with ft.debug_key_reuse():
    ...     key = ft.random.key(0)
    ...     x = ft.random.normal(key)
    ...     try:
    ...         y = ft.random.uniform(key)
    ...     except ft.errors.KeyReuseError as error:
    ...         print(str(error).partition(":")[0][:27])
    functrans.random.uniform at
    """
    return _override("debug_key_reuse", enable)


def enable_custom_prng(enable: bool = True) -> AbstractContextManager[None]:
    """Let ``functrans.random.PRNGKey`` give typed keys, as ``functrans.random.key`` does.

    >>> import functrans as ft
    >>> with ft.enable_custom_prng():
    ...     ft.random.PRNGKey(7)
    Key(key<fry>[]: [0 7])
    """
    return _override("enable_custom_prng", enable)


def default_prng_impl(name: str) -> AbstractContextManager[None]:
    """Choose the generator of new keys. There is one, so that any other name than ``"threefry2x32"`` raises.

    >>> import functrans as ft
    >>> with ft.default_prng_impl("threefry2x32"):
    ...     ft.random.key_impl(ft.random.key(0))
    'threefry2x32'
    """
    context: AbstractContextManager[None] = override("default_prng_impl", name)
    return context


def disable_jit(disable: bool = True) -> AbstractContextManager[None]:
    """Run jitted functions as plain Python, so that values can be printed and a debugger can step.

    >>> import functrans as ft
    >>> with ft.disable_jit():
    ...     ft.jit(lambda x: print(type(x).__name__))(1.0)
    float
    """
    return _override("disable_jit", disable)


def _override(name: str, value: bool) -> AbstractContextManager[None]:
    context: AbstractContextManager[None] = override(name, value)
    return context
