"""What the tests of generated CUDA text need: a C++ compiler and NVRTC, no device."""

from __future__ import annotations

import os
import shutil

import pytest

from functrans.backends.cupy.nvrtc import nvrtc
from functrans.errors import MissingBackendError


@pytest.fixture(autouse=True, scope="session")
def tools() -> None:
    """Skips where a tool is missing, and fails there if FUNCTRANS_DEVICE_TOOLS says that none may be."""
    missing = [] if shutil.which("g++") else ["g++"]
    try:
        nvrtc()
    except MissingBackendError as error:
        missing.append(str(error))
    if missing and os.environ.get("FUNCTRANS_DEVICE_TOOLS") == "required":
        pytest.fail(f"missing: {', '.join(missing)}")
    if missing:
        pytest.skip(f"generated CUDA text cannot be compiled here: {', '.join(missing)}")
