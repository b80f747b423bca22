"""The precision of products, as other systems let it be chosen. Here a product is computed in full, always."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TypeAlias

from functrans import errors


class Precision(enum.Enum):
    """How exactly a product may be computed, at the least.

    A CPU and NumPy compute a product in the dtype of its operands, so that every choice is ``HIGHEST``.
    """

    DEFAULT = 0
    HIGH = 1
    HIGHEST = 2


PrecisionLike: TypeAlias = str | Precision | Sequence[str] | Sequence[Precision] | None
"""None, a ``Precision``, its name in any case or that of a dtype (``"float32"``, ``"bfloat16"``), or a pair."""

_NAMES = {
    **{p.name.lower(): p for p in Precision},
    "fastest": Precision.DEFAULT,
    "bfloat16": Precision.DEFAULT,
    "bfloat16_3x": Precision.HIGH,
    "tensorfloat32": Precision.HIGH,
    "float32": Precision.HIGHEST,
}


def check_precision(name: str, precision: PrecisionLike) -> None:
    """Reject what is no precision; one that is asks for no more than is given anyway."""
    given = precision if isinstance(precision, (tuple, list)) else (precision,)
    if len(given) > 2 or not all(
        p is None or isinstance(p, Precision) or (isinstance(p, str) and p.lower() in _NAMES) for p in given
    ):
        raise errors.ArgumentError(
            f"{name}: precision must be None, a functrans.lax.Precision, one of {', '.join(_NAMES)}, or a pair of "
            f"them, got {precision!r}"
        )
