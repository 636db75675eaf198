"""An expanded range holds the old one, moves one edge only and stays within natural limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refplay.analysis.expand import expand, is_fraction
from refplay.search.space import Choice, Integer, LogUniform, OneMinusLogUniform, Uniform


@pytest.mark.parametrize(("name", "domain", "edge", "expected"), [
    ("learning_rate", LogUniform(1e-4, 1e-1), "low", LogUniform(1e-5, 1e-1)),
    ("learning_rate", LogUniform(3e-4, 3e-2), "high", LogUniform(3e-4, 0.3)),
    ("momentum", OneMinusLogUniform(1e-3, 0.1), "low", OneMinusLogUniform(1e-3, 1.0)),
    ("momentum", OneMinusLogUniform(1e-3, 1.0), "low", None),
    ("beta2", OneMinusLogUniform(1e-7, 1e-1), "high", None),
    ("dropout", Uniform(0.1, 0.3), "high", Uniform(0.1, 0.5)),
    ("dropout", Uniform(0.0, 0.9), "high", Uniform(0.0, 0.95)),
    ("dropout", Uniform(0.1, 0.5), "low", Uniform(0.0, 0.5)),
    ("dropout", LogUniform(1e-2, 0.5), "high", LogUniform(1e-2, 0.75)),
    ("label_smoothing", Uniform(0.0, 1.0), "high", None),
    ("weight_decay", Uniform(0.0, 1e-3), "low", None),
    ("temperature", Uniform(-1.0, 1.0), "low", Uniform(-3.0, 1.0)),
    ("scale", Uniform(0.5, 1.0), "high", Uniform(0.5, 1.5)),
    ("depth", Integer(1, 4), "low", None),
    ("depth", Integer(3, 5), "low", Integer(1, 5)),
    ("warmup", Integer(0, 100), "low", None),
    ("width", Integer(16, 256, log=True), "high", Integer(16, 1024, log=True)),
    ("width", Integer(16, 256, log=True), "low", Integer(4, 256, log=True)),
    ("offset", Integer(-2, 2), "low", Integer(-6, 2)),
    ("width", Choice([64, 128, 256]), "high", Choice([64, 128, 256, 512])),
    ("dropout", Choice([0.0, 0.1, 0.2]), "high", Choice([0.0, 0.1, 0.2, 0.3])),
    ("dropout", Choice([0.0, 0.1, 0.2]), "low", None),
    ("dropout", Choice([0.5, 0.8]), "high", Choice([0.5, 0.8, 0.9])),
    ("depth", Choice([1, 2]), "low", None),
])
def test_known_expansions(name, domain, edge, expected):
    assert expand(name, domain, edge) == expected


def test_a_range_at_the_end_of_float64_has_no_expansion():
    assert expand("learning_rate", LogUniform(5e-324, 1e-20), "low") is None
    assert expand("x", LogUniform(1e100, 1e308), "high") is None
    assert expand("x", Integer(2**52, 2**53), "high") is None


@pytest.mark.parametrize("name", ["momentum", "optimizer.adam.beta1", "conv_dropout", "label_smoothing", "ema_decay"])
def test_fractions_are_known_by_name(name):
    assert is_fraction(name)


@pytest.mark.parametrize("name", ["weight_decay", "learning_rate", "gamma_rays", "width"])
def test_other_names_are_not_fractions(name):
    assert not is_fraction(name)


@st.composite
def _domains(draw):
    kind = draw(st.sampled_from(["uniform", "log", "one-minus", "integer", "log-integer"]))
    if kind in ("integer", "log-integer"):
        low = draw(st.integers(1 if kind == "log-integer" else -1000, 1000))
        return Integer(low, low + draw(st.integers(1, 1000)), kind == "log-integer")
    low, factor = draw(st.floats(1e-6, 0.4)), draw(st.floats(1.1, 2.4))
    return {"uniform": Uniform, "log": LogUniform, "one-minus": OneMinusLogUniform}[kind](low, low * factor)


@given(_domains(), st.sampled_from(["low", "high"]), st.sampled_from(["momentum", "learning_rate"]))
def test_expansion_moves_one_edge_outwards(domain, edge, name):
    grown = expand(name, domain, edge)
    if grown is None:
        return
    assert type(grown) is type(domain)
    # The unit axis of the old domain: everything it held is still held, and one side lies beyond.
    ends = sorted([domain.to_unit(grown.from_unit(0.0)), domain.to_unit(grown.from_unit(1.0))])
    old = sorted([domain.to_unit(domain.from_unit(0.0)), domain.to_unit(domain.from_unit(1.0))])
    moved, kept = (0, 1) if edge == "low" else (1, 0)
    assert abs(ends[kept] - old[kept]) < 1e-6  # six digits of the new limits are kept
    assert (ends[moved] - old[moved]) * (-1 if edge == "low" else 1) > 0
    if not isinstance(domain, Integer) and domain.low >= 0:
        assert grown.low >= 0
    if name == "momentum" and not isinstance(domain, Integer):
        assert grown.from_unit(1.0) < 1
