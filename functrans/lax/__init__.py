"""The primitive operations, family by family: one function for each, and functions made of a few of them."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from functrans.core.primitive import load_with
from functrans.lax.arithmetic import add as add
from functrans.lax.arithmetic import div as div
from functrans.lax.arithmetic import mul as mul
from functrans.lax.arithmetic import neg as neg
from functrans.lax.arithmetic import positive as positive
from functrans.lax.arithmetic import sub as sub
from functrans.lax.at import at as at
from functrans.lax.barrier import optimization_barrier as optimization_barrier
from functrans.lax.casting import bitcast_convert_type as bitcast_convert_type
from functrans.lax.casting import convert_element_type as convert_element_type
from functrans.lax.collectives import all_gather as all_gather
from functrans.lax.collectives import all_to_all as all_to_all
from functrans.lax.collectives import axis_index as axis_index
from functrans.lax.collectives import axis_size as axis_size
from functrans.lax.collectives import pmax as pmax
from functrans.lax.collectives import pmean as pmean
from functrans.lax.collectives import pmin as pmin
from functrans.lax.collectives import ppermute as ppermute
from functrans.lax.collectives import pshuffle as pshuffle
from functrans.lax.collectives import psum as psum
from functrans.lax.collectives import psum_scatter as psum_scatter
from functrans.lax.collectives import pswapaxes as pswapaxes
from functrans.lax.compare import bit_count as bit_count
from functrans.lax.compare import bitwise_and as bitwise_and
from functrans.lax.compare import bitwise_not as bitwise_not
from functrans.lax.compare import bitwise_or as bitwise_or
from functrans.lax.compare import bitwise_xor as bitwise_xor
from functrans.lax.compare import clz as clz
from functrans.lax.compare import eq as eq
from functrans.lax.compare import gcd as gcd
from functrans.lax.compare import ge as ge
from functrans.lax.compare import gt as gt
from functrans.lax.compare import is_finite as is_finite
from functrans.lax.compare import isinf as isinf
from functrans.lax.compare import isnan as isnan
from functrans.lax.compare import lcm as lcm
from functrans.lax.compare import le as le
from functrans.lax.compare import logical_and as logical_and
from functrans.lax.compare import logical_not as logical_not
from functrans.lax.compare import logical_or as logical_or
from functrans.lax.compare import logical_xor as logical_xor
from functrans.lax.compare import lt as lt
from functrans.lax.compare import ne as ne
from functrans.lax.compare import population_count as population_count
from functrans.lax.compare import shift_left as shift_left
from functrans.lax.compare import shift_right_arithmetic as shift_right_arithmetic
from functrans.lax.compare import shift_right_logical as shift_right_logical
from functrans.lax.complex import complex as complex
from functrans.lax.complex import conj as conj
from functrans.lax.complex import imag as imag
from functrans.lax.complex import real as real
from functrans.lax.contraction import DotDimensionNumbers as DotDimensionNumbers
from functrans.lax.contraction import batch_matmul as batch_matmul
from functrans.lax.contraction import dot as dot
from functrans.lax.contraction import dot_general as dot_general
from functrans.lax.contraction import matmul as matmul
from functrans.lax.contraction import tensordot as tensordot
from functrans.lax.control.combining import associative_scan as associative_scan
from functrans.lax.control.combining import reduce_window as reduce_window
from functrans.lax.control.cond import cond as cond
from functrans.lax.control.cond import switch as switch
from functrans.lax.control.loop import fori_loop as fori_loop
from functrans.lax.control.loop import while_loop as while_loop
from functrans.lax.control.mapping import map as map
from functrans.lax.control.platform import platform_dependent as platform_dependent
from functrans.lax.control.scanning import scan as scan
from functrans.lax.control.solving import custom_linear_solve as custom_linear_solve
from functrans.lax.control.solving import custom_root as custom_root
from functrans.lax.convolution import ConvDimensionNumbers as ConvDimensionNumbers
from functrans.lax.convolution import conv as conv
from functrans.lax.convolution import conv_dimension_numbers as conv_dimension_numbers
from functrans.lax.convolution import conv_general_dilated as conv_general_dilated
from functrans.lax.convolution import conv_transpose as conv_transpose
from functrans.lax.convolution import conv_with_general_padding as conv_with_general_padding
from functrans.lax.creation import eye as eye
from functrans.lax.creation import full as full
from functrans.lax.creation import full_like as full_like
from functrans.lax.creation import iota as iota
from functrans.lax.creation import ones as ones
from functrans.lax.creation import ones_like as ones_like
from functrans.lax.creation import tri as tri
from functrans.lax.creation import zeros as zeros
from functrans.lax.creation import zeros_like as zeros_like
from functrans.lax.cumulative import cummax as cummax
from functrans.lax.cumulative import cummin as cummin
from functrans.lax.cumulative import cumprod as cumprod
from functrans.lax.cumulative import cumsum as cumsum
from functrans.lax.cumulative import linear_recurrence as linear_recurrence
from functrans.lax.diagonal import diagonal as diagonal
from functrans.lax.diagonal import embed_diagonal as embed_diagonal
from functrans.lax.dimension_numbers import GatherDimensionNumbers as GatherDimensionNumbers
from functrans.lax.dimension_numbers import GatherScatterMode as GatherScatterMode
from functrans.lax.dimension_numbers import ScatterDimensionNumbers as ScatterDimensionNumbers
from functrans.lax.dimension_numbers import gather as gather
from functrans.lax.dimension_numbers import scatter as scatter
from functrans.lax.dimension_numbers import scatter_add as scatter_add
from functrans.lax.dimension_numbers import scatter_apply as scatter_apply
from functrans.lax.dimension_numbers import scatter_max as scatter_max
from functrans.lax.dimension_numbers import scatter_min as scatter_min
from functrans.lax.dimension_numbers import scatter_mul as scatter_mul
from functrans.lax.dimension_numbers import scatter_sub as scatter_sub
from functrans.lax.dynamic import dynamic_index_in_dim as dynamic_index_in_dim
from functrans.lax.dynamic import dynamic_slice as dynamic_slice
from functrans.lax.dynamic import dynamic_slice_in_dim as dynamic_slice_in_dim
from functrans.lax.dynamic import dynamic_update_index_in_dim as dynamic_update_index_in_dim
from functrans.lax.dynamic import dynamic_update_slice as dynamic_update_slice
from functrans.lax.dynamic import dynamic_update_slice_in_dim as dynamic_update_slice_in_dim
from functrans.lax.einsum import einsum as einsum
from functrans.lax.error_functions import erf as erf
from functrans.lax.error_functions import erfc as erfc
from functrans.lax.exponential import exp as exp
from functrans.lax.exponential import exp2 as exp2
from functrans.lax.exponential import expm1 as expm1
from functrans.lax.exponential import log as log
from functrans.lax.exponential import log1p as log1p
from functrans.lax.exponential import log2 as log2
from functrans.lax.exponential import log10 as log10
from functrans.lax.exponential import logaddexp as logaddexp
from functrans.lax.exponential import logaddexp2 as logaddexp2
from functrans.lax.exponential import logistic as logistic
from functrans.lax.exponential_sums import cumlogsumexp as cumlogsumexp
from functrans.lax.exponential_sums import logsumexp as logsumexp
from functrans.lax.magnitude import abs as abs
from functrans.lax.magnitude import clamp as clamp
from functrans.lax.magnitude import copysign as copysign
from functrans.lax.magnitude import fmax as fmax
from functrans.lax.magnitude import fmin as fmin
from functrans.lax.magnitude import max as max
from functrans.lax.magnitude import min as min
from functrans.lax.magnitude import sign as sign
from functrans.lax.movement import broadcast as broadcast
from functrans.lax.movement import broadcast_in_dim as broadcast_in_dim
from functrans.lax.movement import broadcast_to as broadcast_to
from functrans.lax.movement import copy as copy
from functrans.lax.movement import expand_dims as expand_dims
from functrans.lax.movement import reshape as reshape
from functrans.lax.movement import rev as rev
from functrans.lax.movement import squeeze as squeeze
from functrans.lax.movement import tile as tile
from functrans.lax.movement import transpose as transpose
from functrans.lax.power import cbrt as cbrt
from functrans.lax.power import integer_pow as integer_pow
from functrans.lax.power import pow as pow
from functrans.lax.power import reciprocal as reciprocal
from functrans.lax.power import rsqrt as rsqrt
from functrans.lax.power import safe_sqrt as safe_sqrt
from functrans.lax.power import scalar_pow as scalar_pow
from functrans.lax.power import sqrt as sqrt
from functrans.lax.power import square as square
from functrans.lax.precision import Precision as Precision
from functrans.lax.precision import PrecisionLike as PrecisionLike
from functrans.lax.ranges import arange as arange
from functrans.lax.ranges import linspace as linspace
from functrans.lax.reduction import argmax as argmax
from functrans.lax.reduction import argmin as argmin
from functrans.lax.reduction import reduce_all as reduce_all
from functrans.lax.reduction import reduce_any as reduce_any
from functrans.lax.reduction import reduce_max as reduce_max
from functrans.lax.reduction import reduce_min as reduce_min
from functrans.lax.reduction import reduce_prod as reduce_prod
from functrans.lax.reduction import reduce_sum as reduce_sum
from functrans.lax.rounding import RoundingMethod as RoundingMethod
from functrans.lax.rounding import ceil as ceil
from functrans.lax.rounding import floor as floor
from functrans.lax.rounding import floor_divide as floor_divide
from functrans.lax.rounding import frexp as frexp
from functrans.lax.rounding import ldexp as ldexp
from functrans.lax.rounding import modf as modf
from functrans.lax.rounding import nextafter as nextafter
from functrans.lax.rounding import rem as rem
from functrans.lax.rounding import remainder as remainder
from functrans.lax.rounding import rint as rint
from functrans.lax.rounding import round as round
from functrans.lax.rounding import signbit as signbit
from functrans.lax.rounding import spacing as spacing
from functrans.lax.rounding import trunc as trunc
from functrans.lax.selection import select as select
from functrans.lax.selection import select_n as select_n
from functrans.lax.selection import stop_gradient as stop_gradient
from functrans.lax.selection import where as where
from functrans.lax.slicing import concatenate as concatenate
from functrans.lax.slicing import pad as pad
from functrans.lax.slicing import roll as roll
from functrans.lax.slicing import slice as slice
from functrans.lax.slicing import slice_in_dim as slice_in_dim
from functrans.lax.slicing import split as split
from functrans.lax.sorting import argpartition as argpartition
from functrans.lax.sorting import argsort as argsort
from functrans.lax.sorting import partition as partition
from functrans.lax.sorting import permute as permute
from functrans.lax.sorting import sort as sort
from functrans.lax.stacking import stack as stack
from functrans.lax.subscript import index as index
from functrans.lax.taking import nonzero as nonzero
from functrans.lax.taking import one_hot as one_hot
from functrans.lax.taking import put_along_axis as put_along_axis
from functrans.lax.taking import searchsorted as searchsorted
from functrans.lax.taking import take as take
from functrans.lax.taking import take_along_axis as take_along_axis
from functrans.lax.trigonometric import acos as acos
from functrans.lax.trigonometric import acosh as acosh
from functrans.lax.trigonometric import angle as angle
from functrans.lax.trigonometric import asin as asin
from functrans.lax.trigonometric import asinh as asinh
from functrans.lax.trigonometric import atan as atan
from functrans.lax.trigonometric import atan2 as atan2
from functrans.lax.trigonometric import atanh as atanh
from functrans.lax.trigonometric import cos as cos
from functrans.lax.trigonometric import cosh as cosh
from functrans.lax.trigonometric import hypot as hypot
from functrans.lax.trigonometric import sin as sin
from functrans.lax.trigonometric import sinc as sinc
from functrans.lax.trigonometric import sinh as sinh
from functrans.lax.trigonometric import tan as tan
from functrans.lax.trigonometric import tanh as tanh
from functrans.lax.utilities import broadcast_shapes as broadcast_shapes
from functrans.lax.utilities import broadcast_to_rank as broadcast_to_rank
from functrans.lax.utilities import broadcasted_iota as broadcasted_iota
from functrans.lax.utilities import collapse as collapse
from functrans.lax.utilities import dtype as dtype
from functrans.lax.utilities import index_in_dim as index_in_dim
from functrans.lax.utilities import index_take as index_take
from functrans.lax.utilities import shape_as_value as shape_as_value
from functrans.lax.utilities import sort_key_val as sort_key_val
from functrans.lax.utilities import top_k as top_k
from functrans.lax.utilities import unstack as unstack
from functrans.lax.windows import reduce_window_max as reduce_window_max
from functrans.lax.windows import reduce_window_min as reduce_window_min
from functrans.lax.windows import reduce_window_sum as reduce_window_sum
from functrans.lax.windows import select_and_gather_add as select_and_gather_add
from functrans.lax.windows import select_and_scatter_add as select_and_scatter_add

if TYPE_CHECKING:
    from functrans.lax import linalg as linalg
    from functrans.lax.bits import mulhi as mulhi
    from functrans.lax.bits import reduce_precision as reduce_precision
    from functrans.lax.filters import recursive_filter as recursive_filter
    from functrans.lax.folding import reduce as reduce
    from functrans.lax.folding import reduce_and as reduce_and
    from functrans.lax.folding import reduce_or as reduce_or
    from functrans.lax.folding import reduce_xor as reduce_xor
    from functrans.lax.fourier import FftType as FftType
    from functrans.lax.fourier import fft as fft
    from functrans.lax.patches import ConvGeneralDilatedDimensionNumbers as ConvGeneralDilatedDimensionNumbers
    from functrans.lax.patches import conv_general_dilated_local as conv_general_dilated_local
    from functrans.lax.patches import conv_general_dilated_patches as conv_general_dilated_patches
    from functrans.lax.patches import conv_general_permutations as conv_general_permutations
    from functrans.lax.patches import conv_general_shape_tuple as conv_general_shape_tuple
    from functrans.lax.patches import conv_shape_tuple as conv_shape_tuple
    from functrans.lax.patches import conv_transpose_shape_tuple as conv_transpose_shape_tuple
    from functrans.lax.patches import reduce_window_shape_tuple as reduce_window_shape_tuple
    from functrans.lax.ragged import RaggedDotDimensionNumbers as RaggedDotDimensionNumbers
    from functrans.lax.ragged import ragged_dot as ragged_dot
    from functrans.lax.ragged import ragged_dot_general as ragged_dot_general
    from functrans.lax.special.bessel import bessel_i0e as bessel_i0e
    from functrans.lax.special.bessel import bessel_i1e as bessel_i1e
    from functrans.lax.special.gamma import digamma as digamma
    from functrans.lax.special.gamma import lgamma as lgamma
    from functrans.lax.special.gamma import polygamma as polygamma
    from functrans.lax.special.gamma import zeta as zeta
    from functrans.lax.special.incomplete_beta import betainc as betainc
    from functrans.lax.special.incomplete_gamma import igamma as igamma
    from functrans.lax.special.incomplete_gamma import igamma_grad_a as igamma_grad_a
    from functrans.lax.special.incomplete_gamma import igammac as igammac
    from functrans.lax.special.incomplete_gamma import random_gamma_grad as random_gamma_grad
    from functrans.lax.special.normal import erf_inv as erf_inv

# Families of many primitives that most programs never meet are loaded at first use.
_LAZY = {
    "functrans.lax.bits": "mulhi reduce_precision",
    "functrans.lax.folding": "reduce reduce_and reduce_or reduce_xor",
    "functrans.lax.patches": (
        "ConvGeneralDilatedDimensionNumbers conv_general_dilated_local conv_general_dilated_patches "
        "conv_general_permutations conv_general_shape_tuple conv_shape_tuple conv_transpose_shape_tuple "
        "reduce_window_shape_tuple"
    ),
    "functrans.lax.ragged": "RaggedDotDimensionNumbers ragged_dot ragged_dot_general",
    "functrans.lax.filters": "recursive_filter",
    "functrans.lax.fourier": "FftType fft",
    "functrans.lax.special.bessel": "bessel_i0e bessel_i1e",
    "functrans.lax.special.gamma": "digamma lgamma polygamma zeta",
    "functrans.lax.special.incomplete_beta": "betainc",
    "functrans.lax.special.incomplete_gamma": "igamma igamma_grad_a igammac random_gamma_grad",
    "functrans.lax.special.normal": "erf_inv",
}
_HOME = {name: module for module, names in _LAZY.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name == "linalg":
        return importlib.import_module("functrans.lax.linalg")
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module 'functrans.lax' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "linalg"})


@load_with
def _load_all() -> None:
    """Load the families that are not loaded yet, for whoever wants every primitive."""
    for name in (*_LAZY, "functrans.lax.linalg", "functrans.lax.special"):
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
            importlib.import_module(f"{name}.{module.name}")
