"""The workloads, one family a file: each module of this package states its own in ``WORKLOADS``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from benchmarks.workload import Workload


def _stated() -> Iterator[Workload]:
    for module in pkgutil.iter_modules(__path__):
        yield from importlib.import_module(f"{__name__}.{module.name}").WORKLOADS


WORKLOADS: dict[str, Workload] = {}
for _workload in _stated():
    if _workload.name in WORKLOADS:
        raise ValueError(f"two workloads are named {_workload.name!r}")
    WORKLOADS[_workload.name] = _workload
