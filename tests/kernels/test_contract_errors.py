"""Bad arguments to every kernel of the CPU backends: the error names kernel and argument, and nothing was written."""

import re

import numpy as np
import pytest
import torch
from contract_calls import (
    APART,
    IN_PLACE,
    INTEGERS,
    LEADING,
    MAPS,
    OPTIONAL,
    OUT_OF_RANGE,
    VALID,
    VECTORS,
    call_of,
    names_of,
)

import refplay.kernels
from refplay.kernels import CONTRACT

NO_ARRAYS_CHECKED_HERE = {"empty", "zeros", "asarray", "to_host", "synchronize"}  # these are in test_contract.py


def _refuses(kernels, kernel, arguments, error, blamed=None):
    """Call and require `error` for one of the arguments (or for `blamed`), with every array left as it was."""
    arrays = {name: value for name, value in arguments.items() if isinstance(value, np.ndarray)}
    before = {name: value.copy() for name, value in arrays.items()}
    with pytest.raises(error) as raised:
        getattr(kernels, kernel)(*arguments.values())
    assert type(raised.value) is error
    message = re.fullmatch(rf"{kernel}: argument '(\w+)': expected .+, got .+", str(raised.value))
    assert message, str(raised.value)
    assert message[1] in ([blamed] if blamed else arguments), str(raised.value)
    for name, value in arrays.items():
        assert value.tobytes() == before[name].tobytes(), f"{name} was written"


@pytest.fixture(scope="module", params=["numpy", "numba"])
def kernels(request):
    return refplay.kernels.load(request.param)


def _cases(names):
    return pytest.mark.parametrize(("kernel", "name"), [(kernel, name) for kernel in VALID for name in names(kernel)])


def test_the_table_covers_the_contract():
    assert set(VALID) | NO_ARRAYS_CHECKED_HERE == set(CONTRACT)
    assert not set(VALID) & NO_ARRAYS_CHECKED_HERE


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", VALID)
def test_valid_calls_write_their_outputs_and_nothing_else(kernels, kernel, dtype):
    arguments = call_of(kernel, dtype)
    before = {name: arguments[name].copy() for name in names_of(kernel)}
    result = getattr(kernels, kernel)(*arguments.values())
    assert type(result) is (float if kernel == "l2_norm" else type(None))
    for name in names_of(kernel, written=False):
        np.testing.assert_array_equal(arguments[name], before[name])
    for name in names_of(kernel, written=True):
        assert (arguments[name] != before[name]).any(), f"{name} was not written"
        assert np.isfinite(arguments[name]).all()


@_cases(names_of)
def test_foreign_arrays(kernels, kernel, name):
    for foreign in (lambda a: a.tolist(), torch.tensor, np.ma.masked_array, lambda a: 1.0, lambda a: None):
        if foreign(np.ones(1)) is None and (kernel, name) in OPTIONAL:
            continue
        arguments = call_of(kernel)
        arguments[name] = foreign(arguments[name])
        _refuses(kernels, kernel, arguments, TypeError, name)


@_cases(names_of)
def test_wrong_dtypes(kernels, kernel, name):
    for dtype in ("float16", "int64", "complex64", ">f4"):
        arguments = call_of(kernel)
        arguments[name] = arguments[name].astype(dtype)
        _refuses(kernels, kernel, arguments, TypeError, name)


@_cases(names_of)
def test_mixed_dtypes(kernels, kernel, name):
    if len(names_of(kernel)) > 1:
        arguments = call_of(kernel)
        arguments[name] = arguments[name].astype("float64")
        _refuses(kernels, kernel, arguments, TypeError)


@_cases(names_of)
def test_wrong_shapes(kernels, kernel, name):
    if kernel in ("l2_norm", "scale"):
        wrong = [(5, 1), ()]
    else:
        shape = call_of(kernel)[name].shape
        wrong = [(*shape, 1), shape[:-1], (*shape[:-1], shape[-1] + 1), (shape[0] + 1, *shape[1:])]
    for shape in wrong:
        arguments = call_of(kernel)
        arguments[name] = np.full(shape, 0.5, "float32")
        _refuses(kernels, kernel, arguments, ValueError)


@_cases(names_of)
def test_arrays_that_are_not_contiguous_or_not_aligned(kernels, kernel, name):
    arguments = call_of(kernel)
    value = arguments[name]
    arguments[name] = np.repeat(value, 2, axis=-1)[..., ::2]
    _refuses(kernels, kernel, arguments, ValueError, name)
    unaligned = np.zeros(value.nbytes + 1, "uint8")[1:].view("float32").reshape(value.shape)
    unaligned[...] = value
    arguments[name] = unaligned
    _refuses(kernels, kernel, arguments, ValueError, name)


@_cases(lambda kernel: names_of(kernel, written=True))
def test_outputs_that_are_read_only(kernels, kernel, name):
    arguments = call_of(kernel)
    arguments[name].flags.writeable = False
    _refuses(kernels, kernel, arguments, ValueError, name)


@pytest.mark.parametrize("kernel", [kernel for kernel in VALID if names_of(kernel, written=False)])
def test_inputs_may_be_read_only(kernels, kernel):
    arguments, expected = call_of(kernel), call_of(kernel)
    for name in names_of(kernel, written=False):  # all at once: Numba compiles every mixture anew
        arguments[name].flags.writeable = False
    getattr(kernels, kernel)(*arguments.values())
    getattr(kernels, kernel)(*expected.values())
    for output in names_of(kernel, written=True):
        np.testing.assert_array_equal(arguments[output], expected[output])


# b is an array in a layer and a number in axpby
@_cases(lambda kernel: [n for n, v in VALID[kernel].items() if n in OUT_OF_RANGE and not isinstance(v, tuple)])
def test_scalars(kernels, kernel, name):
    bad = [(value, ValueError) for value in OUT_OF_RANGE[name]]
    bad += [("1", TypeError), (None, TypeError), (True, TypeError), (np.ones(1), TypeError)]
    bad += [(1.5, TypeError)] if name in INTEGERS else [(np.float32(0.5), TypeError)]
    if name == "epsilon" and "norm" in kernel:
        bad.append((0.0, ValueError))
    for value, error in bad:
        arguments = call_of(kernel)
        arguments[name] = value
        _refuses(kernels, kernel, arguments, error, "x" if (name, value) == ("window", 9) else name)


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        (np.array([0, 3, 1, 2]), ValueError),
        (np.array([0, -1, 1, 2]), ValueError),
        (np.array([0, -1, 1, 2], "int32"), ValueError),
        (np.array([0, 1, 1, 3], "int32"), ValueError),
        (np.array([0, 1, 2]), ValueError),
        (np.array([[0], [1], [2], [0]]), ValueError),
        (np.array([0, 0, 1, 1, 2, 2, 1, 1])[::2], ValueError),
        (np.array([0, 1, 2, 0], "int8"), TypeError),
        (np.array([0.0, 1.0, 2.0, 0.0]), TypeError),
        ([0, 1, 2, 0], TypeError),
        (None, TypeError),
    ],
)
def test_labels(kernels, labels, error):
    arguments = {**call_of("softmax_cross_entropy"), "labels": labels}
    _refuses(kernels, "softmax_cross_entropy", arguments, error, "labels")


def test_a_label_out_of_range_is_refused_even_with_weight_zero(kernels):
    arguments = {**call_of("softmax_cross_entropy"), "labels": np.array([0, 1, 2, 9])}
    arguments["weights"][3] = 0
    _refuses(kernels, "softmax_cross_entropy", arguments, ValueError, "labels")


@pytest.mark.parametrize(
    ("kernel", "change"),
    [
        ("conv2d_forward", {"w": (8, 2, 3, 2)}),  # higher than the padded image
        ("conv2d_forward", {"padding": 0}),  # OH and OW would be others
        ("conv2d_forward", {"stride": 1}),
        ("conv2d_backward", {"stride": 3}),
        ("max_pool2d_forward", {"stride": 3}),
        ("max_pool2d_backward", {"window": 3}),
    ],
)
def test_windows_that_do_not_fit_the_output(kernels, kernel, change):
    change = {n: np.ones(v, "float32") if isinstance(v, tuple) else v for n, v in change.items()}
    _refuses(kernels, kernel, {**call_of(kernel), **change}, ValueError)


@pytest.mark.parametrize("kernel", VALID)
def test_no_examples_give_zero_gradients(kernels, kernel):
    arguments = call_of(kernel)
    batch = arguments[names_of(kernel)[0]].shape[0]
    for name, value in arguments.items():
        statistic = name in ("mean", "var") and kernel != "batch_norm_inference"  # one per example or ghost batch
        leads = name in LEADING or statistic or kernel in VECTORS
        if leads and isinstance(value, np.ndarray) and value.shape[0] == batch:
            arguments[name] = value[:0].copy()
    result = getattr(kernels, kernel)(*arguments.values())
    assert result == (0 if kernel == "l2_norm" else None)
    for name in {"dw", "db", "dgamma", "dbeta"} & set(names_of(kernel)):
        np.testing.assert_array_equal(arguments[name], 0)


@pytest.mark.parametrize("kernel", [kernel for kernel in VALID if kernel not in VECTORS | MAPS])
def test_no_other_axis_may_be_empty(kernels, kernel):
    arguments = {n: v[..., :0].copy() if isinstance(v, np.ndarray) else v for n, v in call_of(kernel).items()}
    _refuses(kernels, kernel, arguments, ValueError)


@pytest.mark.parametrize(("kernel", "a", "b"), APART)
def test_overlap_is_refused(kernels, kernel, a, b):
    arguments = call_of(kernel)
    arguments[b] = arguments[a]
    _refuses(kernels, kernel, arguments, ValueError)


@pytest.mark.parametrize(("kernel", "a", "b"), IN_PLACE)
def test_in_place_is_the_same_array_or_nothing(kernels, kernel, a, b):
    expected, arguments = call_of(kernel), call_of(kernel)
    if kernel == "axpby":
        expected[b] = expected[a].copy()
    getattr(kernels, kernel)(*expected.values())
    arguments[b] = arguments[a]
    getattr(kernels, kernel)(*arguments.values())
    np.testing.assert_array_equal(arguments[b], expected[b])

    shifted = call_of(kernel)
    size, shape = shifted[a].size, shifted[a].shape
    memory = np.linspace(0.5, 1.5, size + 1, dtype="float32")
    shifted[a], shifted[b] = memory[:-1].reshape(shape), memory[1:].reshape(shape)
    _refuses(kernels, kernel, shifted, ValueError, b)
