"""The six rules and the vector kernels: numba against the reference, in one step from any state and over many steps.

In a bound, u is half an eps: what one rounding costs, relative to the larger of what goes in and what comes out. The
count of roundings is stated with each rule. Sums may cancel, so that bounds are relative to the sum of absolute terms.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refplay import kernels

NUMBA = kernels.load("numba")
drawn = settings(derandomize=True, deadline=None, max_examples=40)
lengths = st.sampled_from([0, 1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 1009])
rates = st.sampled_from([1e-4, 0.3, 0.99, 0.9999])
MV = ("m", "v")
STATE = {"sgd": (), "momentum": ("v",), "nesterov": ("v",), "rmsprop": ("v", "m"), "adam": MV, "nadam": MV}
EPSILON = 0.01


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


def scalars(rule, lr, decay, second, t):
    return {
        "sgd": (lr,),
        "momentum": (lr, decay),
        "nesterov": (lr, decay),
        "rmsprop": (lr, decay, second, EPSILON),
        "adam": (t, lr, decay, second, EPSILON),
        "nadam": (t, lr, decay, second, EPSILON),
    }[rule]


def bounds(rule, old, new, lr, decay, second, t):
    """Return the allowed error of theta and of each state, in units u: (roundings) x (sum of absolute terms).

    Counted are the roundings of scalars to the dtype too. Adam, for one: m takes 4 (1 - beta1, two products, the sum),
    v 4, sqrt(v) + epsilon half of those of v and 3 more, and the step 4 (quotient, scalar, product, difference).
    """
    theta, g, *state = (abs(a.astype("float64")) for a in old)
    if rule == "sgd":
        return [3 * (theta + lr * g)]
    if rule in ("momentum", "nesterov"):
        v = decay * state[0] + g
        update = v if rule == "momentum" else decay * v + g
        return [theta + 7 * lr * update + lr * g, 3 * v]
    if rule == "rmsprop":
        v, m = state
        new_v = abs(new[2])
        slope = lr / np.sqrt(new_v + EPSILON) * g
        return [theta + 9 * (decay * m + slope), 4 * new_v, 8 * (decay * m + slope)]
    m, new_v = decay * state[0] + (1 - decay) * g, abs(new[3])
    step = lr * np.sqrt(1 - second ** (t + 1)) / (1 - decay ** (t + 1)) / (np.sqrt(new_v) + EPSILON)
    numerator = m if rule == "adam" else decay * m + (1 - decay) * g
    return [theta + (13 if rule == "adam" else 16) * step * numerator, 4 * m, 4 * new_v]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", sorted(STATE))
@drawn
@given(
    n=lengths, lr=st.sampled_from([1e-3, 0.7]), decay=rates, second=rates, t=st.sampled_from([0, 1, 400, 10**9])
)  # fmt: skip
def test_a_step_is_within_the_roundings_of_its_equation(
    reference, assert_close, rule, dtype, n, lr, decay, second, t
):
    old = draw(np.random.default_rng(n), n, rule, dtype)
    new, new64 = [a.copy() for a in old], [a.astype("float64") for a in old]
    numbers = scalars(rule, lr, decay, second, t)
    getattr(NUMBA, rule)(*new, *numbers)
    getattr(reference, rule)(*new64, *numbers)
    np.testing.assert_array_equal(new[1], old[1])  # the gradient is only read
    allowed = bounds(rule, old, new64, lr, decay, second, t)
    for i, bound in zip((0, *range(2, len(old))), allowed, strict=True):
        assert_close(new[i], new64[i], unit(dtype) * bound)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", sorted(STATE))
def test_hundred_steps_follow_the_reference(reference, assert_close, rule, dtype):
    # A bowl, so that errors do not grow: those of 100 steps add up to at most 100 times those of one, and twice that
    # through the state. Momentum below 1 - lr and a curvature between 0.5 and 2 keep every rule stable.
    rng = np.random.default_rng(3)
    curvature = rng.uniform(0.5, 2.0, 37).astype(dtype)
    vectors = [np.ascontiguousarray(rng.normal(0.0, 1.0, 37).astype(dtype)), np.empty(37, dtype)]
    vectors += [np.ones(37, dtype) if (rule, name) == ("rmsprop", "v") else np.zeros(37, dtype) for name in STATE[rule]]
    exact = [a.astype("float64") for a in vectors]
    start, lr, decay, second = exact[0].copy(), 0.05, 0.8, 0.95
    for t in range(100):
        for backend, arrays in ((NUMBA, vectors), (reference, exact)):
            arrays[1][...] = curvature * arrays[0]
            getattr(backend, rule)(*arrays, *scalars(rule, lr, decay, second, t))
    # 13 roundings a step (Adam, above), each at most that of the largest theta and step seen
    assert_close(vectors[0], exact[0], 2 * 100 * 16 * unit(dtype) * (abs(start).max() + lr))
    assert abs(exact[0]).max() < abs(start).max() / 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", sorted(STATE))
def test_extremes_come_out_as_from_the_reference(reference, rule, dtype):
    info = np.finfo(dtype)
    # Half of the maximum: Nesterov adds two of them before the learning rate makes them small, and from the maximum
    # itself only the reference, which computes float32 in double precision, would come back.
    special = [np.nan, np.inf, -np.inf, 0.0, 1.0, info.max / 2, info.tiny, info.smallest_subnormal, -info.max / 2]
    g = np.array(special, dtype)
    theta = np.linspace(1, 2, g.size).astype(dtype)
    state = [np.full(g.size, 0.5, dtype) for _ in STATE[rule]]
    expected = [a.copy() for a in (theta, g, *state)]
    numbers = scalars(rule, 0.1, 0.9, 0.99, 2)
    getattr(NUMBA, rule)(theta, g, *state, *numbers)
    with np.errstate(all="ignore"):
        getattr(reference, rule)(*expected, *numbers)
    for actual, e in zip((theta, g, *state), expected, strict=True):
        np.testing.assert_allclose(actual, e, rtol=8 * info.eps)
    assert np.isnan(theta[0])  # divergence must be seen


@pytest.mark.parametrize("rule", ["adam", "nadam"])
def test_without_epsilon_a_gradient_of_zero_gives_nan_as_in_the_reference(reference, rule):
    vectors, expected = [np.zeros(3) for _ in range(4)], [np.zeros(3) for _ in range(4)]
    getattr(NUMBA, rule)(*vectors, 0, 0.1, 0.9, 0.99, 0.0)
    with np.errstate(invalid="ignore"):
        getattr(reference, rule)(*expected, 0, 0.1, 0.9, 0.99, 0.0)
    np.testing.assert_array_equal(vectors, expected)
