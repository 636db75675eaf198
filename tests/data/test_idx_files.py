"""IDX files and folders: read as written, and every kind of damage named."""

import gzip
import struct

import numpy as np
import pytest

from refplay.data import load_dataset
from refplay.data.idx import read_idx
from refplay.errors import InputError

TRAIN_X, TRAIN_Y, TEST_X = "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"


def refused(function, *parts):
    """The message of the InputError, after checks that it is one line and holds all parts."""
    with pytest.raises(InputError) as caught:
        function()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message, message


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (2, 1, 3, 2)])
def test_every_type_and_shape_reads_as_written(tmp_path, to_idx, dtype, shape):
    array = (np.random.default_rng(5).normal(size=shape) * 60).astype(dtype)
    (tmp_path / "a").write_bytes(to_idx(array))
    (tmp_path / "b.gz").write_bytes(gzip.compress(to_idx(array)))
    for name in ("a", "b.gz"):
        result = read_idx(tmp_path / name)
        assert result.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(result, array)


def test_header_of_the_real_mnist():
    # The first 16 bytes of train-images-idx3-ubyte as published: magic 2051, 60,000 images of 28 by 28.
    assert struct.pack(">4I", 2051, 60000, 28, 28) == bytes.fromhex("00000803 0000ea60 0000001c 0000001c")


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_folder_in_all_its_spellings(mnist, images, compress, dotted, packed):
    for path in list(mnist.iterdir()):
        renamed = path.rename(path.with_name(path.name.replace("-idx", ".idx") if dotted else path.name))
        if packed:
            compress(renamed)
    x, y = images
    data = load_dataset(mnist, seed=1)
    assert data.name == mnist.name
    assert data.classes == 3
    np.testing.assert_array_equal(data.test.x, (x[36:, :, :, None] / 255).astype(np.float32))
    np.testing.assert_array_equal(data.test.y, y[36:])
    assert (len(data.train.y), len(data.valid.y)) == (30, 6)
    rest = np.concatenate([data.train.x, data.valid.x])
    together = {image.tobytes() for image in np.round(rest * 255).astype(np.uint8)}
    assert together == {image.tobytes() for image in x[:36, :, :, None]}


def test_folder_without_test_files(mnist):
    for name in (TEST_X, "t10k-labels-idx1-ubyte"):
        (mnist / name).unlink()
    data = load_dataset(mnist)
    assert [len(split.y) for split in (data.train, data.valid, data.test)] == [24, 6, 6]


def test_missing_folder(tmp_path):
    refused(lambda: load_dataset(tmp_path / "nowhere"), tmp_path / "nowhere", "no such file or folder", "digits")


def test_folder_without_known_files_says_what_was_looked_for(tmp_path):
    refused(lambda: load_dataset(tmp_path), tmp_path, TRAIN_X, "t10k-labels-idx1-ubyte", "data_batch_1.bin", ".gz")


@pytest.mark.parametrize("name", [TRAIN_X, TRAIN_Y, TEST_X, "t10k-labels-idx1-ubyte"])
def test_one_missing_file(mnist, name):
    (mnist / name).unlink()
    refused(lambda: load_dataset(mnist), mnist, name)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("damage", "word"), [
    (lambda raw: raw[:-1], "truncated"), (lambda raw: raw[:16], "truncated"),
    (lambda raw: raw[:9], "inside its header"),
    (lambda raw: raw + b"x", "oversized"), (lambda raw: raw + raw, "oversized"),
    (lambda raw: raw[:2], "not an IDX file"), (lambda raw: b"", "(none)"),
    (lambda raw: b"\x01" + raw[1:], "01 00 08 03"), (lambda raw: raw[:2] + b"\x07" + raw[3:], "00 00 07 03"),
    (lambda raw: raw[:3] + b"\xc8" + raw[4:], "00 00 08 c8"), (lambda raw: raw[:3] + b"\x00" + raw[4:], "00 00 08 00"),
    (lambda raw: raw[:4] + b"\xff" * 12 + raw[16:], "truncated"),  # a header that asks for 2**96 bytes
    (lambda raw: raw[:4] + b"\0" * 4 + b"\xff" * 8, "is empty"),  # more than NumPy can address, times nothing
])  # fmt: skip
def test_damaged_file(mnist, compress, damage, word, packed):
    path = mnist / TRAIN_X
    path.write_bytes(damage(path.read_bytes()))
    path = compress(path) if packed else path
    refused(lambda: load_dataset(mnist), path, word)


@pytest.mark.parametrize("cut", [3, 12, 60, -9, -4])
def test_truncated_gzip(mnist, compress, cut):
    path = compress(mnist / TRAIN_X)
    path.write_bytes(path.read_bytes()[:cut])
    refused(lambda: load_dataset(mnist), path, "not a whole gzip file", "download it again")


@pytest.mark.parametrize("position", [30, -5])
def test_corrupt_gzip(mnist, compress, position):
    path = compress(mnist / TRAIN_X)
    raw = bytearray(path.read_bytes())
    raw[position] ^= 0xFF
    path.write_bytes(bytes(raw))
    refused(lambda: load_dataset(mnist), path)


def test_gzip_with_an_invalid_block(mnist, compress):
    path = compress(mnist / TRAIN_X)
    path.write_bytes(bytes.fromhex("1f8b0800 00000000 0000 07"))  # then a deflate block of type 3, reserved
    refused(lambda: load_dataset(mnist), path, "not a whole gzip file", "invalid block type")


def test_plain_file_under_the_name_of_a_gzip(mnist):
    (mnist / TRAIN_X).rename(mnist / f"{TRAIN_X}.gz")
    refused(lambda: load_dataset(mnist), f"{TRAIN_X}.gz", "not a whole gzip file")


def test_gzip_bomb_is_not_unpacked(mnist, to_idx, monkeypatch):
    # 64 MiB of zeros behind a header of 36 images: reading must stop at the first surplus byte.
    (mnist / TRAIN_X).unlink()
    bomb = mnist / f"{TRAIN_X}.gz"
    bomb.write_bytes(gzip.compress(to_idx(np.zeros((36, 5, 4), np.uint8)) + bytes(1 << 26)))
    asked = []
    original = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: asked.append(size) or original(self, size))
    refused(lambda: load_dataset(mnist), bomb, "oversized")
    assert all(0 <= size <= 721 for size in asked)
    assert sum(asked) <= 4 + 12 + 721


def test_counts_of_images_and_labels_differ(mnist, to_idx):
    (mnist / TRAIN_Y).write_bytes(to_idx(np.zeros(35, np.uint8)))
    refused(lambda: load_dataset(mnist), mnist / TRAIN_X, "36 images", mnist / TRAIN_Y, "35 labels")


def test_images_and_labels_exchanged(mnist):
    x, y = (mnist / TRAIN_X).read_bytes(), (mnist / TRAIN_Y).read_bytes()
    (mnist / TRAIN_X).write_bytes(y)
    (mnist / TRAIN_Y).write_bytes(x)
    refused(lambda: load_dataset(mnist), mnist / TRAIN_X, "1 dimensions")


def test_empty_training_set(mnist, to_idx):
    (mnist / TRAIN_X).write_bytes(to_idx(np.zeros((0, 5, 4), np.uint8)))
    (mnist / TRAIN_Y).write_bytes(to_idx(np.zeros(0, np.uint8)))
    refused(lambda: load_dataset(mnist), mnist / TRAIN_X, "is empty", "[0, 5, 4]")


def test_test_label_that_training_does_not_have(mnist, to_idx):
    (mnist / "t10k-labels-idx1-ubyte").write_bytes(to_idx(np.array([0] * 11 + [7], np.uint8)))
    refused(lambda: load_dataset(mnist), mnist, "label 7 at index 11 of y_test", "0..2")


def test_name_that_is_a_folder(mnist):
    path = mnist / TRAIN_X
    path.unlink()
    path.mkdir()
    refused(lambda: load_dataset(mnist), mnist, TRAIN_X)
