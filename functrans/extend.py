"""Operations of your own: ``functrans.extend.primitive``."""

from __future__ import annotations

from functrans.api.extend import Operation as Operation
from functrans.api.extend import is_linear as is_linear
from functrans.api.extend import primitive as primitive

__all__ = ["Operation", "is_linear", "primitive"]
