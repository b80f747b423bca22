"""Initial values of weights: functions of a key, a shape and a dtype.

``zeros`` and ``ones`` are such functions; every other name here makes one. A key gives the values that it gives in
other array libraries with these initializers.

>>> import functrans as ft
>>> init = ft.nn.initializers.he_normal()
>>> init(ft.random.key(0), (3, 2)).shape
(3, 2)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from functrans import errors, random
from functrans import numpy as fnp
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.lax.at import at
from functrans.lax.static import normalize_axes, normalize_axis, normalize_shape

Axes = int | Sequence[int]
Mode = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
Distribution = Literal["truncated_normal", "normal", "uniform"]


@runtime_checkable
class Initializer(Protocol):
    """What every initializer is: a function of a key, a shape and a dtype, float64 if None, that gives an array.

    >>> import functrans as ft
    >>> isinstance(ft.nn.initializers.zeros, ft.nn.initializers.Initializer)
    True
    """

    def __call__(self, key: Any, shape: Sequence[int], dtype: Any = None) -> Any: ...


def _inexact(name: str, dtype: Any) -> dtypes.DType:
    result = dtypes.canonical(np.dtype(np.float64 if dtype is None else dtype))
    if not dtypes.is_inexact(result):
        raise errors.DTypeError(f"nn.initializers.{name}: dtype must be a float or complex dtype, got {result}")
    return result


def _any_dtype(dtype: Any) -> dtypes.DType:
    return dtypes.canonical(np.dtype(np.float64 if dtype is None else dtype))


def zeros(key: Any, shape: Sequence[int], dtype: Any = None) -> Any:
    """Zeros, whatever the key.

    >>> import functrans as ft
    >>> ft.nn.initializers.zeros(ft.random.key(0), (2,))
    array([0., 0.])
    """
    return fnp.zeros(normalize_shape("nn.initializers.zeros", shape), _any_dtype(dtype))


def ones(key: Any, shape: Sequence[int], dtype: Any = None) -> Any:
    """Ones, whatever the key.

    >>> import functrans as ft
    >>> ft.nn.initializers.ones(ft.random.key(0), (2,))
    array([1., 1.])
    """
    return fnp.ones(normalize_shape("nn.initializers.ones", shape), _any_dtype(dtype))


def constant(value: Any, dtype: Any = None) -> Initializer:
    """An initializer that repeats a number, or an array that broadcasts to the shape.

    Args:
        value: the number.
        dtype: the dtype of the result where the call gives none.

    >>> import functrans as ft
    >>> ft.nn.initializers.constant(0.5)(ft.random.key(0), (2,))
    array([0.5, 0.5])
    """
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = default) -> Any:
        return fnp.full(normalize_shape("nn.initializers.constant", shape), value, _any_dtype(dtype))

    return init


def uniform(scale: Any = 0.01, dtype: Any = None) -> Initializer:
    """An initializer with numbers spread evenly over ``[0, scale)``.

    Args:
        scale: the upper end.
        dtype: the dtype of the result where the call gives none.

    >>> import functrans as ft
    >>> ft.nn.initializers.uniform(2.0)(ft.random.key(0), (2,))
    array([0.83691422, 0.43259091])
    """
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = default) -> Any:
        target = _inexact("uniform", dtype)
        return random.uniform(key, shape, target) * convert(scale, target)

    return init


def normal(stddev: Any = 0.01, dtype: Any = None) -> Initializer:
    """An initializer with normal numbers of mean 0.

    Args:
        stddev: their standard deviation.
        dtype: the dtype of the result where the call gives none.

    >>> import functrans as ft
    >>> ft.nn.initializers.normal(2.0)(ft.random.key(0), (2,))
    array([-0.41168428, -1.56953155])
    """
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = default) -> Any:
        target = _inexact("normal", dtype)
        return random.normal(key, shape, target) * convert(stddev, target)

    return init


def truncated_normal(stddev: Any = 0.01, dtype: Any = None, lower: Any = -2.0, upper: Any = 2.0) -> Initializer:
    """An initializer with normal numbers of mean 0, on the condition that they lie between two bounds.

    Args:
        stddev: the standard deviation that they would have without bounds.
        dtype: the dtype of the result where the call gives none.
        lower, upper: the bounds, in units of ``stddev``.

    >>> import functrans as ft
    >>> ft.nn.initializers.truncated_normal(2.0)(ft.random.key(0), (2,))
    array([-0.39270398, -1.48294113])
    """
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = default) -> Any:
        target = _inexact("truncated_normal", dtype)
        extents = normalize_shape("nn.initializers.truncated_normal", shape)
        return random.truncated_normal(key, lower, upper, extents, target) * convert(stddev, target)

    return init


# -- by the number of inputs and outputs of a layer -----------------------------------------------------------------

_DEVIATION = 0.8796256610342398
"""The standard deviation of normal numbers that are cut off at twice theirs."""
_COMPLEX_DEVIATION = 0.9531116438049121
"""The same of complex numbers whose absolute value is cut off at 2: ``sqrt((1 - 5 exp(-4)) / (1 - exp(-4)))``."""


def _extent(name: str, shape: tuple[Any, ...], axes: Axes, argument: str) -> int:
    return math.prod(shape[a] for a in normalize_axes(f"nn.initializers.{name}", axes, len(shape), argument))


def _fans(shape: tuple[Any, ...], in_axis: Axes, out_axis: Axes, batch_axis: Axes) -> tuple[float, float]:
    """The numbers of inputs of an output and of outputs of an input."""
    name = "variance_scaling"
    if len(shape) <= 1 and isinstance(in_axis, int) and in_axis == -2:
        raise errors.ShapeError(
            f"nn.initializers.{name}: weights of shape {shape} have no axis of inputs at -2. Give in_axis and out_axis "
            f"for weights of fewer than two axes"
        )
    inputs, outputs = _extent(name, shape, in_axis, "in_axis"), _extent(name, shape, out_axis, "out_axis")
    batch = _extent(name, shape, batch_axis, "batch_axis")
    if math.prod(shape) == 0:
        return 1.0, 1.0
    field = math.prod(shape) / inputs / outputs / batch
    return inputs * field, outputs * field


def variance_scaling(
    scale: Any,
    mode: Mode,
    distribution: Distribution,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
) -> Initializer:
    """An initializer with numbers of mean 0 and of the variance ``scale / n``, where ``n`` belongs to the layer.

    Args:
        scale: a positive number.
        mode: what ``n`` is: ``"fan_in"``, the number of inputs that an output depends on; ``"fan_out"``, the number of
            outputs that an input counts for; their mean (``"fan_avg"``) or geometric mean (``"fan_geo_avg"``).
        distribution: ``"truncated_normal"``, cut off at twice the deviation that the normal distribution had;
            ``"normal"``; or ``"uniform"``. Complex numbers have an absolute value in a disk.
        in_axis, out_axis: the axis, or the axes, of inputs and of outputs. The others are those of a receptive field.
        batch_axis: axes along which the weights are those of other layers.
        dtype: the dtype of the result where the call gives none.

    Raises:
        ArgumentError: another mode or distribution.
        ShapeError: when called with a shape that has no such axes.

    >>> import functrans as ft
    >>> init = ft.nn.initializers.variance_scaling(1.0, "fan_in", "uniform")
    >>> init(ft.random.key(0), (4, 1)).shape
    (4, 1)
    """
    where = "nn.initializers.variance_scaling"
    if mode not in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg"):
        raise errors.ArgumentError(f"{where}: mode must be fan_in, fan_out, fan_avg or fan_geo_avg, got {mode!r}")
    if distribution not in ("truncated_normal", "normal", "uniform"):
        raise errors.ArgumentError(
            f"{where}: distribution must be truncated_normal, normal or uniform, got {distribution!r}"
        )
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = default) -> Any:
        target = _inexact("variance_scaling", dtype)
        extents = normalize_shape(where, shape)
        fan_in, fan_out = _fans(extents, in_axis, out_axis, batch_axis)
        n = {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
            "fan_geo_avg": (fan_in * fan_out) ** 0.5,
        }[mode]
        variance = convert(scale / n, target)
        if distribution == "normal":
            return random.normal(key, extents, target) * fnp.sqrt(variance)
        if distribution == "truncated_normal":
            if target.kind == "c":
                deviation = fnp.sqrt(variance) / target.type(_COMPLEX_DEVIATION)
                return _in_disk(key, extents, target, 2.0) * deviation
            deviation = fnp.sqrt(variance) / target.type(_DEVIATION)
            return random.truncated_normal(key, -2.0, 2.0, extents, target) * deviation
        if target.kind == "c":
            return _in_disk(key, extents, target, None) * fnp.sqrt(variance)
        return random.uniform(key, extents, target, -1.0) * fnp.sqrt(target.type(3) * variance)

    return init


def _in_disk(key: Any, shape: tuple[Any, ...], dtype: dtypes.DType, cut: float | None) -> Any:
    """Complex numbers of variance 1: even over a disk, or normal and cut off at an absolute value."""
    first, second = random.split(key)
    part = dtypes.real_dtype(dtype)
    u = random.uniform(first, shape, part)
    if cut is None:
        size = fnp.sqrt(part.type(2) * u)
    else:
        size = fnp.sqrt(-fnp.log(part.type(1) - part.type(1 - math.exp(-(cut**2))) * u))
    angle = part.type(2 * math.pi) * random.uniform(second, shape, part)
    return convert(size, dtype) * fnp.exp(dtype.type(1j) * convert(angle, dtype))


def glorot_uniform(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> Initializer:
    """Uniform numbers of variance ``1 / mean(fan_in, fan_out)`` (X. Glorot, Y. Bengio, 2010): see ``variance_scaling``.

    >>> import functrans as ft
    >>> ft.nn.initializers.glorot_uniform()(ft.random.key(0), (3, 2)).shape
    (3, 2)
    """
    return variance_scaling(1.0, "fan_avg", "uniform", in_axis, out_axis, batch_axis, dtype)


def glorot_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> Initializer:
    """Truncated normal numbers of variance ``1 / mean(fan_in, fan_out)``: see ``variance_scaling``.

    >>> import functrans as ft
    >>> ft.nn.initializers.glorot_normal()(ft.random.key(0), (3, 2)).shape
    (3, 2)
    """
    return variance_scaling(1.0, "fan_avg", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def lecun_uniform(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> Initializer:
    """Uniform numbers of variance ``1 / fan_in`` (Y. LeCun et al., 1998): see ``variance_scaling``.

    >>> import functrans as ft
    >>> ft.nn.initializers.lecun_uniform()(ft.random.key(0), (3, 2)).shape
    (3, 2)
    """
    return variance_scaling(1.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def lecun_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> Initializer:
    """Truncated normal numbers of variance ``1 / fan_in``: see ``variance_scaling``.

    >>> import functrans as ft
    >>> ft.nn.initializers.lecun_normal()(ft.random.key(0), (3, 2)).shape
    (3, 2)
    """
    return variance_scaling(1.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def he_uniform(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> Initializer:
    """Uniform numbers of variance ``2 / fan_in``, for ReLU layers (K. He et al., 2015): see ``variance_scaling``.

    >>> import functrans as ft
    >>> ft.nn.initializers.he_uniform()(ft.random.key(0), (3, 2)).shape
    (3, 2)
    """
    return variance_scaling(2.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def he_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> Initializer:
    """Truncated normal numbers of variance ``2 / fan_in``, for ReLU layers: see ``variance_scaling``.

    >>> import functrans as ft
    >>> ft.nn.initializers.he_normal()(ft.random.key(0), (3, 2)).shape
    (3, 2)
    """
    return variance_scaling(2.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


xavier_uniform = glorot_uniform
xavier_normal = glorot_normal
kaiming_uniform = he_uniform
kaiming_normal = he_normal

# -- orthogonal matrices --------------------------------------------------------------------------------------------


def orthogonal(scale: Any = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """An initializer with orthonormal columns, or rows where these are fewer (A. Saxe et al., 2013).

    Args:
        scale: a factor.
        column_axis: the axis that enumerates the columns; the others together are those of the rows.
        dtype: the dtype of the result where the call gives none.

    Raises:
        ShapeError: when called with a shape of fewer than two axes.

    >>> import numpy as np, functrans as ft
    >>> w = ft.nn.initializers.orthogonal()(ft.random.key(0), (4, 2))
    >>> np.allclose(w.T @ w, np.eye(2))
    True
    """
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = default) -> Any:
        where = "nn.initializers.orthogonal"
        target = _inexact("orthogonal", dtype)
        extents = normalize_shape(where, shape)
        if len(extents) < 2:
            raise errors.ShapeError(f"{where}: a shape of two axes or more is needed, got {extents}")
        if 0 in extents:
            return fnp.zeros(extents, target)
        axis = normalize_axis(where, operator.index(column_axis), len(extents), "column_axis")
        others = extents[:axis] + extents[axis + 1 :]
        q = random.orthogonal(key, math.prod(others), (), target, extents[axis])
        return convert(scale, target) * fnp.moveaxis(q.reshape((*others, extents[axis])), -1, axis)

    return init


def delta_orthogonal(scale: Any = 1.0, column_axis: int = -1, dtype: Any = None) -> Initializer:
    """An initializer for convolutions: an orthogonal matrix at the middle of the kernel, zeros around it.

    After L. Xiao et al.: "Dynamical isometry and a mean field theory of CNNs", 2018.

    Args:
        scale: a factor.
        column_axis: as in ``orthogonal``, of the matrix of the last two axes.
        dtype: the dtype of the result where the call gives none.

    Raises:
        ShapeError: when called with a shape of other than 3, 4 or 5 axes, or with more inputs than outputs.

    >>> import functrans as ft
    >>> w = ft.nn.initializers.delta_orthogonal()(ft.random.key(0), (3, 1, 1))
    >>> abs(w.ravel())
    array([0., 1., 0.])
    """
    default = dtype

    def init(key: Any, shape: Sequence[int], dtype: Any = default) -> Any:
        where = "nn.initializers.delta_orthogonal"
        target = _inexact("delta_orthogonal", dtype)
        extents = normalize_shape(where, shape)
        if len(extents) not in (3, 4, 5):
            raise errors.ShapeError(f"{where}: a shape of 3, 4 or 5 axes is needed, got {extents}")
        if extents[-1] < extents[-2]:
            raise errors.ShapeError(
                f"{where}: there are more inputs (axis -2) than outputs (axis -1) in the shape {extents}"
            )
        matrix = orthogonal(scale, column_axis, target)(key, extents[-2:])
        middle = tuple((n - 1) // 2 for n in extents[:-2])
        return at(fnp.zeros(extents, target))[middle].set(matrix)

    return init
