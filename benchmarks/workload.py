"""What a benchmark is: named inputs, and for each contender a function that prepares the call to be timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Call = Callable[[], object]
Build = Callable[..., Call]
Precision = Literal["float64", "float32"]


def as_returned(value: object) -> object:
    return value


def called(value: Callable[[], object]) -> object:
    return value()


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    Attributes:
        name: ``family/what``, unique.
        inputs: makes the NumPy inputs, the same ones for every contender.
        contenders: by name (those of ``benchmarks.peers``) a ``build(module, *inputs)`` that does what a user
            does once (convert the inputs, transform the function) and returns the call to time.
        tolerance: how far results may lie apart, relative to the largest entry of the array compared.
        precision: which process the workload runs in; JAX's 64-bit mode is a setting of the whole process.
        operations: the number of operations of the program, where the time for each is of interest. Workloads
            whose names differ in that number alone (``family_1000``) are measured together.
        observe: turns what the call returned into what is compared, for calls that return a program.
    """

    name: str
    inputs: Callable[[], tuple[Any, ...]]
    contenders: Mapping[str, Build]
    tolerance: float
    precision: Precision = "float64"
    operations: int | None = None
    observe: Callable[[Any], object] = as_returned

    @property
    def family(self) -> str:
        return self.name if self.operations is None else self.name.removesuffix(f"_{self.operations}")


def standard_normal(shape: tuple[int, ...], dtype: str = "float64", seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
