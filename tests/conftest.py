"""What all tests share: how Hypothesis draws its examples, and no warning that comes once in a run."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from functrans.config import config as functrans_config
from functrans.core.primitive import load_all

# Tables of tests run over every primitive, also those that are loaded at first use.
load_all()

# A run repeats exactly, and a slow machine fails nothing; the fuller matrix draws more, anew each time.
settings.register_profile("default run", deadline=None, derandomize=True, database=None, max_examples=50)
settings.register_profile("full matrix", deadline=None, database=None, print_blob=True, max_examples=1000)


def pytest_configure(config: pytest.Config) -> None:
    # Said once, by whichever test comes first: those that are about it switch it on.
    functrans_config.diagnose_nan_gradients = False
    # Tests generate what they run, and leave nothing behind in the home of whoever runs them.
    os.environ["FUNCTRANS_NATIVE_CACHE"] = "0"
    functrans_config.native_cache = False
    settings.load_profile("full matrix" if config.getoption("markexpr") == "full" else "default run")
