"""Calls of every initializer, by name: see ``tests/random/cases.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.random.cases import Case


def _cases(dtype: Any) -> dict[str, Case]:
    d = np.dtype(dtype)
    shape = (3, 4)
    cases = {
        "zeros": Case(lambda m, k: m.zeros(k, shape, d)),
        "ones": Case(lambda m, k: m.ones(k, shape, d)),
        "constant": Case(lambda m, k: m.constant(0.25)(k, shape, d)),
        "normal": Case(lambda m, k: m.normal(0.5)(k, shape, d), 64),
        "glorot_normal": Case(lambda m, k: m.glorot_normal()(k, shape, d), 80, 80),
        "xavier_normal": Case(lambda m, k: m.xavier_normal()(k, shape, d), 80, 80),
        "he_normal": Case(lambda m, k: m.he_normal(dtype=d)(k, shape), 80, 80),
        "kaiming_normal": Case(lambda m, k: m.kaiming_normal()(k, (2, 3, 4), d), 80, 80),
        "lecun_normal": Case(lambda m, k: m.lecun_normal(in_axis=0, out_axis=1)(k, (5, 2, 3), d), 80, 80),
        "glorot_uniform": Case(lambda m, k: m.glorot_uniform()(k, shape, d), 8, 8),
        "xavier_uniform": Case(lambda m, k: m.xavier_uniform(batch_axis=0)(k, (2, 3, 2), d), 8, 8),
        "he_uniform": Case(lambda m, k: m.he_uniform()(k, shape, d), 8, 8),
        "kaiming_uniform": Case(lambda m, k: m.kaiming_uniform()(k, shape, d), 8, 8),
        "lecun_uniform": Case(lambda m, k: m.lecun_uniform()(k, shape, d), 8, 8),
        "scaling_out": Case(lambda m, k: m.variance_scaling(2.0, "fan_out", "normal")(k, shape, d), 80),
        "scaling_geo": Case(lambda m, k: m.variance_scaling(0.5, "fan_geo_avg", "uniform")(k, shape, d), 8, 8),
        "scaling_axes": Case(lambda m, k: m.variance_scaling(1.0, "fan_avg", "normal", (0, 1), 2)(k, (2, 3, 2), d), 80),
        "orthogonal": Case(lambda m, k: m.orthogonal(2.0)(k, (2, 2, 3), d), 0, 400),
        "orthogonal_axis": Case(lambda m, k: m.orthogonal(column_axis=0)(k, (2, 4), d), 0, 400),
        "delta_orthogonal": Case(lambda m, k: m.delta_orthogonal()(k, (3, 2, 3), d), 0, 400),
        "delta_orthogonal_2": Case(lambda m, k: m.delta_orthogonal()(k, (3, 4, 2, 2), d), 0, 400),
        "delta_orthogonal_3": Case(lambda m, k: m.delta_orthogonal(0.5)(k, (3, 2, 1, 1, 2), d), 0, 400),
    }
    if d.kind == "f":
        cases["uniform"] = Case(lambda m, k: m.uniform(0.5)(k, shape, d))
        cases["truncated_normal"] = Case(lambda m, k: m.truncated_normal(0.5, lower=-1.0)(k, shape, d), 80, 80)
    return {f"{name}-{d}": case for name, case in cases.items()}


CASES = {**_cases(np.float64), **_cases(np.float32), **_cases(np.complex128)}
