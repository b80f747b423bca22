"""Neural-network functions: thin names over ``functrans.lax``."""

from __future__ import annotations

from functrans.nn.pooling import avg_pool as avg_pool
from functrans.nn.pooling import max_pool as max_pool
from functrans.nn.pooling import min_pool as min_pool
