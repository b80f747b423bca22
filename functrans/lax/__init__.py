"""The primitive operations, family by family: one function for each, and functions made of a few of them."""

from __future__ import annotations

from functrans.lax.arithmetic import add as add
from functrans.lax.arithmetic import div as div
from functrans.lax.arithmetic import mul as mul
from functrans.lax.arithmetic import neg as neg
from functrans.lax.arithmetic import positive as positive
from functrans.lax.arithmetic import sub as sub
from functrans.lax.at import at as at
from functrans.lax.casting import bitcast_convert_type as bitcast_convert_type
from functrans.lax.casting import convert_element_type as convert_element_type
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
from functrans.lax.contraction import (
    batch_matmul as batch_matmul,
)
from functrans.lax.contraction import (
    dot as dot,
)
from functrans.lax.contraction import (
    dot_general as dot_general,
)
from functrans.lax.contraction import (
    matmul as matmul,
)
from functrans.lax.contraction import (
    tensordot as tensordot,
)
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
from functrans.lax.dynamic import dynamic_index_in_dim as dynamic_index_in_dim
from functrans.lax.dynamic import dynamic_slice as dynamic_slice
from functrans.lax.dynamic import dynamic_slice_in_dim as dynamic_slice_in_dim
from functrans.lax.dynamic import dynamic_update_index_in_dim as dynamic_update_index_in_dim
from functrans.lax.dynamic import dynamic_update_slice as dynamic_update_slice
from functrans.lax.dynamic import dynamic_update_slice_in_dim as dynamic_update_slice_in_dim
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
from functrans.lax.power import scalar_pow as scalar_pow
from functrans.lax.power import sqrt as sqrt
from functrans.lax.power import square as square
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
from functrans.lax.sorting import argsort as argsort
from functrans.lax.sorting import permute as permute
from functrans.lax.sorting import sort as sort
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
