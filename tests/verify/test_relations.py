"""What the equations imply, as properties of the code: special cases, quadratics, scaling, and the first steps.

EPS is the distance from 1 to the next double: two roundings. Bounds count roundings, as everywhere; what a bound rests
on is said with it.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from refplay.kernels import load
from refplay.optim import RULES

EPS = np.finfo(np.float64).eps
KERNELS = ("numpy", "numba")
drawn = settings(derandomize=True, deadline=None, max_examples=60)

seeds = st.integers(0, 2**32 - 1)
rates = st.floats(1e-4, 1.0)
decays = st.sampled_from([0.0, 0.3, 0.9, 0.99]) | st.floats(0.0, 0.995)
steps = st.integers(1, 30)


def course(seed, length):
    """Return theta_0 of 5 parameters, a gradient for each step, none near zero, and a learning rate for each."""
    rng = np.random.default_rng(seed)
    g = rng.uniform(0.5, 2, (length, 5)) * rng.choice([-1, 1], (length, 5))
    return rng.uniform(1, 3, 5) * rng.choice([-1, 1], 5), g, rng.uniform(0.2, 1.0, length) / np.arange(1, length + 1)


def run(name, backend, theta, gradients, learning_rates, **hyperparameters):
    """Return theta after each step."""
    kernels, rule = load(backend), RULES[name]
    theta = kernels.asarray(theta.copy())
    state, path = rule.init(theta, kernels), []
    for g, lr in zip(gradients, learning_rates, strict=True):
        g = kernels.asarray(np.ascontiguousarray(g))
        state = rule.update(theta, g, state, lr=float(lr), **hyperparameters, kernels=kernels)
        path.append(kernels.to_host(theta).copy())
    return np.array(path)


# OPT3: the special cases.


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("name", ["momentum", "nesterov"])
@drawn
@given(seed=seeds, length=steps, lr=rates)
def test_without_momentum_they_are_sgd(name, backend, seed, length, lr):
    """gamma = 0 leaves v = g, in Nesterov too: bit for bit the steps of SGD."""
    theta, g, factors = course(seed, length)
    with_zero = run(name, backend, theta, g, lr * factors, momentum=0.0)
    np.testing.assert_array_equal(with_zero, run("sgd", backend, theta, g, lr * factors))


@pytest.mark.parametrize("backend", KERNELS)
@drawn
@given(seed=seeds, length=steps, lr=rates, beta2=decays, epsilon=st.floats(1e-10, 10.0))
def test_nadam_without_beta1_is_adam_without_beta1(backend, seed, length, lr, beta2, epsilon):
    """beta1 = 0 leaves m = g, and NAdam's numerator beta1 m + (1 - beta1) g is g as well: bit for bit the same."""
    theta, g, factors = course(seed, length)
    settings_ = {"beta1": 0.0, "beta2": beta2, "epsilon": epsilon}
    adam, nadam = (run(name, backend, theta, g, lr * factors, **settings_) for name in ("adam", "nadam"))
    np.testing.assert_array_equal(adam, nadam)


@pytest.mark.parametrize(("name", "limit"), [("adam", "momentum"), ("nadam", "nesterov")])
@drawn
@given(seed=seeds, length=steps, lr=rates, beta1=st.floats(0.0, 0.95), beta2=decays)
def test_large_epsilon_approaches_momentum(name, limit, seed, length, lr, beta1, beta2):
    r"""Adam with a large epsilon is Momentum, NAdam Nesterov, at the rate lr epsilon / ((1 - beta1) b).

    For m = (1 - beta1) v_momentum, and sqrt(v) + epsilon is epsilon but for sqrt(v) <= 2, as |g| <= 2: the step is
    theirs times epsilon / (sqrt(v) + epsilon), so short of theirs by at most a part 2 / epsilon, and, to first order,
    a hundredth of that with an epsilon a hundred times as large.
    """
    theta, g, factors = course(seed, length)
    t = np.arange(length)
    b = np.sqrt(1 - beta2 ** (t + 1)) / (1 - beta1 ** (t + 1))
    path = run(limit, "numpy", theta, g, lr * factors, momentum=beta1)
    velocity = 2 / (1 - beta1)  # at most; Nesterov's step adds less than as much
    reach = np.sum(lr * factors) * velocity * (2 if limit == "nesterov" else 1)
    difference = []
    for epsilon in (1e3, 1e5):
        adapted = lr * factors * epsilon / (1 - beta1) / b
        got = run(name, "numpy", theta, g, adapted, beta1=beta1, beta2=beta2, epsilon=epsilon)
        difference.append(np.abs(got - path).max())
        assert difference[-1] <= 2 / epsilon * reach + 16 * length * EPS * (3 + reach) / (1 - beta1)
    if difference[0] > 1e-6:  # else roundings are seen beside it
        assert 90 < difference[0] / difference[1] < 110


@pytest.mark.parametrize("backend", KERNELS)
@drawn
@given(seed=seeds, length=steps, lr=rates, momentum=decays)
def test_rmsprop_at_large_epsilon_and_constant_rate_approaches_momentum(backend, seed, length, lr, momentum):
    """The root is sqrt(epsilon) but for v <= 4, a part 2 / epsilon of it; at one rate its place does not matter."""
    theta, g, _ = course(seed, length)
    epsilon, constant = 1e9, np.full(length, lr)
    got = run("rmsprop", backend, theta, g, constant * np.sqrt(epsilon), momentum=momentum, rho=0.9, epsilon=epsilon)
    reach = length * lr * 2 / (1 - momentum)
    error = np.abs(got - run("momentum", backend, theta, g, constant, momentum=momentum))
    assert (error <= 2 / epsilon * reach + 16 * length * EPS * (3 + reach)).all()


# Quadratics: on the loss h x^2 / 2 these rules are linear recurrences, theta_{t+1} = trace theta_t - det theta_{t-1}.

# Trace and determinant of the iteration matrix (Polyak 1964 for the heavy ball), and theta_1 / theta_0.
MATRIX = {
    "momentum": lambda q, gamma: (1 + gamma - q, gamma, 1 - q),
    "nesterov": lambda q, gamma: ((1 + gamma) * (1 - q), gamma * (1 - q), 1 - q * (1 + gamma)),
}


def on_a_quadratic(name, backend, h, lr, length, **hyperparameters):
    """Return theta_0 = 1.5 to theta_length with the gradient h theta."""
    kernels, rule = load(backend), RULES[name]
    theta = kernels.asarray(np.array([1.5]))
    state, path = rule.init(theta, kernels), [1.5]
    for _ in range(length):
        g = kernels.asarray(h * kernels.to_host(theta))
        state = rule.update(theta, g, state, lr=lr, **hyperparameters, kernels=kernels)
        path.append(float(kernels.to_host(theta)[0]))
    return np.array(path)


@pytest.mark.parametrize("backend", KERNELS)
@drawn
@given(h=st.floats(0.01, 100.0), q=st.floats(0.001, 2.0))
def test_sgd_on_a_quadratic(backend, h, q):
    """theta_t = theta_0 (1 - lr h)^t: one eigenvalue, at most 1 here, so that errors do not grow: 4 roundings a step.

    The eigenvalue itself is rounded too, and its power 30 has 30 times that error.
    """
    lr = q / h
    path = on_a_quadratic("sgd", backend, h, lr, 30)
    np.testing.assert_allclose(path, 1.5 * (1 - lr * h) ** np.arange(31), rtol=0, atol=8 * 31 * 1.5 * EPS)


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("name", ["momentum", "nesterov"])
@drawn
@given(h=st.floats(0.01, 100.0), q=st.floats(0.001, 1.2), gamma=st.floats(0.05, 0.95))
def test_momentum_on_a_quadratic(name, backend, h, q, gamma):
    """theta_t = theta_0 (a z1^t + (1 - a) z2^t), z the eigenvalues of the iteration matrix; a from theta_1.

    Real eigenvalues and complex ones (oscillation) both occur. Six roundings a step on each side, kept by a stable
    recurrence and magnified by at most 1 / |z1 - z2|; so nearly equal eigenvalues are left out.
    """
    lr = q / h
    trace, determinant, first = MATRIX[name](lr * h, gamma)
    root = np.sqrt(complex(trace**2 - 4 * determinant))
    z1, z2 = (trace + root) / 2, (trace - root) / 2
    assume(abs(z1 - z2) > 1e-3 and max(abs(z1), abs(z2)) < 1)
    a = (first - z2) / (z1 - z2)
    t = np.arange(41)
    expected = 1.5 * (a * z1**t + (1 - a) * z2**t).real
    path = on_a_quadratic(name, backend, h, lr, 40, momentum=gamma)
    # z is the root of a rounded number: where that is small, its error is up to eps / |z1 - z2|, 40 times so in z^40
    bound = 12 * 41 * 1.5 * EPS * max(1, abs(a)) / abs(z1 - z2) ** 2
    np.testing.assert_allclose(path, expected, rtol=0, atol=bound)


@drawn
@given(q=st.floats(0.05, 1.0), gamma=st.floats(0.05, 0.9))
def test_eigenvalues_are_those_of_the_step_itself(q, gamma):
    """The matrix of one step, (theta, v) -> (theta, v), measured column by column, has the trace and determinant above.

    So the closed form does not rest on the algebra alone.
    """
    kernels = load("numpy")
    for name, of in MATRIX.items():
        columns = []
        for theta, v in ((1.0, 0.0), (0.0, 1.0)):
            x, rule = np.array([theta]), RULES[name]
            state = rule.init(x, kernels)
            state.v[...] = v
            state = rule.update(x, x.copy(), state, lr=q, momentum=gamma, kernels=kernels)
            columns.append([x[0], state.v[0]])
        trace, determinant, _ = of(q, gamma)
        (a, c), (b, d) = columns
        assert abs(a + d - trace) <= 8 * EPS * (2 + 2 * gamma)
        assert abs(a * d - b * c - determinant) <= 16 * EPS * (2 + 2 * gamma)


# Scales.


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("name", ["adam", "nadam"])
@drawn
@given(seed=seeds, length=steps, lr=rates, beta1=decays, beta2=decays, exponent=st.integers(-60, 60),
       negative=st.booleans())  # fmt: skip
def test_adam_does_not_see_the_scale_of_the_loss(name, backend, seed, length, lr, beta1, beta2, exponent, negative):
    """At epsilon = 0 gradients c g give the path of g, for a power of two bit for bit, and -c g its mirror image.

    m scales with c and sqrt(v) with |c|. An epsilon above 0 breaks it: the last assertion is that the test would see.
    """
    _, g, factors = course(seed, length)
    zero, c = np.zeros(5), (-1.0 if negative else 1.0) * 2.0**exponent
    betas = {"beta1": beta1, "beta2": beta2}
    path = run(name, backend, zero, g, lr * factors, **betas, epsilon=0.0)
    scaled = run(name, backend, zero, c * g, lr * factors, **betas, epsilon=0.0)
    np.testing.assert_array_equal(scaled, np.sign(c) * path)
    if exponent:
        seen = run(name, backend, zero, c * g, lr * factors, **betas, epsilon=0.1)
        assert (seen != np.sign(c) * run(name, backend, zero, g, lr * factors, **betas, epsilon=0.1)).any()


def rmsprop_from(v_0, backend, gradients, learning_rates, **hyperparameters):
    """Return the path of RMSProp from theta = 0 and a v_0 of choice."""
    kernels, rule = load(backend), RULES["rmsprop"]
    theta = kernels.asarray(np.zeros(5))
    state, path = rule.init(theta, kernels)._replace(v=kernels.asarray(np.full(5, v_0))), []
    for g, lr in zip(gradients, learning_rates, strict=True):
        state = rule.update(theta, kernels.asarray(g.copy()), state, lr=float(lr), **hyperparameters, kernels=kernels)
        path.append(kernels.to_host(theta).copy())
    return np.array(path)


@pytest.mark.parametrize("backend", KERNELS)
@drawn
@given(seed=seeds, length=steps, lr=rates, momentum=decays, rho=decays, exponent=st.integers(-60, 60))
def test_rmsprop_does_not_see_the_scale_if_v_0_scales_with_it(backend, seed, length, lr, momentum, rho, exponent):
    """At epsilon = 0, c g from v_0 = c^2 gives the path of g from v_0 = 1: bit for bit, for c a power of two.

    From v_0 = 1 itself that holds only for c = 1, or at rho = 0, which forgets v_0 at once.
    """
    _, g, factors = course(seed, length)
    c = 2.0**exponent
    constants = {"momentum": momentum, "rho": rho, "epsilon": 0.0}
    path = rmsprop_from(1.0, backend, g, lr * factors, **constants)
    np.testing.assert_array_equal(rmsprop_from(c**2, backend, c * g, lr * factors, **constants), path)
    unscaled = rmsprop_from(1.0, backend, c * g, lr * factors, **constants)
    if rho == 0 or exponent == 0:
        np.testing.assert_array_equal(unscaled, path)
    elif rho > 0.1:
        assert (unscaled != path).any()


@drawn
@given(seed=seeds, rho=st.floats(0.3, 0.95), exponent=st.integers(-20, 20))
def test_rmsprop_forgets_v_0_and_then_does_not_see_the_scale(seed, rho, exponent):
    r"""The share of v_0 in v decays as rho^t: once it is gone, steps for c g and g agree again, from v_0 = 1 too.

    The part that v_0 has in v is at most rho^t / ((1 - rho) g^2) with |g| >= 0.5 c, and half of it goes into a step,
    for either path.
    """
    c = 2.0**exponent
    length = int(np.ceil(np.log(EPS * (1 - rho) * min(1.0, c**2)) / np.log(rho)))
    _, g, _ = course(seed, length + 1)
    constants = {"momentum": 0.0, "rho": rho, "epsilon": 0.0}
    last = [np.diff(rmsprop_from(1.0, "numpy", scale * g, np.ones(length + 1), **constants), axis=0)[-1]
            for scale in (1.0, c)]  # fmt: skip
    size = np.abs(rmsprop_from(1.0, "numpy", c * g, np.ones(length + 1), **constants)).max()  # theta, whose roundings
    np.testing.assert_allclose(*last, rtol=16 * EPS, atol=4 * EPS * (size + length / np.sqrt(1 - rho)))


# First steps.


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("name", ["adam", "nadam"])
@drawn
@given(g=st.floats(1e-100, 1e100), negative=st.booleans(), lr=rates, beta1=st.floats(0.0, 0.99999),
       beta2=st.floats(0.0, 0.99999))  # fmt: skip
def test_bias_correction_makes_the_first_step_lr_sign_g(name, backend, g, negative, lr, beta1, beta2):
    """At epsilon = 0: m_1 = (1 - beta1) g, sqrt(v_1) = sqrt(1 - beta2) |g| and b_1 is what takes both factors away.

    However small the gradient, however long the averages. NAdam's numerator is (1 + beta1) m_1: lr (1 + beta1) sign(g).
    """
    sign = -1.0 if negative else 1.0
    [step] = run(name, backend, np.zeros(1), np.array([[sign * g]]), [lr], beta1=beta1, beta2=beta2, epsilon=0.0)
    expected = -sign * lr * (1 + beta1 if name == "nadam" else 1)
    np.testing.assert_allclose(step, [expected], rtol=16 * EPS)


@pytest.mark.parametrize("backend", KERNELS)
@drawn
@given(g=st.floats(1e-12, 1e-3), lr=rates, rho=st.floats(0.5, 0.9999), length=st.integers(1, 8))
def test_v_0_of_one_damps_the_first_steps_of_rmsprop(backend, g, lr, rho, length):
    """For gradients far below 1, steps are lr g / sqrt(v) with v close to rho^t: proportional to g, so small.

    From v_0 = 0, as in other frameworks, the first step is lr / sqrt(1 - rho) whatever g is, and none of these first
    ones is below lr. v is rho^t and at most g^2 more, of which half as great a part is in its root.
    """
    gradients, constants = np.full((length, 5), g), {"momentum": 0.0, "rho": rho, "epsilon": 0.0}
    path = np.vstack([np.zeros(5), rmsprop_from(1.0, backend, gradients, np.full(length, lr), **constants)])
    damped = -np.diff(path, axis=0)[:, 0]
    plain = lr * g / rho ** (np.arange(1, length + 1) / 2)
    assert (damped <= plain * (1 + 16 * length * EPS)).all()
    assert (damped >= plain * (1 - g**2 / rho**length) * (1 - 16 * length * EPS)).all()
    undamped = -rmsprop_from(0.0, backend, gradients, np.full(length, lr), **constants)[0]
    np.testing.assert_allclose(undamped, lr / np.sqrt(1 - rho), rtol=16 * EPS / (1 - rho))
    assert (damped < undamped[0]).all()
