"""CIFAR-10's binary files: planes become channels, and damage is named."""

import numpy as np
import pytest

from refplay.data import load_dataset
from refplay.errors import InputError


def refused(folder, *parts):
    with pytest.raises(InputError) as caught:
        load_dataset(folder)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert str(part) in str(caught.value)


def test_pixels_stand_where_the_format_puts_them(cifar):
    folder, records = cifar
    data = load_dataset(folder)
    assert [len(split.y) for split in (data.train, data.valid, data.test)] == [50, 10, 12]
    assert data.train.x.shape[1:] == (32, 32, 3)
    assert data.train.x.flags.c_contiguous
    assert data.test.x.flags.c_contiguous
    record = records["test_batch.bin"]
    np.testing.assert_array_equal(data.test.y, record[:, 0])
    for row, column, channel in ((0, 0, 0), (0, 31, 0), (31, 0, 1), (17, 5, 2)):
        byte = record[:, 1 + channel * 1024 + row * 32 + column]
        np.testing.assert_array_equal(data.test.x[:, row, column, channel], (byte / 255).astype(np.float32))


def test_training_set_is_all_five_files(cifar):
    folder, records = cifar
    data = load_dataset(folder)
    sums = sorted(int(record[1:].sum(dtype=np.int64)) for name, rows in records.items() if name != "test_batch.bin"
                  for record in rows)
    got = sorted(round(float(x.sum(dtype=np.float64) * 255)) for split in (data.train, data.valid) for x in split.x)
    assert got == sums


def test_without_test_file_a_test_set_is_split_off(cifar):
    folder, _ = cifar
    (folder / "test_batch.bin").unlink()
    data = load_dataset(folder)
    assert [len(split.y) for split in (data.train, data.valid, data.test)] == [40, 10, 10]


@pytest.mark.parametrize("size", [0, 1, 3072, 3074, 12 * 3073 - 1])
@pytest.mark.parametrize("name", ["data_batch_3.bin", "test_batch.bin"])
def test_wrong_size(cifar, name, size):
    folder, _ = cifar
    (folder / name).write_bytes(bytes(size))
    refused(folder, folder / name, f"{size} bytes", "3073")


def test_missing_training_file(cifar):
    folder, _ = cifar
    (folder / "data_batch_4.bin").unlink()
    refused(folder, folder, "no data_batch_4.bin")


def test_label_out_of_range(cifar):
    folder, records = cifar
    records["data_batch_2.bin"][7, 0] = 10
    (folder / "data_batch_2.bin").write_bytes(records["data_batch_2.bin"].tobytes())
    refused(folder, folder / "data_batch_2.bin", "label 10 of record 7", "0..9")
