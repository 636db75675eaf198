"""The parts of the report's page: pure functions from values to markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from refplay.analysis.adoption import Decision, decision_finding
from refplay.analysis.finding import Finding
from refplay.plot.words import count, number
from refplay.report.markup import Child, Markup, tag
from refplay.report.tables import (
    Rows,
    Table,
    best_table,
    budget_table,
    decision_table,
    failures,
    launch_words,
    lost_trials,
    roles_table,
    round_quantity,
    short_name,
    shorter,
    studies_table,
    words_of_test,
)
from refplay.study.provenance import Provenance
from refplay.study.record import Round, Study
from refplay.study.store import Launch

PLAYBOOK = "https://github.com/google-research/tuning_playbook"
SIGNS = {"good": "✓ good", "attention": "! attention", "note": "i note"}
LONGEST_PATCH = 20_000  # characters of uncommitted changes on the page; the store keeps all of them


def table(content: Table, *, row_heads: bool = False) -> Markup:
    """Return a table that scrolls sideways where the screen is too narrow."""
    heads = [tag("th", cell, scope="col") for cell in content.head] if any(content.head) else []
    first = {"scope": "row"} if row_heads else {}
    rows = [tag("tr", tag("th" if row_heads else "td", row[0], **first), [tag("td", cell) for cell in row[1:]])
            for row in content.rows]
    body = tag("table", tag("thead", tag("tr", heads)) if heads else None, tag("tbody", rows))
    label = " ".join(content.head).strip() or "table"
    return tag("div", body, class_="scroll", tabindex=0, role="region", aria_label=label)


def answer(round: Round, findings: Sequence[Finding], decision: Decision | None, test: float | None) -> Markup:
    """Return the box at the top: what came out, before how."""
    shown = round_quantity(round)
    ranked = [(best.value, trial.number, short_name(study, round)) for study in round.studies
              for trial in study.ranked(round.plan.metric)[:1] if (best := trial.best(round.plan.metric))]
    lines: list[Child] = []
    if decision is not None:
        lines.append(tag("p", tag("span", f"Decision: {decision.verdict}. ", class_="verdict"), decision.reason))
    if ranked:
        value, trial_number, study = min(ranked)
        lines.append(tag("p", f"Best {shown.words}: ", tag("strong", shown.write(value)),
                         f" (trial #{trial_number} of {study})."))
    else:
        lines.append(tag("p", f"No complete trial reported {round.plan.metric}."))
    if test is not None:
        lines.append(tag("p", f"{words_of_test(round, decision)}: ", tag("strong", shown.write(test)), "."))
    open_points = sum(finding.verdict == "attention" and finding.topic != "adoption" for finding in findings)
    if open_points:
        lines.append(tag("p", tag("a", f"{count(open_points, 'finding')} to look at", href="#learned"),
                         " before relying on this."))
    kind = {"adopt": "good", "keep": "good"}.get(decision.verdict, "attention") if decision else "note"
    return tag("div", lines, class_=f"card answer {kind}")


def design(round: Round) -> Markup:
    """Return goal and design: roles, ranges, budget, and what the conclusions hold for."""
    plan = round.plan
    fixed = ", ".join(f"{name}={number(value)}" for name, value in plan.fixed.items())
    return tag("section", tag("h2", "1. Goal and design"), tag("p", tag("strong", "Goal: "), plan.goal),
               tag("p", plan.notes, class_="soft") if plan.notes else None, table(roles_table(round)),
               tag("p", "Scientific: what is compared. Nuisance: tuned again for each scientific value, so that the "
                        "comparison is fair. Fixed: held at one value, a caveat of every conclusion.", class_="soft"),
               tag("p", tag("strong", "Caveat: "), f"everything below was seen at {fixed} only.") if fixed else None,
               table(budget_table(round), row_heads=True), id="design")


def results(round: Round) -> Markup:
    """Return the results: a row for each study, then its best trials and what became of the lost ones."""
    return tag("section", tag("h2", "2. Results"), table(studies_table(round)),
               [[tag("h3", "Best trials of ", short_name(study, round)), table(best_table(study, round)), _lost(study)]
                for study in round.studies], id="results")


def _lost(study: Study) -> Markup | None:
    lost = lost_trials(study)
    if not lost:
        return None
    rows: Rows = [(f"#{trial.number}" + (f" rerun {trial.rerun}" if trial.rerun else ""), str(trial.state), reason)
                  for trial, reason in lost]
    return tag("details", tag("summary", f"{count(len(lost), 'trial')} infeasible or failed, and why"),
               table(Table(("trial", "state", "reason"), rows)),
               [[tag("p", f"Traceback of {trials}:" if "," not in trials and " and " not in trials else
                     f"Traceback of the first of {trials}, which ended with the same error:"),
                 tag("pre", tag("code", reason))] for trials, reason in failures(study)])


def finding_card(finding: Finding, figures: Iterable[Markup] = ()) -> Markup:
    """Return a finding: verdict, what was seen, what to do, where the playbook says so, its numbers, its plots."""
    plots = list(figures)
    subject = f"{finding.topic}: {finding.hyperparameter}" if finding.hyperparameter else finding.topic
    numbers: Rows = [(name.replace("_", " "), _value(value)) for name, value in finding.numbers.items()]
    words = [tag("p", tag("span", SIGNS[finding.verdict], class_="verdict"), f" · {subject}"), tag("p", finding.seen)]
    if finding.action:
        words.append(tag("p", tag("strong", "Next: "), finding.action))
    if finding.section:
        words.append(tag("p", "Playbook: ", section_link(finding.section), class_="soft"))
    if numbers:
        words.append(tag("details", tag("summary", "numbers"), table(Table(("", ""), numbers), row_heads=True)))
    return tag("div", tag("div", words), tag("div", plots, class_="plots") if plots else None,
               class_=f"card {finding.verdict}" + (" pair" if len(plots) == 1 else ""))


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_value(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_value(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def section_link(section: str) -> Markup:
    """Return a link to a section of the playbook, by the anchor that GitHub derives from its title."""
    title = section.replace("*", "")  # emphasis of Markdown
    anchor = re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
    return tag("a", title, href=f"{PLAYBOOK}#{anchor}", rel="noreferrer")


def decision_part(round: Round, decision: Decision | None, launch: Launch | None = None) -> Markup:
    """Return the decision with its numbers, caveats and next step, and what was launched."""
    heading = tag("h2", "4. Decision")
    launched = tag("p", tag("strong", "Launch: "), launch_words(round, decision, launch)) if launch else None
    if decision is None:
        return tag("section", heading, tag("p", "The round has no two scientific values with results, so there is "
                                                "nothing to decide between."), launched, id="decision")
    finding = decision_finding(decision, round.plan.name)
    candidate, baseline = (shorter(name, round) for name in (decision.candidate, decision.baseline))
    question = f" · {candidate} in place of {baseline}?"
    return tag("section", heading,
               tag("div", tag("p", tag("span", decision.verdict, class_="verdict"), question),
                   tag("p", decision.reason),
                   tag("p", tag("strong", "Next: "), finding.action),
                   tag("p", "Playbook: ", section_link(finding.section), class_="soft"),
                   class_=f"card {finding.verdict}"),
               launched, table(decision_table(decision, round), row_heads=True),
               tag("ul", [tag("li", caveat) for caveat in decision.caveats]) if decision.caveats else None,
               id="decision")


def reproduction(round: Round, origin: Provenance, plan_text: str, store: str) -> Markup:
    """Return what it takes to run the same round again."""
    revision = origin.revision or "not a git checkout"
    if origin.revision and origin.changes:
        revision += ", with uncommitted changes"
    rows: Rows = [("refplay", origin.version), ("git commit", revision), ("seed", str(round.plan.seed)),
                  ("started", origin.created)]
    if store:
        rows.append(("store", store))
    cut = "\n(cut here; the store holds the rest)" if len(origin.changes) > LONGEST_PATCH else ""
    patch = origin.changes[:LONGEST_PATCH] + cut
    held = tag("p", "The store of that command holds the round already, so run it into a new one: ",
               tag("code", "--store NEW.db"), " (", tag("code", "refplay run"), "), ", tag("code", "--out FOLDER"),
               " (", tag("code", "refplay quickstart"), ") or ", tag("code", 'store="NEW.db"'), " (Python).")
    return tag("section", tag("h2", "5. Reproduction"),
               tag("p", "The same command and version give the same trials, whatever the number of workers."),
               held if store else None,
               tag("pre", tag("code", origin.command)), table(Table(("", ""), rows), row_heads=True),
               tag("details", tag("summary", "the plan"), tag("pre", tag("code", plan_text))),
               tag("details", tag("summary", "uncommitted changes"), tag("pre", tag("code", patch)))
               if origin.changes else None, id="reproduction")
