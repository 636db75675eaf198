"""The checklist: every question that the playbook asks of finished experiments, in its order.

Its section "Extracting insight from experimental results" first asks whether the experiments can be trusted (is the
space large enough, was it sampled enough, how much of it was infeasible, what do the curves show) and only then what
they say about the question of the round; adoption comes last.
"""

from __future__ import annotations

from refplay.analysis.adoption import adoption
from refplay.analysis.boundary import boundary
from refplay.analysis.caveats import caveats
from refplay.analysis.curves import overfitting, rising_loss
from refplay.analysis.desiderata import desiderata, uniformity
from refplay.analysis.feasibility import feasibility
from refplay.analysis.finding import Finding
from refplay.analysis.isolation import isolation
from refplay.analysis.sampling import sampling
from refplay.analysis.steps import steps
from refplay.analysis.variance import variance
from refplay.analysis.wording import count, listed
from refplay.study.plan import Plan
from refplay.study.record import Round, State, Study


def learn(round: Round, *, metric: str | None = None) -> list[Finding]:
    """Run the whole checklist over a round and return its findings.

    Parameters
    ----------
    round : Round
        Finished or not: unfinished trials are left out, and what cannot be judged yet is not judged.
    metric : str, optional
        Rank by another curve than the plan's metric. Any curve that was reported will do, without rerunning: the
        points of a (quasi-)random search do not depend on the objective.

    Returns
    -------
    list of Finding
        Study by study the questions of the checklist, then the round: desiderata, isolation, caveats, variance,
        adoption.

    Source: playbook, "Extracting insight from experimental results" and the sections that it names.
    """
    metric = metric or round.plan.metric
    findings = [finding for study in round.studies for finding in _of_study(study, round.plan, metric)]
    findings += uniformity(round) + desiderata(round, metric) + isolation(round, metric) + caveats(round.plan)
    return findings + variance(round, metric) + adoption(round, metric)


def _of_study(study: Study, plan: Plan, metric: str) -> list[Finding]:
    if not study.ranked(metric):
        return [*_nothing(study, metric), *feasibility(study, metric)]
    # A hand-written list was not drawn from a space, so its density says nothing about regions between its values.
    sampled = [] if plan.configurations else sampling(study, metric)
    return [*boundary(study, metric), *sampled, *feasibility(study, metric),
            *overfitting(study, metric, tuple(plan.scientific)), *rising_loss(study), *steps(study, metric)]


def _nothing(study: Study, metric: str) -> list[Finding]:
    complete = sum(t.feasible for t in study.trials)
    reported = sorted({name for t in study.trials if t.feasible for name in t.curves})
    if complete and reported:
        return [Finding("trials", study.name, "attention",
                        f"No complete trial reported a finite {metric}; reported were {', '.join(reported)}.",
                        {"complete": complete, "trials": len(study.trials), "reported": reported},
                        f"Report {metric} from the objective, or choose one of the reported metrics.",
                        "Extracting insight from experimental results")]
    states = [trial.state for trial in study.trials]
    tally = listed([f"{n} {state}" for state in State if (n := states.count(state))]) or "none were run"
    left = not states or State.PENDING in states or State.RUNNING in states
    return [Finding("trials", study.name, "attention",
                    f"{study.name} has no complete trial with a result (of {count(len(states), 'trial')}: {tally}).",
                    {"complete": complete, "trials": len(states), "reported": reported},
                    "Run it, or resume it, before learning from it." if left else
                    "Mend what the next finding names before learning anything else from this study.",
                    "Extracting insight from experimental results")]
