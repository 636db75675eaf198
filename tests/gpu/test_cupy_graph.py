"""Steps that are captured as a graph and replayed, of the CuPy backend; its trainings are in test_cuda_training."""

import numpy as np
import pytest

from refplay.data import Dataset, Split
from refplay.nn import Activation, Conv2D, Dense, Flatten, MaxPool2D, Model, Network, Residual, convnet, mlp
from refplay.optim import RULES, cosine
from refplay.train import Training, fit, make_step
from refplay.train.progress import begin
from refplay.train.steps import make_steps

pytestmark = pytest.mark.cupy
BATCH, CLASSES, SHAPE = 8, 3, (12,)
MODEL = mlp(SHAPE, CLASSES, depth=2, width=9, normalization="batch", dropout=0.2, ghost_size=4)
RATES = [0.05, 0.04, 0.03, 0.02, 0.01, 0.005]


def batch(gpu, seed, size=BATCH):
    rng = np.random.default_rng(seed)
    return gpu.asarray(rng.normal(size=(size, *SHAPE)).astype("float32")), gpu.asarray(rng.integers(0, CLASSES, size))


def dataset():
    rng = np.random.default_rng(2)
    splits = [Split(rng.normal(size=(n, *SHAPE)).astype("float32"), rng.integers(0, CLASSES, n)) for n in (29, 11, 5)]
    return Dataset("drawn", *splits, CLASSES)


@pytest.fixture
def graphs(monkeypatch):
    """Return the graphs that were captured since, each with how often it was replayed."""
    from refplay.kernels.cupy_cuda import resident

    made = []

    class Counted(resident.Graph):
        def __init__(self, launches):
            super().__init__(launches)
            self.replays = 0
            made.append(self)

        def launch(self):
            self.replays += 1
            super().launch()

    monkeypatch.setattr(resident, "Graph", Counted)
    return made


IMAGE = (6, 6, 2)
POOLED = (Conv2D(5), Activation(), MaxPool2D(), Conv2D(4), Activation(), MaxPool2D(3, 2), Flatten())
JOINED = {  # models, and how many launches of their forward and backward passes are joined to another
    "relu": (mlp(SHAPE, CLASSES, depth=3, width=9), 3, 3),
    "tanh": (mlp(SHAPE, CLASSES, depth=2, width=9, activation="tanh"), 2, 0),
    "gelu": (mlp(SHAPE, CLASSES, depth=2, width=9, activation="gelu"), 2, 0),
    "a norm follows": (mlp(SHAPE, CLASSES, depth=2, width=9, normalization="layer"), 0, 2),
    "dropout follows": (mlp(SHAPE, CLASSES, depth=2, width=9, dropout=0.5), 2, 0),
    "read twice": (Model(SHAPE, CLASSES, (Dense(9), Residual((Activation(), Dense(9))), Dense(CLASSES))), 1, 1),
    "sums in parts": (mlp((300,), CLASSES, depth=1, width=70, activation="tanh"), 1, 0),
    "gradients in parts": (Model((300,), CLASSES, (Dense(5), Activation(), Dense(600), Dense(CLASSES))), 1, 1),
    "images": (convnet(IMAGE, CLASSES, depth=2, width=4), 2, 2),
    "windows that overlap": (Model(IMAGE, CLASSES, (*POOLED, Dense(CLASSES))), 2, 1),
    "images in parts": (convnet((2, 2, 70), CLASSES, depth=1, width=4, activation="gelu"), 1, 0),
}


@pytest.mark.parametrize(("model", "forward", "backward"), JOINED.values(), ids=JOINED)
def test_what_stands_beside_an_activation_is_one_launch_with_it(gpu, monkeypatch, model, forward, backward):
    """The gradient is that of separate kernels, bit for bit. What is not written is full of NaN on the CPU."""
    from refplay.kernels.cupy_cuda import activation, conv, pool, product
    from refplay.kernels.cupy_cuda.layers import Layers

    launched = []
    for module in (activation, conv, pool, product):
        launch = module.launch
        monkeypatch.setattr(module, "launch",
                            lambda kernel, *a, launch=launch, **o: launched.append(kernel) or launch(kernel, *a, **o))
    x = gpu.asarray(np.random.default_rng(1).normal(size=(BATCH, *model.input_shape)).astype("f4"))
    labels = batch(gpu, 1)[1]
    weights, found = gpu.asarray(np.full(BATCH, 1 / BATCH, "f4")), []
    for k in (gpu, Layers(gpu, gpu.zeros(1, "int64"))):
        network = Network(model, gpu, seed=1)
        network.backpropagate(k, x, labels, weights)
        counts = [sum(f"activation.{name}_{way}" in kernel for kernel in launched for name in ("relu", "tanh", "gelu"))
                  for way in ("forward", "backward")]
        found.append((gpu.to_host(network.gradient), len(launched), *counts))
        launched.clear()
    (separate, more, *activations), (joined, fewer, *left) = found
    np.testing.assert_array_equal(joined, separate)
    assert np.abs(separate).max() > 0
    assert [all_ - rest for all_, rest in zip(activations, left, strict=True)] == [forward, backward]
    assert more - fewer == forward + backward


@pytest.mark.parametrize("name", ["tf32", "bf16"])
def test_launches_are_joined_on_tensor_cores_too(gpu, name):
    from refplay.kernels.cupy_cuda.layers import Layers
    from refplay.kernels.cupy_cuda.precision import precision

    model = convnet(IMAGE, CLASSES, depth=1, width=4) if name == "tf32" else JOINED["relu"][0]
    x = gpu.asarray(np.random.default_rng(1).normal(size=(BATCH, *model.input_shape)).astype("f4"))
    weights, gradients = gpu.asarray(np.full(BATCH, 1 / BATCH, "f4")), []
    for k in (gpu, Layers(gpu, gpu.zeros(1, "int64"))):
        network = Network(model, gpu, seed=1)
        with precision(name):
            network.backpropagate(k, x, batch(gpu, 1)[1], weights)
        gradients.append(gpu.to_host(network.gradient))
    np.testing.assert_array_equal(*gradients)
    assert np.abs(gradients[0]).max() > 0


def test_a_layer_of_your_own_reads_what_it_wrote(gpu):
    """It may end in a dense layer's function and go on with its output: nothing is left out there."""
    from refplay.kernels.cupy_cuda.layers import Layers

    class ReadAgain(Dense):
        def backward(self, k, at, dy, mode):
            return super().backward(k, at, at.y, mode)

    model = Model(SHAPE, CLASSES, (ReadAgain(9), Activation(), Dense(CLASSES)))
    x, labels = batch(gpu, 1)
    weights, gradients = gpu.asarray(np.full(BATCH, 1 / BATCH, "f4")), []
    for k in (gpu, Layers(gpu, gpu.zeros(1, "int64"))):
        network = Network(model, gpu, seed=1)
        network.backpropagate(k, x, labels, weights)
        gradients.append(gpu.to_host(network.gradient))
    np.testing.assert_array_equal(*gradients)
    assert np.isfinite(gradients[0]).all()


@pytest.mark.parametrize("rule", RULES)
def test_replayed_steps_are_the_steps_launched_one_by_one(gpu, graphs, rule):
    """Bit for bit, through rates and dropout masks that change; batches come in two arrays, or each in its own."""
    found = []
    for anew in (False, True):
        network = Network(MODEL, gpu, seed=1)
        step, held = make_step(network, rule, BATCH, smoothing=0.1), [batch(gpu, 1), batch(gpu, 2)]
        arrays = [held[i] for i in (0, 0, 0, 1, 1, 0)]
        if anew:
            arrays = [tuple(gpu.asarray(gpu.to_host(a)) for a in pair) for pair in arrays]
        losses = [float(step(*pair, rate)) for pair, rate in zip(arrays, RATES, strict=True)]
        found.append((losses, gpu.to_host(network.theta), gpu.to_host(network.statistics)))
        assert [graph.replays for graph in graphs] == [2, 1]  # none more where each batch is new
    for replayed, launched in zip(*found, strict=True):
        np.testing.assert_array_equal(replayed, launched)


@pytest.mark.parametrize("rule", ["momentum", "nadam"])
def test_steps_at_a_rate_that_stays_bring_their_numbers_together(gpu, monkeypatch, rule):
    """The numbers of many steps come to the device in one copy; the steps are those of plain functions, bit for bit."""
    from refplay.kernels.cupy_cuda import tape

    brought = []
    monkeypatch.setattr(tape, "bring", lambda host, array, bring=tape.bring: brought.append(host) or bring(host, array))
    network, plain = (Network(MODEL, gpu, seed=1) for _ in range(2))
    step, (x, labels) = make_step(network, rule, BATCH, seed=5), batch(gpu, 1)
    state, weights = RULES[rule].init(plain.theta, gpu), gpu.asarray(np.full(BATCH, 1 / BATCH, "f4"))
    for number, rate in enumerate([0.02] * 70 + [0.01] * 3 + [0.005]):
        step(x, labels, rate)
        plain.backpropagate(gpu, x, labels, weights, seed=5, step=number)
        state = RULES[rule].update(plain.theta, plain.gradient, state, lr=rate, **RULES[rule].hyperparameters,
                                   kernels=gpu)  # fmt: skip
    np.testing.assert_array_equal(gpu.to_host(network.theta), gpu.to_host(plain.theta))
    # Numbers and counters of the steps 0, 1 to 64, from 65 on; of the next rate 70, from 71 on; of the last 73.
    assert len(brought) == 2 * 6


def test_a_graph_never_meets_arrays_of_another_shape(gpu, graphs):
    network = Network(MODEL, gpu, seed=1)
    step, right = make_step(network, "adam", BATCH), batch(gpu, 1)
    for _ in range(3):
        step(*right, 0.01)
    theta = gpu.to_host(network.theta)
    with pytest.raises(ValueError, match="softmax_cross_entropy: argument 'weights'"):
        step(*batch(gpu, 1, 2 * BATCH), 0.01)
    with pytest.raises(ValueError, match="argument 'labels'"):
        step(right[0], batch(gpu, 1, 2 * BATCH)[1], 0.01)
    np.testing.assert_array_equal(gpu.to_host(network.theta), theta)
    assert sum(graph.replays for graph in graphs) == 2


def test_a_graph_keeps_the_scratch_memory_it_was_captured_with(gpu):
    """Scratch memory grows with the largest that was asked for: a graph from before goes on with its own."""
    from refplay.kernels.cupy_cuda import device

    x, result = gpu.asarray(np.arange(5000, dtype="float32")), gpu.zeros((2,), "float64")
    arrived = device.zeros(1, "uint32")

    def launches():
        partial = device.scratch(64, "float64", "of this test")
        device.launch("resident.resident_total_float32", 64, 256, x, x.size, partial, arrived, result, 1, None)

    graph = device.Graph(launches)
    device.scratch(10**6, "float64", "of this test")
    others = [gpu.asarray(np.full(4096, np.nan)) for _ in range(8)]  # where freed memory would be
    graph.launch()
    assert gpu.to_host(result)[1] == 5000 * 4999 / 2
    assert all(np.isnan(gpu.to_host(other)).all() for other in others)


def test_a_training_is_captured_once(gpu, graphs):
    """Seven steps in four intervals; and what a graph moves is the progress that it was captured with."""
    training = Training("adam", cosine(0.02, 7), 7, BATCH, clip_threshold=0.5, polyak_decay=0.7, evaluate_every=2)
    fit(Network(MODEL, gpu, seed=1), dataset(), training, seed=3)
    assert [graph.replays for graph in graphs] == [7]


def test_another_progress_is_another_graph(gpu, graphs):
    training = Training("momentum", cosine(0.02, 6), 6, BATCH, evaluate_every=6)
    network = Network(MODEL, gpu, seed=1)
    steps, found, start = make_steps(network, dataset(), training, 3), [], gpu.to_host(network.theta)
    for _ in range(2):
        network.assign(start, np.zeros(network.statistics.shape, "float32"))
        found.append([loss for _, loss, _ in steps(begin(network, training), 6)])
    assert found[0] == found[1]
    assert [graph.replays for graph in graphs] == [6, 6]


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("part", [0.3, 2.0, np.inf])
def test_clipping_is_that_of_the_host(gpu, reference, rng, part, bad):
    from refplay.kernels.cupy_cuda import resident
    from refplay.optim import clip_by_norm

    g = np.append(rng.standard_normal(1531), bad).astype("f4")
    threshold = part * float(np.linalg.norm(g[:-1].astype(float)))
    clipped, on_gpu, theta = g.copy(), gpu.asarray(g), gpu.zeros(g.size)
    norm = clip_by_norm(clipped, threshold, kernels=reference)
    tape, log = resident.make_tape(3), gpu.asarray(np.full(3, -7.0))
    for row in range(3):
        tape.note(row)
        tape.sgd(theta, on_gpu, 1.0)
    tape.bring(0)
    for _ in range(2):
        tape.capture()
        tape.clip(on_gpu, threshold, log)
        tape.sgd(theta, on_gpu, 1.0)
        tape.advance()
    np.testing.assert_allclose(gpu.to_host(log), [norm, norm, -7.0], rtol=20 * np.finfo(float).eps)
    np.testing.assert_array_equal(gpu.to_host(on_gpu), g)  # the update multiplies as it reads
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(gpu.to_host(theta), -clipped - clipped, rtol=2 * np.finfo("f4").eps)


def test_what_a_step_that_failed_left_is_not_launched(gpu):
    from refplay.kernels.cupy_cuda import resident

    tape, y = resident.make_tape(1), gpu.zeros((2, 3))
    tape.layers.dense_forward(gpu.zeros((2, 4)), gpu.zeros((4, 3)), gpu.asarray(np.ones(3, "f4")), y)
    tape.capture()  # of the next step
    tape.layers.end()
    assert not gpu.to_host(y).any()


def test_between_evaluations_the_host_brings_indices_and_rates_and_reads_the_log(gpu, monkeypatch):
    from refplay.kernels.cupy_cuda import array, device, resident, tape

    events = []

    def spy(owner, name, event):
        original = getattr(owner, name)

        def spied(*arguments, **options):
            events.append(event)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, spied)

    for name in ("from_host", "bring"):
        spy(device, name, "to device")
    spy(tape, "bring", "to device")
    spy(device, "to_host", "to host")
    spy(device, "synchronize", "wait")
    spy(device, "empty", "allocation")
    spy(device, "zeros", "allocation")
    spy(resident.Graph, "launch", "step")
    assert array.device is resident.device is device
    training = Training("nadam", cosine(0.02, 6), 6, BATCH, clip_threshold=0.5, evaluate_every=3, evaluation_batch=11)
    fit(Network(MODEL, gpu, seed=1), dataset(), training, seed=3)
    interval = [*["to device"] * 3, *["step"] * 3, "to host"]  # indices, rates, counters; the log
    second = events[events.index("step") + 3 :]
    second = second[second.index("to device") :]
    assert second[: len(interval)] == interval
    assert set(second[len(interval) :]) == {"to host"}  # of the evaluation
