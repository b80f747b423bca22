"""DLPack: arrays that share their memory with those of other libraries."""

from __future__ import annotations

from typing import Any

import numpy as np

from functrans import errors
from functrans.core.trace import Tracer

__all__ = ["from_dlpack", "is_supported_dtype"]

_HOST, _CUDA = (1, 3), (2, 13)
"""Device types of the protocol: memory of the CPU (and that pinned for CUDA), memory of CUDA (and managed)."""


def is_supported_dtype(dtype: Any) -> bool:
    """Whether arrays of a dtype can be handed over: booleans, integers, floats and complex numbers can.

    >>> import numpy as np
    >>> is_supported_dtype(np.float32), is_supported_dtype("U3")
    (True, False)
    """
    found = np.dtype(dtype)
    return found.kind in "biufc" and found.char not in "gG"


def from_dlpack(external_array: Any, device: Any = None, copy: bool | None = None) -> Any:
    """An array over the memory of another library's array.

    Args:
        external_array: an object with the methods ``__dlpack__`` and ``__dlpack_device__``.
        device: ``"cpu"``, or a ``cupy.cuda.Device``; where the array is if None.
        copy: True for memory of its own, False for an error where that would be needed, None for whichever is possible.

    Returns:
        A ``numpy.ndarray`` for memory of the host, a ``cupy.ndarray`` for memory of a CUDA device.

    Raises:
        ArgumentError: the object does not have the protocol, or there is no such device.
        TracerArrayError: the array is a traced value, which has no memory.

    >>> import numpy as np
    >>> x = np.arange(3.0)
    >>> np.shares_memory(from_dlpack(x), x)
    True
    """
    if not hasattr(external_array, "__dlpack__") or not hasattr(external_array, "__dlpack_device__"):
        raise errors.ArgumentError(
            f"from_dlpack: an array with the methods __dlpack__ and __dlpack_device__ is needed, got an object of type "
            f"{type(external_array).__name__}. Write functrans.numpy.asarray for a list or a number"
        )
    if isinstance(external_array, Tracer):
        external_array.__dlpack__()  # type: ignore[attr-defined] # which says that it has no memory
    if device is not None and device != "cpu" and not hasattr(device, "__enter__"):
        raise errors.ArgumentError(f"from_dlpack: device must be 'cpu', a cupy.cuda.Device or None, got {device!r}")
    kind, _ = external_array.__dlpack_device__()
    if kind in _HOST:
        array = np.from_dlpack(external_array) if copy is None else np.from_dlpack(external_array, copy=copy)
        return array if device in (None, "cpu") else _on(device, array)
    if kind in _CUDA:
        import cupy

        array = cupy.from_dlpack(external_array)
        array = array.copy() if copy else array
        return array.get() if device == "cpu" else array if device is None else _on(device, array)
    raise errors.ArgumentError(
        f"from_dlpack: the array lives on a device of kind {kind}, and only memory of the host and of CUDA devices can "
        f"be shared. Copy it to the host first"
    )


def _on(device: Any, array: Any) -> Any:
    import cupy

    with device:
        return cupy.asarray(array)
