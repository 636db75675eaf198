"""Writers of data files, independent of the readers under test."""

import gzip
import struct

import numpy as np
import pytest

CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx_bytes(array):
    header = struct.pack(">HBB", 0, CODES[array.dtype.name], array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def to_idx():
    """Return the function array -> bytes of an IDX file."""
    return idx_bytes


@pytest.fixture
def images():
    """48 images 5x4 that are all different, and labels 0..2."""
    rng = np.random.default_rng(20261)
    return rng.integers(0, 256, (48, 5, 4), dtype=np.uint8), (np.arange(48) % 3).astype(np.uint8)


@pytest.fixture
def mnist(tmp_path, images):
    """A folder of four IDX files: 36 training and 12 test images; a function to break them."""
    x, y = images
    parts = {"train-images-idx3-ubyte": x[:36], "train-labels-idx1-ubyte": y[:36],
             "t10k-images-idx3-ubyte": x[36:], "t10k-labels-idx1-ubyte": y[36:]}
    for name, array in parts.items():
        (tmp_path / name).write_bytes(idx_bytes(array))
    return tmp_path


@pytest.fixture
def compress():
    """Return the function that replaces a file by its .gz."""

    def to_gz(path):
        packed = path.with_name(path.name + ".gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
        return packed

    return to_gz


@pytest.fixture
def cifar(tmp_path):
    """A folder of the six CIFAR-10 files with 12 records each; the raw records by file name."""
    rng = np.random.default_rng(20262)
    records = {}
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        records[name] = rng.integers(0, 256, (12, 3073), dtype=np.uint8)
        records[name][:, 0] = rng.permutation(np.arange(12) % 10)
        (tmp_path / name).write_bytes(records[name].tobytes())
    return tmp_path, records
