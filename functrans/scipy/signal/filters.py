"""Linear filters of signals given by their coefficients, recursive ones included."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from functrans import errors, lax
from functrans import numpy as fnp
from functrans.core import dtypes
from functrans.core.structural import convert
from functrans.core.trace import aval_of
from functrans.lax.filters import recursive_filter
from functrans.lax.static import normalize_axis
from functrans.numpy.arguments import concrete, known
from functrans.numpy.dispatch import operand
from functrans.scipy.library import implements
from functrans.scipy.signal.spectral import extended

_scipy = implements("scipy.signal")

# -- filters given by coefficients ---------------------------------------------------------------------------------


def _common(name: str, *xs: Any) -> list[Any]:
    """Operands in their common floating dtype."""
    xs = tuple(operand(x, name) for x in xs)
    dtype = dtypes.result_type(*[aval_of(x).dtype for x in xs])
    if dtype.char not in "fdFD":
        dtype = np.dtype(np.float32) if dtype == np.float16 else dtypes.result_type(dtype, np.dtype(np.float64))
    return [convert(x, dtype) for x in xs]


def _vector(name: str, argument: str, x: Any) -> Any:
    x = operand(x, name)
    x = fnp.reshape(x, (1,)) if not aval_of(x).ndim else x
    if aval_of(x).ndim != 1 or not aval_of(x).size:
        raise errors.ShapeError(f"{name}: {argument} must be a vector of coefficients, got {aval_of(x)}")
    return x


def _causal(b: Any, x: Any) -> Any:
    """The sums of ``b[k] * x[n - k]`` along the last axis."""
    shape, taps = aval_of(x).shape, aval_of(b).shape[0]
    if 0 in shape:
        return x
    image = lax.reshape(x, (-1, 1, shape[-1]))
    kernel = lax.reshape(lax.rev(b, 0), (1, 1, taps))
    return lax.reshape(lax.conv_general_dilated(image, kernel, (1,), [(taps - 1, 0)]), shape)


def _filtered(b: Any, a: Any, x: Any, zi: Any = None) -> tuple[Any, Any]:
    """The filtered last axis and, with a state before, the one after. ``a[0]`` is 1."""
    order = max(aval_of(a).shape[0], aval_of(b).shape[0]) - 1
    n = aval_of(x).shape[-1]
    u = _causal(b, x)
    lead = [(0, 0)] * (aval_of(x).ndim - 1)
    if zi is not None:
        # The state holds what was already added up for the next outputs.
        u = u + (fnp.pad(zi, [*lead, (0, n - order)]) if n >= order else zi[..., :n])
    y = recursive_filter(a[1:], u)
    if zi is None:
        return y, None
    past_x, past_y = (fnp.pad(s, [*lead, (order, 0)])[..., n:] for s in (x, y))
    state = fnp.pad(zi[..., n:], [*lead, (0, min(n, order))])
    rows = []
    for i in range(order):
        total = state[..., i]
        for taps, past, sign in ((b, past_x, 1.0), (a, past_y, -1.0)):
            for k in range(i + 1, aval_of(taps).shape[0]):
                total = total + sign * taps[k] * past[..., order + i - k]
        rows.append(total)
    return y, fnp.stack(rows, -1) if rows else state


@_scipy
def lfilter(b: Any, a: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """A signal through a linear filter with numerator ``b`` and denominator ``a``; see ``scipy.signal.lfilter``.

    It is differentiable in the coefficients, the signal and the state ``zi``.

    >>> import numpy as np, functrans as ft
    >>> step = np.ones(4)
    >>> ft.jacobian(lambda pole: lfilter([1.0], [1.0, -pole], step)[1:])(0.5)
    array([1.  , 2.  , 2.75])
    """
    b, a = _vector("lfilter", "b", b), _vector("lfilter", "a", a)
    given = [b, a, x] if zi is None else [b, a, x, zi]
    b, a, x, *rest = _common("lfilter", *given)
    b, a = b / a[0], a / a[0]
    d = normalize_axis("lfilter", axis, aval_of(x).ndim)
    x = fnp.moveaxis(x, d, -1)
    state = None
    if rest:
        order = max(aval_of(a).shape[0], aval_of(b).shape[0]) - 1
        shape = (*aval_of(x).shape[:-1], order)
        moved = fnp.moveaxis(rest[0], d, -1) if aval_of(rest[0]).ndim == aval_of(x).ndim else rest[0]
        if aval_of(moved).ndim != aval_of(x).ndim or aval_of(moved).shape[-1] != order:
            raise errors.ShapeError(f"lfilter: zi must have {order} entries along axis {axis}, got {aval_of(rest[0])}")
        state = fnp.broadcast_to(moved, shape)
    y, final = _filtered(b, a, x, state)
    y = fnp.moveaxis(y, -1, d)
    return y if zi is None else (y, fnp.moveaxis(final, -1, d))


@_scipy
def lfilter_zi(b: Any, a: Any) -> Any:
    """The state of ``lfilter`` in which a step goes on as it is; see ``scipy.signal.lfilter_zi``."""
    b, a = _common("lfilter_zi", _vector("lfilter_zi", "b", b), _vector("lfilter_zi", "a", a))
    size = max(aval_of(a).shape[0], aval_of(b).shape[0])
    b, a = (fnp.pad(v / a[0], (0, size - aval_of(v).shape[0])) for v in (b, a))
    # In a steady state each entry is the next one plus what a unit input and the output, whose gain is that at
    # frequency zero, put in.
    put_in = b[1:] - a[1:] * (fnp.sum(b) / fnp.sum(a))
    return lax.cumsum(put_in, 0, reverse=True)


def _sections(name: str, sos: Any) -> Any:
    sos = operand(sos, name)
    if aval_of(sos).ndim != 2 or aval_of(sos).shape[1] != 6:
        raise errors.ShapeError(f"{name}: sos must have shape (sections, 6), got {aval_of(sos)}")
    value = concrete(sos)
    if value is None:
        return sos / sos[:, 3:4]
    if not np.all(value[:, 3] == 1):
        raise errors.ArgumentError(f"{name}: sos[:, 3] must be ones; divide each section by it")
    return sos


@_scipy
def sosfilt(sos: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """A signal through second-order sections, one after the other; see ``scipy.signal.sosfilt``."""
    sos = _sections("sosfilt", sos)
    sos, x, *rest = _common("sosfilt", *([sos, x] if zi is None else [sos, x, zi]))
    d = normalize_axis("sosfilt", axis, aval_of(x).ndim)
    y = fnp.moveaxis(x, d, -1)
    count = aval_of(sos).shape[0]
    if rest:
        wanted = list(aval_of(x).shape)
        wanted[d] = 2
        if aval_of(rest[0]).shape != (count, *wanted):
            raise errors.ShapeError(f"sosfilt: zi must have shape {(count, *wanted)}, got {aval_of(rest[0])}")
        states = fnp.moveaxis(rest[0], d + 1, -1)
    finals = []
    for i in range(count):
        y, final = _filtered(sos[i, :3], sos[i, 3:], y, states[i] if rest else None)
        finals.append(final)
    y = fnp.moveaxis(y, -1, d)
    return (y, fnp.moveaxis(fnp.stack(finals), -1, d + 1)) if rest else y


@_scipy
def sosfilt_zi(sos: Any) -> Any:
    """The states of ``sosfilt`` in which a step goes on as it is; see ``scipy.signal.sosfilt_zi``."""
    (sos,) = _common("sosfilt_zi", _sections("sosfilt_zi", sos))
    gain: Any = 1.0
    rows = []
    for i in range(aval_of(sos).shape[0]):
        b, a = sos[i, :3], sos[i, 3:]
        rows.append(gain * lfilter_zi.__wrapped__(b, a))  # type: ignore[attr-defined]
        gain = gain * (fnp.sum(b) / fnp.sum(a))
    return fnp.stack(rows)


def _padded(name: str, x: Any, padtype: Any, padlen: Any, usual: int) -> tuple[Any, int]:
    if padtype not in ("even", "odd", "constant", None):
        raise errors.ArgumentError(f"{name}: padtype must be 'odd', 'even', 'constant' or None, got {padtype!r}")
    edge = 0 if padtype is None else usual if padlen is None else operator.index(padlen)
    if aval_of(x).shape[-1] <= edge:
        raise errors.ShapeError(
            f"{name}: the signal must be longer than padlen={edge} along the axis, and has {aval_of(x).shape[-1]} "
            f"elements. Pass a smaller padlen"
        )
    return extended(x, padtype, edge), edge


@_scipy
def filtfilt(
    b: Any, a: Any, x: Any, axis: int = -1, padtype: Any = "odd", padlen: Any = None, method: str = "pad",
    irlen: Any = None,
) -> Any:  # fmt: skip
    """A signal filtered forwards and backwards, which shifts no phase; see ``scipy.signal.filtfilt``."""
    if method != "pad":
        raise errors.ArgumentError(f"filtfilt: method must be 'pad' where it is traced, got {method!r}")
    b, a, x = _common("filtfilt", _vector("filtfilt", "b", b), _vector("filtfilt", "a", a), x)
    b, a = b / a[0], a / a[0]
    d = normalize_axis("filtfilt", axis, aval_of(x).ndim)
    taps = max(aval_of(a).shape[0], aval_of(b).shape[0])
    y, edge = _padded("filtfilt", fnp.moveaxis(x, d, -1), padtype, padlen, 3 * taps)
    state = lfilter_zi.__wrapped__(b, a)  # type: ignore[attr-defined]
    for _ in range(2):
        y = lax.rev(_filtered(b, a, y, state * y[..., :1])[0], aval_of(y).ndim - 1)
    return fnp.moveaxis(y[..., edge : aval_of(y).shape[-1] - edge], -1, d)


@_scipy
def sosfiltfilt(sos: Any, x: Any, axis: int = -1, padtype: Any = "odd", padlen: Any = None) -> Any:
    """A signal through second-order sections, forwards and backwards; see ``scipy.signal.sosfiltfilt``."""
    sos = _sections("sosfiltfilt", sos)
    if padlen is None and padtype is not None:
        values = known("sosfiltfilt", "sos", sos, "Pass padlen")
        padlen = 3 * (2 * len(values) + 1 - int(min((values[:, 2] == 0).sum(), (values[:, 5] == 0).sum())))
    sos, x = _common("sosfiltfilt", sos, x)
    d = normalize_axis("sosfiltfilt", axis, aval_of(x).ndim)
    y, edge = _padded("sosfiltfilt", fnp.moveaxis(x, d, -1), padtype, padlen, 0)
    states = sosfilt_zi.__wrapped__(sos)  # type: ignore[attr-defined]
    for _ in range(2):
        start = y[..., :1]
        for i in range(aval_of(sos).shape[0]):
            y = _filtered(sos[i, :3], sos[i, 3:], y, states[i] * start)[0]
        y = lax.rev(y, aval_of(y).ndim - 1)
    return fnp.moveaxis(y[..., edge : aval_of(y).shape[-1] - edge], -1, d)
