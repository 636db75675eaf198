"""The terminal shows the same numbers as the page, in any width, and no name is taken for a command."""

import dataclasses
import io

import pytest
from rich.console import Console

from refplay.analysis.adoption import compare
from refplay.analysis.checklist import learn
from refplay.analysis.finding import Finding
from refplay.report import print_report
from refplay.study.record import Round, Study


def printed(round_, findings, decision, width=100, **more):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    print_report(round_, findings, decision, console, **more)
    return console.file.getvalue()


def test_goal_results_findings_and_decision_are_printed(round_):
    findings, decision = learn(round_), compare(round_)
    text = " ".join(printed(round_, findings, decision, 400, test=0.0237).split())
    for expected in (round_.plan.goal, "4.1%", "2.3%", "4.5 ± 0.2% (n=3)", "decision: adopt", decision.reason,
                     "2.37%"):
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
