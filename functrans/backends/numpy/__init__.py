"""The NumPy backend: jaxprs as generated Python source over the array module."""

from __future__ import annotations

from functrans.backends.numpy.program import NumpyBackend

backend = NumpyBackend()
