"""What the optimizers return: named tuples, and so pytrees, which pass through every transformation."""

from __future__ import annotations

from typing import Any, NamedTuple


class OptimizeResults(NamedTuple):
    """The result of ``minimize``, ``minimize_scalar`` and ``root``.

    A field that the method does not supply is None.

    Attributes:
        x: the solution, of the structure and shapes of ``x0``.
        success: whether the method says that it converged.
        status: why it stopped: 0 where it converged, otherwise a number of the method's.
        fun: the value of the function at the solution.
        jac: the gradient there, of the structure of ``x``; for ``root`` None.
        hess_inv: the method's approximation of the inverse Hessian.
        nfev: the number of evaluations of the function.
        njev: the number of evaluations of the gradient.
        nit: the number of iterations.
    """

    x: Any
    success: Any
    status: Any
    fun: Any
    jac: Any = None
    hess_inv: Any = None
    nfev: Any = None
    njev: Any = None
    nit: Any = None


class LeastSquaresResults(NamedTuple):
    """The result of ``least_squares``.

    Attributes:
        x: the solution, of the structure and shapes of ``x0``.
        cost: half the sum of the squared (or otherwise weighed) residuals.
        fun: the residuals.
        jac: their Jacobian with respect to the entries of ``x``.
        grad: the gradient of the cost, a vector.
        optimality: the largest entry of the (scaled) gradient.
        active_mask: -1 or 1 for entries of ``x`` at their lower or upper bound, else 0.
        nfev: the number of evaluations of the residuals.
        njev: the number of evaluations of the Jacobian.
        status: why the method stopped; -1 and 0 for a failure.
        success: whether it converged.
    """

    x: Any
    cost: Any
    fun: Any
    jac: Any
    grad: Any
    optimality: Any
    active_mask: Any
    nfev: Any
    njev: Any
    status: Any
    success: Any


class RootResults(NamedTuple):
    """The result of ``root_scalar``, and the second result of the scalar root finders with ``full_output=True``.

    Attributes:
        root: the root.
        iterations: the number of iterations.
        function_calls: the number of evaluations of the function.
        converged: whether the method says that it converged.
    """

    root: Any
    iterations: Any
    function_calls: Any
    converged: Any
