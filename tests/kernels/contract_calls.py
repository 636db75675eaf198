"""A valid call of every kernel, and what may be wrong with its arguments: for the tests of all backends."""

import numpy as np

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


def names_of(kernel, written=None):
    """Return the names of the float arrays of a kernel: all, or those that are (not) written."""
    return [
        name.rstrip("*") for name, value in VALID[kernel].items()
        if isinstance(value, tuple) and (written is None or name.endswith("*") == written)
    ]  # fmt: skip


def call_of(kernel, dtype="float32"):
    """Return fresh valid arguments by name, none of them constant."""
    rng = np.random.default_rng(3)
    arguments = {}
    for name, value in VALID[kernel].items():
        name = name.rstrip("*")
        arguments[name] = rng.uniform(0.5, 1.5, value).astype(dtype) if isinstance(value, tuple) else value
        if name == "labels":
            arguments[name] = np.array([0, 2, 1, 2])
    return arguments


# The kernels of vectors of parameters, and those that compute each value from the values at the same place.
VECTORS = {"sgd", "momentum", "nesterov", "rmsprop", "adam", "nadam", "l2_norm", "scale", "axpby"}
MAPS = {f"{name}_{way}" for name in ("relu", "tanh", "gelu", "dropout") for way in ("forward", "backward")}

# Memory that two arguments may not share, because one is written while the other is still needed.
APART = [
    *[(kernel, "x", "dx") for kernel in VALID if kernel.endswith("backward") and {"x", "dx"} <= set(call_of(kernel))
      and kernel.split("_")[0] not in ("relu", "tanh", "gelu")],
    ("dense_backward", "w", "dw"), ("conv2d_backward", "w", "dw"), ("gelu_forward", "x", "y"),
    ("batch_norm_forward", "x", "y"), ("layer_norm_forward", "x", "y"), ("batch_norm_forward", "mean", "var"),
    ("layer_norm_forward", "mean", "var"), ("batch_norm_backward", "dgamma", "dbeta"),
    ("layer_norm_backward", "dgamma", "dbeta"), ("softmax_cross_entropy", "z", "dz"),
    ("sgd", "theta", "g"), ("momentum", "theta", "v"), ("nesterov", "g", "v"), ("rmsprop", "v", "m"),
    ("adam", "m", "v"), ("adam", "g", "m"), ("nadam", "theta", "v"),
]  # fmt: skip
IN_PLACE = [("relu_forward", "x", "y"), ("tanh_forward", "x", "y"), ("dropout_forward", "x", "y"),
            ("relu_backward", "dy", "dx"), ("tanh_backward", "dy", "dx"), ("gelu_backward", "dy", "dx"),
            ("dropout_backward", "dy", "dx"), ("batch_norm_inference", "x", "y"), ("axpby", "x", "y")]  # fmt: skip
