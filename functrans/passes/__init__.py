"""Passes: jaxpr to jaxpr, meaning preserved. A pipeline is a tuple of them, printable and changeable."""

from __future__ import annotations

from functrans.passes.base import Pass as Pass
from functrans.passes.base import Pipeline as Pipeline
from functrans.passes.pipeline import current as current
from functrans.passes.pipeline import default as default
from functrans.passes.pipeline import using as using
