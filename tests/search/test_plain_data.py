"""Search spaces as plain data: round trips, TOML, and messages that name the hyperparameter and the mend."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refplay.errors import InputError
from refplay.search import (
    Choice,
    Integer,
    LogUniform,
    OneMinusLogUniform,
    Space,
    Uniform,
    domain_from_data,
    domain_to_data,
    space_from_data,
    space_to_data,
)


def ordered(low, high):
    return st.tuples(st.floats(low, high), st.floats(low, high)).filter(lambda pair: pair[0] < pair[1])


RANGES = st.one_of(
    ordered(-1e6, 1e6).map(lambda p: Uniform(*p)),
    ordered(1e-10, 1e6).map(lambda p: LogUniform(*p)),
    ordered(1e-10, 1).map(lambda p: OneMinusLogUniform(*p)),
    st.tuples(st.integers(-50, 50), st.integers(1, 50)).map(lambda p: Integer(p[0], p[0] + p[1])),
    st.tuples(st.integers(1, 50), st.integers(1, 50)).map(lambda p: Integer(p[0], p[0] + p[1], log=True)),
)
OPTIONS = st.one_of(
    st.lists(st.text("abX9 .-\"é", min_size=1, max_size=4), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(-9, 9) | st.sampled_from([0.5, 1e-5, 2.25]), min_size=1, max_size=4, unique=True),
    st.just([True, False]),
)


@st.composite
def choices(draw, level=0):
    options = draw(OPTIONS)
    parents = draw(st.lists(st.sampled_from(options), unique=True)) if level < 2 else []
    return Choice(options, when={parent: draw(spaces(level=level + 1)) for parent in parents})


@st.composite
def spaces(draw, level=0):
    names = draw(st.lists(st.sampled_from(["alpha", "beta", "gamma"]), unique=True, min_size=1))
    return Space(**{f"{name}_{level}": draw(RANGES | choices(level)) for name in names})


@given(RANGES | choices())
def test_domain_round_trip(domain):
    assert domain_from_data("x", domain_to_data(domain)) == domain


@given(spaces())
def test_space_round_trip_through_json(space):
    again = space_from_data(json.loads(json.dumps(space_to_data(space))))
    assert again == space
    assert again.dimensions == space.dimensions


def test_toml():
    text = """
    learning_rate = { log_uniform = [1e-4, 1e-1] }
    dropout = { uniform = [0, 0.5] }
    layers = { integer = [1, 8] }
    width = { log_integer = [16, 1024] }
    augment = { choice = [true, false], when = { true = { strength = { uniform = [0.1, 1.0] } } } }
    blocks = { choice = [2, 4], when = { 4 = { skip = { integer = [1, 3] } } } }

    [optimizer]
    choice = ["momentum", "adam"]
    [optimizer.when.momentum]
    momentum = { one_minus_log_uniform = [1e-3, 1] }
    [optimizer.when.adam]
    beta1 = { one_minus_log_uniform = [1e-2, 1.0] }
    """
    assert space_from_data(tomllib.loads(text)) == Space(
        learning_rate=LogUniform(1e-4, 1e-1),
        dropout=Uniform(0, 0.5),
        layers=Integer(1, 8),
        width=Integer(16, 1024, log=True),
        augment=Choice([True, False], when={True: Space(strength=Uniform(0.1, 1.0))}),
        blocks=Choice([2, 4], when={4: Space(skip=Integer(1, 3))}),
        optimizer=Choice(["momentum", "adam"], when={
            "momentum": Space(momentum=OneMinusLogUniform(1e-3, 1)),
            "adam": Space(beta1=OneMinusLogUniform(1e-2, 1)),
        }),
    )


@pytest.mark.parametrize(("data", "message"), [
    ({"log_unifrom": [1e-4, 1e-1]}, "unknown key 'log_unifrom'; did you mean 'log_uniform'?"),
    ({"log": [1, 2], "uniform": [1, 2]}, "unknown key 'log'; did you mean"),
    ({"uniform": [0, 1], "log_uniform": [1, 2]}, "needs exactly one of .*; got uniform, log_uniform"),
    ({}, "needs exactly one of .*; got none of them"),
    ({"uniform": [0, 1], "when": {}}, "'when' belongs beside 'choice' only"),
    ([1e-4, 1e-1], "needs a domain such as .*belongs to the fixed"),
    (0.1, "needs a domain such as .*belongs to the fixed"),
    ({"uniform": [0, 1, 2]}, "'uniform' needs two limits"),
    ({"uniform": 3}, "'uniform' needs two limits"),
    ({"uniform": ["0", 1]}, "limit '0' is not a number"),
    ({"log_uniform": [0, 1]}, "reaches zero or below"),
    ({"uniform": [2, 1]}, "empty or reversed"),
    ({"integer": [1.5, 3]}, "not a whole number"),
    ({"choice": "adam"}, "the options of a choice are a list"),
    ({"choice": ["a", "b"], "when": {"c": {}}}, r"'when' names 'c', which is not among the options \['a', 'b'\]"),
    ({"choice": ["a", "b"], "when": ["a"]}, "'when' is a table of options"),
    ({"choice": [1, 2], "when": {1: {}, "1": {}}}, "'when' gives an option twice"),
    ({"choice": ["a"], "when": {"a": {"rate": {"uniform": [1, 1]}}}}, "'x.a.rate': range .* is empty"),
    ({"choice": ["a"], "when": {"a": 3}}, "under 'x.a' are a table of names and domains"),
])
def test_messages_name_the_hyperparameter(data, message):
    with pytest.raises(InputError, match=message) as caught:
        space_from_data({"x": data})
    assert "'x" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("data", "message"), [
    ({"max_train_steps": {"integer": [100, 1000]}}, "'max_train_steps' cannot be searched over.*not comparable"),
    ({"learning-rate": {"uniform": [0, 1]}}, "'learning-rate' is not an identifier"),
    ([{"uniform": [0, 1]}], "a table of names and domains"),
])
def test_messages_about_the_space(data, message):
    with pytest.raises(InputError, match=message):
        space_from_data(data)
