"""A plan survives its TOML form exactly, and a bad file is answered with one line: file, key, mend."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refplay.errors import InputError
from refplay.search.space import Choice, Integer, LogUniform, OneMinusLogUniform, Space, Uniform
from refplay.study.plan import Plan
from refplay.study.plan_toml import dump_plan, load_plan, parse_plan

EXAMPLE = """
name = "nesterov-or-adam"
goal = "Which optimizer reaches the lower validation error in 400 steps?"
objective = "train:run"
trials = 30
steps = 500
reruns = 3
seed = 7
mode = "exploitation"
search = "random"
together = false
metric = "valid_loss"
notes = "first try"

[scientific]
optimizer = ["nesterov", "adam"]
dropout = [true, false]

[fixed]
width = 128

[nuisance]
weight_decay = {log_uniform = [1e-6, 1e-2]}

[nuisance.optimizer.adam]
learning_rate = {log_uniform = [1e-4, 1e-1]}

[nuisance.dropout.true]
rate = {uniform = [0.1, 0.5]}
"""


def test_the_documented_format_is_read():
    assert parse_plan(EXAMPLE) == Plan(
        name="nesterov-or-adam", goal="Which optimizer reaches the lower validation error in 400 steps?",
        scientific={"optimizer": ["nesterov", "adam"], "dropout": [True, False]}, fixed={"width": 128},
        nuisance={"weight_decay": LogUniform(1e-6, 1e-2),
                  "optimizer": {"adam": Space(learning_rate=LogUniform(1e-4, 1e-1))},
                  "dropout": {True: Space(rate=Uniform(0.1, 0.5))}},
        objective="train:run", trials=30, steps=500, reruns=3, seed=7, mode="exploitation", search="random",
        together=False, metric="valid_loss", notes="first try")


def test_hand_written_trials_are_read():
    plan = parse_plan('name = "n"\ngoal = "g"\n[[configurations]]\nlr = 0.1\n[[configurations]]\nlr = 0.2\n')
    assert plan.configurations == ({"lr": 0.1}, {"lr": 0.2})


NAMES = st.sampled_from(["a", "_b", "c3", "größe", "learning_rate2"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(TEXTS, st.booleans(), st.integers(-2**53, 2**53), FLOATS)
POSITIVE = st.floats(1e-300, 1e-3)
RANGES = st.one_of(
    st.builds(lambda low, width: Uniform(low, low + width), st.floats(-1e6, 1e6), st.floats(0.5, 1e6)),
    st.builds(lambda low: LogUniform(low, 1.5), POSITIVE),
    st.builds(lambda low: OneMinusLogUniform(low, 0.5), st.floats(1e-15, 1e-3)),
    st.builds(lambda low, width, log: Integer(low, low + width, log), st.integers(1, 99), st.integers(1, 99),
              st.booleans()))


def different(values):
    return st.lists(values, min_size=1, max_size=3, unique_by=(lambda value: value, lambda value: str(value).lower()))


def choices(inside):
    return st.builds(lambda options, space: Choice(options, when={options[-1]: space}), different(VALUES), inside)


SPACES = st.builds(lambda name, domain: Space(**{f"in_{name}": domain}), NAMES, RANGES)
DOMAINS = st.one_of(RANGES, st.builds(Choice, different(VALUES)), choices(SPACES))


@st.composite
def plans(draw):
    scientific = draw(st.dictionaries(NAMES.map("s_{}".format), different(VALUES), max_size=2))
    nuisance = dict(draw(st.dictionaries(NAMES.map("n_{}".format), DOMAINS, max_size=1)))
    for place, (name, values) in enumerate(scientific.items()):
        spaces = st.builds(lambda place, n, d: Space(**{f"under{place}_{n}": d}), st.just(place), NAMES, DOMAINS)
        nuisance[name] = draw(st.dictionaries(st.sampled_from(values), spaces.filter(shallow), max_size=2))
    texts = TEXTS.filter(str.strip)
    return Plan(name="n", goal=draw(texts), scientific=scientific, nuisance=nuisance,
                fixed=draw(st.dictionaries(NAMES.map("f_{}".format), VALUES, max_size=2)), objective=draw(texts),
                trials=draw(st.integers(1, 99)), steps=draw(st.integers(1, 10**12)), reruns=draw(st.integers(0, 9)),
                seed=draw(st.integers(0, 2**63 - 1)), mode=draw(st.sampled_from(["exploration", "exploitation"])),
                search=draw(st.sampled_from(["halton", "random", "grid"])), metric=draw(texts), notes=draw(TEXTS))


def shallow(space):
    # One name twice on the way down would be two roles of one name, which a plan refuses.
    return not any(name.startswith("in_") for d in space.dimensions for name in d.name.split("."))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(plans())
def test_round_trip_is_exact(plan):
    again = parse_plan(dump_plan(plan))
    assert again == plan
    assert repr(again) == repr(plan)  # also 1 against 1.0 and True, and the order of names


def test_round_trip_through_a_file_with_every_kind_of_text(tmp_path):
    plan = Plan(name='a "quoted" \\ name', goal="line\nbreak\ttab \x7f é 漢", notes="ends with \r\n",
                scientific={"norm": ["no.ne", "a b", ""], "depth": [0, 2.5, True]},
                nuisance={"norm": {"no.ne": Space(x=Uniform(0, 1)), "": Space(y=Integer(1, 9, log=True))},
                          "depth": {2.5: Space(z=Uniform(-1, 1)), True: Space(z=Uniform(0, 1e-7))}},
                fixed={"größe": 1e22})
    (tmp_path / "plan.toml").write_text(dump_plan(plan), encoding="utf-8", newline="")
    assert repr(load_plan(tmp_path / "plan.toml")) == repr(plan)


HEAD = 'name = "n"\ngoal = "g"\n'


@pytest.mark.parametrize(("text", "named"), [
    ("name = \n", ["not TOML", "line 1"]),
    ('goal = "g"', ["'name' is missing", "name = "]),
    (HEAD + "trails = 3", ["unknown key 'trails'", "did you mean 'trials'"]),
    (HEAD + "trials = '3'", ["trials = '3'", "whole number"]),
    (HEAD + "scientific = 3", ["scientific = 3", "table"]),
    (HEAD + "nuisance = 3", ["nuisance = 3", "table"]),
    (HEAD + "nuisance.rate = 0.1", ["nuisance", "'rate'", "0.1"]),
    (HEAD + "nuisance.rate = {log_uniform = [1e-1, 1e-4]}", ["nuisance", "'rate'", "reversed"]),
    (HEAD + "nuisance.rate = {log_uniform = [0, 1]}", ["nuisance", "'rate'", "zero"]),
    (HEAD + "nuisance.rate = {log_unifrom = [1, 2]}", ["nuisance", "'rate'", "did you mean 'log_uniform'"]),
    (HEAD + "nuisance.max_train_steps = {integer = [1, 2]}", ["max_train_steps", "steps"]),
    (HEAD + "scientific.o = ['adam']\nnuisance.o.adan.rate = {uniform = [0, 1]}", ["'adan'", "did you mean 'adam'"]),
    (HEAD + "scientific.o = ['adam']\nnuisance.o.adam.rate = {uniform = [1, 0]}", ["nuisance.o.adam", "'rate'"]),
    (HEAD + "scientific.o = ['adam']\nnuisance.o.adam.epochs = {integer = [1, 2]}", ["nuisance.o.adam", "'epochs'"]),
    (HEAD + "scientific.o = ['adam']\nnuisance.p.adam.rate = {uniform = [0, 1]}", ["nuisance.p", "there is 'o'"]),
    (HEAD + "scientific.o = ['adam']\nnuisance.o = {uniform = [0, 1]}", ["nuisance.o.uniform"]),
    (HEAD + "scientific.o = 'adam'\nnuisance.o.adam.rate = {uniform = [0, 1]}", ["scientific 'o'"]),
    (HEAD + "configurations = [1]", ["configurations[0]"]),
])
def test_bad_file_is_named_with_key_and_mend(tmp_path, text, named):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_plan(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for part in named:
        assert part in message


@pytest.mark.parametrize("make", [
    lambda path: None, lambda path: path.mkdir(), lambda path: path.write_bytes(b"name = '\xff'")])
def test_a_file_that_is_no_text_is_named(tmp_path, make):
    make(tmp_path / "plan.toml")
    with pytest.raises(InputError, match=r"plan .*plan\.toml"):
        load_plan(tmp_path / "plan.toml")
