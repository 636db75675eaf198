"""Domains and spaces: round trips between value and unit axis, equal mass, conditions, and what is refused."""

import math
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from refplay.errors import InputError
from refplay.search import Choice, Integer, LogUniform, OneMinusLogUniform, Space, Uniform

EPS = sys.float_info.epsilon
UNIT = st.floats(0, 1)


@given(low=st.floats(-1e9, 1e9), width=st.floats(1e-6, 1e9), u=UNIT)
def test_uniform_round_trip(low, width, u):
    assume(low + width > low)
    domain = Uniform(low, low + width)
    value = domain.from_unit(u)
    assert domain.low <= value <= domain.high
    # Each of the few roundings is at most EPS times the largest number around, seen on an axis of length `span`.
    span = domain.high - domain.low
    assert abs(domain.to_unit(value) - u) <= 4 * EPS * (1 + max(abs(domain.low), abs(domain.high)) / span)


@given(low=st.floats(1e-12, 1e9), decades=st.floats(1e-3, 12), u=UNIT)
def test_log_uniform_round_trip(low, decades, u):
    domain = LogUniform(low, low * 10**decades)
    value = domain.from_unit(u)
    assert domain.low <= value <= domain.high
    # A relative error of a few EPS in the value, plus EPS in u, on an axis of length log(high / low).
    assert abs(domain.to_unit(value) - u) <= 8 * EPS * (1 + 1 / math.log(domain.high / domain.low))


@given(low=st.floats(1e-6, 0.5), ratio=st.floats(1.01, 1e6), u=UNIT)
def test_one_minus_log_uniform_round_trip(low, ratio, u):
    domain = OneMinusLogUniform(low, min(1.0, low * ratio))
    value = domain.from_unit(u)
    assert 1 - domain.high <= value <= 1 - domain.low
    # 1 - x is rounded to EPS, which is EPS / low of the smallest distance.
    assert abs(domain.to_unit(value) - u) <= 8 * EPS * (1 + (1 + 1 / low) / math.log(domain.high / domain.low))


@given(low=st.integers(-10**9, 10**9), span=st.integers(1, 10**9), data=st.data())
def test_integer_round_trip(low, span, data):
    domain = Integer(low, low + span)
    value = data.draw(st.integers(low, low + span))
    assert domain.from_unit(domain.to_unit(value)) == value


@given(low=st.integers(1, 10**6), span=st.integers(1, 10**9), data=st.data())
def test_log_integer_round_trip(low, span, data):
    domain = Integer(low, low + span, log=True)
    value = data.draw(st.integers(low, low + span))
    assert domain.from_unit(domain.to_unit(value)) == value


@given(options=st.lists(st.text("abX9 .é", max_size=4) | st.floats(-3, 3), min_size=1, max_size=30, unique=True),
       data=st.data())
def test_choice_round_trip(options, data):
    option = data.draw(st.sampled_from(options))
    assert Choice(options).from_unit(Choice(options).to_unit(option)) == option


@pytest.mark.parametrize("domain", [Uniform(-2, 3), LogUniform(1e-5, 1e2), OneMinusLogUniform(1e-4, 0.3),
                                    Integer(-3, 9), Integer(2, 500, log=True)])
def test_the_unit_axis_runs_with_the_value_and_reaches_both_limits(domain):
    values = [domain.from_unit(u) for u in np.linspace(0, 1, 1001)]
    assert values == sorted(values)
    limits = (1 - domain.high, 1 - domain.low) if isinstance(domain, OneMinusLogUniform) else (domain.low, domain.high)
    assert (values[0], values[-1]) == pytest.approx(limits, rel=4 * EPS)


def test_the_scales_against_closed_forms():
    assert LogUniform(1e-4, 1e0).from_unit(0.25) == pytest.approx(1e-3, rel=1e-14)
    assert OneMinusLogUniform(1e-3, 1e-1).from_unit(0.5) == pytest.approx(0.99, rel=1e-14)
    assert Uniform(-1, 3).from_unit(0.25) == 0.0


@pytest.mark.parametrize("domain", [Integer(0, 9), Integer(-7, 5), Integer(3, 4), Integer(1, 1000)])
def test_every_integer_has_the_same_mass(domain):
    count = domain.high - domain.low + 1
    middles = (np.arange(6 * count) + 0.5) / (6 * count)
    values = [domain.from_unit(u) for u in middles.tolist()]
    assert np.bincount(np.array(values) - domain.low).tolist() == [6] * count


def test_every_option_has_the_same_mass():
    for count in range(1, 12):
        middles = (np.arange(5 * count) + 0.5) / (5 * count)
        drawn = [Choice(list(range(count))).from_unit(u) for u in middles.tolist()]
        assert np.bincount(drawn).tolist() == [5] * count


def test_a_log_integer_has_the_mass_of_its_cell():
    domain = Integer(1, 20, log=True)
    n = 100_000
    values = [domain.from_unit((i + 0.5) / n) for i in range(n)]
    for value in range(1, 21):
        mass = math.log((value + 0.5) / (value - 0.5)) / math.log(20.5 / 0.5)
        assert abs(values.count(value) / n - mass) <= 1 / n  # the two ends of a cell cut one point at most


def test_conditions_nest():
    space = Space(model=Choice(["mlp", "convnet"], when={
        "convnet": Space(norm=Choice(["batch", "none"], when={"batch": Space(ghost=Integer(16, 128, log=True))}))}))
    assert [(d.name, d.condition) for d in space.dimensions] == [
        ("model", ()),
        ("model.convnet.norm", (("model", "convnet"),)),
        ("model.convnet.norm.batch.ghost", (("model", "convnet"), ("model.convnet.norm", "batch"))),
    ]
    assert space.from_unit([0.1, 0.1, 0.1]) == {"model": "mlp"}
    assert space.from_unit([0.9, 0.9, 0.1]) == {"model": "convnet", "model.convnet.norm": "none"}
    assert set(space.from_unit([0.9, 0.1, 0.1])) == {"model", "model.convnet.norm", "model.convnet.norm.batch.ghost"}


def test_equal_names_under_different_parents_have_their_own_ranges():
    space = Space(optimizer=Choice(["momentum", "adam"], when={
        "momentum": Space(learning_rate=LogUniform(1e-2, 1e1)), "adam": Space(learning_rate=LogUniform(1e-5, 1e-2))}))
    assert space.from_unit([0.0, 1.0, 0.0])["optimizer.momentum.learning_rate"] == 10
    assert space.from_unit([1.0, 1.0, 0.0])["optimizer.adam.learning_rate"] == 1e-5


def test_numpy_numbers_become_python_numbers():
    assert Uniform(np.float32(0.5), np.int64(3)) == Uniform(0.5, 3.0)
    assert type(Integer(np.int64(2), 5).low) is int
    options = Choice([np.int64(2), np.float64(0.5), np.bool_(True), np.str_("a")]).options
    assert [type(option) for option in options] == [int, float, bool, str]


NAN, INF = math.nan, math.inf
ADAM = Space(rate=Uniform(0, 1))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Uniform(1, 1), "empty or reversed; give low < high"),
    (lambda: LogUniform(1e-1, 1e-4), "empty or reversed"),
    (lambda: OneMinusLogUniform(0.5, 0.1), "empty or reversed"),
    (lambda: Integer(3, 3), "empty or reversed"),
    (lambda: LogUniform(0, 1), "reaches zero or below; give low > 0"),
    (lambda: LogUniform(-1, 1), "reaches zero or below"),
    (lambda: Integer(0, 8, log=True), "reaches zero or below"),
    (lambda: OneMinusLogUniform(0, 1), "needs 0 < low < high <= 1"),
    (lambda: OneMinusLogUniform(1e-3, 1.5), "needs 0 < low < high <= 1"),
    (lambda: OneMinusLogUniform(1e-17, 1), "rounds to 1"),
    (lambda: Uniform(0, INF), "not finite"),
    (lambda: Uniform(NAN, 1), "not finite"),
    (lambda: LogUniform(1, INF), "not finite"),
    (lambda: Uniform(-1e308, 1e308), "wider than a float64"),
    (lambda: LogUniform(1e-300, 1e300), "wider than a float64"),
    (lambda: Uniform(0, 10**400), "beyond the range of a float64"),
    (lambda: Uniform("0", 1), "limit '0' is not a number"),
    (lambda: Uniform(False, True), "limit False is not a number"),
    (lambda: LogUniform(None, 1), "limit None is not a number"),
    (lambda: Uniform(0, 1j), "is not a number"),
    (lambda: Integer(1.0, 8), "not a whole number"),
    (lambda: Integer(False, 8), "not a whole number"),
    (lambda: Integer("1", 8), "not a whole number"),
    (lambda: Integer(0, 2**60), "beyond 2"),
    (lambda: Choice([]), "without options"),
    (lambda: Choice("adam"), "are a list"),
    (lambda: Choice({"sgd", "adam"}), "are a list"),
    (lambda: Choice(["a", "a"]), "duplicate options"),
    (lambda: Choice([1, True]), "duplicate options.*1 equals 1.0 and true"),
    (lambda: Choice([(64, 64), (128,)]), r"option \(64, 64\) is not text, a number or a boolean; name it by a text"),
    (lambda: Choice(["a", None]), "option None is not text"),
    (lambda: Choice([1.0, NAN]), "not finite"),
    (lambda: Choice(["a"], when={"b": ADAM}), "under 'b', which is not an option"),
    (lambda: Choice(["a"], when={"a": Uniform(0, 1)}), "under 'a' are a Space"),
    (lambda: Space(rate=0.1), "'rate' needs a domain such as"),
    (lambda: Space(**{"learning rate": Uniform(0, 1)}), "'learning rate' is not an identifier"),
    (lambda: Space(**{"a.b": Uniform(0, 1)}), "'a.b' is not an identifier"),
    (lambda: Space(max_train_steps=Integer(100, 1000)), "cannot be searched over: .*not comparable.*`steps` of"),
    (lambda: Space(epochs=Integer(1, 9)), "cannot be searched over"),
    (lambda: Space(Num_Steps=Integer(1, 9)), "cannot be searched over"),
    (lambda: Choice(["a"], when={"a": Space(num_train_steps=Integer(1, 9))}), "cannot be searched over"),
    (lambda: Space(rate=Uniform(0, 1), optimizer=Choice(["adam"], when={"adam": ADAM})),
     "'rate' exists outside and again as 'optimizer.adam.rate'; rename"),
    (lambda: Space(c=Choice([1, "1"], when={1: ADAM, "1": ADAM})), "two hyperparameters are called 'c.1.rate'; rename"),
])
def test_what_is_refused(make, message):
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["warmup_steps", "decay_steps", "learning_rate", "width"])
def test_names_near_the_length_of_training_are_allowed(name):
    assert Space(**{name: Integer(1, 9)}).dimensions[0].name == name
