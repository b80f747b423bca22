"""The function that ``minimize`` minimizes, with the derivatives that its methods ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans import numpy as fnp
from functrans.api.grad import grad, value_and_grad
from functrans.api.jacobian import hessian
from functrans.scipy.optimize.problem import Function, Point

WITHOUT_GRADIENT = ("nelder-mead", "powell", "cobyla", "cobyqa")
WITH_HESSIAN = ("newton-cg", "dogleg", "trust-ncg", "trust-krylov", "trust-exact", "trust-constr")
DIFFERENCES = ("2-point", "3-point", "cs")


class Objective:
    """A function with derivatives, each the user's own or found by differentiation.

    Attributes:
        operands: the arrays that all of these depend on.
    """

    def __init__(
        self, fun: Callable[..., Any], point: Point, args: tuple[Any, ...], jac: Any, hess: Any, hessp: Any
    ) -> None:
        self.operands: list[Any] = []
        self._at: dict[Function, int] = {}
        self._with_gradient = jac is True
        self._differences = jac if isinstance(jac, str) else None
        if not (jac in (None, True, False, *DIFFERENCES) or callable(jac)):
            raise errors.ArgumentError(
                f"minimize: jac must be a function, True where fun returns the gradient too, None, or one of "
                f"{', '.join(map(repr, DIFFERENCES))}; got {jac!r}"
            )
        self._point = point
        self._fun = self._added("minimize", fun, args)
        self._jac = self._added("minimize: jac", jac, args) if callable(jac) else None
        self._hess = self._added("minimize: hess", hess, args) if callable(hess) else None
        self._hessp = self._added("minimize: hessp", hessp, args, True) if callable(hessp) else None
        self._other_hess = hess if not callable(hess) else None

    def _added(self, where: str, fun: Callable[..., Any], args: tuple[Any, ...], product: bool = False) -> Function:
        function = Function(where, fun, self._point, args, product)
        self._at[function] = len(self.operands)
        self.operands += function.operands
        return function

    def _mine(self, function: Function, operands: Sequence[Any]) -> Sequence[Any]:
        at = self._at[function]
        return operands[at : at + len(function.operands)]

    def number(self, v: Any, *operands: Any) -> Any:
        """The value at a vector."""
        mine = self._mine(self._fun, operands)
        if not self._with_gradient:
            return self._fun.number(v, *mine)
        return self._fun.real_number(self._fun(v, *mine)[0])

    def slope(self, v: Any, *operands: Any) -> Any:
        """The gradient, always by differentiation."""
        return grad(self.number)(v, *operands)

    def oracle(self, v: Any, *operands: Any) -> tuple[Any, Any]:
        """The value and the gradient that the solver gets."""
        if self._with_gradient:
            value, gradient = self._fun(v, *self._mine(self._fun, operands))
            return self._fun.real_number(value), Point("minimize", gradient, "the gradient").vector
        if self._jac is not None:
            return self.number(v, *operands), self._jac.vector(v, *self._mine(self._jac, operands))
        value, gradient = value_and_grad(self.number)(v, *operands)
        return value, gradient

    def for_scipy(self, method: str, operands: Sequence[Any], fast: Callable[[Any], Any]) -> tuple[Any, dict[str, Any]]:
        """The function that SciPy calls, and the keywords that give it derivatives."""
        if method in WITHOUT_GRADIENT or self._differences is not None:
            number = fast(lambda v: self.number(v, *operands))
            return (lambda v: float(number(v))), {"jac": self._differences} if self._differences else {}
        both = fast(lambda v: self.oracle(v, *operands))

        def value(v: Any) -> tuple[float, Any]:
            f, g = both(v)
            return float(f), np.array(g, np.float64)

        keywords: dict[str, Any] = {"jac": True}
        if method in WITH_HESSIAN:
            keywords.update(self._second(operands, fast))
        return value, keywords

    def _second(self, operands: Sequence[Any], fast: Callable[[Any], Any]) -> dict[str, Any]:
        if self._other_hess is not None:
            return {"hess": self._other_hess}
        if self._hessp is not None:
            product = self._hessp
            p = fast(lambda v, d: product.vector(v, d, *self._mine(product, operands)))
            return {"hessp": lambda v, d: np.asarray(p(v, d))}
        n = self._point.size
        if self._hess is not None:
            given = self._hess
            matrix = fast(lambda v: fnp.reshape(given(v, *self._mine(given, operands)), (n, n)))
        else:
            matrix = fast(lambda v: hessian(self.number)(v, *operands))
        return {"hess": lambda v: np.asarray(matrix(v))}
