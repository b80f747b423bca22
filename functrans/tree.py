"""Functions on pytrees under short names: `functrans.tree.map`, `functrans.tree.flatten`, ...

See `functrans.tree_util` for registering classes, key paths and treedefs.

>>> from functrans import tree
>>> tree.map(lambda x: x + 1, {"w": [1, 2], "b": 3})
{'b': 4, 'w': [2, 3]}
"""

from functrans.core.tree import static as static
from functrans.core.tree import tree_all as all
from functrans.core.tree import tree_broadcast as broadcast
from functrans.core.tree import tree_flatten as flatten
from functrans.core.tree import tree_flatten_with_path as flatten_with_path
from functrans.core.tree import tree_leaves as leaves
from functrans.core.tree import tree_leaves_with_path as leaves_with_path
from functrans.core.tree import tree_map as map
from functrans.core.tree import tree_map_with_path as map_with_path
from functrans.core.tree import tree_reduce as reduce
from functrans.core.tree import tree_reduce_associative as reduce_associative
from functrans.core.tree import tree_structure as structure
from functrans.core.tree import tree_transpose as transpose
from functrans.core.tree import tree_unflatten as unflatten

__all__ = [
    "all",
    "broadcast",
    "flatten",
    "flatten_with_path",
    "leaves",
    "leaves_with_path",
    "map",
    "map_with_path",
    "reduce",
    "reduce_associative",
    "static",
    "structure",
    "transpose",
    "unflatten",
]
