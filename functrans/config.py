"""Settings. ``functrans.config`` holds the process-wide ones; context managers override them for a block."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from functrans import errors

_UNSET: Any = object()


class Option:
    """One setting: a process-wide value, which a context manager may override in its own context."""

    def __init__(self, default: Any, check: Any, doc: str) -> None:
        self.value = default
        self.check = check
        self.__doc__ = doc
        self.name = ""
        self.local: ContextVar[Any] = ContextVar("functrans_option", default=_UNSET)
        self.changed: Callable[[Any], None] | None = None
        """Told of each new value, where something outside of Python reads it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self
        local = self.local.get()
        return self.value if local is _UNSET else local

    def __set__(self, instance: object, value: Any) -> None:
        value = self.check(self.name, value)
        if self.name in _MODES:
            active_modes.discard((self.name, None))
            if value:
                active_modes.add((self.name, None))
        self.value = value
        if self.name in ("backend", "passes"):
            generation[0] = object()
        self.notify()

    def notify(self) -> None:
        if self.changed is not None:
            self.changed(self.__get__(self))

    @contextmanager
    def override(self, value: Any) -> Iterator[None]:
        token = self.local.set(self.check(self.name, value))
        key = (self.name, object())
        if value is not None and value is not False:
            active_modes.add(key)
        self.notify()
        try:
            yield
        finally:
            active_modes.discard(key)
            self.local.reset(token)
            self.notify()


_MODES = (
    "debug_nans", "debug_infs", "disable_jit", "check_leaks", "enable_checks", "log_compiles", "explain_cache_misses",
    "debug_key_reuse", "enable_custom_prng", "profiling", "native_checks",
)  # fmt: skip
"""Settings under which a jitted function leaves its fast path."""
generation: list[object] = [object()]
"""Holds an object that is replaced whenever the default backend or the passes are set."""
active_modes: set[tuple[str, object]] = set()
"""The modes that are on, process-wide or in some block: empty in the common case."""


def any_mode() -> bool:
    """Whether some thread may have a mode on that changes how functions run: one test for the common case."""
    return bool(active_modes)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise errors.ArgumentError(f"config.{name} must be True or False, got {value!r}")
    return value


def _backend(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise errors.ArgumentError(f"config.{name} must be the name of a backend or None, got {value!r}")
    return value


def _generator(name: str, value: Any) -> str:
    if value != "threefry2x32":
        raise errors.ArgumentError(
            f"config.{name} must be 'threefry2x32', got {value!r}: Threefry-2x32 is the one generator there is, as its "
            f"words are the same on every backend"
        )
    return "threefry2x32"


def _count(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise errors.ArgumentError(f"config.{name} must be a positive integer, got {value!r}")
    return value


def _threads(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise errors.ArgumentError(
            f"config.{name} must be a number of threads, or 0 for as many as there are cores; got {value!r}"
        )
    return value


def _directory(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, (str, os.PathLike)):
        raise errors.ArgumentError(f"config.{name} must be the path of a directory or None, got {value!r}")
    return None if value is None else os.fspath(value)


def _size(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise errors.ArgumentError(f"config.{name} must be a number of bytes, 0 or more; got {value!r}")
    return value


def _passes(name: str, value: Any) -> Any:
    if value is not None and not all(hasattr(value, part) for part in ("names", "steps", "without")):
        raise errors.ArgumentError(
            f"config.{name} must be a functrans.passes.Pipeline or None for the default one, got {value!r}"
        )
    return value


class Config:
    """The settings of the package.

    Attributes:
        backend: what ``jit`` compiles to where ``backend=`` does not say; None for the best one installed. The
            environment variable FUNCTRANS_BACKEND sets it at start-up.
        debug_nans, debug_infs: raise where a NaN (an infinity) is first made, with the user's line.
        disable_jit: run jitted functions as plain Python.
        full_tracebacks: keep the package's own frames in tracebacks.
        check_leaks: search for tracers that outlive their transformation.
        diagnose_nan_gradients: warn where ``grad`` gives a NaN although the function's arguments and value are finite,
            naming the line whose derivative made it. It is on until it has warned once.
        enable_checks: verify every program that is traced.
        log_compiles, explain_cache_misses: report compilations, and why a function is traced again, to the logger
            ``functrans``.
        debug_key_reuse: raise where a random key is used a second time.
        enable_custom_prng: ``functrans.random.PRNGKey`` gives typed keys.
        default_prng_impl: the generator of new keys; there is one, ``"threefry2x32"``.
        profiling: compiled programs report what each of their parts took: see ``functrans.profile``.
        threads: how many threads kernels run on, 0 for as many as the process may use cores. It never changes a
            result. The environment variable FUNCTRANS_THREADS sets it at start-up.
        cache_size: how many compiled programs one jitted function keeps.
        native_cache: whether the native backend keeps object code on disk, for processes to come. The environment
            variable FUNCTRANS_NATIVE_CACHE=0 turns it off at start-up.
        native_cache_dir: where; None for a directory among the user's caches. It is used only if nobody else may write
            to it. The environment variable FUNCTRANS_CACHE_DIR sets it at start-up.
        native_cache_bytes: how much; the oldest goes first.
        native_checks: native code tests every address before it reads or writes there, and memory that nothing was
            written to yet reads as NaN. An address out of bounds is an error with the user's line.
        kept_memory: bytes of freed results that the native backend keeps for the next ones, and does not give back to
            the system. ``functrans.clear_caches`` gives them back.
        passes: the pipeline of passes that programs go through, a ``functrans.passes.Pipeline``; None for
            ``functrans.passes.default``. ``functrans.passes.using`` sets it for a block.

    >>> import functrans as ft
    >>> ft.config.debug_nans
    False
    """

    backend = Option(os.environ.get("FUNCTRANS_BACKEND") or None, _backend, "The default backend.")
    debug_nans = Option(False, _flag, "Raise at the first NaN.")
    debug_infs = Option(False, _flag, "Raise at the first infinity.")
    disable_jit = Option(False, _flag, "Run jitted functions as plain Python.")
    full_tracebacks = Option(False, _flag, "Keep internal frames in tracebacks.")
    check_leaks = Option(False, _flag, "Search for leaked tracers.")
    diagnose_nan_gradients = Option(True, _flag, "Warn once of a NaN that a derivative made.")
    enable_checks = Option(False, _flag, "Verify every program that is traced.")
    log_compiles = Option(False, _flag, "Report compilations.")
    explain_cache_misses = Option(False, _flag, "Report why functions are traced again.")
    debug_key_reuse = Option(False, _flag, "Raise where a random key is used twice.")
    enable_custom_prng = Option(False, _flag, "PRNGKey gives typed keys.")
    default_prng_impl = Option("threefry2x32", _generator, "The generator of new keys.")
    profiling = Option(False, _flag, "Take the time of every node of compiled programs.")
    threads = Option(int(os.environ.get("FUNCTRANS_THREADS", "0")), _threads, "Threads that kernels run on.")
    cache_size = Option(128, _count, "Programs kept for each jitted function.")
    passes = Option(None, _passes, "The pipeline of passes.")
    kept_memory = Option(1 << 28, _size, "Bytes of freed results that are kept for the next ones.")
    native_cache = Option(os.environ.get("FUNCTRANS_NATIVE_CACHE", "1") != "0", _flag, "Keep object code on disk.")
    native_cache_dir = Option(os.environ.get("FUNCTRANS_CACHE_DIR") or None, _directory, "Where object code is kept.")
    native_cache_bytes = Option(1 << 28, _count, "How much object code is kept.")
    native_checks = Option(False, _flag, "Native code checks its addresses.")

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(getattr(Config, name, None), Option):
            known = ", ".join(k for k, v in vars(Config).items() if isinstance(v, Option))
            raise AttributeError(f"functrans.config has no setting {name!r}; the settings are {known}")
        object.__setattr__(self, name, value)


config = Config()


def trace_settings() -> tuple[Any, ...]:
    """The settings that decide what a function is traced and compiled to, for the keys of caches."""
    passes = config.passes
    if passes is None and not active_modes:
        return ()
    settings = (config.debug_key_reuse, config.enable_custom_prng, config.native_checks)
    if passes is not None:
        return (*settings, passes)
    return settings if any(settings) else ()


_pipeline: Option = vars(Config)["passes"]


def ordinary() -> bool:
    """Whether no mode is on, and programs go through the default passes."""
    return not active_modes and _pipeline.value is None and _pipeline.local.get() is _UNSET


def override(name: str, value: Any) -> Any:
    """A context manager that overrides one setting."""
    option: Option = vars(Config)[name]
    return option.override(value)
