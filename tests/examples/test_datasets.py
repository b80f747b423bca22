"""The data of the examples: the digits in the repository, IDX files, MNIST from a directory, minibatches."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets import DataSet, IdxError, get_mnist, load_digits, read_idx, write_idx
from numpy.testing import assert_array_equal


class TestDigits:
    def test_the_rows_are_those_of_the_source(self) -> None:
        text = gzip.decompress(datasets.DIGITS_FILE.read_bytes())
        attribution = (datasets.DIGITS_FILE.parent / "ATTRIBUTION.md").read_text()
        assert hashlib.sha256(text).hexdigest() in attribution

    def test_flat_images_and_integer_labels(self) -> None:
        train, test = load_digits()
        assert (train.num_examples, test.num_examples) == (1437, 360)
        assert train.images.shape == (1437, 64)
        assert train.images.dtype == np.float64
        assert (train.images.min(), train.images.max()) == (0.0, 1.0)
        assert train.labels.dtype == np.int64
        counts = np.bincount(train.labels) + np.bincount(test.labels)
        assert_array_equal(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])

    def test_every_row_is_in_exactly_one_part(self) -> None:
        rows = np.loadtxt(datasets.DIGITS_FILE, delimiter=",", dtype=int)
        train, test = load_digits(dtype=int)
        images = np.concatenate([train.images, test.images])
        labels = np.concatenate([train.labels, test.labels])
        together = np.column_stack([images, labels])
        assert sorted(map(tuple, together.tolist())) == sorted(map(tuple, rows.tolist()))

    def test_squares_and_flat_rows_are_the_same_pixels(self) -> None:
        flat, square = load_digits().test, load_digits(flatten=False).test
        assert square.images.shape == (360, 8, 8)
        assert_array_equal(square.images.reshape(360, 64), flat.images)
        assert_array_equal(square.labels, flat.labels)

    def test_onehot_labels(self) -> None:
        labels, onehot = load_digits().test.labels, load_digits(onehot=True, dtype=np.float32).test.labels
        assert onehot.shape == (360, 10)
        assert onehot.dtype == np.float32
        assert_array_equal(onehot.argmax(axis=1), labels)
        assert_array_equal(onehot.sum(axis=1), 1)

    def test_an_integer_dtype_keeps_the_raw_pixels(self) -> None:
        images = load_digits(dtype=np.uint8).train.images
        assert images.dtype == np.uint8
        assert images.max() == 16
        assert_array_equal(images / 16, load_digits().train.images)

    def test_the_division_does_not_depend_on_the_seed(self) -> None:
        assert_array_equal(load_digits(seed=1).test.images, load_digits(seed=2).test.images)
        assert not np.array_equal(
            load_digits(seed=1).train.next_batch(9)[1], load_digits(seed=2).train.next_batch(9)[1]
        )


class TestDataSet:
    def numbers(self, n: int, seed: int = 0) -> DataSet:
        return DataSet(10.0 * np.arange(n), np.arange(n), seed=seed)

    def test_an_epoch_deals_out_each_example_once(self) -> None:
        data = self.numbers(12)
        dealt = [data.next_batch(4) for _ in range(3)]
        assert sorted(np.concatenate([labels for _, labels in dealt])) == list(range(12))
        assert all(np.array_equal(images, 10 * labels) for images, labels in dealt)
        assert data.epochs_completed == 1

    def test_each_epoch_has_an_order_of_its_own(self) -> None:
        data = self.numbers(50)
        first, second = data.next_batch(50)[1], data.next_batch(50)[1]
        assert not np.array_equal(first, np.arange(50))
        assert not np.array_equal(first, second)
        assert data.epochs_completed == 2

    def test_a_batch_over_the_end_is_completed_from_the_next_epoch(self) -> None:
        data, n, size, batches = self.numbers(10), 10, 4, 15
        stream = np.concatenate([data.next_batch(size)[1] for _ in range(batches)])
        assert data.epochs_completed == batches * size // n
        for epoch in stream.reshape(-1, n):
            assert sorted(epoch) == list(range(n))

    def test_the_seed_fixes_all_orders(self) -> None:
        same, again, other = self.numbers(30, seed=3), self.numbers(30, seed=3), self.numbers(30, seed=4)
        streams = [np.concatenate([data.next_batch(7)[1] for _ in range(20)]) for data in (same, again, other)]
        assert_array_equal(streams[0], streams[1])
        assert not np.array_equal(streams[0], streams[2])

    def test_a_batch_owns_its_memory(self) -> None:
        data = self.numbers(5)
        images, labels = data.next_batch(5)
        images[:], labels[:] = -1, -1
        assert_array_equal(data.images, 10.0 * np.arange(5))
        assert_array_equal(data.labels, np.arange(5))

    @pytest.mark.parametrize("n", [0, -1, 6])
    def test_a_batch_size_out_of_range(self, n: int) -> None:
        with pytest.raises(ValueError, match=rf"next_batch: n is {n}; give 1 to num_examples, 5"):
            self.numbers(5).next_batch(n)

    def test_unequal_lengths(self) -> None:
        with pytest.raises(ValueError, match=r"images have shape \(3, 2\) and labels \(4,\)"):
            DataSet(np.zeros((3, 2)), np.zeros(4))

    def test_no_examples(self) -> None:
        with pytest.raises(ValueError, match="there are no examples"):
            DataSet(np.zeros((0, 2)), np.zeros(0))


def idx_bytes(code: int, shape: tuple[int, ...], payload: bytes) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape) + payload


class TestIdx:
    def test_big_endian_bytes_written_by_hand(self, tmp_path: Path) -> None:
        path = tmp_path / "hand"
        path.write_bytes(bytes([0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 3]) + bytes([0, 1, 1, 0, 0xFF, 0xFE]))
        array = read_idx(path)
        assert_array_equal(array, [[1, 256, -2]])
        assert array.dtype == np.dtype("=i2")

    @pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64])
    @pytest.mark.parametrize("name", ["array", "array.gz"])
    @pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (2, 0, 3), (2, 1, 3, 2)])
    def test_what_is_written_is_read(self, tmp_path: Path, dtype: Any, name: str, shape: tuple[int, ...]) -> None:
        array = np.random.RandomState(0).randint(-100, 100, size=shape).astype(dtype)
        write_idx(tmp_path / name, array)
        read = read_idx(tmp_path / name)
        assert read.dtype == array.dtype
        assert read.shape == shape
        assert_array_equal(read, array)
        assert read.flags.writeable
        assert read.dtype.isnative

    def test_extreme_values_survive(self, tmp_path: Path) -> None:
        for values in (
            np.array([np.iinfo(np.int32).min, np.iinfo(np.int32).max], np.int32),
            np.array([np.nan, np.inf, -0.0, np.finfo(np.float64).tiny], np.float64),
        ):
            write_idx(tmp_path / "extreme", values)
            assert read_idx(tmp_path / "extreme").tobytes() == values.tobytes()

    def test_any_byte_order_and_layout_is_written(self, tmp_path: Path) -> None:
        array = np.arange(12, dtype=">i4").reshape(3, 4).T
        write_idx(tmp_path / "transposed", array)
        assert_array_equal(read_idx(tmp_path / "transposed"), array)

    def test_gzip_is_told_by_content(self, tmp_path: Path) -> None:
        write_idx(tmp_path / "a.gz", np.arange(3, dtype=np.uint8))
        (tmp_path / "a.gz").rename(tmp_path / "plain-name")
        assert_array_equal(read_idx(tmp_path / "plain-name"), [0, 1, 2])

    def test_equal_arrays_give_equal_gzip_files(self, tmp_path: Path) -> None:
        for name in ("a.gz", "b.gz"):
            write_idx(tmp_path / name, np.arange(100, dtype=np.int16))
        assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()

    @pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.float16, np.bool_, np.complex128])
    def test_a_dtype_that_the_format_lacks(self, tmp_path: Path, dtype: Any) -> None:
        with pytest.raises(TypeError, match=rf"no {np.dtype(dtype)}.*astype to one of uint8, int8, int16"):
            write_idx(tmp_path / "array", np.zeros(3, dtype))
        assert not (tmp_path / "array").exists()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "truncated: 0 bytes"),
            (b"\x00\x00\x08", "truncated: 3 bytes"),
            (b"\x89PNG\r\n\x1a\n", "wrong magic: .* two zero bytes, this one with 89 50"),
            (idx_bytes(0x0A, (1,), b"\0"), "unknown dtype code 0x0a; the format has 0x08"),
            (idx_bytes(0x08, (2, 3), b"")[:9], "truncated: 9 bytes, but the header of rank 2 takes 12"),
            (
                idx_bytes(0x08, (2, 3), b"12345"),
                r"truncated: the header says uint8\[2, 3\], so 18 bytes, .* are 17",
            ),
            (
                idx_bytes(0x0C, (2,), b"123456789"),
                r"too long: the header says int32\[2\], so 16 bytes, .* are 17",
            ),
            (idx_bytes(0x08, (2**32 - 1,) * 3, b""), "truncated"),
            (idx_bytes(0x08, (1,) * 65, b"1"), "declares 65 dimensions; NumPy has at most 64"),
            (gzip.compress(idx_bytes(0x08, (3,), b"123"))[:-9], "damaged gzip file"),
            (gzip.compress(idx_bytes(0x08, (3,), b"12")), "truncated"),
        ],
    )
    def test_damaged_files(self, tmp_path: Path, content: bytes, message: str) -> None:
        path = tmp_path / "damaged"
        path.write_bytes(content)
        with pytest.raises(IdxError, match=message) as caught:
            read_idx(path)
        assert str(path) in str(caught.value)


class TestMnist:
    def write(self, folder: Path, suffix: str = "", dotted: bool = False) -> dict[str, np.ndarray[Any, Any]]:
        random = np.random.RandomState(0)
        arrays = {
            "train-images-idx3-ubyte": random.randint(0, 256, (6, 28, 28)).astype(np.uint8),
            "train-labels-idx1-ubyte": np.array([3, 1, 4, 1, 5, 9], np.uint8),
            "t10k-images-idx3-ubyte": random.randint(0, 256, (2, 28, 28)).astype(np.uint8),
            "t10k-labels-idx1-ubyte": np.array([2, 6], np.uint8),
        }
        for name, array in arrays.items():
            write_idx(folder / ((name.replace("-idx", ".idx") if dotted else name) + suffix), array)
        return arrays

    @pytest.mark.parametrize("suffix", ["", ".gz"])
    @pytest.mark.parametrize("dotted", [False, True])
    def test_images_and_labels(self, tmp_path: Path, suffix: str, dotted: bool) -> None:
        files = self.write(tmp_path, suffix, dotted)
        train, test = get_mnist(tmp_path)
        assert train.images.dtype == np.float32
        assert_array_equal(train.images, files["train-images-idx3-ubyte"].reshape(6, 784) / np.float32(255))
        assert_array_equal(train.labels, [3, 1, 4, 1, 5, 9])
        assert_array_equal(test.labels, [2, 6])
        assert test.num_examples == 2

    def test_squares_onehot_and_raw_pixels(self, tmp_path: Path) -> None:
        files = self.write(tmp_path)
        test = get_mnist(tmp_path, flatten=False, onehot=True, dtype=np.uint8).test
        assert_array_equal(test.images, files["t10k-images-idx3-ubyte"])
        assert_array_equal(test.labels, np.eye(10)[[2, 6]])
        assert test.labels.dtype == np.uint8

    def test_a_missing_file_says_what_was_looked_for_and_where_to_get_it(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        (tmp_path / "t10k-labels-idx1-ubyte").unlink()
        with pytest.raises(FileNotFoundError) as caught:
            get_mnist(tmp_path)
        message = str(caught.value)
        for name in ("t10k-labels-idx1-ubyte", "t10k-labels-idx1-ubyte.gz", "t10k-labels.idx1-ubyte.gz"):
            assert name in message
        assert str(tmp_path) in message
        assert "exdb/mnist" in message

    def test_images_and_labels_of_different_number(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(5, np.uint8))
        with pytest.raises(IdxError, match=r"holds 6 images but .* holds 5 labels"):
            get_mnist(tmp_path)

    def test_a_label_out_of_range(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.array([2, 10], np.uint8))
        with pytest.raises(IdxError, match="the label 10; labels must be 0 to 9"):
            get_mnist(tmp_path)

    def test_files_that_hold_something_else(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((2, 28, 28), np.float32))
        with pytest.raises(IdxError, match=r"holds float32\[2, 28, 28\], but images are uint8 of rank 3"):
            get_mnist(tmp_path)
        write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((2, 784), np.uint8))
        with pytest.raises(IdxError, match=r"holds uint8\[2, 784\], but images are uint8 of rank 3"):
            get_mnist(tmp_path)
