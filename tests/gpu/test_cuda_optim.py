"""The six rules on the GPU against the reference in float64: one step from any state, many steps, and extremes.

In a bound, u is half an eps: what one rounding costs, relative to the larger of what goes in and what comes out. Sums
may cancel, so that bounds are relative to the sum of absolute terms. In float32 Numba-CUDA computes sums in double and
rounds them once, which is why its counts are small; CuPy's kernels have two roundings there. In float64 each operation
rounds, here and in the reference.
"""

import numpy as np
import pytest

LENGTHS = [0, 1, 2, 255, 257, 1023, 1024, 1025, 2311]
MV = ("m", "v")
STATE = {"sgd": (), "momentum": ("v",), "nesterov": ("v",), "rmsprop": ("v", "m"), "adam": MV, "nadam": MV}
EPSILON = 0.01
DTYPES = ["float32", "float64"]


def unit(dtype):
    """One rounding; twice in float64, where the reference is no more exact than the kernel."""
    return np.finfo(dtype).eps / (2 if dtype == "float32" else 1)


def draw(rng, n, rule, dtype):
    """Return theta, g and the state, with a v that is not negative, and sizes over several powers of ten."""
    sizes = 10.0 ** rng.uniform(-4, 1, (2 + len(STATE[rule]), n))
    vectors = sizes * rng.choice([-1.0, 1.0], sizes.shape)
    for i, name in enumerate(STATE[rule]):
        if name == "v" and rule not in ("momentum", "nesterov"):
            vectors[2 + i] = abs(vectors[2 + i])
    return [np.ascontiguousarray(v.astype(dtype)) for v in vectors]


def scalars(rule, lr, decay, second, t, epsilon=EPSILON):
    return {
        "sgd": (lr,),
        "momentum": (lr, decay),
        "nesterov": (lr, decay),
        "rmsprop": (lr, decay, second, epsilon),
        "adam": (t, lr, decay, second, epsilon),
        "nadam": (t, lr, decay, second, epsilon),
    }[rule]


# Roundings by rule: of the update of theta (theta itself has one more), and of each part of the state.
# float32, Adam: m and v 1 each; sqrt(v) 1/2 of that and 1 itself, its sum with epsilon 1; m over it 1, the learning
# rate 1, the product 1, the difference 1: 1 + 2 1/2 + 4. NAdam: what stands for m has 2. RMSProp: v + epsilon has 2, of
# which the root halves, and 1 itself, lr 1, the quotient 1, so that lr / sqrt has 4; the sum with gamma m 1, the
# difference 1.
# The kernels of CuPy have the arithmetic of numba_cpu, whose file rules.py counts: Adam 7, NAdam 8, RMSProp 6.5, and 2
# for a sum of decayed state and gradient. With the difference from theta, which is at most the terms of its sum, each
# has one more. SGD: the learning rate 1. Momentum: v 2, the learning rate 1. Nesterov: v 2, gamma 1, the sum 1, lr 1.
COUNTS = {
    "cupy float32": {"sgd": (2,), "momentum": (4, 2), "nesterov": (6, 2), "rmsprop": (7.5, 2, 6.5),
                     "adam": (8, 2, 2), "nadam": (9, 2, 2)},
    "float32": {"sgd": (1,), "momentum": (2, 1), "nesterov": (2, 1), "rmsprop": (6, 1, 5), "adam": (7.5, 1, 1),
                "nadam": (8.5, 1, 1)},
    "float64": {"sgd": (3,), "momentum": (8, 3), "nesterov": (8, 3), "rmsprop": (9, 4, 8), "adam": (13, 4, 4),
                "nadam": (16, 4, 4)},
}  # fmt: skip


def bounds(rule, counts, old, new, lr, decay, second, t):
    """Return the allowed error of theta and of each state, in units u: (roundings) x (sum of absolute terms)."""
    theta, g, *state = (abs(a.astype("float64")) for a in old)
    count, *of_state = counts[rule]
    if rule == "sgd":
        return [theta + count * lr * g]
    if rule in ("momentum", "nesterov"):
        v = decay * state[0] + g
        update = v if rule == "momentum" else decay * v + g
        return [theta + count * lr * update, of_state[0] * v]
    if rule == "rmsprop":
        v, m = state
        new_v = abs(new[2])
        m = decay * m + lr / np.sqrt(new_v + EPSILON) * g
        return [theta + count * m, of_state[0] * new_v, of_state[1] * m]
    m, new_v = decay * state[0] + (1 - decay) * g, abs(new[3])
    step = lr * np.sqrt(1 - second ** (t + 1)) / (1 - decay ** (t + 1)) / (np.sqrt(new_v) + EPSILON)
    numerator = m if rule == "adam" else decay * m + (1 - decay) * g
    return [theta + count * step * numerator, of_state[0] * m, of_state[1] * new_v]


# learning rate, momentum or beta1, rho or beta2, step; betas near 1 and 0, steps up to 10^9
SETTINGS = [(1e-3, 0.9, 0.999, 0), (0.7, 0.3, 0.99, 1), (0.7, 0.9999, 0.999999, 400), (0.1, 0.999999, 1e-4, 10**9),
            (1e-3, 0.0, 0.0, 3)]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("rule", sorted(STATE))
def test_a_step_is_within_the_roundings_of_its_equation(one_step, rule, dtype, setting):
    n = LENGTHS[(SETTINGS.index(setting) + 2 * sorted(STATE).index(rule)) % len(LENGTHS)]
    one_step(rule, dtype, setting, n)


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("rule", ["sgd", "momentum", "rmsprop"])  # a kernel of each form
def test_vectors_of_every_length(one_step, rule, n):
    one_step(rule, "float32", SETTINGS[1], n)


@pytest.fixture
def one_step(gpu, run, reference, assert_close, rng):
    def step(rule, dtype, setting, n):
        key = "cupy float32" if (gpu.__name__.split(".")[-1], dtype) == ("cupy_cuda", "float32") else dtype
        check_one_step(run, reference, assert_close, rng, rule, dtype, COUNTS[key], setting, n)

    return step


def check_one_step(run, reference, assert_close, rng, rule, dtype, counts, setting, n):
    old = draw(rng, n, rule, dtype)
    new, new64 = [a.copy() for a in old], [a.astype("float64") for a in old]
    run(rule, *new, *scalars(rule, *setting))
    getattr(reference, rule)(*new64, *scalars(rule, *setting))
    np.testing.assert_array_equal(new[1], old[1])  # the gradient is only read
    allowed = bounds(rule, counts, old, new64, *setting)
    for i, bound in zip((0, *range(2, len(old))), allowed, strict=True):
        assert_close(new[i], new64[i], (unit(dtype) + 8 * np.finfo("float64").eps) * bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", sorted(STATE))
def test_hundred_steps_follow_the_reference(gpu, reference, assert_close, rule, dtype):
    # A bowl, so that errors do not grow: those of 100 steps add up to at most 100 times those of one, and twice that
    # through the state. Momentum below 1 - lr and a curvature between 0.5 and 2 keep every rule stable.
    rng = np.random.default_rng(3)
    curvature = rng.uniform(0.5, 2.0, 37).astype(dtype)
    vectors = [np.ascontiguousarray(rng.normal(0.0, 1.0, 37).astype(dtype)), np.empty(37, dtype)]
    vectors += [np.ones(37, dtype) if (rule, name) == ("rmsprop", "v") else np.zeros(37, dtype) for name in STATE[rule]]
    exact, moved = [a.astype("float64") for a in vectors], [gpu.asarray(a) for a in vectors]
    start, lr, decay, second = exact[0].copy(), 0.05, 0.8, 0.95
    for t in range(100):
        moved[1] = gpu.asarray(curvature * gpu.to_host(moved[0]))
        exact[1][...] = curvature * exact[0]
        getattr(gpu, rule)(*moved, *scalars(rule, lr, decay, second, t))
        getattr(reference, rule)(*exact, *scalars(rule, lr, decay, second, t))
    # a step has at most 17 roundings (NAdam, above), each at most that of the largest theta and step seen
    assert_close(gpu.to_host(moved[0]), exact[0], 2 * 100 * 17 * unit(dtype) * (abs(start).max() + lr))
    assert abs(exact[0]).max() < abs(start).max() / 2


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the simulator computes with NumPy
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", sorted(STATE))
def test_extremes_come_out_as_from_the_reference(run, reference, rule, dtype):
    """Squares that overflow and that vanish, subnormals, NaN and infinities."""
    info = np.finfo(dtype)
    special = [np.nan, np.inf, -np.inf, 0.0, 1.0, info.max / 2, info.tiny, info.smallest_subnormal, -info.max / 2]
    g = np.array(special, dtype)
    theta = np.linspace(1, 2, g.size).astype(dtype)
    state = [np.full(g.size, 0.5, dtype) for _ in STATE[rule]]
    expected = [a.copy() for a in (theta, g, *state)]
    numbers = scalars(rule, 0.1, 0.9, 0.99, 2)
    run(rule, theta, g, *state, *numbers)
    with np.errstate(all="ignore"):
        getattr(reference, rule)(*expected, *numbers)
    for actual, e in zip((theta, g, *state), expected, strict=True):
        np.testing.assert_allclose(actual, e, rtol=8 * info.eps)
    assert np.isnan(theta[0])  # divergence must be seen


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", sorted(STATE))
def test_subnormal_gradients_are_not_flushed_to_zero(run, reference, assert_close, rule, dtype):
    least = np.finfo(dtype).smallest_subnormal
    g = np.array([1.0, -3.0, 1000.0, 12345.0]).astype(dtype) * least
    theta, state = np.zeros(4, dtype), [np.zeros(4, dtype) for _ in STATE[rule]]
    exact = [a.astype("float64") for a in (theta, g, *state)]
    numbers = scalars(rule, 0.7, 0.9, 0.99, 2, epsilon=0.5)
    run(rule, theta, g, *state, *numbers)
    getattr(reference, rule)(*exact, *numbers)
    for actual, e in zip((theta, g, *state), exact, strict=True):
        assert_close(actual, e, 3 * float(least))  # two roundings to what there is, and a scale of up to 1.5 between
    assert theta[3] != 0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("rule", ["adam", "nadam"])
def test_without_epsilon_a_gradient_of_zero_gives_nan_as_in_the_reference(run, reference, rule):
    vectors, expected = [np.zeros(3) for _ in range(4)], [np.zeros(3) for _ in range(4)]
    run(rule, *vectors, 0, 0.1, 0.9, 0.99, 0.0)
    with np.errstate(invalid="ignore"):
        getattr(reference, rule)(*expected, 0, 0.1, 0.9, 0.99, 0.0)
    np.testing.assert_array_equal(vectors, expected)


@pytest.mark.gpu
@pytest.mark.parametrize("rule", sorted(STATE))
def test_long_vectors(one_step, rule):
    one_step(rule, "float32", SETTINGS[2], 2**24 + 3)
