"""Data sets for the examples: the UCI optical digits kept in this folder, and MNIST from files that you have.

``load_digits`` and ``get_mnist`` give a training and a test ``DataSet``, which deals out minibatches::

    train, test = load_digits(onehot=True)
    images, labels = train.next_batch(100)          # float64[100, 64], float64[100, 10]

The IDX format of MNIST is read by ``read_idx`` and written by ``write_idx``: every dtype, gzipped or not.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
PathLike = str | os.PathLike[str]

DIGITS_FILE = Path(__file__).parent / "data" / "digits.csv.gz"
DIGITS_TRAINING_EXAMPLES = 1437

IDX_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_IDX_CODES = {dtype.newbyteorder("="): code for code, dtype in IDX_DTYPES.items()}
_IDX_DTYPE_NAMES = ", ".join(dtype.newbyteorder("=").name for dtype in IDX_DTYPES.values())
_MAX_RANK = 64  # NumPy's own limit; the format would allow 255

_MNIST_NAMES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}
_MNIST_SOURCES = "yann.lecun.com/exdb/mnist, or its mirror ossci-datasets.s3.amazonaws.com/mnist"


class IdxError(ValueError):
    """A file that is not an IDX file, or a damaged one. The message says which, and what is wrong with it."""


class DataSet:
    """Images with their labels, dealt out in shuffled minibatches.

    ``images`` and ``labels`` have the same length and keep the order in which they came. Every epoch deals
    out each example exactly once, in an order of its own; ``seed`` fixes all of these orders.

    >>> numbers = DataSet(np.arange(4.0), np.arange(4), seed=1)
    >>> sorted(int(i) for _ in range(2) for i in numbers.next_batch(2)[1])
    [0, 1, 2, 3]
    """

    def __init__(self, images: Array, labels: Array, *, seed: int = 0) -> None:
        if images.ndim == 0 or labels.ndim == 0 or len(images) != len(labels):
            raise ValueError(
                f"DataSet: images and labels must have one entry per example, but images have shape "
                f"{images.shape} and labels {labels.shape}; give arrays whose first dimensions are equal"
            )
        if len(images) == 0:
            raise ValueError("DataSet: there are no examples; give at least one")
        self.images = images
        self.labels = labels
        self.epochs_completed = 0
        # RandomState's streams are frozen, Generator's are not: the same batches with every NumPy.
        self._random = np.random.RandomState(seed)
        self._order = self._random.permutation(len(images))
        self._position = 0

    @property
    def num_examples(self) -> int:
        return len(self.images)

    def next_batch(self, n: int) -> tuple[Array, Array]:
        """The next ``n`` examples: arrays of their own, ``images[n, ...]`` and ``labels[n, ...]``.

        A batch that reaches the end of an epoch is completed with the first examples of the next one, which
        is shuffled anew. ``n`` must be between 1 and ``num_examples``, else ``ValueError``.
        """
        if not 1 <= n <= self.num_examples:
            raise ValueError(f"DataSet.next_batch: n is {n}; give 1 to num_examples, {self.num_examples}")
        chosen = self._order[self._position : self._position + n]
        self._position += n
        if self._position >= self.num_examples:
            self.epochs_completed += 1
            self._position -= self.num_examples
            self._order = self._random.permutation(self.num_examples)
            chosen = np.concatenate([chosen, self._order[: self._position]])
        return self.images[chosen], self.labels[chosen]

    def __repr__(self) -> str:
        return f"DataSet(images={_describe(self.images)}, labels={_describe(self.labels)})"


class Splits(NamedTuple):
    """The training and the test part of a data set."""

    train: DataSet
    test: DataSet


def load_digits(
    flatten: bool = True, onehot: bool = False, dtype: npt.DTypeLike = np.float64, *, seed: int = 0
) -> Splits:
    """The UCI optical digits: 1797 images of 8x8 pixels; 1437 of them to train on and 360 to test.

    The division is the same at every call; ``seed`` is that of the minibatches. Images have shape
    ``(n, 64)``, or ``(n, 8, 8)`` without ``flatten``; with a floating ``dtype`` pixels lie between 0 and 1,
    with an integer one between 0 and 16. Labels are ``int64[n]``, or ``dtype[n, 10]`` with ``onehot``.

    >>> train, test = load_digits()
    >>> train.num_examples, test.images.shape, test.labels.dtype
    (1437, (360, 64), dtype('int64'))
    """
    with gzip.open(DIGITS_FILE, "rt", encoding="ascii") as file:
        table = np.loadtxt(file, dtype=np.uint8, delimiter=",")
    # The file is ordered by writer: without the shuffle the test set would be other people's hands.
    table = table[np.random.RandomState(0).permutation(len(table))]
    pixels, digits = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    images, labels = _as_images(pixels, 16, flatten, dtype), _as_labels(digits, onehot, dtype)
    n = DIGITS_TRAINING_EXAMPLES
    return Splits(DataSet(images[:n], labels[:n], seed=seed), DataSet(images[n:], labels[n:], seed=seed))


def get_mnist(
    directory: PathLike,
    flatten: bool = True,
    onehot: bool = False,
    dtype: npt.DTypeLike = np.float32,
    *,
    seed: int = 0,
) -> Splits:
    """MNIST, or a set in the same form such as Fashion-MNIST: four IDX files in ``directory``, maybe gzipped.

    Images have shape ``(n, 784)``, or ``(n, 28, 28)`` without ``flatten``; with a floating ``dtype`` pixels
    lie between 0 and 1, with an integer one between 0 and 255. Labels are ``int64[n]``, or ``dtype[n, 10]``
    with ``onehot``. Raises ``FileNotFoundError``, which says what was looked for and where to get it, and
    ``IdxError`` for a damaged file.
    """
    splits = {}
    for split in ("train", "test"):
        images_path = _find_mnist_file(Path(directory), _MNIST_NAMES[split, "images"])
        labels_path = _find_mnist_file(Path(directory), _MNIST_NAMES[split, "labels"])
        images = _read_bytes_of_rank(images_path, 3, "images")
        labels = _read_bytes_of_rank(labels_path, 1, "labels")
        if len(images) != len(labels):
            raise IdxError(
                f"get_mnist: {images_path} holds {len(images)} images but {labels_path} holds {len(labels)} "
                "labels; they do not belong together"
            )
        if labels.size and labels.max() > 9:
            raise IdxError(f"get_mnist: {labels_path} has the label {labels.max()}; labels must be 0 to 9")
        prepared = _as_images(images, 255, flatten, dtype), _as_labels(labels, onehot, dtype)
        splits[split] = DataSet(*prepared, seed=seed)
    return Splits(**splits)


def read_idx(path: PathLike) -> Array:
    """The array in an IDX file, gzipped or not (told by its content): native byte order, writeable.

    Raises ``IdxError`` where the file is damaged: wrong magic, unknown dtype, too short or long, broken gzip.
    """
    with open(path, "rb") as file:
        data = file.read()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise IdxError(f"read_idx: {path} is a damaged gzip file ({error}); get it again") from error
    if len(data) < 4:
        raise IdxError(f"read_idx: {path} is truncated: {len(data)} bytes, but the shortest header has 4")
    zeros, code, rank = struct.unpack_from(">HBB", data)
    if zeros != 0:
        raise IdxError(
            f"read_idx: {path} has the wrong magic: an IDX file starts with two zero bytes, this one with "
            f"{data[:2].hex(' ')}"
        )
    if code not in IDX_DTYPES:
        known = ", ".join(f"0x{code:02x} ({dtype.name})" for code, dtype in IDX_DTYPES.items())
        raise IdxError(f"read_idx: {path} has the unknown dtype code 0x{code:02x}; the format has {known}")
    if rank > _MAX_RANK:
        raise IdxError(f"read_idx: {path} declares {rank} dimensions; NumPy has at most {_MAX_RANK}")
    start = 4 + 4 * rank
    if len(data) < start:
        raise IdxError(f"read_idx: {path} is truncated: {len(data)} bytes, but the header of rank {rank} takes {start}")
    shape = struct.unpack_from(f">{rank}I", data, 4)
    dtype = IDX_DTYPES[code]
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        problem = "is truncated" if len(data) < expected else "is too long"
        raise IdxError(
            f"read_idx: {path} {problem}: the header says {dtype.name}{list(shape)}, so {expected} bytes, "
            f"but there are {len(data)}"
        )
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def write_idx(path: PathLike, array: npt.ArrayLike) -> None:
    """Write ``array`` as an IDX file, gzipped if the name ends in ``.gz``.

    The format knows six dtypes; any other raises ``TypeError``, since a silent cast could lose values.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_idx(folder + "/numbers.gz", np.arange(6, dtype=np.int16).reshape(2, 3))
    ...     read_idx(folder + "/numbers.gz")
    array([[0, 1, 2],
           [3, 4, 5]], dtype=int16)
    """
    array = np.asarray(array)
    native = array.dtype.newbyteorder("=")
    if native not in _IDX_CODES:
        raise TypeError(
            f"write_idx: the IDX format has no {array.dtype}; convert the array with astype to one of "
            f"{_IDX_DTYPE_NAMES}"
        )
    if any(size >= 2**32 for size in array.shape):
        raise ValueError(f"write_idx: a dimension of the shape {array.shape} does not fit into 32 bits")
    header = struct.pack(f">HBB{array.ndim}I", 0, _IDX_CODES[native], array.ndim, *array.shape)
    data = header + array.astype(native.newbyteorder(">")).tobytes()
    # No time stamp in the compressed form: equal arrays give equal files.
    Path(path).write_bytes(gzip.compress(data, mtime=0) if str(path).endswith(".gz") else data)


def _find_mnist_file(directory: Path, name: str) -> Path:
    dotted = name.replace("-idx", ".idx")
    candidates = [name, name + ".gz", dotted, dotted + ".gz"]
    for candidate in candidates:
        if (directory / candidate).is_file():
            return directory / candidate
    raise FileNotFoundError(
        f"get_mnist: {directory} has none of {', '.join(candidates)}; get the four files of MNIST from "
        f"{_MNIST_SOURCES}, put them there as they are, and give that directory"
    )


def _read_bytes_of_rank(path: Path, rank: int, what: str) -> Array:
    array = read_idx(path)
    if array.dtype != np.uint8 or array.ndim != rank:
        raise IdxError(f"get_mnist: {path} holds {_describe(array)}, but {what} are uint8 of rank {rank}")
    return array


def _as_images(pixels: Array, brightest: int, flatten: bool, dtype: npt.DTypeLike) -> Array:
    images = pixels.astype(dtype)
    if np.issubdtype(images.dtype, np.floating):
        images /= brightest
    return images.reshape(len(images), -1) if flatten else images


def _as_labels(digits: Array, onehot: bool, dtype: npt.DTypeLike) -> Array:
    return np.eye(10, dtype=dtype)[digits] if onehot else digits.astype(np.int64)


def _describe(array: Array) -> str:
    return f"{array.dtype.name}[{', '.join(map(str, array.shape))}]"
