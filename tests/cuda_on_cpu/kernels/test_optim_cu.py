"""optim.cu against numpy_ref in double: one step of each rule, over lengths, alignments, schedules and clipping.

u is one rounding. The bounds are the counts of roundings at the top of kernels/numba_cpu/rules.py, whose arithmetic
this is, relative to the sum of absolute terms; the last difference, from theta, is one more.
"""

import numpy as np
import pytest

from refplay.kernels.scalars import bias_correction

LENGTHS = [1, 2, 3, 4, 5, 31, 32, 33, 127, 1009, 2047, 2048, 2049, 4101]
VALUES_A_BLOCK = {"float32": 2048, "float64": 1024}
STATE = {"sgd": "", "momentum": "v", "nesterov": "v", "rmsprop": "vm", "adam": "mv", "nadam": "mv"}
LR, DECAY, SECOND, EPSILON, T = 0.03, 0.9, 0.999, 1e-3, 4
RATE = {rule: LR * (bias_correction(T, DECAY, SECOND) if "adam" in rule else 1) for rule in STATE}
AFTER_RATE = {"sgd": (), "momentum": (DECAY,), "nesterov": (DECAY,), "rmsprop": (DECAY, SECOND, EPSILON)}
AFTER_RATE |= {"adam": (DECAY, SECOND, EPSILON), "nadam": (DECAY, SECOND, EPSILON)}


def draw(rule, n, dtype, seed=0):
    """Return theta, g and the state, of sizes over several powers of ten; averages of squares are not negative."""
    rng = np.random.default_rng((n, seed))
    vectors = 10.0 ** rng.uniform(-4, 1, (2 + len(STATE[rule]), n)) * rng.choice([-1.0, 1.0], (2 + len(STATE[rule]), n))
    for i, name in enumerate(STATE[rule]):
        if name == "v" and rule in ("rmsprop", "adam", "nadam"):
            vectors[2 + i] = abs(vectors[2 + i])
    return [v.astype(dtype) for v in vectors]


def blocks(n, dtype):
    return -(-n // VALUES_A_BLOCK[dtype])


def step(launch, rule, vectors, rates=None, t=None, clip=None, rate=None):
    dtype, n = str(vectors[0].dtype), vectors[0].size
    rate = RATE[rule] if rate is None else rate
    launch(f"optim.{rule}_{dtype}", max(1, blocks(n, dtype)), *vectors, n, rate, *AFTER_RATE[rule], rates, t, clip)


def exact_step(reference, rule, vectors):
    exact = [v.astype("float64") for v in vectors]
    scalars = (T, LR) if "adam" in rule else (LR,)
    getattr(reference, rule)(*exact, *scalars, *AFTER_RATE[rule])
    return exact


def bounds(rule, old, new):
    """Return the allowed error of theta and of the state, in u."""
    _, g, *state = (abs(v.astype("float64")) for v in old)
    if rule == "sgd":
        return [abs(new[0]) + 2 * LR * g]
    if rule in ("momentum", "nesterov"):
        v = DECAY * state[0] + g
        moved = v if rule == "momentum" else DECAY * v + g
        return [abs(new[0]) + 5 * LR * moved, 2 * v]
    v = new[2] if rule == "rmsprop" else new[3]
    if rule == "rmsprop":
        m = DECAY * state[1] + LR / np.sqrt(v + EPSILON) * g
        return [abs(new[0]) + 6.5 * m, 2 * v, 6.5 * m]
    m = DECAY * state[0] + (1 - DECAY) * g
    ahead = m if rule == "adam" else DECAY * m + (1 - DECAY) * g
    return [abs(new[0]) + (7 if rule == "adam" else 8) * RATE[rule] * ahead / (np.sqrt(v) + EPSILON), 2 * m, 2 * v]


def assert_within(rule, got, old, exact):
    u = np.finfo(got[0].dtype).eps * (0.5 if got[0].dtype == "float32" else 1)  # in double the reference rounds too
    np.testing.assert_array_equal(got[1], old[1])
    for i, bound in zip((0, *range(2, len(old))), bounds(rule, old, exact), strict=True):
        error = abs(got[i].astype("float64") - exact[i])
        # Terms of second order in u: a thousandth, with room.
        assert (error <= 1.001 * u * bound).all(), (i, (error / (u * bound)).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", STATE)
@pytest.mark.parametrize("n", LENGTHS)
def test_a_step(launch, reference, rule, dtype, n):
    old = draw(rule, n, dtype)
    got = [v.copy() for v in old]
    step(launch, rule, got)
    assert_within(rule, got, old, exact_step(reference, rule, old))


@pytest.mark.parametrize("offsets", [(1, 1, 1, 1), (2, 2, 2, 2), (4, 4, 4, 4), (0, 1, 2, 3), (0, 0, 0, 1), (0, 3)])
@pytest.mark.parametrize("rule", STATE)
def test_views_give_the_same_bits(launch, shifted, rule, offsets):
    old = draw(rule, 2 * 2048 + 7, "float32")
    plain = [v.copy() for v in old]
    views = [shifted(v, offset) for v, offset in zip(old, (*offsets, 0, 0), strict=False)]
    step(launch, rule, plain)
    step(launch, rule, views)
    for a, b in zip(plain, views, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rule", STATE)
def test_no_parameters(launch, rule):
    step(launch, rule, draw(rule, 0, "float32"))


@pytest.mark.parametrize("rule", STATE)
def test_the_rate_of_the_step_comes_from_the_table(launch, rule):
    """As in a replayed graph: nothing but device memory changes between the steps, and the counter moves on there."""
    rates, t, steps = RATE[rule] / np.arange(1.0, 5.0), np.array([1], np.int64), np.array([101], np.int64)
    by_table, by_value = draw(rule, 2053, "float32"), draw(rule, 2053, "float32")
    for number in (1, 2, 3):
        step(launch, rule, by_table, rates=rates, t=t, rate=float("nan"))
        launch("optim.advance", 1, t, steps, threads=1)
        step(launch, rule, by_value, rate=float(rates[number]))
        for a, b in zip(by_table, by_value, strict=True):
            np.testing.assert_array_equal(a, b)
    assert (t[0], steps[0]) == (4, 104)


@pytest.mark.parametrize("rule", STATE)
@pytest.mark.parametrize("n", [5, 2053])
def test_clipping_is_scaling_first(launch, rule, n):
    old = draw(rule, n, "float32")
    clipped, scaled = [v.copy() for v in old], [v.copy() for v in old]
    step(launch, rule, clipped, clip=np.array([0.37]))
    launch("reduce.scale_float32", blocks(n, "float32"), scaled[1], 0.37, n, None, None)
    step(launch, rule, scaled)
    np.testing.assert_array_equal(clipped[1], old[1])  # the gradient itself stays
    for i in (0, *range(2, len(old))):
        np.testing.assert_array_equal(clipped[i], scaled[i])


@pytest.mark.parametrize("rule", STATE)
@pytest.mark.parametrize("clip", [None, 1.0])
def test_extremes_come_out_as_from_the_reference(launch, reference, rule, clip):
    info = np.finfo(np.float32)
    g = np.array([np.nan, np.inf, -np.inf, 0, 1, info.max / 4, info.tiny, info.smallest_subnormal, -info.max / 4], "f4")
    old = [np.linspace(1, 2, g.size).astype("f4"), g, *[np.full(g.size, 0.5, "f4") for _ in STATE[rule]]]
    got = [v.copy() for v in old]
    step(launch, rule, got, clip=None if clip is None else np.array([clip]))
    expected = [v.copy() for v in old]
    with np.errstate(all="ignore"):
        scalars = (T, LR) if "adam" in rule else (LR,)
        getattr(reference, rule)(*expected, *scalars, *AFTER_RATE[rule])
    for a, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=8 * info.eps)
    assert np.isnan(got[0][0])


@pytest.mark.parametrize("rule", ["rmsprop", "adam", "nadam"])
def test_squares_that_are_too_large_for_a_float_before_they_are_averaged(launch, reference, rule):
    g = np.array([3e19, -4e20, 5e20], "f4")  # squares beyond 3.4e38, their averages below it
    old = [np.array([1, 2, 3], "f4"), g, *[np.full(3, 0.5, "f4") for _ in STATE[rule]]]
    got = [v.copy() for v in old]
    step(launch, rule, got)
    exact = exact_step(reference, rule, old)
    assert max(abs(v).max() for v in exact) < np.finfo("f4").max
    assert_within(rule, got, old, exact)
