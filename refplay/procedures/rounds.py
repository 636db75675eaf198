"""The fourth step of the loop: consider a launch, and record the decision either way.

A launch updates the best configuration so far. Every round of a store may end in one; each is recorded with its
evidence and with the launch that it replaces, so that a store tells how the best configuration came about.

Source: playbook, "The incremental tuning strategy" and "Determining whether to adopt a training pipeline change or
hyperparameter configuration".
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from refplay.analysis.adoption import Complexity, Decision, compare, decide, standing
from refplay.study.record import Round, Study, TrialRecord
from refplay.study.store import Launch, Store


def launch(round: Round, store: str | Path, *, complexity: Complexity = "none",
           test_error: float | None = None) -> tuple[Launch, Decision | None] | None:
    """Decide whether the best study of `round` becomes the best configuration so far, and record the decision.

    The configuration to beat is that of the last adopted launch of another round of the same store and metric. Where
    there is none, the scientific values of the round are compared with each other; where there is only one, its best
    trial is adopted as the first configuration, on no evidence but that there must be one.

    Parameters
    ----------
    round : Round
        Finished, of this store.
    store : str or Path
        Its store; the launch is added to it.
    complexity : "none", "some" or "much"
        What the candidate adds to the pipeline; see `refplay.analysis.adoption`.
    test_error : float, optional
        Of the chosen configuration, measured once and after everything else; kept with the evidence, decides nothing.

    Returns
    -------
    The launch as it is recorded, and the decision behind it (None for a first configuration). None where no trial of
    the round is complete: there is nothing to launch. None too where the store can only be read and does not hold the
    decision yet: one that is not recorded is none.
    """
    metric = round.plan.metric
    between = compare(round, complexity=complexity)
    best = standing(round, between)
    if best is None:
        return None
    with Store(store) as opened:
        incumbent = _incumbent(opened, round)
        decision = between
        if incumbent:
            decision = decide(_contender(round, best), incumbent, metric=metric, complexity=complexity)
        adopted = decision.adopt if decision else True
        reason = decision.reason if decision else "The first configuration: there is nothing to compare it with."
        this = (round.plan.name, best.study, best.number, reason)
        same = [was for was in opened.launches() if (was.round, was.study, was.number, was.decision) == this]
        # Reporting twice on one round is one decision, not two.
        evidence = (asdict(decision) if decision else {"metric": metric}) | {"test_error": test_error}
        if opened.read_only and not same:
            return None
        recorded = same[-1] if same else opened.record_launch(
            round.plan.name, study=best.study, number=best.number, adopted=adopted, decision=reason,
            evidence=evidence)
    return recorded, decision


def _contender(round: Round, trial: TrialRecord) -> Study:
    return next(study for study in round.contenders()
                if any((t.study, t.number) == (trial.study, trial.number) for t in study.trials))


def _incumbent(store: Store, round: Round) -> Study | None:
    """Return the study that the best configuration so far came from; None where it is this round's, or none yet."""
    for past in reversed(store.launches()):
        if past.adopted and past.round != round.plan.name:
            earlier = store.load_round(past.round)
            trial = next(t for study in earlier.studies for t in study.trials
                         if (t.study, t.number) == (past.study, past.number))
            return _contender(earlier, trial) if earlier.plan.metric == round.plan.metric else None
    return None
