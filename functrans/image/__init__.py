"""Images: resampling of arrays of any rank."""

from __future__ import annotations

from functrans.image.resampling import ResizeMethod as ResizeMethod
from functrans.image.resampling import resize as resize
from functrans.image.resampling import scale_and_translate as scale_and_translate
