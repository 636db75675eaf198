"""Bad arguments to every kernel of the GPU: the error names kernel and argument, and nothing was written.

The cases are those of the CPU backends (tests/kernels/test_contract_errors.py), on arrays in device memory.
"""

import inspect
import re
from importlib import import_module

import numpy as np
import pytest
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
from device_arrays import is_contiguous, to_device, to_host

from refplay.kernels import CONTRACT, Backend


def on_gpu(gpu, kernel, dtype="float32"):
    """Return valid arguments by name, the arrays in device memory."""
    return {name: to_device(gpu, value) for name, value in call_of(kernel, dtype).items()}


def is_array(value):
    return hasattr(value, "strides") and type(value) is not np.ndarray and not isinstance(value, np.generic)


def refuses(gpu, kernel, arguments, error, blamed=None):
    """Call and require `error` for one of the arguments (or for `blamed`), with every array left as it was."""
    arrays = {n: v for n, v in arguments.items() if is_array(v) and v.size and is_contiguous(v)}
    before = {name: to_host(gpu, value) for name, value in arrays.items()}
    with pytest.raises(error) as raised:
        getattr(gpu, kernel)(*arguments.values())
    assert type(raised.value) is error
    message = re.fullmatch(rf"{kernel}: argument '(\w+)': expected .+, got .+", str(raised.value))
    assert message, str(raised.value)
    assert message[1] in ([blamed] if blamed else arguments), str(raised.value)
    for name, value in arrays.items():
        assert to_host(gpu, value).tobytes() == before[name].tobytes(), f"{name} was written"


def cases(names):
    return pytest.mark.parametrize(("kernel", "name"), [(kernel, name) for kernel in VALID for name in names(kernel)])


def test_the_backend_exports_exactly_the_contract(gpu):
    assert sorted(gpu.__all__) == sorted(CONTRACT)


@pytest.mark.parametrize("name", CONTRACT)
def test_signatures_and_descriptions_are_there(gpu, name):
    expected = inspect.signature(getattr(Backend, name)).parameters.values()
    got = inspect.signature(getattr(gpu, name)).parameters.values()
    assert [(p.name, p.default) for p in got] == [(p.name, p.default) for p in expected if p.name != "self"]
    assert (getattr(gpu, name).__doc__ or "").strip()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", VALID)
def test_valid_calls_write_their_outputs_and_nothing_else(gpu, kernel, dtype):
    arguments, before = on_gpu(gpu, kernel, dtype), call_of(kernel, dtype)
    result = getattr(gpu, kernel)(*arguments.values())
    assert type(result) is (float if kernel == "l2_norm" else type(None))
    for name in names_of(kernel, written=False):
        np.testing.assert_array_equal(to_host(gpu, arguments[name]), before[name])
    for name in names_of(kernel, written=True):
        after = to_host(gpu, arguments[name])
        assert (after != before[name]).any(), f"{name} was not written"
        assert np.isfinite(after).all()


@cases(names_of)
def test_arrays_of_others(gpu, kernel, name):
    """On the host, or of a library that `asarray` would take from."""

    class Foreign:
        def __init__(self, array):
            self.__cuda_array_interface__ = {"shape": array.shape, "typestr": "<f4", "data": (8, False), "version": 3}

    for foreign in (lambda a: to_host(gpu, a), lambda a: to_host(gpu, a).tolist(), Foreign, lambda a: "1"):
        arguments = on_gpu(gpu, kernel)
        arguments[name] = foreign(arguments[name])
        refuses(gpu, kernel, arguments, TypeError, name)
    for value in (1.0, None):
        if value is None and (kernel, name) in OPTIONAL:
            continue
        refuses(gpu, kernel, {**on_gpu(gpu, kernel), name: value}, TypeError, name)


@cases(names_of)
def test_arrays_on_another_gpu(gpu, monkeypatch, kernel, name):
    check = import_module(f"{gpu.__name__}.check")
    arguments = on_gpu(gpu, kernel)
    if gpu.__name__.endswith("cupy_cuda"):
        monkeypatch.setattr(check.device, "gpu_of", lambda array: int(array is arguments[name]))
    else:
        for value in arguments.values():  # it asks once for each array
            if is_array(value) and value is not arguments[name]:
                check.stand_in(kernel, "", value)
        monkeypatch.setattr(check, "device_of", lambda pointer: 1)
        monkeypatch.setattr(check, "current_device", lambda: 0)
    refuses(gpu, kernel, arguments, ValueError, name)


@cases(names_of)
def test_wrong_dtypes(gpu, kernel, name):
    for dtype in ("float16", "int64", "complex64"):
        arguments = {**on_gpu(gpu, kernel), name: to_device(gpu, call_of(kernel)[name].astype(dtype))}
        refuses(gpu, kernel, arguments, TypeError, name)
    if len(names_of(kernel)) > 1:  # float32 and float64 in one call
        wider = to_device(gpu, call_of(kernel)[name].astype("float64"))
        refuses(gpu, kernel, {**on_gpu(gpu, kernel), name: wider}, TypeError)


@cases(names_of)
def test_wrong_shapes(gpu, kernel, name):
    if kernel in ("l2_norm", "scale"):
        wrong = [(5, 1)]
    else:
        shape = call_of(kernel)[name].shape
        wrong = [(*shape, 1), (*shape[:-1], shape[-1] + 1), (shape[0] + 1, *shape[1:])]
    for shape in wrong:
        refuses(gpu, kernel, {**on_gpu(gpu, kernel), name: to_device(gpu, np.full(shape, 0.5, "float32"))}, ValueError)


@cases(names_of)
def test_views_that_are_not_contiguous(gpu, kernel, name):
    doubled = to_device(gpu, np.repeat(call_of(kernel)[name], 2, axis=-1))
    view = doubled[(slice(None),) * (doubled.ndim - 1) + (slice(None, None, 2),)]
    assert view.shape == call_of(kernel)[name].shape
    refuses(gpu, kernel, {**on_gpu(gpu, kernel), name: view}, ValueError, name)


@cases(lambda kernel: [n for n, v in VALID[kernel].items() if n in OUT_OF_RANGE and not isinstance(v, tuple)])
def test_scalars(gpu, kernel, name):
    bad = [(value, ValueError) for value in OUT_OF_RANGE[name]]
    bad += [("1", TypeError), (None, TypeError), (True, TypeError), (np.ones(1), TypeError)]
    bad += [(1.5, TypeError)] if name in INTEGERS else [(np.float32(0.5), TypeError)]
    if name == "epsilon" and "norm" in kernel:
        bad.append((0.0, ValueError))
    for value, error in bad:
        blamed = "x" if (name, value) == ("window", 9) else name
        refuses(gpu, kernel, {**on_gpu(gpu, kernel), name: value}, error, blamed)


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        (np.array([0, 1, 2]), ValueError),
        (np.array([[0], [1], [2], [0]]), ValueError),
        (np.array([0, 1, 2, 0], "int8"), TypeError),
        (np.array([0.0, 1.0, 2.0, 0.0]), TypeError),
        ([0, 1, 2, 0], TypeError),
        (None, TypeError),
    ],
)
def test_labels(gpu, labels, error):
    arguments = {**on_gpu(gpu, "softmax_cross_entropy"), "labels": to_device(gpu, labels)}
    refuses(gpu, "softmax_cross_entropy", arguments, error, "labels")


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
def test_windows_that_do_not_fit_the_output(gpu, kernel, change):
    change = {n: to_device(gpu, np.ones(v, "float32")) if isinstance(v, tuple) else v for n, v in change.items()}
    refuses(gpu, kernel, {**on_gpu(gpu, kernel), **change}, ValueError)


@pytest.mark.parametrize("kernel", VALID)
def test_no_examples_give_zero_gradients(gpu, kernel):
    arguments = call_of(kernel)
    batch = arguments[names_of(kernel)[0]].shape[0]
    for name, value in arguments.items():
        statistic = name in ("mean", "var") and kernel != "batch_norm_inference"  # one per example or ghost batch
        leads = name in LEADING or statistic or kernel in VECTORS
        if leads and isinstance(value, np.ndarray) and value.shape[0] == batch:
            arguments[name] = value[:0].copy()
    arguments = {name: to_device(gpu, value) for name, value in arguments.items()}
    result = getattr(gpu, kernel)(*arguments.values())
    assert result == (0 if kernel == "l2_norm" else None)
    for name in {"dw", "db", "dgamma", "dbeta"} & set(names_of(kernel)):
        np.testing.assert_array_equal(to_host(gpu, arguments[name]), 0)


@pytest.mark.parametrize("kernel", [kernel for kernel in VALID if kernel not in VECTORS | MAPS])
def test_no_other_axis_may_be_empty(gpu, kernel):
    arguments = {n: v[..., :0].copy() if isinstance(v, np.ndarray) else v for n, v in call_of(kernel).items()}
    refuses(gpu, kernel, {name: to_device(gpu, value) for name, value in arguments.items()}, ValueError)


@pytest.mark.parametrize(("kernel", "a", "b"), APART)
def test_overlap_is_refused(gpu, kernel, a, b):
    arguments = on_gpu(gpu, kernel)
    arguments[b] = arguments[a]
    refuses(gpu, kernel, arguments, ValueError)


@pytest.mark.parametrize(("kernel", "a", "b"), IN_PLACE)
def test_in_place_is_the_same_array_or_nothing(gpu, kernel, a, b):
    expected, arguments = on_gpu(gpu, kernel), on_gpu(gpu, kernel)
    if kernel == "axpby":
        expected[b] = to_device(gpu, call_of(kernel)[a])
    getattr(gpu, kernel)(*expected.values())
    arguments[b] = arguments[a]
    getattr(gpu, kernel)(*arguments.values())
    np.testing.assert_array_equal(to_host(gpu, arguments[b]), to_host(gpu, expected[b]))

    shifted = on_gpu(gpu, kernel)
    size, shape = shifted[a].size, shifted[a].shape
    memory = to_device(gpu, np.linspace(0.5, 1.5, size + 1, dtype="float32"))
    shifted[a], shifted[b] = memory[:-1].reshape(shape), memory[1:].reshape(shape)
    refuses(gpu, kernel, shifted, ValueError, b)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"theta": None}, "sgd: argument 'theta': expected a device array of this backend .*, got NoneType"),
        ({"g": "x"}, "sgd: argument 'g': expected a device array of this backend .*, got str"),
        ({"g": 1.0}, "sgd: argument 'g': expected a device array of this backend .*, got float"),
        ({"lr": "x"}, "sgd: argument 'lr': expected a Python float, got .*"),
    ],
)
def test_arrays_are_asked_for_where_arrays_belong_and_numbers_where_numbers_do(gpu, changed, says):
    with pytest.raises(TypeError, match=says):
        gpu.sgd(*{**on_gpu(gpu, "sgd"), **changed}.values())


def test_a_number_that_is_a_device_array_is_refused_as_a_number(gpu):
    arguments = on_gpu(gpu, "sgd")
    with pytest.raises(TypeError, match=r"sgd: argument 'lr': expected a Python float, got .*"):
        gpu.sgd(arguments["theta"], arguments["g"], arguments["theta"])
