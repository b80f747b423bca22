"""The core: array types, pytrees, primitives, traces and the jaxpr language. It imports NumPy alone."""

import functrans.core.printer  # noqa: F401 - whoever imports a part of the core can print a jaxpr
