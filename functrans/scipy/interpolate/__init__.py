"""Interpolation as ``functrans.scipy.interpolate``: pytrees that are differentiable in data and places."""

from __future__ import annotations

from functrans.scipy.interpolate.bsplines import BSpline as BSpline
from functrans.scipy.interpolate.bsplines import make_interp_spline as make_interp_spline
from functrans.scipy.interpolate.grid import RegularGridInterpolator as RegularGridInterpolator
from functrans.scipy.interpolate.grid import interpn as interpn
from functrans.scipy.interpolate.one import interp1d as interp1d
from functrans.scipy.interpolate.piecewise import Akima1DInterpolator as Akima1DInterpolator
from functrans.scipy.interpolate.piecewise import CubicHermiteSpline as CubicHermiteSpline
from functrans.scipy.interpolate.piecewise import CubicSpline as CubicSpline
from functrans.scipy.interpolate.piecewise import PchipInterpolator as PchipInterpolator
from functrans.scipy.interpolate.piecewise import PPoly as PPoly
