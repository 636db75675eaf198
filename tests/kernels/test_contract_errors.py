"""Bad arguments to every kernel of the CPU backends: the error names kernel and argument, and nothing was written."""

import re

import numpy as np
import pytest
import torch

import refplay.kernels
from refplay.kernels import CONTRACT

# A valid call of every kernel: its arguments in order, arrays by their shape, the written ones marked by a "*".
VALID = {
    "dense_forward": {"x": (4, 3), "w": (3, 2), "b": (2,), "y*": (4, 2)},
    "dense_backward": {"x": (4, 3), "w": (3, 2), "dy": (4, 2), "dx*": (4, 3), "dw*": (3, 2), "db*": (2,)},
    "conv2d_forward": {
        "x": (2, 5, 4, 3), "w": (3, 2, 3, 2), "b": (2,), "y*": (2, 3, 3, 2), "stride": 2, "padding": 1,
    },
    "conv2d_backward": {
        "x": (2, 5, 4, 3), "w": (3, 2, 3, 2), "dy": (2, 3, 3, 2), "dx*": (2, 5, 4, 3), "dw*": (3, 2, 3, 2),
        "db*": (2,), "stride": 2, "padding": 1,
    },
    "max_pool2d_forward": {"x": (2, 5, 4, 3), "y*": (2, 2, 2, 3), "window": 2, "stride": 2},
    "max_pool2d_backward": {
        "x": (2, 5, 4, 3), "y": (2, 2, 2, 3), "dy": (2, 2, 2, 3), "dx*": (2, 5, 4, 3), "window": 2, "stride": 2,
    },
    "global_avg_pool_forward": {"x": (2, 5, 4, 3), "y*": (2, 3)},
    "global_avg_pool_backward": {"dy": (2, 3), "dx*": (2, 5, 4, 3)},
    **{f"{name}_forward": {"x": (4, 3), "y*": (4, 3)} for name in ("relu", "tanh", "gelu")},
    **{
        f"{name}_backward": {"x": (4, 3), "y": (4, 3), "dy": (4, 3), "dx*": (4, 3)} for name in ("relu", "tanh", "gelu")
    },
    "batch_norm_forward": {
        "x": (2, 4, 3), "gamma": (3,), "beta": (3,), "y*": (2, 4, 3), "mean*": (2, 3), "var*": (2, 3), "epsilon": 0.01,
    },
    "batch_norm_backward": {
        "x": (2, 4, 3), "gamma": (3,), "mean": (2, 3), "var": (2, 3), "dy": (2, 4, 3), "dx*": (2, 4, 3),
        "dgamma*": (3,), "dbeta*": (3,), "epsilon": 0.01,
    },
    "batch_norm_inference": {
        "x": (4, 3), "gamma": (3,), "beta": (3,), "mean": (3,), "var": (3,), "y*": (4, 3), "epsilon": 0.01,
    },
    "layer_norm_forward": {
        "x": (4, 3), "gamma": (3,), "beta": (3,), "y*": (4, 3), "mean*": (4,), "var*": (4,), "epsilon": 0.01,
    },
    "layer_norm_backward": {
        "x": (4, 3), "gamma": (3,), "mean": (4,), "var": (4,), "dy": (4, 3), "dx*": (4, 3), "dgamma*": (3,),
        "dbeta*": (3,), "epsilon": 0.01,
    },
    "dropout_forward": {"x": (4, 3), "y*": (4, 3), "rate": 0.3, "seed": 2**63 + 1, "step": 5, "layer": 1},
    "dropout_backward": {"dy": (4, 3), "dx*": (4, 3), "rate": 0.3, "seed": 2**63 + 1, "step": 5, "layer": 1},
    "softmax_cross_entropy": {
        "z": (4, 3), "labels": None, "weights": (4,), "smoothing": 0.1, "loss*": (4,), "dz*": (4, 3),
    },
    "sgd": {"theta*": (5,), "g": (5,), "lr": 0.1},
    "momentum": {"theta*": (5,), "g": (5,), "v*": (5,), "lr": 0.1, "gamma": 0.9},
    "nesterov": {"theta*": (5,), "g": (5,), "v*": (5,), "lr": 0.1, "gamma": 0.9},
    "rmsprop": {
        "theta*": (5,), "g": (5,), "v*": (5,), "m*": (5,), "lr": 0.1, "gamma": 0.9, "rho": 0.8, "epsilon": 0.01,
    },
    **{
        name: {
            "theta*": (5,), "g": (5,), "m*": (5,), "v*": (5,), "t": 3, "lr": 0.1, "beta1": 0.9, "beta2": 0.8,
            "epsilon": 0.01,
        }
        for name in ("adam", "nadam")
    },
    "l2_norm": {"g": (5,)},
    "scale": {"g*": (5,), "s": 0.5},
    "axpby": {"a": 0.5, "x": (5,), "b": 0.25, "y*": (5,)},
}  # fmt: skip
NO_ARRAYS_CHECKED_HERE = {"empty", "zeros", "asarray", "to_host", "synchronize"}  # these are in test_contract.py
OPTIONAL = {("dense_backward", "dx"), ("conv2d_backward", "dx"), ("softmax_cross_entropy", "dz")}
LEADING = {"x", "y", "dy", "dx", "z", "labels", "weights", "loss", "dz"}  # their first axis counts examples

NAN, INF = float("nan"), float("inf")
OUT_OF_RANGE = {
    "stride": [0, -1], "padding": [-1], "window": [0, 9], "rate": [-0.1, 1.0, NAN], "seed": [-1, 2**64],
    "step": [-1, 2**32], "layer": [-1, 2**32], "smoothing": [-0.1, 1.1, NAN], "t": [-1], "lr": [NAN, INF],
    "gamma": [-0.1, 1.1, NAN], "rho": [-0.1, 1.1, NAN], "beta1": [-0.1, 1.0, NAN], "beta2": [-0.1, 1.0, NAN],
    "epsilon": [-0.01, NAN, INF], "s": [], "a": [], "b": [],
}  # fmt: skip
INTEGERS = {"stride", "padding", "window", "seed", "step", "layer", "t"}


def _names(kernel, written=None):
    """Return the names of the float arrays of a kernel: all, or those that are (not) written."""
    return [
        name.rstrip("*") for name, value in VALID[kernel].items()
        if isinstance(value, tuple) and (written is None or name.endswith("*") == written)
    ]  # fmt: skip


def _call(kernel, dtype="float32"):
    """Return fresh valid arguments by name, none of them constant."""
    rng = np.random.default_rng(3)
    arguments = {}
    for name, value in VALID[kernel].items():
        name = name.rstrip("*")
        arguments[name] = rng.uniform(0.5, 1.5, value).astype(dtype) if isinstance(value, tuple) else value
        if name == "labels":
            arguments[name] = np.array([0, 2, 1, 2])
    return arguments


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
    arguments = _call(kernel, dtype)
    before = {name: arguments[name].copy() for name in _names(kernel)}
    result = getattr(kernels, kernel)(*arguments.values())
    assert type(result) is (float if kernel == "l2_norm" else type(None))
    for name in _names(kernel, written=False):
        np.testing.assert_array_equal(arguments[name], before[name])
    for name in _names(kernel, written=True):
        assert (arguments[name] != before[name]).any(), f"{name} was not written"
        assert np.isfinite(arguments[name]).all()


@_cases(_names)
def test_foreign_arrays(kernels, kernel, name):
    for foreign in (lambda a: a.tolist(), torch.tensor, np.ma.masked_array, lambda a: 1.0, lambda a: None):
        if foreign(np.ones(1)) is None and (kernel, name) in OPTIONAL:
            continue
        arguments = _call(kernel)
        arguments[name] = foreign(arguments[name])
        _refuses(kernels, kernel, arguments, TypeError, name)


@_cases(_names)
def test_wrong_dtypes(kernels, kernel, name):
    for dtype in ("float16", "int64", "complex64", ">f4"):
        arguments = _call(kernel)
        arguments[name] = arguments[name].astype(dtype)
        _refuses(kernels, kernel, arguments, TypeError, name)


@_cases(_names)
def test_mixed_dtypes(kernels, kernel, name):
    if len(_names(kernel)) > 1:
        arguments = _call(kernel)
        arguments[name] = arguments[name].astype("float64")
        _refuses(kernels, kernel, arguments, TypeError)


@_cases(_names)
def test_wrong_shapes(kernels, kernel, name):
    if kernel in ("l2_norm", "scale"):
        wrong = [(5, 1), ()]
    else:
        shape = _call(kernel)[name].shape
        wrong = [(*shape, 1), shape[:-1], (*shape[:-1], shape[-1] + 1), (shape[0] + 1, *shape[1:])]
    for shape in wrong:
        arguments = _call(kernel)
        arguments[name] = np.full(shape, 0.5, "float32")
        _refuses(kernels, kernel, arguments, ValueError)


@_cases(_names)
def test_arrays_that_are_not_contiguous_or_not_aligned(kernels, kernel, name):
    arguments = _call(kernel)
    value = arguments[name]
    arguments[name] = np.repeat(value, 2, axis=-1)[..., ::2]
    _refuses(kernels, kernel, arguments, ValueError, name)
    unaligned = np.zeros(value.nbytes + 1, "uint8")[1:].view("float32").reshape(value.shape)
    unaligned[...] = value
    arguments[name] = unaligned
    _refuses(kernels, kernel, arguments, ValueError, name)


@_cases(lambda kernel: _names(kernel, written=True))
def test_outputs_that_are_read_only(kernels, kernel, name):
    arguments = _call(kernel)
    arguments[name].flags.writeable = False
    _refuses(kernels, kernel, arguments, ValueError, name)


@pytest.mark.parametrize("kernel", [kernel for kernel in VALID if _names(kernel, written=False)])
def test_inputs_may_be_read_only(kernels, kernel):
    arguments, expected = _call(kernel), _call(kernel)
    for name in _names(kernel, written=False):  # all at once: Numba compiles every mixture anew
        arguments[name].flags.writeable = False
    getattr(kernels, kernel)(*arguments.values())
    getattr(kernels, kernel)(*expected.values())
    for output in _names(kernel, written=True):
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
        arguments = _call(kernel)
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
    arguments = {**_call("softmax_cross_entropy"), "labels": labels}
    _refuses(kernels, "softmax_cross_entropy", arguments, error, "labels")


def test_a_label_out_of_range_is_refused_even_with_weight_zero(kernels):
    arguments = {**_call("softmax_cross_entropy"), "labels": np.array([0, 1, 2, 9])}
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
    _refuses(kernels, kernel, {**_call(kernel), **change}, ValueError)


VECTORS = {"sgd", "momentum", "nesterov", "rmsprop", "adam", "nadam", "l2_norm", "scale", "axpby"}
MAPS = {f"{name}_{way}" for name in ("relu", "tanh", "gelu", "dropout") for way in ("forward", "backward")}


@pytest.mark.parametrize("kernel", VALID)
def test_no_examples_give_zero_gradients(kernels, kernel):
    arguments = _call(kernel)
    batch = arguments[_names(kernel)[0]].shape[0]
    for name, value in arguments.items():
        statistic = name in ("mean", "var") and kernel != "batch_norm_inference"  # one per example or ghost batch
        leads = name in LEADING or statistic or kernel in VECTORS
        if leads and isinstance(value, np.ndarray) and value.shape[0] == batch:
            arguments[name] = value[:0].copy()
    result = getattr(kernels, kernel)(*arguments.values())
    assert result == (0 if kernel == "l2_norm" else None)
    for name in {"dw", "db", "dgamma", "dbeta"} & set(_names(kernel)):
        np.testing.assert_array_equal(arguments[name], 0)


@pytest.mark.parametrize("kernel", [kernel for kernel in VALID if kernel not in VECTORS | MAPS])
def test_no_other_axis_may_be_empty(kernels, kernel):
    arguments = {n: v[..., :0].copy() if isinstance(v, np.ndarray) else v for n, v in _call(kernel).items()}
    _refuses(kernels, kernel, arguments, ValueError)


# Memory that two arguments may not share, because one is written while the other is still needed.
APART = [
    *[(kernel, "x", "dx") for kernel in VALID if kernel.endswith("backward") and {"x", "dx"} <= set(_call(kernel))
      and kernel.split("_")[0] not in ("relu", "tanh", "gelu")],
    ("dense_backward", "w", "dw"), ("conv2d_backward", "w", "dw"), ("gelu_forward", "x", "y"),
    ("batch_norm_forward", "x", "y"), ("layer_norm_forward", "x", "y"), ("batch_norm_forward", "mean", "var"),
    ("layer_norm_forward", "mean", "var"), ("batch_norm_backward", "dgamma", "dbeta"),
    ("layer_norm_backward", "dgamma", "dbeta"), ("softmax_cross_entropy", "z", "dz"),
    ("sgd", "theta", "g"), ("momentum", "theta", "v"), ("nesterov", "g", "v"), ("rmsprop", "v", "m"),
    ("adam", "m", "v"), ("adam", "g", "m"), ("nadam", "theta", "v"),
]  # fmt: skip


@pytest.mark.parametrize(("kernel", "a", "b"), APART)
def test_overlap_is_refused(kernels, kernel, a, b):
    arguments = _call(kernel)
    arguments[b] = arguments[a]
    _refuses(kernels, kernel, arguments, ValueError)


IN_PLACE = [("relu_forward", "x", "y"), ("tanh_forward", "x", "y"), ("dropout_forward", "x", "y"),
            ("relu_backward", "dy", "dx"), ("tanh_backward", "dy", "dx"), ("gelu_backward", "dy", "dx"),
            ("dropout_backward", "dy", "dx"), ("batch_norm_inference", "x", "y"), ("axpby", "x", "y")]  # fmt: skip


@pytest.mark.parametrize(("kernel", "a", "b"), IN_PLACE)
def test_in_place_is_the_same_array_or_nothing(kernels, kernel, a, b):
    expected, arguments = _call(kernel), _call(kernel)
    if kernel == "axpby":
        expected[b] = expected[a].copy()
    getattr(kernels, kernel)(*expected.values())
    arguments[b] = arguments[a]
    getattr(kernels, kernel)(*arguments.values())
    np.testing.assert_array_equal(arguments[b], expected[b])

    shifted = _call(kernel)
    size, shape = shifted[a].size, shifted[a].shape
    memory = np.linspace(0.5, 1.5, size + 1, dtype="float32")
    shifted[a], shifted[b] = memory[:-1].reshape(shape), memory[1:].reshape(shape)
    _refuses(kernels, kernel, shifted, ValueError, b)
