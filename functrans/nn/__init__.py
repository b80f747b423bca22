"""Neural-network functions: thin names over ``functrans.lax``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from functrans.lax.taking import one_hot as one_hot
from functrans.nn.activations import celu as celu
from functrans.nn.activations import elu as elu
from functrans.nn.activations import gelu as gelu
from functrans.nn.activations import glu as glu
from functrans.nn.activations import hard_sigmoid as hard_sigmoid
from functrans.nn.activations import hard_silu as hard_silu
from functrans.nn.activations import hard_swish as hard_swish
from functrans.nn.activations import hard_tanh as hard_tanh
from functrans.nn.activations import identity as identity
from functrans.nn.activations import leaky_relu as leaky_relu
from functrans.nn.activations import log_sigmoid as log_sigmoid
from functrans.nn.activations import mish as mish
from functrans.nn.activations import relu as relu
from functrans.nn.activations import relu6 as relu6
from functrans.nn.activations import selu as selu
from functrans.nn.activations import sigmoid as sigmoid
from functrans.nn.activations import silu as silu
from functrans.nn.activations import soft_sign as soft_sign
from functrans.nn.activations import softplus as softplus
from functrans.nn.activations import sparse_plus as sparse_plus
from functrans.nn.activations import sparse_sigmoid as sparse_sigmoid
from functrans.nn.activations import squareplus as squareplus
from functrans.nn.activations import swish as swish
from functrans.nn.activations import tanh as tanh
from functrans.nn.attention import dot_product_attention as dot_product_attention
from functrans.nn.normalization import log1mexp as log1mexp
from functrans.nn.normalization import log_softmax as log_softmax
from functrans.nn.normalization import logmeanexp as logmeanexp
from functrans.nn.normalization import logsumexp as logsumexp
from functrans.nn.normalization import softmax as softmax
from functrans.nn.normalization import standardize as standardize
from functrans.nn.pooling import avg_pool as avg_pool
from functrans.nn.pooling import max_pool as max_pool
from functrans.nn.pooling import min_pool as min_pool

if TYPE_CHECKING:
    from functrans.nn import initializers as initializers


def __getattr__(name: str) -> Any:
    if name == "initializers":
        return importlib.import_module("functrans.nn.initializers")
    raise AttributeError(f"module 'functrans.nn' has no attribute {name!r}", name=name)
