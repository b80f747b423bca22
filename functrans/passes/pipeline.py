"""The pipeline that ``jit`` runs."""

from __future__ import annotations

from functrans.passes.algebra import Algebra
from functrans.passes.base import Pipeline
from functrans.passes.cse import CommonSubexpressions
from functrans.passes.dead import DeadCode
from functrans.passes.decompose import Decompose
from functrans.passes.fold import FoldConstants
from functrans.passes.inline import Inline

default = Pipeline(
    (
        Inline(),
        Decompose(),
        Algebra(),
        FoldConstants(),
        CommonSubexpressions(),
        DeadCode(),
    )
)
