"""functrans: composable transformations of pure functions on plain NumPy arrays.

``grad``, ``vjp``, ``jvp``, ``vmap`` and ``jit`` compose in any order and to any depth. ``functrans.numpy`` is a
NumPy-compatible namespace, and functions written with ``import numpy as np`` are traced too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from functrans import errors as errors
from functrans import lax as lax
from functrans import numpy as numpy
from functrans import tree as tree
from functrans import tree_util as tree_util
from functrans.absent import absent as _absent
from functrans.api.boundary import clear_caches as clear_caches
from functrans.api.callback import effects_barrier as effects_barrier
from functrans.api.callback import io_callback as io_callback
from functrans.api.callback import pure_callback as pure_callback
from functrans.api.checkpoint import checkpoint as checkpoint
from functrans.api.checkpoint import checkpoint_policies as checkpoint_policies
from functrans.api.checkpoint import remat as remat
from functrans.api.custom import custom_gradient as custom_gradient
from functrans.api.custom import custom_jvp as custom_jvp
from functrans.api.custom import custom_vjp as custom_vjp
from functrans.api.debugging import check_tracer_leaks as check_tracer_leaks
from functrans.api.debugging import checking_leaks as checking_leaks
from functrans.api.debugging import debug_infs as debug_infs
from functrans.api.debugging import debug_key_reuse as debug_key_reuse
from functrans.api.debugging import debug_nans as debug_nans
from functrans.api.debugging import default_prng_impl as default_prng_impl
from functrans.api.debugging import disable_jit as disable_jit
from functrans.api.debugging import enable_checks as enable_checks
from functrans.api.debugging import enable_custom_prng as enable_custom_prng
from functrans.api.debugging import ensure_compile_time_eval as ensure_compile_time_eval
from functrans.api.debugging import explain_cache_misses as explain_cache_misses
from functrans.api.debugging import log_compiles as log_compiles
from functrans.api.debugging import named_call as named_call
from functrans.api.devices import block_until_ready as block_until_ready
from functrans.api.devices import default_backend as default_backend
from functrans.api.devices import device_count as device_count
from functrans.api.devices import device_get as device_get
from functrans.api.devices import device_put as device_put
from functrans.api.devices import devices as devices
from functrans.api.devices import local_device_count as local_device_count
from functrans.api.devices import local_devices as local_devices
from functrans.api.grad import elementwise_grad as elementwise_grad
from functrans.api.grad import grad as grad
from functrans.api.grad import value_and_grad as value_and_grad
from functrans.api.jacobian import hessian as hessian
from functrans.api.jacobian import hvp as hvp
from functrans.api.jacobian import jacfwd as jacfwd
from functrans.api.jacobian import jacobian as jacobian
from functrans.api.jacobian import jacrev as jacrev
from functrans.api.jit import jit as jit
from functrans.api.linear import jvp as jvp
from functrans.api.linear import linear_transpose as linear_transpose
from functrans.api.linear import linearize as linearize
from functrans.api.linear import vjp as vjp
from functrans.api.safe_where import safe_where as safe_where
from functrans.api.staging import ShapeDtypeStruct as ShapeDtypeStruct
from functrans.api.staging import closure_convert as closure_convert
from functrans.api.staging import eval_shape as eval_shape
from functrans.api.staging import make_jaxpr as make_jaxpr
from functrans.api.staging import typeof as typeof
from functrans.api.vmap import vmap as vmap
from functrans.config import config as config
from functrans.core.dtypes import float0 as float0
from functrans.core.trace import named_scope as named_scope
from functrans.lax.control.cond import cond as cond
from functrans.lax.control.cond import switch as switch
from functrans.lax.control.loop import fori_loop as fori_loop
from functrans.lax.control.loop import while_loop as while_loop
from functrans.lax.control.scanning import scan as scan
from functrans.lax.selection import stop_gradient as stop_gradient
from functrans.numpy.code import numpy_code as numpy_code
from functrans.scipy import foreign as _foreign  # noqa: F401 - for ufuncs of SciPy that meet a traced value

if TYPE_CHECKING:
    from functrans import ad_checkpoint as ad_checkpoint
    from functrans import custom_batching as custom_batching
    from functrans import custom_derivatives as custom_derivatives
    from functrans import debug as debug
    from functrans import dlpack as dlpack
    from functrans import export as export
    from functrans import extend as extend
    from functrans import flatten_util as flatten_util
    from functrans import image as image
    from functrans import nn as nn
    from functrans import ode as ode
    from functrans import ops as ops
    from functrans import random as random
    from functrans import scipy as scipy
    from functrans import solvers as solvers
    from functrans import test_util as test_util
    from functrans.api.custom_batching import custom_vmap as custom_vmap
    from functrans.api.jet import jet as jet
    from functrans.profiling import profile as profile
    from functrans.visualization import visualize as visualize

__version__ = "0.1.0"

_LAZY = (
    "ad_checkpoint", "custom_batching", "custom_derivatives", "debug", "dlpack", "export", "extend", "flatten_util",
    "image", "nn", "ode", "ops", "random", "scipy", "solvers", "test_util",
)  # fmt: skip


_LAZY_FUNCTIONS = {
    "custom_vmap": "functrans.api.custom_batching",
    "jet": "functrans.api.jet",
    "profile": "functrans.profiling",
    "visualize": "functrans.visualization",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"functrans.{name}")
    if name in _LAZY_FUNCTIONS:
        return getattr(importlib.import_module(_LAZY_FUNCTIONS[name]), name)
    raise _absent("functrans", name)
