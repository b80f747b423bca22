"""Calls of every sampler, by name: what the reference figures were made of, and what they are compared with.

A call is a function of the module of samplers, so that the same table serves another library with the same functions.
``rtol`` and ``atol`` say how far the samples may be from the reference, in units of the rounding of their dtype:
relative to the sample, and absolute for samples that come about by cancellation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

SEEDS = (0, 1234567, -3, 2**40 + 17)


class Case(NamedTuple):
    call: Callable[[Any, Any], Any]
    rtol: float = 0.0
    atol: float = 0.0


def _floats(dtype: Any) -> dict[str, Case]:
    d = np.dtype(dtype)
    many = d.type([0.05, 0.5, 1.0, 2.5, 30.0, 0.9])
    tag = d.name
    logits = np.log(d.type([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]]))
    cov = d.type([[2.0, 1.0, 0.3], [1.0, 3.0, 0.2], [0.3, 0.2, 1.0]])
    p = d.type([0.1, 0.2, 0.3, 0.4])
    n = d.type([0.0, 1.0, 10.0, 100.0, 1000.0, 1e6, -1.0, 50.0, np.nan, 20.0, np.inf])
    success = d.type([0.5, 0.1, 0.9, 0.3, 0.7, 0.01, 0.5, 0.0, 0.5, 1.0, 0.5])
    rates, high_rates = d.type([0.0, 0.1, 1.0, 9.9, -1.0, np.nan]), d.type([10.0, 30.0, 100.0])
    cases: dict[str, Case] = {
        "uniform": Case(lambda r, k: r.uniform(k, (3, 4), dtype=d)),
        "uniform_bounds": Case(lambda r, k: r.uniform(k, (8,), dtype=d, minval=-2.5, maxval=7.0), 0, 8),
        "normal": Case(lambda r, k: r.normal(k, (3, 7), dtype=d), 32),
        "normal_scalar": Case(lambda r, k: r.normal(k, dtype=d), 32),
        "exponential": Case(lambda r, k: r.exponential(k, (9,), dtype=d), 160),
        "gumbel": Case(lambda r, k: r.gumbel(k, (9,), dtype=d), 8, 8),
        "gumbel_high": Case(lambda r, k: r.gumbel(k, (9,), dtype=d, mode="high"), 8, 160),
        "gumbel_highest": Case(lambda r, k: r.gumbel(k, (9,), dtype=d, mode="highest"), 8, 160),
        "laplace": Case(lambda r, k: r.laplace(k, (9,), dtype=d), 160),
        "logistic": Case(lambda r, k: r.logistic(k, (9,), dtype=d), 8, 160),
        "cauchy": Case(lambda r, k: r.cauchy(k, (9,), dtype=d), 8),
        "maxwell": Case(lambda r, k: r.maxwell(k, (5,), dtype=d), 32),
        "double_sided_maxwell": Case(lambda r, k: r.double_sided_maxwell(k, 0.0, 1.5, (5,), dtype=d), 32),
        "double_sided_maxwell_own": Case(
            lambda r, k: r.double_sided_maxwell(k, d.type(0.0), many[:2], (), dtype=d), 32
        ),
        "truncated_normal": Case(lambda r, k: r.truncated_normal(k, -1.0, 2.0, (9,), dtype=d), 64, 64),
        "lognormal": Case(lambda r, k: r.lognormal(k, 0.5, (9,), dtype=d), 64),
        "weibull_min": Case(lambda r, k: r.weibull_min(k, 2.0, 1.5, (9,), dtype=d), 160),
        "pareto": Case(lambda r, k: r.pareto(k, many[1:], dtype=d), 400),
        "rayleigh": Case(lambda r, k: r.rayleigh(k, many, dtype=d), 8),
        "triangular": Case(lambda r, k: r.triangular(k, 0.0, 1.0, 4.0, (9,), dtype=d), 8),
        "wald": Case(lambda r, k: r.wald(k, d.type(2.0), (9,), dtype=d), 400, 8),
        "gamma": Case(lambda r, k: r.gamma(k, many, (3, 6), dtype=d), 600),
        "loggamma": Case(lambda r, k: r.loggamma(k, many, (3, 6), dtype=d), 64, 600),
        "beta": Case(lambda r, k: r.beta(k, many[1:], many[:0:-1], dtype=d), 600),
        "dirichlet": Case(lambda r, k: r.dirichlet(k, many[1:5], (3,), dtype=d), 600),
        "chisquare": Case(lambda r, k: r.chisquare(k, many[1:], dtype=d), 600),
        "f": Case(lambda r, k: r.f(k, many[1:], many[:0:-1], dtype=d), 1200),
        "t": Case(lambda r, k: r.t(k, many[1:], dtype=d), 1200),
        "generalized_normal": Case(lambda r, k: r.generalized_normal(k, 3.0, (5,), dtype=d), 200),
        "ball": Case(lambda r, k: r.ball(k, 3, 1.5, (4,), dtype=d), 400),
        "bernoulli": Case(lambda r, k: r.bernoulli(k, many / 31)),
        "bernoulli_high": Case(lambda r, k: r.bernoulli(k, many / 31, mode="high")),
        "rademacher": Case(lambda r, k: r.rademacher(k, (9,), dtype=d)),
        "multivariate_normal": Case(lambda r, k: r.multivariate_normal(k, many[:3], cov, (2,)), 64, 64),
        "multivariate_normal_eigh": Case(lambda r, k: r.multivariate_normal(k, many[:3], cov, method="eigh"), 200, 200),
        "orthogonal": Case(lambda r, k: r.orthogonal(k, 3, (2,), dtype=d), 0, 200),
        "orthogonal_wide": Case(lambda r, k: r.orthogonal(k, 2, dtype=d, m=4), 0, 200),
        "categorical": Case(lambda r, k: r.categorical(k, logits, shape=(7, 2))),
        "categorical_axis": Case(lambda r, k: r.categorical(k, logits, axis=0)),
        "categorical_high": Case(lambda r, k: r.categorical(k, logits, shape=(7, 2), mode="high")),
        "categorical_once": Case(lambda r, k: r.categorical(k, logits, shape=(2, 2), replace=False)),
        "choice_p": Case(lambda r, k: r.choice(k, 4, (9,), p=p)),
        "choice_p_once": Case(lambda r, k: r.choice(k, 4, (3,), replace=False, p=p)),
        "poisson": Case(lambda r, k: r.poisson(k, rates)),
        "poisson_high": Case(lambda r, k: r.poisson(k, high_rates)),
        "binomial": Case(lambda r, k: r.binomial(k, n, success, dtype=d)),
        "multinomial": Case(lambda r, k: r.multinomial(k, 100.0, p, shape=(2, 4))),
        "geometric": Case(lambda r, k: r.geometric(k, success[1:5])),
    }
    return {f"{name}-{tag}": case for name, case in cases.items()}


def _integers(dtype: str) -> dict[str, Case]:
    d = np.dtype(dtype)
    info = np.iinfo(d)
    low, high = np.array([0, 3, 1, 5], d), np.array([10, 4, 1, info.max], d)
    cases = {
        f"randint-{d}": Case(lambda r, k: r.randint(k, (9,), 0, 100, d)),
        f"randint_all-{d}": Case(lambda r, k: r.randint(k, (9,), d.type(info.min), d.type(info.max), d)),
        f"randint_arrays-{d}": Case(lambda r, k: r.randint(k, (4,), low, high, d)),
    }
    if d.kind == "u":
        cases[f"bits-{d}"] = Case(lambda r, k: r.bits(k, (3, 3), d))
    return cases


def _others() -> dict[str, Case]:
    x = np.arange(12.0).reshape(3, 4)
    return {
        "split": Case(lambda r, k: r.key_data(r.split(k, (2, 3)))),
        "fold_in": Case(lambda r, k: r.key_data(r.fold_in(k, 2**31 + 5))),
        "key_data": Case(lambda r, k: r.key_data(k)),
        "normal-complex128": Case(lambda r, k: r.normal(k, (4,), dtype=np.complex128), 64),
        "normal-complex64": Case(lambda r, k: r.normal(k, (4,), dtype=np.complex64), 64),
        "orthogonal-complex128": Case(lambda r, k: r.orthogonal(k, 2, dtype=np.complex128), 0, 200),
        "uniform-float16": Case(lambda r, k: r.uniform(k, (9,), dtype=np.float16)),
        "normal-float16": Case(lambda r, k: r.normal(k, (9,), dtype=np.float16), 1),
        "exponential-float16": Case(lambda r, k: r.exponential(k, (9,), dtype=np.float16), 2),
        "permutation": Case(lambda r, k: r.permutation(k, 20)),
        "permutation_rows": Case(lambda r, k: r.permutation(k, x)),
        "permutation_axis": Case(lambda r, k: r.permutation(k, x, axis=1)),
        "permutation_independent": Case(lambda r, k: r.permutation(k, x, axis=1, independent=True)),
        "permutation_twice": Case(lambda r, k: r.permutation(k, 2000)[:50]),
        "choice": Case(lambda r, k: r.choice(k, 10, (9,))),
        "choice_once": Case(lambda r, k: r.choice(k, 10, (2, 2), replace=False)),
        "choice_axis": Case(lambda r, k: r.choice(k, x, (2, 2), axis=1)),
        "choice_axis_once": Case(lambda r, k: r.choice(k, x, (2,), replace=False, axis=1)),
        "multinomial_even": Case(lambda r, k: r.multinomial(k, 100, np.array([0.1, 0.2, 0.3, 0.4]))),
        "randint_uint8_all": Case(lambda r, k: r.randint(k, (9,), 0, 256, np.uint8)),
        "randint_empty": Case(lambda r, k: r.randint(k, (3,), 5, 1)),
    }


CASES: dict[str, Case] = {
    **_floats(np.float64),
    **_floats(np.float32),
    **{k: v for d in ("int8", "uint8", "int16", "uint32", "int64", "uint64") for k, v in _integers(d).items()},
    **_others(),
}
