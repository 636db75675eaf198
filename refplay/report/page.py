"""One self-contained page about a round: no scripts, no external requests, readable on a phone.

It follows the four steps of the loop: goal and design, results, what was learned (with the plots beside the findings
that they support), the decision; and says how to run it again.
"""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from refplay.analysis.adoption import Decision
from refplay.analysis.finding import Finding
from refplay.errors import InputError
from refplay.plot.catalogue import Picture, round_pictures
from refplay.plot.style import png
from refplay.report import parts
from refplay.report.markup import Markup, tag
from refplay.report.tables import short_name
from refplay.study.plan_toml import dump_plan
from refplay.study.provenance import Provenance, provenance
from refplay.study.record import Round
from refplay.study.store import Launch, Store

# Which plots support a finding, by its topic; those of its hyperparameter where it has one.
SUPPORT = {"boundary": ("axis",), "stability": ("axis", "gradient-norm"), "feasibility": ("axis",),
           "uniformity": ("axis",), "sampling": ("bootstrap",), "variance": ("bootstrap",), "overfitting": ("curves",),
           "training-loss": ("curves",), "steps": ("best-steps",), "isolation": ("isolation",),
           "fairness": ("isolation",)}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # even a mistake of ours could load nothing


def write_report(round: Round, findings: Sequence[Finding], decision: Decision | None, path: str | Path, *,
                 store: str | Path | None = None, test: float | None = None, launch: Launch | None = None) -> Path:
    """Write the report of a round as one HTML file and return its path.

    Parameters
    ----------
    round : Round
    findings : sequence of Finding
        What `refplay.learn` found.
    decision : Decision or None
        None where there was nothing to compare.
    path : str or Path
        The file; it is replaced as a whole or not at all.
    store : str or Path, optional
        The store of the round, which knows how it was started; without it, this process is named.
    test : float, optional
        Test error (a fraction, as the metric) of the configuration that stands, measured once at the end.
    launch : Launch, optional
        What was recorded about the best configuration so far.

    Raises
    ------
    InputError
        The file cannot be written there, or the store cannot be read.
    """
    origin = _origin(round, store)
    page = render(round, findings, decision, origin, store=str(store or ""), test=test, launch=launch)
    return _write(Path(path), page)


def render(round: Round, findings: Sequence[Finding], decision: Decision | None, origin: Provenance, *, store: str = "",
           test: float | None = None, launch: Launch | None = None) -> str:
    """Return the page as text; see `write_report`."""
    title = f"{round.plan.name}: report"
    learned = _learned(round, [finding for finding in findings if finding.topic != "adoption"])
    links = (("design", "Goal and design"), ("results", "Results"), ("learned", "What was learned"),
             ("decision", "Decision"), ("reproduction", "Reproduction"))
    body = tag("body",
               tag("header", tag("h1", round.plan.name), tag("p", round.plan.goal, class_="goal"),
                   parts.answer(round, findings, decision, test),
                   tag("nav", [tag("a", words, href=f"#{anchor}") for anchor, words in links])),
               tag("main", parts.design(round), parts.results(round), learned,
                   parts.decision_part(round, decision, launch),
                   parts.reproduction(round, origin, dump_plan(round.plan), store)),
               tag("footer", tag("p", f"Made by refplay {origin.version}.", class_="soft")))
    head = tag("head", tag("meta", charset="utf-8"),
               tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
               tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
               tag("title", title), tag("style", _style()))
    return "<!DOCTYPE html>\n" + tag("html", head, body, lang="en") + "\n"


class Shown(NamedTuple):
    """A plot that is drawn already, so that its figure need not be kept."""

    kind: str
    study: str
    hyperparameter: str
    markup: Markup


def _learned(round: Round, findings: Sequence[Finding]) -> Markup:
    rest = [Shown(*picture[:3], figure(picture)) for picture in round_pictures(round)]
    # The only study of a round has the name of the round: its findings and plots stand once.
    places = {round.plan.name: "The round as a whole"} | {s.name: short_name(s, round) for s in round.studies}
    blocks = []
    for name, words in places.items():
        own = [finding for finding in findings if finding.study == name]
        own.sort(key=lambda finding: ("attention", "note", "good").index(finding.verdict))
        cards = [parts.finding_card(finding, _take(rest, finding)) for finding in own]
        left = [shown.markup for shown in rest if shown.study == name]
        more = [tag("h3", f"All other plots of {words}"), tag("div", left, class_="plots")] if left else []
        if cards or left:
            blocks.append([tag("h3", words), cards, more])
    return tag("section", tag("h2", "3. What was learned"), blocks, id="learned")


def _take(rest: list[Shown], finding: Finding) -> list[Markup]:
    """Return the plots that support a finding, and remove them from `rest`: each plot is shown once."""
    taken = [shown for shown in rest if shown.study == finding.study and shown.kind in SUPPORT.get(finding.topic, ())
             and (not finding.hyperparameter or shown.hyperparameter in ("", finding.hyperparameter))]
    rest[:] = [shown for shown in rest if shown not in taken]
    return [shown.markup for shown in taken]


def figure(picture: Picture) -> Markup:
    """Return a plot as an element with its picture inside and its description for those who cannot see it."""
    data = base64.b64encode(png(picture.figure)).decode("ascii")
    width, height = (round(inches * 100) for inches in picture.figure.get_size_inches())
    alt = str(picture.figure.get_label())
    return tag("figure", tag("img", src=f"data:image/png;base64,{data}", alt=alt, width=width, height=height))


def _style() -> Markup:
    return Markup((files("refplay.report") / "report.css").read_text("utf-8"))


def _origin(round: Round, store: str | Path | None) -> Provenance:
    if store is not None:
        with Store(store) as opened:
            for info in opened.rounds():
                if info.name == round.plan.name:
                    return Provenance(info.created, info.command, info.version, info.revision, info.changes)
    return provenance()


def _write(path: Path, page: str) -> Path:
    """Replace `path` by the page, as a whole or not at all."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".tmp", delete=False) as file:
            temporary = file.name
            file.write(page)
        os.chmod(temporary, 0o644)  # temporary files are private; a report is for whoever may enter the folder
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise InputError(f"cannot write the report {path}: {error.strerror or error}; "
                         "name a file in a folder that can be written to") from error
    return path
