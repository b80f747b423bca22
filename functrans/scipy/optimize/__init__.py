"""Minimization, roots and least squares as ``functrans.scipy.optimize``: solutions with derivatives."""

from __future__ import annotations

from functrans.scipy.optimize.least_squares import curve_fit as curve_fit
from functrans.scipy.optimize.least_squares import least_squares as least_squares
from functrans.scipy.optimize.minimization import minimize as minimize
from functrans.scipy.optimize.minimization import minimize_scalar as minimize_scalar
from functrans.scipy.optimize.results import LeastSquaresResults as LeastSquaresResults
from functrans.scipy.optimize.results import OptimizeResults as OptimizeResults
from functrans.scipy.optimize.results import RootResults as RootResults
from functrans.scipy.optimize.roots import bisect as bisect
from functrans.scipy.optimize.roots import brenth as brenth
from functrans.scipy.optimize.roots import brentq as brentq
from functrans.scipy.optimize.roots import fixed_point as fixed_point
from functrans.scipy.optimize.roots import newton as newton
from functrans.scipy.optimize.roots import ridder as ridder
from functrans.scipy.optimize.roots import root as root
from functrans.scipy.optimize.roots import root_scalar as root_scalar
