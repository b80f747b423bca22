"""Elementary and special functions as straight lines of vector operations.

``FUNCTIONS`` has them by the names of their primitives, for vectors of float32 and float64. What is claimed of their
errors stands, with how it was measured, in ``docs/native-mathematics.md``: those of the elementary functions are below
one unit in the last place, on machines that fuse products and sums and on those that do not. Zeros keep their signs,
infinities and NaN give what NumPy gives, and subnormal arguments and results are right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from functrans.backends.llvm.builder import V
from functrans.backends.llvm.mathematics import error_functions, exponential, logarithm, power, trigonometric
from functrans.backends.llvm.mathematics.pieces import integer as integer
from functrans.backends.llvm.mathematics.pieces import polynomial as polynomial


class Function(NamedTuple):
    """A function of vectors.

    Attributes:
        emit: ``emit(builder, *operands)``, of one type.
        cost: how many simple instructions it is worth.
    """

    emit: Callable[..., V]
    cost: int


FUNCTIONS: dict[str, Function] = {
    "exp": Function(exponential.exp, 40),
    "exp2": Function(exponential.exp2, 40),
    "expm1": Function(exponential.expm1, 55),
    "tanh": Function(exponential.tanh, 65),
    "sinh": Function(exponential.sinh, 60),
    "cosh": Function(exponential.cosh, 50),
    "log": Function(logarithm.log, 50),
    "log2": Function(logarithm.log2, 60),
    "log10": Function(logarithm.log10, 60),
    "log1p": Function(logarithm.log1p, 60),
    "logaddexp": Function(logarithm.logaddexp, 130),
    "logaddexp2": Function(logarithm.logaddexp2, 130),
    "asinh": Function(logarithm.asinh, 110),
    "acosh": Function(logarithm.acosh, 110),
    "atanh": Function(logarithm.atanh, 85),
    "sin": Function(trigonometric.sin, 65),
    "cos": Function(trigonometric.cos, 65),
    "tan": Function(trigonometric.tan, 90),
    "sinc": Function(trigonometric.sinc, 70),
    "asin": Function(trigonometric.asin, 60),
    "acos": Function(trigonometric.acos, 60),
    "atan": Function(trigonometric.atan, 70),
    "atan2": Function(trigonometric.atan2, 100),
    "pow": Function(power.pow, 180),
    "cbrt": Function(power.cbrt, 75),
    "erf": Function(error_functions.erf, 100),
    "erfc": Function(error_functions.erfc, 140),
}
FORMS: dict[str, dict[str, object]] = {"sinc": {"derivative": 0}}
"""The parameters that a function is computed with, where it has some."""
