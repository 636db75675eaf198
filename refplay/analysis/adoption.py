"""Should the change be adopted? The candidate against the baseline, beyond what another seed would change.

Asked by the playbook's section "Determining whether to adopt a training pipeline change or hyperparameter
configuration": take the retrain variance of both sides into account, do not demand certainty, and adopt only what
outweighs the complexity that it adds.

The rule: Welch's 95% interval for the difference of the mean objectives of the reruns (candidate less baseline, so
negative is better), with s_c, s_b the standard deviations of n_c and n_b reruns:

    d = mean_c - mean_b,  se = sqrt(s_c^2 / n_c + s_b^2 / n_b),
    interval = d -/+ t_0.975(df) se,  df = se^4 / (s_c^4 / (n_c^2 (n_c - 1)) + s_b^4 / (n_b^2 (n_b - 1)))

Adopt if the whole interval lies below -c, c being what the complexity must earn: 0 for none, and one or two retrain
standard deviations of the baseline for some or much (as much a lucky seed gives for nothing). Keep if d is not negative
or the whole interval lies above -c. Else the data do not decide. A candidate of which a rerun diverged is not adopted.
Reruns that are all equal on both sides show no trial variance, not that there is none: another seed did not change
anything, so a better candidate is not adopted on them.
The winning trials of the searches are not used: they were chosen for their luck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from refplay.analysis.caveats import fixed_caveat
from refplay.analysis.finding import Finding
from refplay.analysis.variance import SECTION, Spread, finished_reruns, trial_variance
from refplay.analysis.wording import count, known, study_quantity
from refplay.study.record import Round, Study, TrialRecord

Complexity = Literal["none", "some", "much"]
EARNED: dict[str, float] = {"none": 0.0, "some": 1.0, "much": 2.0}  # retrain standard deviations of the baseline
CONFIDENCE = 0.95
POWER = 0.8  # customary: four of five experiments of this size would show the difference


@dataclass(frozen=True)
class Decision:
    """Whether to adopt a candidate in place of a baseline, and on what evidence. nan: not known."""

    candidate: str  # names of the studies
    baseline: str
    metric: str
    verdict: Literal["adopt", "keep", "undecided"]
    reason: str  # one sentence with the numbers
    difference: float  # mean of the candidate's reruns less the baseline's; negative: the candidate is better
    standard_error: float
    interval: tuple[float, float]  # Welch's 95% interval for the difference
    required: float  # improvement that the complexity must earn
    candidate_reruns: Spread
    baseline_reruns: Spread
    complexity: Complexity = "none"
    caveats: tuple[str, ...] = ()
    others: tuple[tuple[str, float, float, int], ...] = ()  # name, and mean, sd, n of the reruns

    @property
    def adopt(self) -> bool:
        """Whether the verdict is to adopt."""
        return self.verdict == "adopt"


def welch(a: Spread, b: Spread, confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """Return the standard error of mean(a) - mean(b) and half the width of its Welch interval, with its df.

    Where one side has a single result its variance is taken to be that of the other; nan where neither has two.

    Source: Welch 1947, "The generalization of 'Student's' problem when several different population variances are
    involved".
    """
    from scipy.special import stdtrit  # Student's t quantile, without the weight of scipy.stats

    if not (a.n and b.n) or max(a.n, b.n) < 2:
        return float("nan"), float("nan"), float("nan")
    sa, sb = (a.sd if a.n > 1 else b.sd), (b.sd if b.n > 1 else a.sd)
    va, vb = sa * sa / a.n, sb * sb / b.n
    se = math.sqrt(va + vb)
    if not math.isfinite(se):
        return float("nan"), float("nan"), float("nan")
    if min(a.n, b.n) < 2:
        df = max(a.n, b.n) - 1.0
    else:
        # In shares of the squared standard error, which neither overflow nor underflow.
        share = va / (va + vb) if se > 0 else 0.5
        df = 1 / (share**2 / (a.n - 1) + (1 - share) ** 2 / (b.n - 1))
    return se, float(stdtrit(df, 0.5 + confidence / 2)) * se, df


def decide(candidate: Study, baseline: Study, *, metric: str, complexity: Complexity = "none") -> Decision:
    """Decide whether a candidate beats a baseline beyond the retrain variance of both (rule: see the module).

    Parameters
    ----------
    candidate, baseline : Study
        Their complete reruns by `metric` are compared.
    metric : str
        Lower is better; the best value over training counts.
    complexity : "none", "some" or "much"
        What the candidate adds to the pipeline: code, computation, hyperparameters.

    Raises
    ------
    ValueError
        Another complexity than these.

    Source: playbook, "Determining whether to adopt a training pipeline change or hyperparameter configuration".
    """
    if complexity not in EARNED:
        raise ValueError(f"complexity must be one of {', '.join(EARNED)}, got {complexity!r}")
    c, b = trial_variance(candidate, metric), trial_variance(baseline, metric)
    se, half, _ = welch(c, b)
    if half == 0:  # a variation that was not seen is not known to be none
        se = half = float("nan")
    difference = c.mean - b.mean
    if abs(difference) <= 1e-12 * max(abs(c.mean), abs(b.mean)):
        difference = 0.0  # rounding: the mean of n results is good to about n times 1e-16
    retrain = b.sd if b.n > 1 else c.sd
    required = EARNED[complexity] * retrain if EARNED[complexity] else 0.0
    verdict, reason = _verdict(candidate, baseline, metric, difference, half, required)
    return Decision(candidate.name, baseline.name, metric, verdict, reason, difference, se,
                    (difference - half, difference + half), required, c, b, complexity,
                    tuple(_caveats(candidate, baseline, metric)))


def _verdict(candidate: Study, baseline: Study, metric: str, difference: float, half: float,
             required: float) -> tuple[Literal["adopt", "keep", "undecided"], str]:
    if bad := _diverged(candidate, metric):
        return "keep", (f"{bad} of {count(len(finished_reruns(candidate, metric)), 'rerun')} of {candidate.name} "
                        "diverged with another seed, so it cannot be relied on.")
    if not math.isfinite(difference):
        missing = candidate if not trial_variance(candidate, metric).n else baseline
        return "undecided", (f"{missing.name} has no complete rerun of its best trial that reported {metric}, and the "
                             "best of the search is too lucky to judge by.")
    one, other = _short(candidate, baseline), _short(baseline, candidate)
    shown = study_quantity(metric, candidate, baseline)
    lower = "lower" if difference < 0 else "higher"
    by = f"{shown.gap(abs(difference))} {lower}"
    gap = (f"Over the reruns {one} is on average {by} in {metric} than {other}"
           if difference else f"Over the reruns {one} and {other} are equal in {metric}")
    if not math.isfinite(half):
        if max(trial_variance(study, metric).n for study in (candidate, baseline)) < 2:
            return "undecided", f"{gap}, but with one rerun each nothing is known of the variation between seeds."
        if difference >= 0:
            return "keep", f"{gap}: no improvement, and none of the reruns differs from another."
        return "undecided", (f"{gap}, but the reruns of each are all equal: no seed reaches the training, or the "
                             "objective is deterministic, so the trial variance is unknown.")
    interval = f"95% interval of the difference {shown.interval(difference - half, difference + half)}"
    earned = f" and more than the {shown.gap(required)} that its complexity must earn" if required else ""
    if difference + half < -required:
        return "adopt", f"{gap}, beyond the variation between seeds{earned} ({interval})."
    if difference >= 0:
        return "keep", f"{gap}: no improvement ({interval})."
    if difference - half > -required:
        return "keep", f"{gap}, less than the {shown.gap(required)} that its complexity must earn ({interval})."
    doubt = f", and its complexity must earn {shown.gap(required)}" if required else ""
    return "undecided", f"{gap}, which the variation between seeds alone could explain ({interval}){doubt}."


def _short(study: Study, other: Study) -> str:
    # "optimizer=adam" for "nesterov-or-adam/optimizer=adam", where that tells the two apart
    short = study.name.rpartition("/")[2]
    return study.name if short == other.name.rpartition("/")[2] else short


def _diverged(study: Study, metric: str) -> int:
    return sum(not t.feasible for t in finished_reruns(study, metric))


def _caveats(candidate: Study, baseline: Study, metric: str) -> list[str]:
    notes = []
    for study in (candidate, baseline):
        s = trial_variance(study, metric)
        ranked, reruns = study.ranked(metric), finished_reruns(study, metric)
        if s.n == 1:
            notes.append(f"{study.name} has one rerun; its variation is assumed to be that of the other.")
        if s.n > 1 and s.sd == 0:
            notes.append(f"The {s.n} reruns of {study.name} are all equal: by chance, as happens with few reruns or a "
                         "small validation set, or because the seed does not reach the training; check it.")
        if ranked and reruns and reruns[0].number != ranked[0].number:
            notes.append(f"The reruns of {study.name} repeat trial {reruns[0].number}, but its best by {metric} is "
                         f"trial {ranked[0].number}.")
    if bad := _diverged(baseline, metric):
        notes.append(f"{count(bad, 'rerun')} of the baseline {baseline.name} diverged and are left out of its mean.")
    notes.append("Only the variation between seeds is covered: another search seed or another split of the data may "
                 "move the difference further.")
    return notes


def compare(round: Round, *, metric: str | None = None, complexity: Complexity = "none") -> Decision | None:
    """Decide between the scientific values of a round: the lowest mean over the reruns against the runner-up.

    Compared are the studies, or, where the values lie inside the space of one study, its parts (`Round.contenders`);
    the others are listed in the decision. None where there are not two to compare. A study without complete reruns
    ranks by its best trial, after those that have some.
    """
    metric = metric or round.plan.metric
    order = sorted((s for s in round.contenders() if s.ranked(metric) or finished_reruns(s, metric)),
                   key=lambda s: _rank(s, metric))
    if len(order) < 2:
        return None
    decision = decide(order[0], order[1], metric=metric, complexity=complexity)
    notes = list(decision.caveats)
    if len(order) > 2:
        notes.append(f"{order[0].name} is the best of the {len(order)} compared, {order[1].name} the runner-up.")
    if caveat := fixed_caveat(round.plan):
        notes.append(caveat)
    others = tuple((s.name, v.mean, v.sd, v.n) for s in order[2:] if (v := trial_variance(s, metric)).n)
    return replace(decision, caveats=tuple(notes), others=others)


def standing(round: Round, decision: Decision | None) -> TrialRecord | None:
    """Return the trial whose configuration stands at the end of a round; None where no trial is complete.

    The best trial of the candidate, or of the baseline where the decision is to keep that. While it is undecided the
    candidate stands for its lower mean. Without a decision it is the best trial of the only study with results.
    """
    found = {study.name: ranked[0] for study in round.contenders() if (ranked := study.ranked(round.plan.metric))}
    if decision is None:
        return next(iter(found.values()), None)
    return found.get(decision.baseline if decision.verdict == "keep" else decision.candidate)


def _rank(study: Study, metric: str) -> tuple[bool, float]:
    mean = trial_variance(study, metric).mean
    if math.isfinite(mean):
        return False, mean
    ranked = study.ranked(metric)
    best = ranked[0].best(metric) if ranked else None
    return True, best.value if best else math.inf


def reruns_needed(decision: Decision, most: int = 1000) -> int | None:
    """Return how many reruns of each side would show a difference of the size seen; None where it is not known.

    The smallest n at which Welch's interval leaves the required improvement out with probability 80%, were the means
    and standard deviations seen the true ones: P(T > t_0.975(df)) >= 0.8 for T of the noncentral t distribution with
    noncentrality |d + c| / se.
    """
    from scipy.special import nctdtr  # distribution function of the noncentral t

    c, b = decision.candidate_reruns, decision.baseline_reruns
    gap = abs(decision.difference + decision.required)
    sc, sb = (c.sd if c.n > 1 else b.sd), (b.sd if b.n > 1 else c.sd)
    if not math.isfinite(gap) or gap == 0 or not (sc > 0 or sb > 0):
        return None
    for n in range(max(2, min(c.n, b.n)), most + 1):
        se, half, df = welch(Spread((), n, c.mean, sc, 0.0), Spread((), n, b.mean, sb, 0.0))
        if half < gap and 1 - nctdtr(df, gap / se, half / se) >= POWER:
            return n
    return None


def adoption(round: Round, metric: str) -> list[Finding]:
    """Return the decision between the studies of a round as a finding; none where there is nothing to compare."""
    decision = compare(round, metric=metric)
    return [] if decision is None else [decision_finding(decision, round.plan.name)]


def decision_finding(decision: Decision, name: str) -> Finding:
    """Return a decision as a finding of the round `name`, with its caveats."""
    c, b = decision.candidate_reruns, decision.baseline_reruns
    numbers: dict[str, Any] = {
        "verdict": decision.verdict, "difference": known(decision.difference),
        "standard_error": known(decision.standard_error), "interval": [known(end) for end in decision.interval],
        "candidate": decision.candidate, "candidate_mean": known(c.mean), "candidate_sd": known(c.sd),
        "candidate_n": c.n, "baseline": decision.baseline, "baseline_mean": known(b.mean), "baseline_sd": known(b.sd),
        "baseline_n": b.n, "required": known(decision.required),
        "others": [(name, known(mean), known(sd), n) for name, mean, sd, n in decision.others]}
    action = {"adopt": f"Adopt {decision.candidate} as the baseline of the next round, if it is worth its complexity.",
              "keep": f"Keep {decision.baseline}.", "undecided": _undecided(decision)}[decision.verdict]
    return Finding("adoption", name, "attention" if decision.verdict == "undecided" else "good",
                   " ".join([decision.reason, *decision.caveats]), numbers, action, SECTION)


def _undecided(decision: Decision) -> str:
    c, b = decision.candidate_reruns, decision.baseline_reruns
    needed = reruns_needed(decision)
    if max(c.n, b.n) > 1 and not (c.sd > 0 or b.sd > 0):
        how = ("make the seed reach the training and rerun both; if nothing in it is random, compare the best results "
               "of the same plan under other search seeds")
    elif needed:
        how = (f"with about {needed} reruns of each a true difference of the size seen would be shown in "
               f"{POWER:.0%} of repetitions")
    else:
        how = "rerun the best trial of each with 5 other seeds"
    return f"Neither is shown to be better: take the simpler of the two for now; {how}."
