"""Recorded steps: what a replay writes is what the calls one by one write, fused or not."""

import numpy as np
import pytest

from refplay.kernels import load, recorder
from refplay.kernels.numba_cpu import threads

K = load("numba")
B, I, H, O = 5, 19, 35, 6
SCALARS = {"sgd": (0.1,), "momentum": (0.1, 0.9), "nesterov": (0.1, 0.8), "rmsprop": (0.01, 0.7, 0.9, 1e-3),
           "adam": (3, 0.01, 0.8, 0.95, 1e-3), "nadam": (3, 0.01, 0.8, 0.95, 1e-3)}
LATER = {**SCALARS, "sgd": (0.03,), "adam": (4, 0.02, 0.8, 0.95, 1e-3), "nadam": (4, 0.02, 0.8, 0.95, 1e-3)}
STATES = {"sgd": 0, "momentum": 1, "nesterov": 1, "rmsprop": 2, "adam": 2, "nadam": 2}


class Perceptron:
    """Two dense layers with their parameters, gradient and rule state in vectors, as a network has them."""

    def __init__(self, rule):
        rng = np.random.default_rng(0)
        self.rule, n = rule, I * H + H * O + H + O
        self.theta, self.g = rng.normal(size=n).astype(np.float32), np.zeros(n, np.float32)
        self.state = [np.abs(rng.normal(size=n)).astype(np.float32) for _ in range(STATES[rule])]
        self.x, self.labels = rng.normal(size=(B, I)).astype(np.float32), rng.integers(0, O, B)
        self.weights = np.full(B, 1 / B, np.float32)
        self.y, self.h, self.z, self.dz, self.dh, self.dy = (
            np.zeros((B, size), np.float32) for size in (H, H, O, O, H, H))
        self.loss = np.zeros(B, np.float32)

    def views(self, vector):
        ends = np.cumsum([I * H, H * O, H, O])
        w1, w2, b1, b2 = np.split(vector, ends[:-1])
        return w1.reshape(I, H), w2.reshape(H, O), b1, b2

    def step(self, k, scalars, x=None, labels=None):
        x, labels = self.x if x is None else x, self.labels if labels is None else labels
        (w1, w2, b1, b2), (dw1, dw2, db1, db2) = self.views(self.theta), self.views(self.g)
        k.dense_forward(x, w1, b1, self.y)
        k.relu_forward(self.y, self.h)
        k.dense_forward(self.h, w2, b2, self.z)
        k.softmax_cross_entropy(self.z, labels, self.weights, 0.1, self.loss, self.dz)
        k.dense_backward(self.h, w2, self.dz, self.dh, dw2, db2)
        k.relu_backward(self.y, self.h, self.dh, self.dy)
        k.dense_backward(x, w1, self.dy, None, dw1, db1)
        getattr(k, self.rule)(self.theta, self.g, *self.state, *scalars)


@pytest.mark.parametrize("rule", SCALARS)
@pytest.mark.parametrize("keeps_gradient", [True, False])
@pytest.mark.parametrize("count", [1, 2])
def test_a_replay_gives_the_bits_of_the_calls(rule, keeps_gradient, count):
    eager, recorded = Perceptron(rule), Perceptron(rule)
    before = threads.threads()
    threads.set_threads(count)
    try:
        taken = recorder(K, "float32")
        recorded.step(taken, SCALARS[rule])
        replay = taken.finish(needed=(recorded.loss, recorded.g) if keeps_gradient else (recorded.loss,))
        np.testing.assert_array_equal(recorded.theta, eager.theta)  # to record is not to run
        for scalars in (SCALARS[rule], LATER[rule], SCALARS[rule]):
            eager.step(K, scalars)
            getattr(replay, rule)(recorded.theta, recorded.g, *recorded.state, *scalars)
            replay.run()
            np.testing.assert_array_equal(recorded.loss, eager.loss)
            np.testing.assert_array_equal(recorded.theta, eager.theta)
            for mine, theirs in zip(recorded.state, eager.state, strict=True):
                np.testing.assert_array_equal(mine, theirs)
            assert np.array_equal(recorded.g, eager.g) == keeps_gradient
    finally:
        threads.set_threads(before)


def test_inputs_are_pointed_at_without_a_copy_and_checked():
    eager, recorded = Perceptron("momentum"), Perceptron("momentum")
    taken = recorder(K, "float32")
    x, labels = taken.input("x", (B, I)), taken.input("labels", (B,), "int64")
    recorded.step(taken, SCALARS["momentum"], x, labels)
    replay = taken.finish()
    rng = np.random.default_rng(1)
    for _ in range(3):
        batch, classes = rng.normal(size=(B, I)).astype(np.float32), rng.integers(0, O, B)
        replay.point("x", batch)
        replay.point("labels", classes)
        replay.run()
        eager.step(K, SCALARS["momentum"], batch, classes)
        np.testing.assert_array_equal(recorded.theta, eager.theta)
    batch[:] = 0.5  # the array itself is read, as it is when the program runs
    replay.run()
    eager.step(K, SCALARS["momentum"], batch, classes)
    np.testing.assert_array_equal(recorded.theta, eager.theta)

    with pytest.raises(TypeError, match="input 'x': expected an array of float32, got float64"):
        replay.point("x", batch.astype(float))
    with pytest.raises(TypeError, match="input 'x': expected an array of float32, got list"):
        replay.point("x", batch.tolist())
    with pytest.raises(ValueError, match="input 'x': expected a contiguous array of shape"):
        replay.point("x", batch[:2])
    with pytest.raises(ValueError, match="input 'x': expected a contiguous array of shape"):
        replay.point("x", np.asfortranarray(batch))
    theta = recorded.theta.copy()
    replay.point("labels", np.full(B, O))
    with pytest.raises(ValueError, match="classes in 0"):
        replay.run()
    np.testing.assert_array_equal(recorded.theta, theta)


def test_what_cannot_be_recorded_is_named():
    taken = recorder(K, "float32")
    with pytest.raises(AttributeError, match="l2_norm cannot be recorded"):
        taken.l2_norm(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="dense_forward: argument 'w'"):
        taken.dense_forward(*(np.zeros((2, 3), np.float32),) * 4)
    assert recorder(load("numpy"), "float32") is None
    assert recorder(K, "float64") is None


def test_nothing_is_fused_that_somebody_else_reads():
    net = Perceptron("sgd")
    taken = recorder(K, "float32")
    net.step(taken, SCALARS["sgd"])
    taken.axpby(1.0, net.y.reshape(-1), 0.0, net.dy.reshape(-1))  # reads what is there before the ReLU
    taken.finish(needed=(net.g,)).run()
    assert np.any(net.dy < 0)
    eager = Perceptron("sgd")
    eager.step(K, SCALARS["sgd"])
    np.testing.assert_array_equal(net.dy, eager.y)
    np.testing.assert_array_equal(net.g, eager.g)


def pooled(k, arrays, stride, padding, window):
    x, w, b, y, h, p, dp, dh, dy, dx, dw, db = arrays
    k.conv2d_forward(x, w, b, y, stride, padding)
    k.relu_forward(y, h)
    k.max_pool2d_forward(h, p, window, window)
    k.max_pool2d_backward(h, p, dp, dh, window, window)
    k.relu_backward(y, h, dh, dy)
    k.conv2d_backward(x, w, dy, dx, dw, db, stride, padding)


@pytest.mark.parametrize(("channels", "filters", "size"), [(1, 5, 3), (16, 32, 3), (7, 17, 5), (32, 64, 3)])
def test_a_pooled_convolution_gives_the_sums_of_its_parts(channels, filters, size):
    rng = np.random.default_rng(channels)
    n, side, padding, window = 3, 14, size // 2, 2

    def new(*shape):
        return rng.normal(size=shape).astype(np.float32)

    full, small = (n, side, side, filters), (n, side // window, side // window, filters)
    start = [new(n, side, side, channels), new(size, size, channels, filters), new(filters), new(*full), new(*full),
             new(*small), new(*small), new(*full), new(*full), new(n, side, side, channels),
             new(size, size, channels, filters), new(filters)]  # fmt: skip
    eager, recorded = [a.copy() for a in start], [a.copy() for a in start]
    pooled(K, eager, 1, padding, window)
    taken = recorder(K, "float32")
    pooled(taken, recorded, 1, padding, window)
    replay = taken.finish(needed=tuple(recorded[i] for i in (5, 9, 10, 11)))
    replay.run()
    x, w, *_ = [a.astype(float) for a in start]
    eps = float(np.finfo(np.float32).eps)
    np.testing.assert_array_equal(recorded[5], eager[5])  # p
    dy = np.abs(eager[8]).astype(float)
    bounds = {9: (size**2 * filters, np.abs(w).sum((0, 1)).max() * dy.max() * size**2 * filters),
              10: (n * side**2, np.abs(x).max() * dy.sum((0, 1, 2)).max()),
              11: (n * side**2, dy.sum((0, 1, 2)).max())}  # terms of each sum, and what they add up to at most
    for i, (terms, most) in bounds.items():
        assert np.abs(recorded[i] - eager[i]).max() <= 2 * terms * eps * most, i
        assert np.any(eager[i])
