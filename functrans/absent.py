"""Names that users of other array libraries look for and that make no sense here, each with its reason and its mend.

It is the one list of them. Asking a module for such a name raises ``AbsentNameError`` with what stands here.
"""

from __future__ import annotations

from functrans import errors

ABSENT: dict[str, dict[str, str]] = {
    "functrans": {
        "default_device": (
            "an array lives where it was made, on the host (NumPy) or on a device (CuPy), and operations run there. "
            "Move arrays with functrans.device_put"
        ),
        "default_matmul_precision": (
            "a product is computed in the dtype of its operands, in full. Convert them with x.astype(dtype) for "
            "another precision"
        ),
        "ds": (
            "a slice that starts at a traced index is an operation of its own. Write "
            "functrans.lax.dynamic_slice_in_dim(x, start, size, axis)"
        ),
        "numpy_dtype_promotion": (
            "promotion is NumPy's own, and functions on concrete arrays are NumPy's own. Use functrans.lax, whose "
            "functions take operands of one dtype and raise otherwise"
        ),
        "numpy_rank_promotion": (
            "broadcasting is NumPy's own, and functions on concrete arrays are NumPy's own. Compare x.ndim where "
            "another number of axes is a mistake"
        ),
        "pmap": (
            "programs run on one host or one device, on all of its cores. Write functrans.vmap(f, axis_name=...): its "
            "collectives are those of pmap"
        ),
        "shard_map": (
            "programs run on one host or one device, so that there is nothing to shard over. Write functrans.vmap(f, "
            "axis_name=...): its collectives are those of shard_map"
        ),
    },
}


def absent(module: str, name: str) -> AttributeError:
    """The error for a name that a module does not have: with its reason where it stands in the list."""
    reason = ABSENT.get(module, {}).get(name)
    if reason is None:
        return AttributeError(f"module {module!r} has no attribute {name!r}", name=name)
    return errors.AbsentNameError(f"{module}.{name} does not exist: {reason}")
