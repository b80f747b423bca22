"""Distributions and summaries of ``scipy.stats``, with derivatives in every operand.

A distribution has logarithmic densities, densities, distribution functions, survival functions and quantiles as
methods: ``norm.logpdf(x, loc, scale)``. They are computed by the primitives of ``functrans.lax`` also where nothing is
being transformed; quantiles of the beta, gamma, chi-square and Student distributions by SciPy.

>>> import functrans as ft
>>> import numpy as np
>>> ft.grad(lambda mu: np.sum(norm.logpdf(np.array([0.5, 1.5]), mu, 2.0)))(0.0)
np.float64(0.5)
"""

from __future__ import annotations

from functrans.scipy.stats.continuous import beta as beta
from functrans.scipy.stats.continuous import cauchy as cauchy
from functrans.scipy.stats.continuous import chi2 as chi2
from functrans.scipy.stats.continuous import expon as expon
from functrans.scipy.stats.continuous import gamma as gamma
from functrans.scipy.stats.continuous import gennorm as gennorm
from functrans.scipy.stats.continuous import laplace as laplace
from functrans.scipy.stats.continuous import logistic as logistic
from functrans.scipy.stats.continuous import norm as norm
from functrans.scipy.stats.continuous import pareto as pareto
from functrans.scipy.stats.continuous import t as t
from functrans.scipy.stats.continuous import truncnorm as truncnorm
from functrans.scipy.stats.continuous import uniform as uniform
from functrans.scipy.stats.continuous import vonmises as vonmises
from functrans.scipy.stats.continuous import wrapcauchy as wrapcauchy
from functrans.scipy.stats.discrete import bernoulli as bernoulli
from functrans.scipy.stats.discrete import betabinom as betabinom
from functrans.scipy.stats.discrete import binom as binom
from functrans.scipy.stats.discrete import geom as geom
from functrans.scipy.stats.discrete import nbinom as nbinom
from functrans.scipy.stats.discrete import poisson as poisson
from functrans.scipy.stats.kde import gaussian_kde as gaussian_kde
from functrans.scipy.stats.multivariate import dirichlet as dirichlet
from functrans.scipy.stats.multivariate import multinomial as multinomial
from functrans.scipy.stats.multivariate import multivariate_normal as multivariate_normal
from functrans.scipy.stats.summaries import mode as mode
from functrans.scipy.stats.summaries import rankdata as rankdata
from functrans.scipy.stats.summaries import sem as sem
