"""The tables of a report as plain text, so that the page and the terminal show the same ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from refplay.analysis.adoption import Decision, standing
from refplay.analysis.variance import Spread, trial_variance
from refplay.analysis.wording import Quantity, last_words, listed, study_quantity
from refplay.plot.words import domain_text, leaf, number
from refplay.search.space import Dimension
from refplay.study.record import Round, State, Study, TrialRecord
from refplay.study.store import Launch

Rows = list[tuple[str, ...]]


class Table(NamedTuple):
    """Column heads and rows of the same length."""

    head: tuple[str, ...]
    rows: Rows


def round_quantity(round: Round) -> Quantity:
    """Say how to write the metric of a round, from the best values of all its trials."""
    return study_quantity(round.plan.metric, *round.studies)


def spread_text(spread: Spread, shown: Quantity) -> str:
    """Write the mean and standard deviation of reruns and their number."""
    if not spread.n:
        return "–"
    if spread.n < 2:
        return f"{shown.write(spread.mean)} (n=1)"
    return f"{shown.factor * spread.mean:.3g} ± {shown.factor * spread.sd:.2g}{shown.unit} (n={spread.n})"


def short_name(study: Study, round: Round) -> str:
    """Return a study's name without the plan's name in front of it."""
    return shorter(study.name, round)


def shorter(name: str, round: Round) -> str:
    """Return the name of a study of the round without the plan's name in front of it."""
    return name.removeprefix(round.plan.name + "/")


def roles_table(round: Round) -> Table:
    """Return every hyperparameter of the round with its role and its values or range."""
    plan = round.plan
    rows: Rows = [(name, "scientific", ", ".join(map(number, values))) for name, values in plan.scientific.items()]
    seen: dict[tuple[str, str], list[str]] = {}
    for study in round.studies:
        for dimension in study.space.dimensions:
            if dimension.name not in plan.scientific:
                key = dimension.name, domain_text(dimension.domain)
                seen.setdefault(key, []).append(_under(dimension, study, round))
    for (name, words), under in seen.items():
        only = "" if len(under) == len(round.studies) else f" (only {'; '.join(u for u in under if u)})"
        rows.append((name, "nuisance", words + only))
    rows += [(name, "fixed", number(value)) for name, value in plan.fixed.items()]
    return Table(("hyperparameter", "role", "values"), rows)


def _under(dimension: Dimension, study: Study, round: Round) -> str:
    conditions = [f"{leaf(name)}={value}" for name, value in dimension.condition]
    held = [f"{name}={value}" for name, value in study.scientific.items()]
    return " and ".join([*held, *conditions]) or short_name(study, round)


def budget_table(round: Round) -> Table:
    """Return what the round could spend and how it searched."""
    plan = round.plan
    rows: Rows = [("studies", str(len(round.studies))), ("trials of each study", str(plan.trials)),
            ("steps of each trial", str(plan.steps)), ("reruns of the best", str(plan.reruns)),
            ("search", plan.search), ("mode", plan.mode), ("seed", str(plan.seed)),
            ("objective", f"{plan.metric}, best over training (lower is better)"), ("trained by", plan.objective)]
    return Table(("budget", ""), rows)


def studies_table(round: Round) -> Table:
    """Return a row for each study: its trials, its best one and the reruns of that."""
    shown = round_quantity(round)
    rows: Rows = []
    for study in round.studies:
        best = next(iter(study.ranked(round.plan.metric)), None)
        reached = best.best(round.plan.metric) if best else None
        rows.append((short_name(study, round), spread_text(trial_variance(study, round.plan.metric), shown),
                     f"{shown.write(reached.value)} (#{best.number})" if best and reached else "–",
                     str(reached.step) if reached else "–", _counts(study)))
    # What is decided by comes first: a phone shows the left part of a table.
    return Table(("study", "reruns of the best", f"best {shown.words} (trial)", "at step", "trials"), rows)


def _counts(study: Study) -> str:
    """Return the number of trials, and of those that did not complete."""
    states = [trial.state for trial in study.trials]
    rest = [f"{n} {state}" for state in State if state is not State.COMPLETE and (n := states.count(state))]
    return ", ".join([str(len(states)), *rest])


def best_table(study: Study, round: Round, most: int = 5) -> Table:
    """Return the best trials of a study with their best value, its step and the hyperparameters that vary."""
    metric, shown = round.plan.metric, round_quantity(round)
    names = [dimension.name for dimension in study.space.dimensions]
    rows: Rows = []
    for trial in study.ranked(metric)[:most]:
        best = trial.best(metric)
        rows.append((f"#{trial.number}", shown.write(best.value if best else None), str(best.step) if best else "–",
                     *(number(trial.params[name]) if name in trial.params else "–" for name in names)))
    return Table(("trial", shown.words, "at step", *_short_heads(names)), rows)


def _short_heads(names: Sequence[str]) -> list[str]:
    # The own name, unless two hyperparameters under different choices share it.
    leaves = [leaf(name) for name in names]
    return [short if leaves.count(short) == 1 else name for name, short in zip(names, leaves, strict=True)]


def lost_trials(study: Study) -> list[tuple[TrialRecord, str]]:
    """Return the infeasible and failed trials and reruns, each with the line that says why."""
    lost = [t for t in (*study.trials, *study.reruns) if t.state in (State.INFEASIBLE, State.FAILED)]
    return [(t, last_words(t.reason)) for t in lost]


def failures(study: Study, most: int = 3) -> list[tuple[str, str]]:
    """Return the most frequent failures that differ by their error: which trials, and the traceback of the first."""
    found: dict[str, list[TrialRecord]] = {}
    for trial, error in lost_trials(study):
        if trial.state is State.FAILED:
            found.setdefault(error, []).append(trial)
    ranked = sorted(found.values(), key=len, reverse=True)[:most]
    return [(listed([f"#{t.number}" + (f" rerun {t.rerun}" if t.rerun else "") for t in trials]), trials[0].reason)
            for trials in ranked]


def words_of_test(round: Round, decision: Decision | None) -> str:
    """Say what the test error of a round is of: the trial, and why that one where nothing has been decided."""
    words = f"Test {round_quantity(round).words.removeprefix('validation ')}"
    trial = standing(round, decision)
    which = f" of trial #{trial.number} of {shorter(trial.study, round)}" if trial else ""
    why = " (the lower mean over the reruns, since the decision is open)"
    return f"{words}{which}{why if decision and decision.verdict == 'undecided' else ''}, measured once at the end"


def launch_words(round: Round, decision: Decision | None, launch: Launch) -> str:
    """Say what was recorded as the best configuration so far, and why where the decision does not say it."""
    what = f"trial #{launch.number} of {shorter(launch.study, round)}"
    replaced = f", in place of launch {launch.predecessor}" if launch.predecessor else ""
    kept = f"; launch {launch.predecessor} stays the best configuration so far" if launch.predecessor else ""
    said = (f"{what[0].upper()}{what[1:]} is recorded as the best configuration so far{replaced} (launch {launch.id})."
            if launch.adopted else f"Nothing was launched: {what} was considered{kept}.")
    return said if decision and decision.reason == launch.decision else f"{said} {launch.decision}"


def decision_table(decision: Decision, round: Round) -> Table:
    """Return the numbers that a decision rests on."""
    shown = round_quantity(round)
    candidate, baseline = spread_text(decision.candidate_reruns, shown), spread_text(decision.baseline_reruns, shown)
    added = "no" if decision.complexity == "none" else decision.complexity
    required = f"{shown.gap(decision.required)} ({added} added complexity)"
    known = all(map(math.isfinite, decision.interval))
    rows: Rows = [("candidate", f"{shorter(decision.candidate, round)}: {candidate}"),
            ("baseline", f"{shorter(decision.baseline, round)}: {baseline}"),
            ("difference (candidate − baseline)", shown.gap(decision.difference)),
            ("95% interval of the difference", shown.interval(*decision.interval) if known else "not known"),
            ("improvement required", required)]
    rows += [(shorter(name, round), spread_text(Spread((), n, mean, sd, 0.0), shown))
             for name, mean, sd, n in decision.others]
    return Table(("", f"{shown.words} over n reruns"), rows)
