"""Keys: the type, and the functions that make keys from seeds and from other keys."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from functrans import errors
from functrans.config import config
from functrans.core.structural import convert, rebox
from functrans.core.trace import aval_of, is_array
from functrans.core.tree_classes import register_pytree_with_keys
from functrans.core.tree_paths import GetAttrKey
from functrans.lax.at import at
from functrans.lax.compare import eq, logical_and, shift_right_logical
from functrans.lax.random_bits import Words, counters
from functrans.lax.stacking import stack
from functrans.lax.static import normalize_shape
from functrans.lax.subscript import index
from functrans.lax.threefry import UINT32, threefry2x32
from functrans.random.reuse import note_make, note_use

IMPLEMENTATION = "threefry2x32"


class KeyType:
    """The dtype of keys. There is one: that of keys of Threefry-2x32, which prints as ``key<fry>``."""

    name = "key<fry>"
    kind = "K"
    itemsize = 8

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyType)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name


_TYPE = KeyType()


class Key:
    """A random key, or an array of them. ``functrans.random.key`` and ``split`` make them.

    A key is used once: whoever needs more splits it. It is a pytree whose two leaves are the words of the keys,
    arrays of uint32 of its own shape, so that it goes through ``jit``, ``vmap``, ``scan`` and the functions on
    pytrees as an array of its shape does. It is immutable, and compares element by element.

    It has the attributes and methods of arrays that move elements: ``shape``, ``ndim``, ``size``, ``dtype``, ``T``,
    ``at``, ``reshape``, ``ravel``, ``flatten``, ``squeeze``, ``transpose``, ``swapaxes``, ``take``, indexing and
    iteration, and NumPy's functions that do, such as ``np.stack`` and ``np.concatenate``. It is no number:
    arithmetic raises TypeError.

    >>> import functrans as ft
    >>> keys = ft.random.split(ft.random.key(0), 3)
    >>> keys.shape, keys.dtype
    ((3,), key<fry>)
    >>> keys[0] == keys[1]
    np.False_
    """

    __slots__ = ("_first", "_second")
    _first: Any
    _second: Any
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, first: Any, second: Any) -> None:
        object.__setattr__(self, "_first", first)
        object.__setattr__(self, "_second", second)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"a key cannot be changed: {name!r} was set. keys.at[i].set(key) gives a new array of keys"
        )

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a key cannot be changed: {name!r} was deleted")

    @property
    def words(self) -> Words:
        """The two words of each key."""
        return self._first, self._second

    @property
    def dtype(self) -> KeyType:
        return _TYPE

    @property
    def shape(self) -> tuple[Any, ...]:
        shape: tuple[Any, ...] = self._first.shape
        return shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        return _TYPE.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * _TYPE.itemsize

    @property
    def T(self) -> Key:
        return self.transpose()

    @property
    def at(self) -> KeyUpdates:
        """Updates as new arrays of keys: ``keys.at[i].set(key)``, and ``keys.at[i].get(mode=...)``."""
        return KeyUpdates(self)

    def each(self, function: Callable[[Any], Any]) -> Key:
        """The keys whose words are those of these, moved in the same way by a function of arrays."""
        return Key(function(self._first), function(self._second))

    def reshape(self, *shape: Any) -> Key:
        return self.each(lambda w: np.reshape(w, shape[0] if len(shape) == 1 else shape))

    def ravel(self) -> Key:
        return self.reshape(-1)

    def flatten(self) -> Key:
        return self.reshape(-1)

    def squeeze(self, axis: Any = None) -> Key:
        return self.each(lambda w: np.squeeze(w, axis))

    def transpose(self, *axes: Any) -> Key:
        order = None if not axes or axes[0] is None else axes[0] if len(axes) == 1 else axes
        return self.each(lambda w: np.transpose(w, order))

    def swapaxes(self, axis1: int, axis2: int) -> Key:
        return self.each(lambda w: np.swapaxes(w, axis1, axis2))

    def take(self, indices: Any, axis: int | None = None) -> Key:
        return self.each(lambda w: np.take(w, indices, axis))

    def copy(self) -> Key:
        return self

    def __copy__(self) -> Key:
        return self

    def __deepcopy__(self, memo: Any) -> Key:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Key, (self._first, self._second)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a single key has no length. functrans.random.split(key, n) gives an array of n keys")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Key]:
        if not self.shape:
            raise TypeError("a single key cannot be iterated over. functrans.random.split(key, n) gives n keys")
        return map(Key, self._first, self._second)

    def __getitem__(self, idx: Any) -> Key:
        if not self.shape and idx != () and idx is not None and idx is not ...:
            raise errors.IndexingError(
                f"a single key of shape () was indexed with {idx!r}. functrans.random.split(key, n) gives n keys"
            )
        return self.each(lambda w: index(w, idx))

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, Key):
            return NotImplemented
        return logical_and(eq(self._first, other._first), eq(self._second, other._second))

    def __ne__(self, other: object) -> Any:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else np.logical_not(equal)

    def __bool__(self) -> bool:
        raise TypeError("a random key is neither true nor false")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise errors.ArgumentError(
            "a random key was used as an array of numbers. functrans.random.key_data(key) gives its words; to sample, "
            "pass the key to a function of functrans.random. Keys have the methods of arrays that move elements, and "
            "NumPy's functions of that kind (np.stack, np.concatenate, np.where) take them"
        )

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func in (np.shape, np.ndim, np.size):
            return func(*_words_in(args, 0), **kwargs)
        if func not in _MOVEMENTS:
            return self.__array__()
        first, second = [func(*_words_in(args, k), **_words_in(kwargs, k)) for k in (0, 1)]
        if isinstance(first, (list, tuple)):
            return [Key(a, b) for a, b in zip(first, second, strict=True)]
        return Key(first, second)

    def __repr__(self) -> str:
        if not all([isinstance(w, (np.ndarray, np.generic)) for w in self.words]):
            return f"Key({self._first!r}, {self._second!r})"
        kind = f"key<fry>[{','.join(map(str, self.shape))}]"
        if not self.shape:
            return f"Key({kind}: [{self._first} {self._second}])"
        return f"Key({kind}:\n{np.stack(self.words, -1)})"


_MOVEMENTS = frozenset(
    {
        np.append, np.array_split, np.atleast_1d, np.atleast_2d, np.broadcast_to, np.concatenate, np.copy, np.delete,
        np.dstack, np.expand_dims, np.flip, np.hstack, np.insert, np.moveaxis, np.ravel, np.repeat, np.reshape,
        np.roll, np.rollaxis, np.rot90, np.split, np.squeeze, np.stack, np.swapaxes, np.take, np.tile, np.transpose,
        np.vstack, np.where,
    }
)  # fmt: skip


def _words_in(value: Any, k: int) -> Any:
    """Arguments of a function with the ``k``-th words of keys in the place of the keys."""
    if isinstance(value, Key):
        return value.words[k]
    if isinstance(value, (list, tuple)):
        return type(value)(_words_in(v, k) for v in value)
    if isinstance(value, dict):
        return {name: _words_in(v, k) for name, v in value.items()}
    return value


class KeyUpdates:
    """What ``keys.at`` gives: indexing it names keys."""

    __slots__ = ("_idx", "_keys")

    def __init__(self, keys: Key, idx: Any = None) -> None:
        self._keys, self._idx = keys, idx

    def __getitem__(self, idx: Any) -> KeyUpdates:
        return KeyUpdates(self._keys, idx)

    def set(self, key: Key, **options: Any) -> Key:
        """The array of keys with others in the places named; the options are those of ``functrans.numpy.at``."""
        if not isinstance(key, Key):
            raise errors.ArgumentError(f"keys.at[...].set: a key is needed, got {type(key).__name__}")
        pairs = zip(self._keys.words, key.words, strict=True)
        return Key(*[at(old)[self._idx].set(new, **options) for old, new in pairs])

    def get(self, **options: Any) -> Key:
        """The keys in the places named; the options are those of ``functrans.numpy.at``."""
        return self._keys.each(lambda w: at(w)[self._idx].get(**options))


register_pytree_with_keys(
    Key,
    lambda key: ([(GetAttrKey("words[0]"), key._first), (GetAttrKey("words[1]"), key._second)], None),
    lambda aux, words: Key(*words),
    lambda key: ((key._first, key._second), None),
)

# -- what functions take as a key -------------------------------------------------------------------------------------


def words_of(name: str, key: Any, batched: bool = False) -> Words:
    """The words of a typed key, or of a raw one: an array of uint32 whose last axis has extent 2.

    Raises:
        ArgumentError: the argument is no key.
        ShapeError: it is an array of keys, and ``batched`` is False.
    """
    where = f"functrans.random.{name}"
    if isinstance(key, Key):
        words, shape = key.words, key.shape
    else:
        raw = np.asarray(key) if isinstance(key, (list, tuple)) else key
        if not is_array(raw) or aval_of(raw).dtype != UINT32 or aval_of(raw).shape[-1:] != (2,):
            found = f"a value of type {aval_of(raw)}" if is_array(raw) else f"an object of type {type(key).__name__}"
            raise errors.ArgumentError(
                f"{where}: argument key must be a random key, got {found}. Make one with functrans.random.key(seed); "
                f"raw keys are arrays of uint32 with a last axis of extent 2"
            )
        words, shape = (index(raw, (..., 0)), index(raw, (..., 1))), aval_of(raw).shape[:-1]
        if not shape:
            words = (rebox(words[0], "numpy"), rebox(words[1], "numpy"))
    if shape and not batched:
        raise errors.ShapeError(
            f"{where}: one key is needed, got an array of keys of shape {shape}. Map the function over them with "
            f"functrans.vmap, or index one"
        )
    return words


def use(name: str, key: Any) -> Words:
    """The words of a key that a function uses up."""
    words = words_of(name, key)
    note_use(name, words)
    return words


def _like(key: Any, words: Words) -> Any:
    """Words as a key of the kind that was given: typed or raw."""
    note_make(words)
    if isinstance(key, Key) or config.enable_custom_prng:
        return Key(*words)
    return stack(words, -1)


def _check_impl(where: str, impl: Any, dtype: Any) -> None:
    if impl is not None and dtype is not None:
        raise errors.ArgumentError(f"{where}: impl and dtype say the same thing; give one of them")
    asked = impl if dtype is None else dtype
    if asked not in (None, IMPLEMENTATION, _TYPE, _TYPE.name):
        raise errors.ArgumentError(
            f"{where}: {'impl' if dtype is None else 'dtype'}={asked!r} is not known; the one generator there is has "
            f"the name 'threefry2x32'"
        )


def _seed_words(where: str, seed: Any) -> Words:
    if isinstance(seed, Key):
        raise errors.ArgumentError(f"{where}: the seed must be an integer, got a key. functrans.random.split splits it")
    if type(seed) is int:
        if not -(1 << 63) <= seed < 1 << 64:
            raise errors.ArgumentError(
                f"{where}: the seed {seed} has more than 64 bits. Take it modulo 2**64, or fold parts of it into a key "
                f"with functrans.random.fold_in"
            )
        return np.uint32(seed >> 32 & 0xFFFFFFFF), np.uint32(seed & 0xFFFFFFFF)
    found = aval_of(seed) if is_array(seed) else None
    if found is None or found.dtype.kind not in "iu":
        raise errors.ArgumentError(
            f"{where}: the seed must be an integer, got {'a value of type ' + str(found) if found else repr(seed)}"
        )
    if found.shape != ():
        raise errors.ShapeError(
            f"{where}: the seed must be one integer, got an array of shape {found.shape}. Map the function over seeds "
            f"with functrans.vmap"
        )
    if found.box == "python":
        seed = convert(seed, np.int64)
    low = rebox(convert(seed, UINT32), "numpy")
    if found.dtype.itemsize < 8:
        return np.uint32(0), low
    high = shift_right_logical(convert(seed, np.uint64), np.uint64(32))
    return rebox(convert(high, UINT32), "numpy"), low


def key(seed: Any, *, impl: Any = None, dtype: Any = None) -> Key:
    """A random key made from a seed.

    Args:
        seed: an integer of up to 64 bits, which may be traced.
        impl, dtype: the generator by name or by type: ``"threefry2x32"``, the only one.

    Raises:
        ArgumentError: the seed is no integer or has more than 64 bits; the generator is not known.
        ShapeError: the seed is an array.

    >>> import functrans as ft
    >>> ft.random.key(42)
    Key(key<fry>[]: [0 42])
    """
    _check_impl("functrans.random.key", impl, dtype)
    words = _seed_words("functrans.random.key", seed)
    note_make(words)
    return Key(*words)


def PRNGKey(seed: Any, *, impl: Any = None) -> Any:
    """A raw random key made from a seed: an array of two uint32. Otherwise as ``key``.

    It holds the words of ``key(seed)``, and every function here takes it in place of that. Under
    ``functrans.enable_custom_prng`` it is a typed key.

    >>> import functrans as ft
    >>> ft.random.PRNGKey(42)
    array([ 0, 42], dtype=uint32)
    """
    _check_impl("functrans.random.PRNGKey", impl, None)
    return _like(None, _seed_words("functrans.random.PRNGKey", seed))


def split_words(words: Words, shape: tuple[Any, ...]) -> Words:
    """The words of an array of new keys, made from one key."""
    return threefry2x32(*words, *counters(shape))


def parts(words: Words, number: int = 2) -> list[Words]:
    """The words of some new keys, each apart: within samplers, where a few scalars serve better than an array."""
    return [threefry2x32(*words, np.uint32(0), np.uint32(i)) for i in range(number)]


def split(key: Any, num: int | Sequence[int] = 2) -> Any:
    """New keys made from one, which is used up by it.

    Args:
        key: a typed or a raw key.
        num: how many, or the shape of the array of them.

    Returns:
        An array of keys of that shape: typed, or raw (with a further axis of extent 2) for a raw key.

    Raises:
        ArgumentError: ``key`` is no key.
        ShapeError: it is an array of keys; or ``num`` is negative.

    >>> import functrans as ft
    >>> key, subkey = ft.random.split(ft.random.key(0))
    >>> subkey
    Key(key<fry>[]: [928981903 3453687069])
    """
    words = use("split", key)
    return _like(key, split_words(words, normalize_shape("functrans.random.split", num)))


def fold_in(key: Any, data: Any) -> Any:
    """A new key made from a key and an integer: the number of a step, of a layer, of a process.

    The key is not used up: other integers give other keys.

    Args:
        key: a typed or a raw key.
        data: an integer of 32 bits, which may be traced; of wider arrays, the low 32 bits count.

    Raises:
        ArgumentError: ``key`` is no key; ``data`` is no integer, or a Python int that 32 bits without sign do not hold.
        ShapeError: one of them is an array.

    >>> import functrans as ft
    >>> ft.random.fold_in(ft.random.key(0), 7)
    Key(key<fry>[]: [2716826189 292468403])
    """
    where = "functrans.random.fold_in"
    words = words_of("fold_in", key)
    if type(data) is int and not 0 <= data < 1 << 32:
        raise errors.ArgumentError(f"{where}: data must be from 0 to 2**32 - 1, got {data}. Take it modulo 2**32")
    found = aval_of(data) if is_array(data) else None
    if found is None or found.dtype.kind not in "iub":
        shown = f"a value of type {found}" if found else repr(data)
        raise errors.ArgumentError(f"{where}: data must be an integer, got {shown}")
    if found.shape != ():
        raise errors.ShapeError(
            f"{where}: data must be one integer, got an array of shape {found.shape}. Map the function over them with "
            f"functrans.vmap(functrans.random.fold_in, in_axes=(None, 0))"
        )
    if found.box == "python":
        data = convert(data, np.int64)
    return _like(key, threefry2x32(*words, np.uint32(0), rebox(convert(data, UINT32), "numpy")))


def key_data(keys: Any) -> Any:
    """The words of keys, as an array of uint32 with a last axis of extent 2.

    >>> import functrans as ft
    >>> ft.random.key_data(ft.random.key(42))
    array([ 0, 42], dtype=uint32)
    """
    words = words_of("key_data", keys, batched=True)
    return stack(words, -1) if isinstance(keys, Key) else keys


def wrap_key_data(key_bits_array: Any, *, impl: Any = None, dtype: Any = None) -> Key:
    """The keys that have given words: the inverse of ``key_data``.

    Args:
        key_bits_array: an array of uint32 with a last axis of extent 2.
        impl, dtype: as in ``key``.

    Raises:
        ArgumentError: the array has another dtype or shape.

    >>> import numpy as np, functrans as ft
    >>> ft.random.wrap_key_data(np.array([0, 42], np.uint32)) == ft.random.key(42)
    np.True_
    """
    _check_impl("functrans.random.wrap_key_data", impl, dtype)
    if isinstance(key_bits_array, Key):
        raise errors.ArgumentError("functrans.random.wrap_key_data: an array of uint32 is needed, got a typed key")
    words = words_of("wrap_key_data", key_bits_array, batched=True)
    note_make(words)
    return Key(*words)


def key_impl(keys: Any) -> str:
    """The name of the generator of keys: ``"threefry2x32"``.

    >>> import functrans as ft
    >>> ft.random.key_impl(ft.random.key(0))
    'threefry2x32'
    """
    words_of("key_impl", keys, batched=True)
    return IMPLEMENTATION


def key_dtype(impl: Any = None) -> KeyType:
    """The dtype of keys of a generator.

    >>> import functrans as ft
    >>> ft.random.key(0).dtype == ft.random.key_dtype()
    True
    """
    _check_impl("functrans.random.key_dtype", impl, None)
    return _TYPE


def clone(key: Any) -> Any:
    """The same key, to be used a second time on purpose: ``functrans.debug_key_reuse`` takes it for a new one.

    >>> import functrans as ft
    >>> key = ft.random.key(0)
    >>> ft.random.clone(key) == key
    np.True_
    """
    words = words_of("clone", key, batched=True)
    note_make(words)
    return Key(*words) if isinstance(key, Key) else key
