"""Arrays and .npz files: kept, scaled, split, and refused with the place of the fault."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from refplay.data import from_arrays, load_dataset
from refplay.errors import InputError


@pytest.fixture
def arrays():
    rng = np.random.default_rng(11)
    return {f"{axis}_{part}": rng.normal(3, 2, (n, 7)) if axis == "x" else rng.permutation(np.arange(n) % 4)
            for part, n in (("train", 30), ("valid", 9), ("test", 11)) for axis in "xy"}


def refused(function, *parts):
    with pytest.raises(InputError) as caught:
        function()
    assert "\n" not in str(caught.value)
    for part in parts:
        assert str(part) in str(caught.value), str(caught.value)


def test_npz_with_all_parts_is_kept(tmp_path, arrays):
    path = tmp_path / "blobs.npz"
    np.savez(path, **arrays, note=np.array("something else"))
    data = load_dataset(str(path))
    assert (data.name, data.classes) == ("blobs", 4)
    for part in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(data, part).x, arrays[f"x_{part}"].astype(np.float32))
        np.testing.assert_array_equal(getattr(data, part).y, arrays[f"y_{part}"])
        assert getattr(data, part).x.flags.c_contiguous


@pytest.mark.parametrize(("given", "sizes"), [
    (("train",), [20, 5, 5]), (("train", "test"), [25, 5, 11]), (("train", "valid"), [25, 9, 5]),
])  # fmt: skip
def test_missing_parts_are_split_off_the_training_set(arrays, given, sizes):
    kept = {key: value for key, value in arrays.items() if key[2:] in given}
    data = from_arrays(**kept, seed=2)
    assert [len(split.y) for split in (data.train, data.valid, data.test)] == sizes
    rows = np.concatenate([split.x for part, split in zip(("train", "valid", "test"), data[1:4], strict=True)
                           if part == "train" or part not in given])
    np.testing.assert_array_equal(np.sort(rows[:, 0]), np.sort(arrays["x_train"].astype(np.float32)[:, 0]))
    other = from_arrays(**kept, seed=3)
    assert not np.array_equal(data.train.x, other.train.x)


@pytest.mark.parametrize(("shape", "expected"), [((12, 3), (3,)), ((12, 3, 2), (3, 2, 1)), ((12, 3, 2, 5), (3, 2, 5))])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
def test_shapes_and_scaling(shape, expected, dtype):
    x = np.random.default_rng(3).integers(0, 256, shape).astype(dtype)
    x.flat[0] = 255
    data = from_arrays(x, np.arange(12) % 2, x, np.arange(12) % 2, x, np.arange(12) % 2)
    assert data.train.x.shape[1:] == expected
    assert data.train.x.dtype == np.float32
    truth = x.astype(np.float64).reshape(12, *expected) / (255 if dtype == "uint8" else 1)
    np.testing.assert_array_equal(data.train.x, truth.astype(np.float32))


def test_array_in_fortran_order_becomes_contiguous():
    x = np.asfortranarray(np.random.default_rng(1).normal(size=(12, 5)))
    data = from_arrays(x, [0, 1] * 6, x, [0, 1] * 6, x, [0, 1] * 6)
    assert data.train.x.flags.c_contiguous
    np.testing.assert_array_equal(data.train.x, x.astype(np.float32))


BAD_LABELS = [
    ([0, 1, 2.5], "2.5 at index 2 is not an integer"), ([0, 1, np.nan], "nan at index 2 is not an integer"),
    ([0, np.inf, 1], "inf at index 1 is not an integer"), ([0, 1, -1], "-1 at index 2 is negative"),
    (["a", "b", "c"], "class numbers"), ([[0], [1], [0]], "shape [3, 1]"), ([True, False, True], "dtype bool"),
    ([0, 1], "3 examples but 2 labels"), ([0, 1, 5], "6 classes for only 3"), ([0, 0, 0], "at least two classes"),
    ([0, 1, 2**63], "too large"), ([0, 1, 1e300], "too large"),
]  # fmt: skip


@pytest.mark.parametrize(("labels", "part"), BAD_LABELS)
def test_bad_labels(labels, part):
    refused(lambda: from_arrays(np.ones((3, 2)), np.array(labels), name="mine"), "mine", part)


def test_integer_valued_float_labels_are_class_numbers():
    assert from_arrays(np.ones((12, 2)), np.arange(12) % 3.0).train.y.dtype == np.int64


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_value_that_is_not_finite_in_float32(arrays, part, value):
    arrays[f"x_{part}"][4, 5] = value
    refused(lambda: from_arrays(**arrays, name="mine"), f"x_{part} of mine", str(value), "[4, 5]", "1 values")


@pytest.mark.parametrize(("change", "parts"), [
    ({"x_train": np.ones((30, 7), np.int64)}, ("x_train", "int64", "uint8")),
    ({"x_train": np.ones((30, 7), complex)}, ("x_train", "complex128")),
    ({"x_train": np.ones((30, 7), object)}, ("x_train", "object")),
    ({"x_train": np.ones(30)}, ("x_train", "shape [30]")),
    ({"x_train": np.ones((30, 0))}, ("x_train", "shape [30, 0]")),
    ({"x_train": np.ones((30, 2, 2, 2, 2))}, ("x_train", "[30, 2, 2, 2, 2]")),
    ({"x_test": np.ones((11, 8))}, ("differ in shape", "(8,)", "(7,)")),
    ({"x_test": np.ones((0, 7)), "y_test": np.ones(0, int)}, ("test set is empty",)),
    ({"x_train": np.ones((0, 7)), "y_train": np.ones(0, int)}, ("train set is empty",)),
    ({"y_valid": None}, ("no y_valid",)),
    ({"x_valid": None}, ("no x_valid",)),
    ({"y_test": np.full(11, 4)}, ("label 4 at index 0 of y_test", "0..3")),
])  # fmt: skip
def test_bad_arrays(arrays, change, parts):
    refused(lambda: from_arrays(**(arrays | change), name="mine"), "mine", *parts)


def test_too_few_to_split():
    refused(lambda: from_arrays(np.ones((2, 3)), [0, 1]), "too few", "valid and test", "at least 3")
    assert len(from_arrays(np.ones((3, 3)), [0, 1, 1]).train.y) == 1


def test_npz_with_pickled_objects_is_refused_and_runs_nothing(tmp_path, arrays):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    np.savez(tmp_path / "bad.npz", x_train=np.array([Bomb(), Bomb()], object), y_train=np.array([0, 1]))
    refused(lambda: load_dataset(tmp_path / "bad.npz"), tmp_path / "bad.npz", "x_train", "pickled")
    assert not (tmp_path / "ran").exists()
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Bomb()))
    refused(lambda: load_dataset(tmp_path / "raw.npz"), tmp_path / "raw.npz", "not a whole .npz")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keep", [0, 10, 0.5, -1])
def test_truncated_npz(tmp_path, arrays, keep):
    path = tmp_path / "cut.npz"
    np.savez(path, **arrays)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep) if isinstance(keep, float) else keep])
    refused(lambda: load_dataset(path), path, "not a whole .npz")


def test_npz_with_a_flipped_byte(tmp_path, arrays):
    path = tmp_path / "flipped.npz"
    np.savez_compressed(path, **arrays)
    raw = bytearray(path.read_bytes())
    raw[400] ^= 0xFF
    path.write_bytes(bytes(raw))
    refused(lambda: load_dataset(path), path, "damaged")


def test_npz_with_an_invalid_block(tmp_path, arrays):
    path = tmp_path / "block.npz"
    np.savez_compressed(path, **arrays)
    raw = bytearray(path.read_bytes())
    name, extra = (int.from_bytes(raw[at : at + 2], "little") for at in (26, 28))  # lengths in the first local header
    raw[30 + name + extra] = 0x07  # the first deflate block is now of the reserved type 3
    path.write_bytes(bytes(raw))
    refused(lambda: load_dataset(path), path, "damaged", "invalid block type")


def test_npz_member_that_is_no_array(tmp_path, arrays):
    path, member = tmp_path / "odd.npz", io.BytesIO()
    np.save(member, arrays["x_train"])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", member.getvalue()[:-8])
        archive.writestr("y_train.npy", b"hello")
    refused(lambda: load_dataset(path), path, "x_train", "damaged")


def test_npz_names(tmp_path, arrays):
    path = tmp_path / "names.npz"
    np.savez(path, **arrays, x_vaild=arrays["x_valid"])
    refused(lambda: load_dataset(path), path, "x_vaild", "x_valid")
    np.savez(path, x_train=arrays["x_train"], labels=arrays["y_train"])
    refused(lambda: load_dataset(path), path, "no y_train", "labels")


def test_file_of_another_kind(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("1,2,3")
    refused(lambda: load_dataset(path), path, ".npz")


def test_npz_messages_name_the_file(tmp_path, arrays):
    path = tmp_path / "nan.npz"
    arrays["x_train"][2, 3] = np.nan
    np.savez(path, **arrays)
    refused(lambda: load_dataset(path), path, "[2, 3]")
