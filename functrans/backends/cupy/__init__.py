"""The CUDA backend: arrays of CuPy, kernels in CUDA C++."""

from __future__ import annotations

from functrans.backends.cupy.program import CudaBackend

backend = CudaBackend()
