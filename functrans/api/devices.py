"""Where arrays live: on the host as NumPy arrays, or on a CUDA device as CuPy arrays, and nowhere else.

The host is the device ``"cpu"``, as in the array API standard and as ``numpy.ndarray.device`` says; a CUDA device is
a ``cupy.cuda.Device``. Nothing moves unasked: ``device_put`` and ``device_get`` are what moves arrays.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from functrans import backends, errors
from functrans.config import config
from functrans.core.avals import aval_of_concrete, is_device_array
from functrans.core.trace import Tracer
from functrans.core.tree import tree_flatten, tree_map

_PLATFORMS = ("cpu", "cuda")


def default_backend() -> str:
    """The name of the backend that ``jit`` uses where ``backend=`` does not say.

    >>> import functrans as ft
    >>> ft.default_backend() in ("numpy", "llvm", "cupy")
    True
    """
    return config.backend or backends.default_backend()


def devices(platform: str | None = None) -> list[Any]:
    """The devices on which arrays can live: ``"cpu"``, and each ``cupy.cuda.Device`` where CuPy is installed.

    Args:
        platform: ``"cpu"`` or ``"cuda"`` for the devices of that kind alone; all of them if None.

    >>> import functrans as ft
    >>> ft.devices("cpu")
    ['cpu']
    """
    if platform not in (None, *_PLATFORMS):
        raise errors.ArgumentError(f"devices: platform must be one of {_PLATFORMS} or None, got {platform!r}")
    host: list[Any] = ["cpu"] if platform != "cuda" else []
    return host + (_cuda_devices() if platform != "cpu" else [])


def _cuda_devices() -> list[Any]:
    if find_spec("cupy") is None:
        return []
    import cupy

    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        return []  # CuPy is installed on a machine without a usable device.
    return [cupy.cuda.Device(i) for i in range(count)]


def device_count(platform: str | None = None) -> int:
    """How many devices there are; see ``devices``.

    >>> import functrans as ft
    >>> ft.device_count("cpu")
    1
    """
    return len(devices(platform))


def local_devices(platform: str | None = None) -> list[Any]:
    """The devices of this process, which are all there are; see ``devices``."""
    return devices(platform)


def local_device_count(platform: str | None = None) -> int:
    """How many devices this process has; see ``devices``."""
    return len(devices(platform))


def device_put(x: Any, device: Any = None) -> Any:
    """A pytree with its arrays on a device.

    Args:
        x: a pytree of arrays and numbers.
        device: ``"cpu"`` or a ``cupy.cuda.Device``. None keeps each array on the device where it is.

    Returns:
        The pytree with arrays that own their memory: NumPy arrays for ``"cpu"``, CuPy arrays for a CUDA device. Numbers
        become 0-d arrays. Traced values stay as they are, as the arrays that they stand for do when the function
        runs; there ``device`` is ``"cpu"`` or None.

    Raises:
        ArgumentError: there is no such device, or a leaf is no array.

    >>> import numpy as np, functrans as ft
    >>> ft.device_put({"w": 1.5, "b": np.zeros(2)}, "cpu")
    {'b': array([0., 0.]), 'w': array(1.5)}
    """
    on_host = device is None or device == "cpu"
    if not on_host and not hasattr(device, "__enter__"):
        raise errors.ArgumentError(
            f"device_put: device must be 'cpu', a cupy.cuda.Device or None, got {device!r}. functrans.devices() lists "
            f"the devices of this machine"
        )

    def put(leaf: Any) -> Any:
        if isinstance(leaf, Tracer):
            if not on_host:
                raise errors.ArgumentError(
                    f"device_put: a traced value of type {leaf.aval} cannot be moved to {device!r}: a program runs on "
                    f"one device. Move the arguments before the call"
                )
            return leaf
        if aval_of_concrete(leaf) is None:
            raise errors.ArgumentError(
                f"device_put: the leaves must be arrays or numbers, got an object of type {type(leaf).__name__}"
            )
        if not is_device_array(leaf):
            return np.array(leaf) if on_host else _to_device(leaf, device)
        if device is None:
            return leaf.copy()
        return leaf.get() if on_host else _to_device(leaf, device)

    return tree_map(put, x)


def _to_device(leaf: Any, device: Any) -> Any:
    import cupy

    with device:
        return cupy.array(leaf)


def device_get(x: Any) -> Any:
    """A pytree with its arrays as NumPy arrays on the host. Arrays of NumPy are given as they are, not copied.

    >>> import numpy as np, functrans as ft
    >>> ft.device_get([np.ones(2), 3.0])
    [array([1., 1.]), array(3.)]
    """
    return tree_map(lambda leaf: leaf.get() if is_device_array(leaf) else np.asarray(leaf), x)


def block_until_ready(x: Any) -> Any:
    """Wait until the arrays of a pytree are computed, and return it. NumPy's are at once; CuPy's device is waited for.

    >>> import numpy as np, functrans as ft
    >>> ft.block_until_ready({"w": np.ones(2)})
    {'w': array([1., 1.])}
    """
    leaves, _ = tree_flatten(x)
    waited: set[int] = set()
    for leaf in leaves:
        if is_device_array(leaf) and leaf.device.id not in waited:
            waited.add(leaf.device.id)
            leaf.device.synchronize()
    return x
