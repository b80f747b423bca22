"""Example operands of elementwise primitives: every dtype kind, rank, emptiness and weakness from a few values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans.core.primitive import Sample

Thunk = Callable[[], list[Sample]]

_GENERIC = (0.5, -1.5, 2.0, 1.25, 3.0, -0.75)
_OTHER = (1.5, -0.5, 2.5)
_INTS = (1, 5, 2, 7, 3, 4)
_OTHER_INTS = (3, 2, 1)


def unary(*values: float, kinds: str = "fc", order: int = 2, **params: Any) -> Thunk:
    """Samples of one operand.

    Args:
        values: six numbers at which floats are sampled; complex numbers have them as parts.
        kinds: the dtype kinds to give samples of.
        order: see ``Sample``.
        params: the static parameters of every sample.
    """

    def samples() -> list[Sample]:
        args: list[Any] = []
        if "f" in kinds:
            x = np.array(values or _GENERIC).reshape(2, 3)
            args += [x, x.astype(np.float32), np.float64(x[0, 0]), np.array(x[0, 1]), float(x[0, 0]), x[:, :0]]
        if "c" in kinds:
            z = _complex(np.array(values or _GENERIC))
            args += [z, z[:3].astype(np.complex64), complex(z[0])]
        args += _integers(_INTS, kinds)
        return [Sample((x,), params, order) for x in args]

    return samples


def binary(
    left: Sequence[float] = _GENERIC, right: Sequence[float] = _OTHER, kinds: str = "fc", order: int = 2
) -> Thunk:
    """Samples of two operands: six numbers for the left one, three for the right one."""

    def samples() -> list[Sample]:
        args: list[tuple[Any, Any]] = []
        if "f" in kinds:
            x, y = np.array(left).reshape(2, 3), np.array(right)
            args += [(x, y), (x[:, :1], y), (x[0].astype(np.float32), y.astype(np.float32))]
            args += [(x.astype(np.float32), float(y[0])), (float(x[0, 0]), y), (float(x[0, 0]), float(y[0]))]
            args += [(x[0, 0], y[0]), (x[:0], y), (np.array(x[0, 0]), y[:, None])]
        if "c" in kinds:
            args.append((_complex(np.array(left).reshape(2, 3)), _complex(np.array(right))))
        args += list(zip(_integers(_INTS, kinds), _integers(_OTHER_INTS, kinds), strict=True))
        return [Sample(pair, {}, order) for pair in args]

    return samples


def _complex(x: Any) -> Any:
    z = np.empty(x.shape, np.complex128)
    z.real, z.imag = x, 0.5 * x[::-1]
    return z


def _integers(values: Sequence[int], kinds: str) -> list[Any]:
    x = np.array(values)
    rows = x.reshape(-1, 3)
    args: list[Any] = []
    if "i" in kinds:
        args += [rows, -x[:3], x[:1].astype(np.int8), int(x[0])]
    if "u" in kinds:
        args.append(rows.astype(np.uint8))
    if "b" in kinds:
        args += [rows % 2 == 0, bool(x[0] % 2)]
    return args


__all__ = ["Thunk", "binary", "unary"]
