"""CuPy, played by the host: its arrays never become NumPy's by themselves, and it has no function that CuPy lacks.

Memory is the host's, kernels run on ``device_on_host.h``. What would wait for the device is counted.
"""

from __future__ import annotations

import ctypes
import operator
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import scipy.special
from numpy.lib.stride_tricks import as_strided

from tests.backends.cupy.host import built

waits: list[str] = []
"""What has waited for the device."""
launched: list[str] = []
"""The kernels that were launched."""
MOVES = ("array", "asarray", "asanyarray", "ascontiguousarray")
"""Functions that take arrays of the host."""


class Device:
    """One of the devices."""

    def __init__(self, id: int = 0) -> None:
        self.id = id
        self.compute_capability = "90"

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def synchronize(self) -> None:
        waits.append("synchronize")


class ndarray:
    """An array on the device."""

    __module__ = "cupy"
    __array_priority__ = 100

    def __init__(self, host: np.ndarray[Any, Any]) -> None:
        self._host = host

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self._host.ctypes.data)

    @property
    def device(self) -> Device:
        return Device()

    @property
    def base(self) -> Any:
        return None if self._host.base is None else ndarray(self._host.base)

    def get(self) -> np.ndarray[Any, Any]:
        waits.append("get")
        return self._host.copy()

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or not signatures("numpy").get(ufunc.__name__, "").startswith("ufunc"):
            return NotImplemented
        if not all(isinstance(x, ndarray | np.ndarray | np.generic | int | float | complex) for x in inputs):
            return NotImplemented
        return wrapped(ufunc(*unwrapped(inputs), **unwrapped(kwargs)))

    def __array_function__(self, f: Any, types: Any, args: Any, kwargs: Any) -> Any:
        module = "linalg" if "linalg" in f.__module__ else "fft" if "fft" in f.__module__ else "numpy"
        space = cupy if module == "numpy" else getattr(cupy, module)
        if f.__name__ not in signatures(module):
            return NotImplemented
        return getattr(space, f.__name__)(*args, **kwargs)

    def __getitem__(self, index: Any) -> Any:
        for i in index if isinstance(index, tuple) else (index,):
            if isinstance(i, ndarray) and i._host.dtype == bool:
                waits.append("mask")
        return wrapped(self._host[unwrapped(index, moved=True)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._host[unwrapped(index, moved=True)] = unwrapped(value)

    def __iter__(self) -> Iterator[Any]:
        return iter([wrapped(x) for x in self._host])

    def __len__(self) -> int:
        return len(self._host)

    def __repr__(self) -> str:
        return repr(self._host)

    def __hash__(self) -> int:
        raise TypeError("unhashable type: 'ndarray'")


def _delegate() -> None:
    for name in ("shape", "ndim", "dtype", "size", "strides", "nbytes", "itemsize", "flags"):
        setattr(ndarray, name, property(lambda self, name=name: getattr(self._host, name)))
    for name in ("T", "mT"):
        setattr(ndarray, name, property(lambda self, name=name: wrapped(getattr(self._host, name))))
    for name in ("real", "imag"):
        setattr(ndarray, name, _part(name))
    for name in (
        "all any argmax argmin argpartition argsort astype choose clip compress conj conjugate copy cumprod cumsum "
        "diagonal dot flatten max mean min nonzero prod ravel repeat reshape round searchsorted squeeze std sum "
        "swapaxes take trace transpose var view fill sort put"
    ).split():
        setattr(ndarray, name, _method(name))
    for name in "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split():
        for form in (f"__{name}__", f"__r{name}__"):
            setattr(ndarray, form, _operator(form))
        in_place = f"__i{name}__"
        setattr(ndarray, in_place, _in_place(in_place))
    for name in "eq ne lt le gt ge divmod rdivmod".split():
        setattr(ndarray, f"__{name}__", _operator(f"__{name}__"))
    for name in "neg pos abs invert".split():
        setattr(ndarray, f"__{name}__", _method(f"__{name}__"))
    for name, f in {"bool": bool, "int": int, "float": float, "complex": complex, "index": operator.index}.items():
        setattr(ndarray, f"__{name}__", _waiting(name, f))
    for name in ("item", "tolist"):
        setattr(ndarray, name, _waiting(name, operator.methodcaller(name)))


def _method(name: str) -> Callable[..., Any]:
    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        return wrapped(getattr(self._host, name)(*unwrapped(args), **unwrapped(kwargs)))

    return method


def _operator(name: str) -> Callable[..., Any]:
    def method(self: ndarray, other: Any) -> Any:
        if not isinstance(other, ndarray | np.ndarray | np.generic | int | float | complex):
            return NotImplemented
        return wrapped(getattr(self._host, name)(unwrapped(other)))

    return method


def _part(name: str) -> property:
    def put(self: ndarray, value: Any) -> None:
        setattr(self._host, name, unwrapped(value))

    return property(lambda self: wrapped(getattr(self._host, name)), put)


def _in_place(name: str) -> Callable[..., Any]:
    def method(self: ndarray, other: Any) -> Any:
        getattr(self._host, name)(unwrapped(other))
        return self

    return method


def _waiting(name: str, f: Callable[[Any], Any]) -> Callable[..., Any]:
    def method(self: ndarray) -> Any:
        waits.append(name)
        return f(self._host)

    return method


def wrapped(x: Any) -> Any:
    """A result as one of the device: what NumPy gives as a scalar is an array without axes."""
    if isinstance(x, np.ndarray | np.generic):
        return ndarray(np.asarray(x))
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*[wrapped(v) for v in x])
    return type(x)([wrapped(v) for v in x]) if isinstance(x, tuple | list) else x


def unwrapped(x: Any, moved: bool = False) -> Any:
    """Arguments for the host's function. Arrays of the host are refused, unless they are ``moved`` to the device."""
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, np.ndarray) and not moved:
        raise TypeError(f"Unsupported type {type(x)}")
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*[unwrapped(v, moved) for v in x])
    if isinstance(x, tuple | list):
        return type(x)([unwrapped(v, moved) for v in x])
    return {k: unwrapped(v, moved) for k, v in x.items()} if isinstance(x, dict) else x


_tables: dict[str, dict[str, str]] = {}


def signatures(module: str) -> dict[str, str]:
    """The functions of a module of CuPy, with their parameters."""
    if not _tables:
        table: dict[str, str] = {}
        for line in (Path(__file__).parent / "signatures.txt").read_text().splitlines():
            if line.startswith("["):
                table = _tables.setdefault(line.strip("[]"), {})
            elif not line.startswith("#"):
                name, _, parameters = line.partition(": ")
                table[name] = parameters
    return _tables[module]


class Module(ModuleType):
    """A module of CuPy over one of the host's."""

    def __init__(self, name: str, host: Any, table: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.__path__ = []
        self._host = host
        self._table = table

    def __getattr__(self, name: str) -> Any:
        parameters = signatures(self._table).get(name)
        found = getattr(self._host, name, None)
        if name in ("pi", "e", "inf", "nan", "newaxis", "euler_gamma"):
            return found
        if parameters is None or found is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if parameters == "class":
            return found

        def function(*args: Any, **kwargs: Any) -> Any:
            known = parameters.split()
            if known[:1] == ["ufunc"]:
                unknown = set(kwargs) - {"out", "dtype", "casting"}
            else:
                unknown = set() if "kwargs" in known or "kwds" in known else set(kwargs) - set(known)
            if unknown:
                raise TypeError(f"{name}() got an unexpected keyword argument {sorted(unknown)[0]!r}")
            moved = name in MOVES and self is cupy
            return wrapped(found(*unwrapped(args, moved), **unwrapped(kwargs)))

        function.__name__ = name
        if name in ("add", "multiply"):
            for method in ("reduce", "accumulate"):
                setattr(function, method, _of_ufunc(getattr(found, method)))
        return function


def _of_ufunc(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        kept = {"keepdims": True} if keepdims else {}
        return wrapped(method(unwrapped(array), axis, dtype, unwrapped(out), **kept))

    return call


cupy: Any = Module("cupy", np, "numpy")
_delegate()


class _Loaded:
    """A module of kernels."""

    def load(self, image: bytes) -> None:
        self.library = ctypes.CDLL(str(built(image.decode(), ("-O1",), whole=True)))
        self.library.device_launch.restype = ctypes.c_char_p

    def get_function(self, name: str) -> Any:
        return SimpleNamespace(ptr=(self.library, name))


def launch_kernel(
    function: Any,
    gx: int,
    gy: int,
    gz: int,
    bx: int,
    by: int,
    bz: int,
    shared: int,
    stream: int,
    parameters: int,
    extra: int,
) -> None:
    """The driver's function, on the host."""
    library, name = function
    launched.append(name)
    assert (gz, bz, shared, extra) == (1, 1, 0, 0)
    enter = getattr(library, f"{name}_enter")
    failed = library.device_launch(enter, gx, gy, bx, by, ctypes.c_void_p(parameters), 0, 0)
    if failed:
        raise RuntimeError(f"{name}: {failed.decode()}")


class _Stream:
    ptr = 0

    def synchronize(self) -> None:
        waits.append("synchronize")


def _cuda() -> ModuleType:
    cuda = ModuleType("cupy.cuda")
    runtime = SimpleNamespace(getDeviceCount=lambda: 1, getDevice=lambda: 0, CUDARuntimeError=RuntimeError)
    vars(cuda).update(
        is_available=lambda: True,
        Device=Device,
        runtime=runtime,
        driver=SimpleNamespace(launchKernel=launch_kernel),
        function=SimpleNamespace(Module=_Loaded),
        get_current_stream=_Stream,
        Stream=_Stream,
    )
    return cuda


def _scatter(f: np.ufunc) -> Callable[..., None]:
    def scatter(array: ndarray, index: Any, value: Any) -> None:
        f.at(array._host, unwrapped(index), unwrapped(value))

    return scatter


@contextmanager
def installed(monkeypatch: Any) -> Iterator[Any]:
    """CuPy as if it were installed, with one device."""
    cuda = _cuda()
    strides = SimpleNamespace(as_strided=lambda *args, **kwargs: wrapped(as_strided(*unwrapped(args), **kwargs)))
    vars(cupy).update(ndarray=ndarray, cuda=cuda, lib=SimpleNamespace(stride_tricks=strides))
    vars(cupy).update(linalg=Module("cupy.linalg", np.linalg, "linalg"), fft=Module("cupy.fft", np.fft, "fft"))
    cupyx, scipy_module = ModuleType("cupyx"), ModuleType("cupyx.scipy")
    special = Module("cupyx.scipy.special", scipy.special, "special")
    vars(cupyx).update(
        scipy=scipy_module,
        scatter_add=_scatter(np.add),
        scatter_max=_scatter(np.maximum),
        scatter_min=_scatter(np.minimum),
    )
    vars(scipy_module).update(special=special)
    for module in (cupyx, scipy_module):
        module.__path__ = []
    modules = {
        "cupy": cupy,
        "cupy.cuda": cuda,
        "cupyx": cupyx,
        "cupyx.scipy": scipy_module,
        "cupyx.scipy.special": special,
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    waits.clear()
    launched.clear()
    yield cupy
