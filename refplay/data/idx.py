"""IDX files, the format of MNIST, Fashion-MNIST and their kin.

A file is two zero bytes, a type code, the number of dimensions, each dimension as a big-endian uint32, and then the
values, big-endian, in C order. Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from refplay.errors import InputError

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

# Array name -> file name; a dot in place of the last-but-one hyphen and a .gz at the end are also accepted.
FILES = {"x_train": "train-images-idx3-ubyte", "y_train": "train-labels-idx1-ubyte",
         "x_test": "t10k-images-idx3-ubyte", "y_test": "t10k-labels-idx1-ubyte"}

CHUNK = 1 << 20
MOST_DIMENSIONS = 4


def read_idx(path: Path) -> np.ndarray:
    """Return the array that an IDX file holds, in native byte order; a name that ends in .gz is decompressed.

    Raises
    ------
    InputError
        The file cannot be read, is no IDX file, is empty, or holds more or fewer values than its header says.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            return _read(cast(BinaryIO, file), path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is not a whole gzip file ({error}); download it again") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _read(file: BinaryIO, path: Path) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or not 1 <= magic[3] <= MOST_DIMENSIONS:
        raise InputError(f"{path} is not an IDX file: it starts with the bytes {magic.hex(' ') or '(none)'}; an IDX "
                         f"file starts with 00 00, a type code ({', '.join(f'{code:02x}' for code in DTYPES)}) and a "
                         f"number of dimensions (01 to {MOST_DIMENSIONS:02x}): put the right file under this name")
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise InputError(f"{path} is truncated inside its header; download it again")
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4"))
    dtype = np.dtype(DTYPES[magic[2]])
    if 0 in shape:
        raise InputError(f"{path} is empty: its header gives shape {list(shape)}; put a file with data in its place")
    expected = math.prod(shape) * dtype.itemsize
    body = _read_at_most(file, expected + 1)  # one more than expected: enough to know, never a whole gzip bomb
    if len(body) != expected:
        state, size = ("oversized", "more") if len(body) > expected else ("truncated", str(len(body)))
        raise InputError(f"{path} is {state}: shape {list(shape)} of its header needs {expected} bytes of values, "
                         f"it has {size}; download it again")
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_at_most(file: BinaryIO, limit: int) -> bytes:
    # In chunks: read(limit) would allocate all that a damaged header asks for.
    body = bytearray()
    while len(body) < limit and (chunk := file.read(min(CHUNK, limit - len(body)))):
        body += chunk
    return bytes(body)


def find_idx(folder: Path) -> dict[str, Path]:
    """Return which of the four MNIST files the folder has, by array name."""
    found = {}
    for key, name in FILES.items():
        dotted = name.replace("-idx", ".idx")
        candidates = (folder / (form + suffix) for suffix in ("", ".gz") for form in (name, dotted))
        path = next((path for path in candidates if path.is_file()), None)
        if path is not None:
            found[key] = path
    return found


def read_idx_folder(folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays x_train, y_train and, where the folder has them, x_test, y_test.

    Raises
    ------
    InputError
        A file is missing or bad, or images and labels differ in number.
    """
    found = find_idx(folder)
    arrays: dict[str, np.ndarray] = {}
    for part in ("train", "test"):
        x, y = f"x_{part}", f"y_{part}"
        if part == "test" and x not in found and y not in found:
            continue
        for key in (x, y):
            if key not in found:
                raise InputError(f"{folder} has no {FILES[key]} (or .gz), which belongs to the files that are there")
        images, labels = read_idx(found[x]), read_idx(found[y])
        for path, array, dimensions in ((found[x], images, 3), (found[y], labels, 1)):
            if array.ndim != dimensions:
                raise InputError(f"{path} has {array.ndim} dimensions where its name promises {dimensions}; "
                                 "put the right file under this name")
        if len(images) != len(labels):
            raise InputError(f"{found[x]} has {len(images)} images but {found[y]} has {len(labels)} labels; "
                             "take both from the same data set")
        arrays |= {x: images, y: labels}
    return arrays
