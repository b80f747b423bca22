"""The pipeline that ``jit`` runs."""

from __future__ import annotations

from contextlib import AbstractContextManager

from functrans.config import config, override
from functrans.passes.algebra import Algebra
from functrans.passes.base import Pipeline
from functrans.passes.cse import CommonSubexpressions
from functrans.passes.dead import DeadCode
from functrans.passes.decompose import Decompose
from functrans.passes.fold import FoldConstants
from functrans.passes.inline import Inline
from functrans.passes.layout import Layout
from functrans.passes.loops import Loops

default = Pipeline(
    (
        Inline(),
        Decompose(),
        Algebra(),
        Layout(),
        Loops(),
        FoldConstants(),
        CommonSubexpressions(),
        DeadCode(),
    )
)


def current() -> Pipeline:
    """The pipeline that programs go through now: ``functrans.config.passes``, or ``default``."""
    chosen: Pipeline | None = config.passes
    return default if chosen is None else chosen


def using(pipeline: Pipeline | None) -> AbstractContextManager[None]:
    """A context manager in which programs go through other passes. None is the default pipeline.

    A function that was compiled with other passes is compiled again, and both programs are kept.

    >>> import numpy as np, functrans as ft
    >>> f = ft.jit(lambda x: x * 1.0)
    >>> with ft.passes.using(ft.passes.default.without("algebra")):
    ...     text = f.lower(np.ones(3)).as_text("dead")
    >>> print(text)
    { lambda ; a:f64[3] . let
        b:f64[3] = mul a 1.0
      in (b,) }
    """
    made: AbstractContextManager[None] = override("passes", pipeline)
    return made
