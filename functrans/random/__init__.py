"""Random numbers without state: every function takes a key, and equal keys give equal samples.

A key is made from a seed, ``key(seed)``, and used once; ``split`` makes new ones of it. The generator is counter
based (Threefry-2x32): a sample does not depend on the order in which others are drawn, on the number of threads, on
the backend, or on whether the program is compiled or mapped.
"""

from __future__ import annotations

from functrans.random.arrays import choice as choice
from functrans.random.arrays import multivariate_normal as multivariate_normal
from functrans.random.arrays import orthogonal as orthogonal
from functrans.random.arrays import permutation as permutation
from functrans.random.discrete import binomial as binomial
from functrans.random.discrete import categorical as categorical
from functrans.random.discrete import geometric as geometric
from functrans.random.discrete import multinomial as multinomial
from functrans.random.discrete import poisson as poisson
from functrans.random.discrete import randint as randint
from functrans.random.gamma_sampler import random_gamma_p as random_gamma_p
from functrans.random.gammas import ball as ball
from functrans.random.gammas import beta as beta
from functrans.random.gammas import chisquare as chisquare
from functrans.random.gammas import dirichlet as dirichlet
from functrans.random.gammas import f as f
from functrans.random.gammas import gamma as gamma
from functrans.random.gammas import generalized_normal as generalized_normal
from functrans.random.gammas import loggamma as loggamma
from functrans.random.gammas import t as t
from functrans.random.keys import Key as Key
from functrans.random.keys import PRNGKey as PRNGKey
from functrans.random.keys import clone as clone
from functrans.random.keys import fold_in as fold_in
from functrans.random.keys import key as key
from functrans.random.keys import key_data as key_data
from functrans.random.keys import key_dtype as key_dtype
from functrans.random.keys import key_impl as key_impl
from functrans.random.keys import split as split
from functrans.random.keys import wrap_key_data as wrap_key_data
from functrans.random.uniforms import bernoulli as bernoulli
from functrans.random.uniforms import bits as bits
from functrans.random.uniforms import cauchy as cauchy
from functrans.random.uniforms import double_sided_maxwell as double_sided_maxwell
from functrans.random.uniforms import exponential as exponential
from functrans.random.uniforms import gumbel as gumbel
from functrans.random.uniforms import laplace as laplace
from functrans.random.uniforms import logistic as logistic
from functrans.random.uniforms import lognormal as lognormal
from functrans.random.uniforms import maxwell as maxwell
from functrans.random.uniforms import normal as normal
from functrans.random.uniforms import pareto as pareto
from functrans.random.uniforms import rademacher as rademacher
from functrans.random.uniforms import rayleigh as rayleigh
from functrans.random.uniforms import triangular as triangular
from functrans.random.uniforms import truncated_normal as truncated_normal
from functrans.random.uniforms import uniform as uniform
from functrans.random.uniforms import wald as wald
from functrans.random.uniforms import weibull_min as weibull_min
