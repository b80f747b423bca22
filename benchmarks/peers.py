"""The libraries that are compared, and the one place where their modules are imported and configured."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType

from benchmarks.workload import Precision


def _no_settings(module: ModuleType, precision: Precision, threads: int) -> None:
    """Nothing to set: threads come from the environment, the precision from the arrays."""


def _set_jax(module: ModuleType, precision: Precision, threads: int) -> None:
    module.config.update("jax_enable_x64", precision == "float64")


def _set_torch(module: ModuleType, precision: Precision, threads: int) -> None:
    module.set_num_threads(threads)


@dataclass(frozen=True)
class Peer:
    """A library: its distribution, the modules that its contenders use (they get the first), its settings."""

    distribution: str
    modules: tuple[str, ...]
    configure: Callable[[ModuleType, Precision, int], None] = _no_settings


FUNCTRANS = Peer("functrans", ("functrans", "functrans.numpy", "functrans.nn"))
NUMPY = Peer("numpy", ("numpy",))
AUTOGRAD = Peer("autograd", ("autograd", "autograd.numpy", "autograd.scipy.special"))
JAX = Peer("jax", ("jax", "jax.numpy"), _set_jax)
NUMEXPR = Peer("numexpr", ("numexpr",), lambda module, precision, threads: module.set_num_threads(threads))
TORCH = Peer("torch", ("torch", "torch.func"), _set_torch)

BASELINE = "functrans"

CONTENDERS: dict[str, tuple[Peer, str]] = {
    BASELINE: (FUNCTRANS, "functions written with functrans.numpy; NumPy arrays in and out"),
    "functrans-np": (FUNCTRANS, "the same functions written with plain NumPy"),
    "functrans-numpy": (FUNCTRANS, "the same functions on the NumPy backend, where functrans is on the native one"),
    "numpy": (NUMPY, "NumPy by hand, derivatives included"),
    "autograd": (AUTOGRAD, "functions written with autograd.numpy; NumPy arrays in and out"),
    "jax": (JAX, "arrays already on JAX's device, block_until_ready on the result"),
    "jax-np": (JAX, "NumPy arrays in and NumPy arrays out, as a NumPy user calls it"),
    "numexpr": (NUMEXPR, "the expression as a string"),
    "torch": (TORCH, "eager PyTorch; torch.func for per-example gradients and Hessians"),
}


@dataclass(frozen=True)
class Loaded:
    """The modules of the contenders that are present, their versions, and why the others are absent."""

    modules: dict[str, ModuleType]
    versions: dict[str, str]
    absent: dict[str, str]


def load(contenders: Iterable[str], precision: Precision, threads: int) -> Loaded:
    loaded = Loaded({}, {}, {})
    for name in contenders:
        peer, _ = CONTENDERS[name]
        try:
            modules = [importlib.import_module(module) for module in peer.modules]
        except ImportError as error:
            loaded.absent[name] = f"{type(error).__name__}: {error}"
            continue
        peer.configure(modules[0], precision, threads)
        loaded.modules[name] = modules[0]
        loaded.versions[peer.distribution] = version(peer.distribution, modules[0])
    return loaded


def version(distribution: str, module: ModuleType) -> str:
    """The version of what was imported; the distribution's metadata only where the module does not say."""
    stated = getattr(module, "__version__", None)
    if stated is not None:
        return str(stated)
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed, imported from the source tree"
