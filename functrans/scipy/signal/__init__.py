"""Signal processing as ``functrans.scipy.signal``: convolutions, spectra and filters, with SciPy's signatures."""

from __future__ import annotations

from functrans.scipy.signal.convolution import convolve as convolve
from functrans.scipy.signal.convolution import convolve2d as convolve2d
from functrans.scipy.signal.convolution import correlate as correlate
from functrans.scipy.signal.convolution import correlate2d as correlate2d
from functrans.scipy.signal.convolution import correlation_lags as correlation_lags
from functrans.scipy.signal.convolution import fftconvolve as fftconvolve
from functrans.scipy.signal.convolution import oaconvolve as oaconvolve
from functrans.scipy.signal.filters import filtfilt as filtfilt
from functrans.scipy.signal.filters import lfilter as lfilter
from functrans.scipy.signal.filters import lfilter_zi as lfilter_zi
from functrans.scipy.signal.filters import sosfilt as sosfilt
from functrans.scipy.signal.filters import sosfilt_zi as sosfilt_zi
from functrans.scipy.signal.filters import sosfiltfilt as sosfiltfilt
from functrans.scipy.signal.smoothing import hilbert as hilbert
from functrans.scipy.signal.smoothing import resample as resample
from functrans.scipy.signal.smoothing import savgol_filter as savgol_filter
from functrans.scipy.signal.spectral import coherence as coherence
from functrans.scipy.signal.spectral import csd as csd
from functrans.scipy.signal.spectral import detrend as detrend
from functrans.scipy.signal.spectral import istft as istft
from functrans.scipy.signal.spectral import periodogram as periodogram
from functrans.scipy.signal.spectral import spectrogram as spectrogram
from functrans.scipy.signal.spectral import stft as stft
from functrans.scipy.signal.spectral import welch as welch
