"""Images of any rank as ``functrans.scipy.ndimage``: interpolation and filters, with SciPy's signatures."""

from __future__ import annotations

from functrans.scipy.ndimage.filters import convolve as convolve
from functrans.scipy.ndimage.filters import convolve1d as convolve1d
from functrans.scipy.ndimage.filters import correlate as correlate
from functrans.scipy.ndimage.filters import correlate1d as correlate1d
from functrans.scipy.ndimage.filters import gaussian_filter as gaussian_filter
from functrans.scipy.ndimage.filters import gaussian_filter1d as gaussian_filter1d
from functrans.scipy.ndimage.filters import gaussian_gradient_magnitude as gaussian_gradient_magnitude
from functrans.scipy.ndimage.filters import gaussian_laplace as gaussian_laplace
from functrans.scipy.ndimage.filters import laplace as laplace
from functrans.scipy.ndimage.filters import maximum_filter as maximum_filter
from functrans.scipy.ndimage.filters import minimum_filter as minimum_filter
from functrans.scipy.ndimage.filters import prewitt as prewitt
from functrans.scipy.ndimage.filters import sobel as sobel
from functrans.scipy.ndimage.filters import uniform_filter as uniform_filter
from functrans.scipy.ndimage.filters import uniform_filter1d as uniform_filter1d
from functrans.scipy.ndimage.interpolation import affine_transform as affine_transform
from functrans.scipy.ndimage.interpolation import map_coordinates as map_coordinates
from functrans.scipy.ndimage.interpolation import rotate as rotate
from functrans.scipy.ndimage.interpolation import shift as shift
from functrans.scipy.ndimage.interpolation import spline_filter as spline_filter
from functrans.scipy.ndimage.interpolation import spline_filter1d as spline_filter1d
from functrans.scipy.ndimage.interpolation import zoom as zoom
