"""The terminal shows the same numbers as the page, in any width, and no name is taken for a command."""

import dataclasses
import io

import pytest
from rich.console import Console

from refplay.analysis.adoption import compare
from refplay.analysis.checklist import learn
from refplay.analysis.finding import Finding
from refplay.cli.progress import progress_bars
from refplay.cli.rounds import conclude
from refplay.report import print_report
from refplay.search.space import Space, Uniform
from refplay.study.record import Round, Study
from refplay.study.store import Launch, Store


def printed(round_, findings, decision, width=100, **more):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    print_report(round_, findings, decision, console, **more)
    return console.file.getvalue()


def test_goal_results_findings_and_decision_are_printed(round_):
    findings, decision = learn(round_), compare(round_)
    text = " ".join(printed(round_, findings, decision, 400, test=0.0237).split())
    for expected in (round_.plan.goal, "4.1%", "2.3%", "4.5 ± 0.2% (n=3)", "decision: adopt", decision.reason,
                     "Test error of trial #4 of optimizer=adam, measured once at the end: 2.37%."):
        assert expected in text, expected
    for finding in findings:
        if finding.verdict != "good" and finding.topic != "adoption":
            assert finding.seen in text
            assert finding.verdict == "note" or finding.action in text
    assert "Playbook" not in text


def test_it_is_compact(round_):
    assert len(printed(round_, learn(round_), compare(round_)).splitlines()) < 80


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(round_, width):
    assert max(map(len, printed(round_, learn(round_), compare(round_), width).splitlines())) <= width


def test_names_are_neither_markup_nor_escape_sequences(plan, round_):
    odd = "[bold red]x[/] \x1b[2J :smile:"
    hostile = Round(dataclasses.replace(plan, goal=odd),
                    tuple(Study(odd + s.name, s.scientific, s.space, s.trials, s.reruns) for s in round_.studies))
    text = printed(hostile, [Finding(odd, odd, "attention", odd, action=odd)], compare(hostile), 300)
    assert "[bold red]x[/] \ufffd[2J :smile:" in text
    assert "\x1b" not in text


def test_an_empty_round_prints(plan):
    empty = Round(plan, tuple(Study(spec.name, spec.scientific, spec.space, ()) for spec in plan.studies()))
    assert plan.goal in printed(empty, learn(empty), compare(empty))


def test_a_launch_says_what_was_recorded_and_why_unless_the_decision_has_said_it(round_):
    decision = compare(round_)
    adopted = Launch(3, round_.plan.name, f"{round_.plan.name}/optimizer=adam", 4, {}, True, decision.reason, {}, 1, "")
    text = " ".join(printed(round_, [], decision, 400, launch=adopted).split())
    assert ("Trial #4 of optimizer=adam is recorded as the best configuration so far, in place of launch 1 (launch 3)."
            in text)
    assert text.count(decision.reason) == 1
    kept = adopted._replace(adopted=False, decision="It lost against x.")
    text = " ".join(printed(round_, [], decision, 400, launch=kept).split())
    assert ("Nothing was launched: trial #4 of optimizer=adam was considered; launch 1 stays the best configuration so "
            "far. It lost against x.") in text
    text = printed(round_, [], decision, 400, launch=kept._replace(predecessor=None))
    assert "trial #4 of optimizer=adam was considered. It lost" in " ".join(text.split())


def test_a_test_error_says_when_its_trial_was_not_decided_for(round_):
    nesterov, adam = round_.studies
    close = tuple(dataclasses.replace(trial, curves=rerun.curves)
                  for trial, rerun in zip(adam.reruns, (*nesterov.reruns[1:], adam.reruns[0]), strict=True))
    undecided = Round(round_.plan, (nesterov, dataclasses.replace(adam, reruns=close)))
    decision = compare(undecided)
    assert decision.verdict == "undecided"
    text = " ".join(printed(undecided, [], decision, 400, test=0.03).split())
    assert "Neither is shown to be better: take the simpler" in text
    assert "of trial #4 of optimizer=adam (the lower mean over the reruns, since the decision is open)" in text


def test_progress_and_paths_are_no_markup(tmp_path, round_):
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    with progress_bars("valid_error", console) as update:
        update("odd [bold]<i>/width=8", 3, 7, 0.0625)
        update("odd [bold]<i>/width=9", 0, 7, None)
    assert "odd [bold]<i>/width=8" in console.file.getvalue()
    assert "best valid_error 6.25%" in console.file.getvalue()  # as the tables write it
    console = Console(file=io.StringIO(), width=200)
    with Store(tmp_path / "odd [bold].db", create=True):
        pass
    conclude(round_, tmp_path / "odd [bold].db", tmp_path / "odd [bold].html", console, launching=False)
    assert "odd [bold].html" in console.file.getvalue()
    assert "odd [bold].db" in console.file.getvalue()


def test_trials_of_many_hyperparameters_are_lines_where_a_table_is_too_wide(plan, round_):
    (study, _) = round_.studies
    names = [f"hyperparameter_{i}" for i in range(12)]
    space = Space(**{name: Uniform(0.0, 1.0) for name in names})
    trials = tuple(dataclasses.replace(t, params=dict.fromkeys(names[1:], 0.25)) for t in study.trials)
    wide = Round(plan, (Study(study.name, study.scientific, space, trials),))
    text = printed(wide, [], None, 80)
    assert "#4  4.1% at step 100: hyperparameter_1=0.25, hyperparameter_2=0.25" in text
    assert "hyperparameter_0=" not in text  # not active in it
    assert "trial   validation error   at step" in printed(wide, [], None, 400)
    assert "trial   validation error   at step" in printed(round_, [], None, 80)


@pytest.mark.parametrize("width", [40, 60, 77])
def test_studies_are_lines_where_a_table_would_be_cut(round_, width):
    text = " ".join(printed(round_, [], None, width).split())
    assert ("optimizer=nesterov: reruns of the best 4.5 ± 0.2% (n=3); best validation error (trial) 4.1% (#4); at step "
            "100; trials 8, 1 infeasible") in text
    assert "optimizer=nesterov:" not in printed(round_, [], None, 80)
