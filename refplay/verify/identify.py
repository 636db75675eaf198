"""Which rule is this optimizer, in which dialect; and if none, where does it part from the nearest one, and why.

The optimizer is driven over the test gradients. Each rule in each dialect is stepped along: from the theta that the
optimizer had before a step, with the state that the rule itself keeps, to the theta that the rule wants after it. So
errors do not pile up, and the first step that deviates is the first that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from refplay.errors import InputError
from refplay.verify.adapters import RATE, MisbehaviourError, Target, drive, find
from refplay.verify.arguments import choose
from refplay.verify.dialects import CHOICES, EQUATIONS, NAMED, Dialect, Lines, Simulation, dialects, lines_of, playbook
from refplay.verify.gradients import Course, course
from refplay.verify.variations import Variation, variations

# A step is at most 16 roundings on either side, in states that remember at most 1 / (1 - 0.8) = 5 steps.
TOLERANCE = 2 * 16 * 5  # ulp of theta
BASES = 16  # of how many of the nearest dialects single edits are tried


class Fit(NamedTuple):
    """How far an optimizer is from a rule in a dialect."""

    rule: str
    dialect: Dialect
    worst: float  # the largest deviation of a step, in ulp of theta (or of the largest step so far)
    step: int  # where it parts from the rule (or, if it does not, where it deviates most)
    families: tuple[str, ...]  # on which gradients it does so there
    distance: float  # mean of log10(1 + deviation), to tell the nearest

    @property
    def fits(self) -> bool:
        """Whether all that differs is rounding."""
        return self.worst <= TOLERANCE


class Verdict(NamedTuple):
    """The answer; `refplay.verify.report.explain` puts it into words."""

    target: Target
    rule: str | None  # asked for
    dialect: str  # asked for
    arguments: Mapping[str, Any]  # what the optimizer was built with
    dtype: str
    matches: bool
    problem: str = ""  # what no update rule may do
    found: Fit | None = None  # what it is
    nearest: Fit | None = None  # if it is not what was asked for: what comes nearest to it among what was
    variation: Variation | None = None  # the edit of `nearest` that makes it what the optimizer does
    unseen: tuple[str, ...] = ()  # choices that these arguments cannot tell apart
    changing: bool = True  # whether the learning rate could be changed between steps


def identify(optimizer: Any, rule: str | None = None, dialect: str = "any",
             settings: Mapping[str, Any] | None = None) -> Verdict:
    """Drive an optimizer over the test gradients and say which rule it is.

    Parameters
    ----------
    optimizer : str, class, function, or optax transformation
        See `refplay.verify.adapters`.
    rule : str, optional
        The rule that it should be.
    dialect : str
        The dialect that it should be in: "any", "playbook", "pytorch", "optax" or "keras".
    settings : dict
        Hyperparameters, by the optimizer's own names or by those of `refplay.optim`.

    Raises
    ------
    InputError
        There is no such optimizer, rule, dialect or hyperparameter.
    """
    if rule is not None and rule not in EQUATIONS:
        raise InputError(f"there is no rule {rule!r}; there are: {', '.join(EQUATIONS)}")
    if dialect not in ("any", *NAMED):
        raise InputError(f"there is no dialect {dialect!r}; there are: any, {', '.join(NAMED)}")
    target = find(optimizer)
    arguments, known = choose(target, rule, settings or {})
    verdict = Verdict(target, rule, dialect, arguments, "float64", matches=False)
    try:
        thetas, over, changing = _run(target, arguments, known)
        _check_state(target, arguments, over, thetas)
        _check_rate(target, arguments, over, thetas)
    except MisbehaviourError as error:
        return verdict._replace(problem=str(error))
    verdict = _judge(thetas, over, known, verdict._replace(dtype=over.dtype.name, changing=changing))
    return verdict if verdict.found else verdict._replace(problem=_not_a_number(thetas, over))


def _run(target: Target, arguments: Mapping[str, Any], known: Mapping[str, float]) -> tuple[np.ndarray, Course, bool]:
    try:
        return _run_in("float64", target, arguments, known)
    except MisbehaviourError as refused:
        if not str(refused).startswith("raises"):
            raise
        try:  # some have nothing but float32
            return _run_in("float32", target, arguments, known)
        except MisbehaviourError:
            raise refused from None


def _run_in(dtype: str, target: Target, arguments: Mapping[str, Any],
            known: Mapping[str, float]) -> tuple[np.ndarray, Course, bool]:
    over = course(known["learning_rate"], dtype=dtype)
    thetas, changing = drive(target, arguments, over)
    return thetas, over if changing else course(known["learning_rate"], changing=False, dtype=dtype), changing


def _check_state(target: Target, arguments: Mapping[str, Any], over: Course, thetas: np.ndarray) -> None:
    again, _ = drive(target, arguments, over)
    if not np.array_equal(again, thetas, equal_nan=True):
        step = int(np.flatnonzero((again != thetas).any(axis=1))[0]) - 1
        raise MisbehaviourError("keeps state from one run to the next, or draws random numbers: a second, fresh one "
                                f"leaves the path of the first at step {step}")


def _check_rate(target: Target, arguments: Mapping[str, Any], over: Course, thetas: np.ndarray) -> None:
    rate_name = next((name for name in RATE if name in arguments), None)
    if rate_name is None:
        return
    doubled, _ = drive(target, {**arguments, rate_name: 2 * arguments[rate_name]},
                       over._replace(rates=2 * over.rates))
    if np.array_equal(doubled, thetas, equal_nan=True):
        raise MisbehaviourError("ignores its learning rate: with twice the rate it takes the same path")


def _not_a_number(thetas: np.ndarray, over: Course) -> str:
    wrong = ~np.isfinite(thetas[1:])
    if not wrong.any():
        return ""
    step = int(np.flatnonzero(wrong.any(axis=1))[0])
    names = _families(over, wrong[step])
    return f"returns NaN or infinity at step {step}, on gradients that are finite ({', '.join(names)})"


def _families(over: Course, where: np.ndarray) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name, is_there in zip(over.families, where, strict=True) if is_there))


def _judge(thetas: np.ndarray, over: Course, known: Mapping[str, float], verdict: Verdict) -> Verdict:
    fits = [fit(thetas, over, rule, dialect, _hyperparameters(rule, known))
            for rule in EQUATIONS for dialect in dialects(rule, known)]
    wanted = [each for each in fits if _is_wanted(each, verdict.rule, verdict.dialect, known)]
    matching = sorted((each for each in wanted if each.fits), key=_simplest)
    other = sorted((each for each in fits if each.fits), key=_simplest)
    if matching or other:
        found = (matching or other)[0]
        alike = [each.dialect for each in fits if each.fits and each.rule == found.rule]
        unseen = tuple(choice for choice in CHOICES[found.rule] if len({each[choice] for each in alike}) > 1)
        verdict = verdict._replace(matches=bool(matching), found=found, unseen=unseen)
    if not matching:
        nearest = sorted(wanted, key=lambda each: (each.distance, _simplest(each)))
        same_rule = verdict.found is not None and verdict.found.rule == nearest[0].rule
        base, variation = (nearest[0], None) if same_rule else _explain(nearest, thetas, over, known)
        verdict = verdict._replace(nearest=base, variation=variation)
    return verdict


def _is_wanted(candidate: Fit, rule: str | None, dialect: str, known: Mapping[str, float]) -> bool:
    if rule not in (None, candidate.rule):
        return False
    if dialect == "any":
        return True
    wanted = {**playbook(candidate.rule), **NAMED[dialect].get(candidate.rule, {})}
    if dialect != "playbook":  # weight decay is a matter of the class, not of the package
        wanted["weight decay"] = candidate.dialect["weight decay"]
    if not known.get("dampening") and "dampening" in wanted:
        wanted["dampening"] = "none"
    return wanted == candidate.dialect


def _simplest(candidate: Fit) -> tuple[int, int]:
    return list(EQUATIONS).index(candidate.rule), len(departures(candidate))


def departures(candidate: Fit) -> dict[str, str]:
    """Return the choices in which a dialect is not the playbook's."""
    usual = playbook(candidate.rule)
    return {choice: value for choice, value in candidate.dialect.items() if value != usual[choice]}


def _hyperparameters(rule: str, known: Mapping[str, float]) -> dict[str, float]:
    """Return the hyperparameters of a rule: those that are known, else the defaults that an optimizer would fix."""
    from refplay.optim import RULES

    fixed = {"weight_decay": 0.0, "dampening": 0.0, "epsilon_root": 0.0, "momentum_decay": 0.004}
    return {**fixed, **RULES[rule].hyperparameters, **known}


def fit(thetas: np.ndarray, over: Course, rule: str, dialect: Dialect, hyperparameters: Mapping[str, float]) -> Fit:
    """Hold a trajectory against a rule in a dialect."""
    deviations = np.stack(list(_deviations(thetas, over, lines_of(rule, dialect), rule, hyperparameters)))
    beyond = deviations > TOLERANCE
    step = int(np.argmax(beyond.any(axis=1))) if beyond.any() else int(np.argmax(deviations.max(axis=1)))
    where = beyond[step] if beyond.any() else deviations[step] == deviations[step].max()
    return Fit(rule, dialect, float(deviations.max()), step, _families(over, where),
               float(np.log10(1 + np.minimum(deviations, 1e20)).mean()))


def _deviations(thetas: np.ndarray, over: Course, lines: Lines, rule: str,
                hyperparameters: Mapping[str, float]) -> Iterator[np.ndarray]:
    """Yield for each step how far the optimizer is from the lines, in ulp."""
    simulation = Simulation(rule, lines=lines)
    size = np.full(over.theta.shape, np.finfo(over.dtype).tiny, np.float64)
    gradients = over.gradients.astype(np.float64)
    for t, rate in enumerate(over.rates):
        before, after = thetas[t].astype(np.float64), thetas[t + 1].astype(np.float64)
        wanted = simulation.step(before, gradients[t], **{**hyperparameters, "lr": float(rate)})
        with np.errstate(all="ignore"):
            # What a state has rounded off is relative to the largest step that it made so far, which may be forgotten.
            size = np.fmax(size, abs(after - before))
            largest = np.fmax(np.fmax(abs(before), abs(after)), size)
            deviation = abs(after - wanted) / np.spacing(largest.astype(over.dtype))
        same = (after == wanted) | (np.isnan(after) & np.isnan(wanted))
        yield np.where(same, 0.0, np.where(np.isfinite(deviation), deviation, np.inf))


def _explain(nearest: list[Fit], thetas: np.ndarray, over: Course,
             known: Mapping[str, float]) -> tuple[Fit, Variation | None]:
    """Return the nearest fit of which one edit makes what the optimizer does, and the edit."""
    for base in nearest[:BASES]:
        hyperparameters = _hyperparameters(base.rule, known)
        for variation in variations(base.rule, lines_of(base.rule, base.dialect)):
            steps = _deviations(thetas, over, variation.lines, base.rule, hyperparameters)
            if all(each.max() <= TOLERANCE for each in steps):  # most are out at the first step
                return base, variation
    return nearest[0], None


def assert_matches(optimizer: Any, rule: str, dialect: str = "playbook", **hyperparameters: Any) -> None:
    """Assert that an optimizer is a rule in a dialect; for anybody's test suite.

    Parameters
    ----------
    optimizer : str, class, function, or optax transformation
        See `refplay.verify.adapters`.
    rule : {"sgd", "momentum", "nesterov", "rmsprop", "adam", "nadam"}
    dialect : {"playbook", "pytorch", "optax", "keras", "any"}
    **hyperparameters
        By the optimizer's own names or by those of `refplay.optim`. What is not given gets a value that makes
        differences visible; what the optimizer does not take is assumed of the rule.

    Raises
    ------
    AssertionError
        It is something else. The message says what, from which step on, and in which term.
    InputError
        There is no such rule, dialect or hyperparameter.

    Examples
    --------
    >>> def factory(lr, momentum):
    ...     v = 0
    ...     def step(theta, g):
    ...         nonlocal v
    ...         v = momentum * v + g
    ...         return theta - lr * v
    ...     return step
    >>> assert_matches(factory, "momentum")
    """
    from refplay.verify.report import explain

    verdict = identify(optimizer, rule, dialect, hyperparameters)
    if not verdict.matches:
        raise AssertionError(explain(verdict))
