"""functrans.scipy.signal against SciPy, by table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal

import functrans as ft
import functrans.scipy.signal as ours
from functrans import errors
from tests.scipy.agreement import Use, check_use

RNG = np.random.default_rng(3)
X, K = RNG.normal(size=(4, 5)), RNG.normal(size=(2, 4))
Z, KZ = X + 1j * X[::-1], K + 1j * K[::-1]
LONG, OTHER = RNG.normal(size=(2, 24)), RNG.normal(size=(2, 24))
INT = np.array([3, -1, 4, 1, -5])
B, A = scipy.signal.butter(3, 0.3)
SOS = scipy.signal.butter(4, [0.2, 0.5], "band", output="sos")
FREE = np.array([1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
SIGNAL = LONG[0]
TAPER = np.hanning(9)[1:]
MODES = ("full", "same", "valid")

CONVOLUTIONS = [
    *[
        Use(
            f"{f} {m} {h}",
            lambda xp, x, k, f=f, m=m, h=h: getattr(xp, f)(x, k, m, h),
            (x, k),
            1 if m == "same" else 0,
            64,
        )
        for f in ("convolve", "correlate")
        for m in MODES
        for h, x, k in (("direct", X, K), ("fft", Z, KZ), ("auto", K[:, :3], X))
    ],
    *[Use(f"fftconvolve {m}", lambda xp, x, k, m=m: xp.fftconvolve(x, k, m), (X, K), 1, 64) for m in MODES],
    Use("fftconvolve axis", lambda xp, x, k: xp.fftconvolve(x, k, "same", axes=1), (X[:, :4], K[:1]), 1, 64),
    Use("fftconvolve broadcast", lambda xp, x, k: xp.fftconvolve(x, k, "same", axes=1), (X[:1], K), 1, 64),
    Use("oaconvolve", lambda xp, x, k: xp.oaconvolve(x, k), (X, K), 1, 64),
    *[
        Use(f"{f} {t.__name__}", lambda xp, x, f=f: getattr(xp, f)(x, x[:3]), (INT.astype(t),), 0)
        for f in ("convolve", "correlate", "fftconvolve")
        for t in (np.int8, bool, np.float32, np.float16)
        if (f, t) != ("correlate", bool)
    ],
    Use("convolve int by fft", lambda xp, x: xp.convolve(x, x, method="fft"), (INT,), 0),
    Use("convolve numbers", lambda xp, x, y: xp.convolve(x, y), (np.array(2.0), np.array(3.0)), 0),
    *[
        Use(
            f"{f} {m} {b} {v}",
            lambda xp, x, k, f=f, m=m, b=b, v=v: getattr(xp, f)(x, k, m, b, v),
            (X, K),
            1 if m == "full" else 0,
            64,
        )
        for f in ("convolve2d", "correlate2d")
        for m in MODES
        for b, v in (("fill", 0), ("fill", 1.5), ("wrap", 0), ("symm", 0))
    ],
    Use("correlate2d complex swapped", lambda xp, x, k: xp.correlate2d(x, k, "valid"), (KZ, Z), 0, 64),
]

SPECTRA = [
    *[
        Use(f"detrend {t}", lambda xp, x, t=t: xp.detrend(x, type=t), (LONG[:, :7],), 2, 64)
        for t in ("linear", "constant")
    ],
    Use("detrend pieces", lambda xp, x: xp.detrend(x, axis=0, bp=[2, 4]), (LONG[:, :7].T,), 1, 64, ()),
    Use("detrend int", lambda xp, x: xp.detrend(x), (INT,), 0, 64),
    Use("welch", lambda xp, x: xp.welch(x, 2.0, nperseg=8), (LONG,), 1, 64),
    Use("welch odd", lambda xp, x: xp.welch(x, nperseg=7, noverlap=2, nfft=9, detrend="linear"), (LONG,), 1, 64),
    Use("welch median", lambda xp, x: xp.welch(x, nperseg=8, average="median", scaling="spectrum"), (LONG,), 1, 64),
    Use("welch axis", lambda xp, x: xp.welch(x, nperseg=8, axis=0), (LONG.T,), 0, 64, ()),
    Use("welch single", lambda xp, x: xp.welch(x, nperseg=8), (LONG.astype(np.float32),), 0, 64),
    Use("welch window", lambda xp, x, w: xp.welch(x, window=w), (SIGNAL, TAPER), 1, 64, (0,)),
    Use(
        "welch two sides", lambda xp, x: xp.welch(x, nperseg=8, return_onesided=False, detrend=False), (SIGNAL,), 0, 64
    ),
    Use("csd", lambda xp, x, y: xp.csd(x, y, nperseg=8), (LONG, OTHER), 1, 64),
    Use("csd lengths", lambda xp, x, y: xp.csd(x, y, nperseg=8), (LONG[0], OTHER[0, :20]), 0, 64, (0,)),
    Use("periodogram", lambda xp, x: xp.periodogram(x, 3.0), (LONG,), 1, 64),
    Use("periodogram cropped", lambda xp, x: xp.periodogram(x, nfft=10, window="hann"), (LONG,), 0, 64),
    Use("coherence", lambda xp, x, y: xp.coherence(x, y, nperseg=8), (LONG, OTHER), 0, 640),
    *[
        Use(
            f"spectrogram {m}",
            lambda xp, x, m=m: xp.spectrogram(x, nperseg=8, mode=m),
            (LONG,),
            1 if m == "psd" else 0,
            640,
        )
        for m in ("psd", "complex", "magnitude", "angle", "phase")
    ],
    *[
        Use(f"stft {b}", lambda xp, x, b=b: xp.stft(x, 2.0, nperseg=8, boundary=b), (LONG,), 1, 64)
        for b in (None, "zeros", "even", "odd", "constant")
    ],
    Use("stft psd", lambda xp, x: xp.stft(x, nperseg=8, noverlap=6, scaling="psd", padded=False), (SIGNAL,), 1, 64),
    Use("istft", lambda xp, z: xp.istft(z, nperseg=8), (scipy.signal.stft(SIGNAL, nperseg=8)[2],), 1, 64),
    Use(
        "istft psd",
        lambda xp, z: xp.istft(z, 2.0, noverlap=5, scaling="psd"),
        (scipy.signal.stft(SIGNAL, nperseg=8, noverlap=5)[2],),
        1,
        64,
    ),
    Use(
        "istft axes",
        lambda xp, z: xp.istft(z, time_axis=0, freq_axis=1),
        (np.moveaxis(scipy.signal.stft(LONG, nperseg=8)[2], (2, 1), (0, 1)).copy(),),
        0,
        64,
        (),
    ),
]

FILTERS = [
    Use("lfilter", lambda xp, b, a, x: xp.lfilter(b, a, x), (B, A, LONG[:, :9]), 1, 640, (2,)),
    Use("lfilter of second order", lambda xp, b, a: xp.lfilter(b, a, SIGNAL[:6]), (B[:2], A[:2]), 2, 640, ()),
    Use(
        "lfilter coefficients",
        lambda xp, a: xp.lfilter([1.0, 0.5], a, SIGNAL[:6]),
        (np.array([1.5, 0.3, 0.2]),),
        1,
        640,
    ),
    Use("lfilter axis", lambda xp, x: xp.lfilter(B, [2.0], x, axis=0), (LONG.T,), 0, 64, ()),
    Use("lfilter state", lambda xp, x, z: xp.lfilter(B, A, x, zi=z), (LONG[:, :5], K[:, :3]), 1, 640),
    Use("lfilter short with state", lambda xp, x, z: xp.lfilter(B, A, x, zi=z), (LONG[:, :2], K[:, :3]), 1, 640),
    Use(
        "lfilter single",
        lambda xp, x: xp.lfilter(B.astype(np.float32), A.astype(np.float32), x),
        (LONG.astype(np.float32),),
        0,
        64,
    ),
    Use("lfilter_zi", lambda xp, b, a: xp.lfilter_zi(b, a), (B, A), 1, 640, ()),
    Use("sosfilt", lambda xp, s, x: xp.sosfilt(s * FREE + (1 - FREE), x), (SOS, LONG[:, :7]), 1, 6400, (1,)),
    Use("sosfilt state", lambda xp, x, z: xp.sosfilt(SOS, x, zi=z), (SIGNAL[:6], RNG.normal(size=(4, 2))), 1, 6400),
    Use("sosfilt_zi", lambda xp, s: xp.sosfilt_zi(s * FREE + (1 - FREE)), (SOS[:2] + 0.1,), 1, 6400, ()),
    *[
        Use(
            f"filtfilt {p}",
            lambda xp, x, p=p: xp.filtfilt(B, A, x, padtype=p),
            (SIGNAL,),
            1 if p == "odd" else 0,
            6400,
            (),
        )
        for p in ("odd", "even", "constant", None)
    ],
    Use("sosfiltfilt", lambda xp, x: xp.sosfiltfilt(SOS, x, padlen=5), (SIGNAL,), 1, 64000, ()),
    *[
        Use(
            f"savgol_filter {m}", lambda xp, x, m=m: xp.savgol_filter(x, 5, 2, mode=m, cval=1.0), (LONG[:, :9],), 1, 640
        )
        for m in ("interp", "mirror", "nearest", "wrap", "constant")
    ],
    Use("savgol_filter slope", lambda xp, x: xp.savgol_filter(x, 6, 3, 1, 0.5, axis=0), (LONG.T,), 0, 6400, ()),
    Use("hilbert", lambda xp, x: xp.hilbert(x), (LONG[:, :9],), 1, 64),
    Use("hilbert padded", lambda xp, x: xp.hilbert(x, 10, axis=1), (LONG[:, :9],), 0, 64),
    *[Use(f"resample {n}", lambda xp, x, n=n: xp.resample(x, n), (SIGNAL[:8],), 1, 64) for n in (5, 6, 8, 11, 12)],
    Use("resample complex", lambda xp, x: xp.resample(x, 6, window="hamming"), (SIGNAL[:8] + 1j,), 0, 64),
    Use("resample times", lambda xp, x: xp.resample(x, 6, t=np.array([0.0, 0.5])), (SIGNAL[:8],), 0, 64),
]


@pytest.mark.parametrize("use", [*CONVOLUTIONS, *SPECTRA, *FILTERS], ids=lambda u: u.name)
def test_agrees_with_scipy(use: Use) -> None:
    check_use(use, scipy.signal, ours)


def test_sosfiltfilt_finds_its_padding_from_known_sections() -> None:
    x = np.tile(LONG, 2)
    expected = scipy.signal.sosfiltfilt(SOS, x)
    np.testing.assert_allclose(ft.jit(lambda x: ours.sosfiltfilt(SOS, x))(x), expected, rtol=1e-9, atol=1e-9)


def test_long_kernels_go_by_fourier_transforms() -> None:
    x, k = RNG.normal(size=20_000), RNG.normal(size=900)
    assert "fft" in str(ft.make_jaxpr(lambda x, k: ours.convolve(x, k))(x, k))
    np.testing.assert_allclose(ft.jit(ours.convolve)(x, k), scipy.signal.convolve(x, k), rtol=1e-9, atol=1e-9)


def test_sections_are_normal() -> None:
    with pytest.raises(errors.ArgumentError, match="must be ones"):
        ft.grad(lambda x: np.sum(ours.sosfilt(2 * SOS, x)))(SIGNAL)
    found = ft.jit(ours.sosfilt)(2 * SOS, SIGNAL)
    np.testing.assert_allclose(found, scipy.signal.sosfilt(SOS, SIGNAL), rtol=1e-12)


def test_lags() -> None:
    for mode in MODES:
        for n, k in ((5, 3), (3, 5), (4, 4)):
            expected = scipy.signal.correlation_lags(n, k, mode)
            np.testing.assert_array_equal(ours.correlation_lags(n, k, mode), expected)


def test_a_short_signal_shortens_the_segments_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="nperseg=256 exceeds"):
        found = ft.jit(ours.welch)(SIGNAL)
    np.testing.assert_allclose(found[1], scipy.signal.welch(SIGNAL, nperseg=24)[1], rtol=1e-12)


def test_windows_that_do_not_overlap_enough_are_reported_where_values_are_known() -> None:
    z = scipy.signal.stft(SIGNAL, nperseg=8, noverlap=0, boundary=None)[2]
    with pytest.warns(UserWarning, match="do not cover"):
        ours.istft.__wrapped__(z, noverlap=0, boundary=None)


@pytest.mark.parametrize(
    ("f", "kind", "message"),
    [
        (lambda x: ours.convolve(x, x[0]), errors.ShapeError, "arrays of one rank"),
        (lambda x: ours.convolve(x, x, "circular"), errors.ArgumentError, "mode must be"),
        (lambda x: ours.convolve(x, x, method="fast"), errors.ArgumentError, "method must be"),
        (lambda x: ours.convolve(x[:, :1], x[:1], "valid"), errors.ShapeError, "at least as large"),
        (lambda x: ours.fftconvolve(x, x, axes=()), errors.ShapeError, "an axis or more"),
        (lambda x: ours.fftconvolve(x, x[:, :3], axes=0), errors.ShapeError, "do not broadcast along axis 1"),
        (lambda x: ours.convolve2d(x[0], x[0]), errors.ShapeError, "two matrices"),
        (lambda x: ours.convolve2d(x, x, boundary="mirror"), errors.ArgumentError, "boundary must be"),
        (lambda x: ours.detrend(x, type="square"), errors.ArgumentError, "type must be"),
        (lambda x: ours.detrend(x, bp=99), errors.ShapeError, "a break point lies at 99"),
        (lambda x: ours.welch(x, nperseg=8, noverlap=8), errors.ShapeError, "noverlap=8 must be less"),
        (lambda x: ours.welch(x, nperseg=8, nfft=4), errors.ShapeError, "nfft=4"),
        (lambda x: ours.welch(x, nperseg=8, scaling="db"), errors.ArgumentError, "scaling must be"),
        (lambda x: ours.welch(x, nperseg=8, average="mode"), errors.ArgumentError, "average must be"),
        (lambda x: ours.welch(x, window=TAPER, nperseg=9), errors.ShapeError, "nperseg=9 differs"),
        (lambda x: ours.stft(x, nperseg=8, boundary="wrap"), errors.ArgumentError, "boundary must be"),
        (lambda x: ours.istft(x[0]), errors.ShapeError, "two axes or more"),
        (lambda x: ours.lfilter(x, [1.0], x), errors.ShapeError, "b must be a vector"),
        (lambda x: ours.lfilter(B, A, x, zi=x), errors.ShapeError, "zi must have 3 entries"),
        (lambda x: ours.sosfilt(x, x), errors.ShapeError, r"shape \(sections, 6\)"),
        (lambda x: ours.filtfilt(B, A, x[:, :5]), errors.ShapeError, "longer than padlen=12"),
        (lambda x: ours.filtfilt(B, A, x, method="gust"), errors.ArgumentError, "method must be 'pad'"),
        (lambda x: ours.savgol_filter(x, 3, 3), errors.ArgumentError, "polyorder=3"),
        (lambda x: ours.savgol_filter(x[:, :3], 5, 2), errors.ShapeError, "must not exceed the 3 elements"),
        (lambda x: ours.hilbert(x + 1j), errors.DTypeError, "a real signal"),
        (lambda x: ours.resample(x, 3, domain="space"), errors.ArgumentError, "domain must be"),
    ],
)
def test_errors(f: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        ft.jit(f)(LONG)
