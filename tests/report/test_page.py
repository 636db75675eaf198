"""The page holds the numbers of the round, needs nothing from elsewhere, and no name can change what it is."""

import base64
import dataclasses
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from refplay.analysis.adoption import compare
from refplay.analysis.checklist import learn
from refplay.analysis.finding import Finding
from refplay.errors import InputError
from refplay.report import write_report
from refplay.report.markup import Markup, tag
from refplay.report.page import render
from refplay.report.parts import PLAYBOOK, section_link
from refplay.report.tables import decision_table, studies_table
from refplay.study.provenance import Provenance
from refplay.study.record import Round, State, Study
from refplay.study.store import Store

ORIGIN = Provenance("2026-11-23T10:00:00+00:00", "cd /work && refplay quickstart", "0.1.0", "abc123", "")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;</style></pre><!-- {0} $x %s"
VOID = {"meta", "img", "br", "hr"}


class Page(HTMLParser):
    """Reads a page strictly: every element closed in order; keeps elements, text and table cells."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.elements, self.words, self.comments = [], [], [], 0
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1] != "style":
            self.words.append(data)

    def handle_comment(self, data):
        self.comments += 1

    @property
    def text(self):
        return "".join(self.words)


def check_harmless(page):
    assert page.comments == 0
    for name, attributes in page.elements:
        assert name not in {"script", "iframe", "object", "embed", "link", "base", "form"}
        assert not any(key.startswith("on") for key in attributes)
        for key in ("src", "srcset", "poster", "data"):
            assert attributes.get(key, "data:image/png;base64,").startswith("data:image/png;base64,")
        assert re.match(rf"#[a-z]+$|{re.escape(PLAYBOOK)}#[a-z0-9-]*$", attributes.get("href", "#x"))
        assert "url(" not in attributes.get("style", "")


@pytest.fixture(scope="module")
def text(round_):
    return render(round_, learn(round_), compare(round_), ORIGIN, store="runs.db", test=0.0237)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture
def no_plots(monkeypatch):
    """Leave out the plots, which take seconds, where a test is about something else."""
    monkeypatch.setattr("refplay.report.page.round_pictures", lambda _: iter(()))


def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere(page, text):
    check_harmless(page)
    assert len(text) < 1_500_000  # half the limit for quickstart, whose studies have as many plots
    style = text[text.index("<style>"):text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.elements
    policy = next(a["content"] for n, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_the_sections_follow_the_loop(page):
    ids = [attributes["id"] for name, attributes in page.elements if name == "section"]
    assert ids == ["design", "results", "learned", "decision", "reproduction"]
    links = {attributes["href"] for name, attributes in page.elements if name == "a" and attributes["href"][0] == "#"}
    assert links == {f"#{i}" for i in ids}


def test_the_numbers_of_the_round_are_on_the_page(page, round_):
    for expected in (round_.plan.goal, "width=128", "0.001 to 1, log", "0 to 0.999, log of 1 − value", "none, layer",
                     # The best of nesterov has 4.1%, its reruns 0.2, 0.4 and 0.6 points more: mean 4.5, deviation 0.2.
                     "4.1%", "2.3%", "4.5 ± 0.2% (n=3)", "2.7 ± 0.2% (n=3)", "−1.8 percentage points",
                     "8, 1 infeasible",
                     "4.1% (#4)", "train_loss is nan at step 60", "cd /work && refplay quickstart", "abc123",
                     "runs.db", "2.37%"):
        assert expected in page.text, expected
    assert "Decision: adopt" in page.text


def test_every_finding_is_there_with_action_section_and_numbers(page, round_):
    for finding in learn(round_):
        if finding.topic == "adoption":
            continue  # shown as the decision
        assert finding.seen in page.text
        assert finding.action in page.text
        assert finding.section.replace("*", "") in page.text
        assert all(name.replace("_", " ") in page.text for name in finding.numbers)


def test_every_plot_is_shown_once_and_described(page, round_):
    images = [attributes for name, attributes in page.elements if name == "img"]
    dimensions = sum(len(s.space.dimensions) for s in round_.studies)
    assert len(images) == 1 + dimensions + 5 * len(round_.studies)
    assert len({image["alt"] for image in images}) == len(images)
    for image in images:
        assert len(image["alt"]) > 20
        assert base64.b64decode(image["src"].partition(",")[2], validate=True).startswith(b"\x89PNG")


def test_a_plot_stands_beside_the_finding_that_it_supports(round_):
    name = round_.studies[0].name
    finding = Finding("boundary", name, "attention", "The best lie at the edge.", hyperparameter="momentum")
    text = render(round_, [finding], None, ORIGIN)
    card = text[text.index("The best lie at the edge."):]
    card = card[:card.index("</figure>")]
    assert f"Axis plot of study {name}" in card
    assert "against momentum" in card


def test_no_text_can_become_markup(plan, round_):
    hostile_plan = dataclasses.replace(plan, goal=HOSTILE, notes=HOSTILE, fixed={"width": HOSTILE})
    studies = tuple(Study(HOSTILE + s.name, {"optimizer": HOSTILE}, s.space,
                          tuple(dataclasses.replace(t, study=HOSTILE, reason=HOSTILE,
                                                    params={**t.params, "norm": HOSTILE, "optimizer": HOSTILE})
                                for t in s.trials), s.reruns) for s in round_.studies)
    hostile = Round(hostile_plan, studies)
    finding = Finding(HOSTILE, studies[0].name, "attention", HOSTILE, {HOSTILE: HOSTILE, "l": [HOSTILE]}, HOSTILE,
                      HOSTILE, HOSTILE)
    decision = dataclasses.replace(compare(round_), candidate=HOSTILE, baseline=HOSTILE, reason=HOSTILE,
                                   caveats=(HOSTILE,), others=((HOSTILE, 0.1, 0.1, 3), ("once", 0.25, math.nan, 1)))
    page = Page(render(hostile, [finding, *learn(hostile)], decision, Provenance(*[HOSTILE] * 5), store=HOSTILE))
    check_harmless(page)
    # The parser turned every occurrence back into the same text, so each was written escaped exactly once.
    assert page.text.count(HOSTILE) > 20
    in_toml = HOSTILE.replace('"', '\\"')
    assert page.text.count(in_toml) == 3
    assert page.text.count("<script>") == page.text.count(HOSTILE) + 3
    assert "25% (n=1)" in page.text  # one rerun has no deviation to write


def test_control_characters_do_not_reach_the_page(plan, round_, no_plots):
    odd = "a\x00b\x1b[31mc\u202ed\ud800e \N{PILE OF POO} 漢字"
    finding = Finding("boundary", plan.name, "note", odd)
    text = render(round_, [finding], None, ORIGIN)
    assert "a\ufffdb\ufffd[31mc\ufffdd\ufffde \N{PILE OF POO} 漢字" in text
    text.encode("utf-8")


def test_a_round_without_results_still_has_a_report(plan, tmp_path):
    studies = tuple(Study(spec.name, spec.scientific, spec.space, ()) for spec in plan.studies())
    empty = Round(plan, studies)
    path = write_report(empty, learn(empty), compare(empty), tmp_path / "deep" / "report.html")
    page = Page(path.read_text("utf-8"))
    check_harmless(page)
    assert "No complete trial reported valid_error" in page.text
    assert "nothing to decide between" in page.text


def test_the_file_is_replaced_as_a_whole(round_, tmp_path, no_plots):
    path = tmp_path / "report.html"
    path.write_text("old")
    assert write_report(round_, [], None, path) == path
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_place_that_cannot_be_written_is_named_and_the_old_report_kept(round_, tmp_path, monkeypatch, no_plots):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"cannot write the report .*report.html: No space left on device"):
        write_report(round_, [], None, path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]
    with pytest.raises(InputError, match="cannot write the report"):
        write_report(round_, [], None, path / "below" / "a-file.html")


def test_the_store_tells_how_the_round_was_started(plan, round_, tmp_path, monkeypatch, no_plots):
    monkeypatch.setattr(sys, "orig_argv", ["refplay", "run", "the-plan.toml"])
    with Store(tmp_path / "runs.db", create=True) as store:
        store.create_round(plan, "a:b", [[t.params for t in s.trials] for s in round_.studies])
    monkeypatch.setattr(sys, "orig_argv", ["refplay", "report", "runs.db"])
    page = Page(write_report(round_, [], None, tmp_path / "r.html", store=tmp_path / "runs.db").read_text("utf-8"))
    assert "refplay run the-plan.toml" in page.text
    assert "refplay report runs.db" not in page.text


def test_tags_escape_everything_that_is_not_markup():
    assert tag("p", "<b>", Markup("<i>x</i>"), 3, None, ["&", ("\"",)]) == "<p>&lt;b&gt;<i>x</i>3&amp;&quot;</p>"
    assert tag("a", title='"><script>', href="#x", hidden=False) == '<a title="&quot;&gt;&lt;script&gt;" href="#x"></a>'
    # Markup joined with text is text again.
    assert tag("p", tag("b", "x") + "<i>") == "<p>&lt;b&gt;x&lt;/b&gt;&lt;i&gt;</p>"
    with pytest.raises(ValueError, match="not a name of HTML"):
        tag("p><script")
    with pytest.raises(ValueError, match="not a name of HTML"):
        tag("p", **{"x onload": "1"})


def test_section_links_are_the_anchors_of_the_playbook():
    link = section_link("How should Adam’s hyperparameters be tuned?")
    assert f'href="{PLAYBOOK}#how-should-adams-hyperparameters-be-tuned"' in link
    assert "#deciding-how-long-to-train-when-training-is-not-compute-bound" in section_link(
        "Deciding how long to train when training is *not* compute-bound")


def test_importing_reports_and_plots_does_not_import_matplotlib():
    code = ("import sys, refplay, refplay.plot, refplay.report, refplay.report.terminal, refplay.plot.words;"
            "assert not {'matplotlib', 'scipy', 'numba'} & set(sys.modules), set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_findings_and_plots_of_a_single_study_stand_once(plan, round_):
    (study, _) = round_.studies
    alone = dataclasses.replace(plan, scientific={}, nuisance=study.space.domains, fixed={"optimizer": "nesterov"})
    trials = [tuple(dataclasses.replace(t, study=plan.name) for t in some) for some in (study.trials, study.reruns)]
    single = Round(alone, (Study(plan.name, {}, study.space, *trials),))
    findings = learn(single)
    page = Page(render(single, findings, None, ORIGIN))
    for finding in findings:
        assert page.text.count(finding.seen) == 1, finding.topic
    sources = [attributes["src"] for name, attributes in page.elements if name == "img"]
    assert len(sources) == len(set(sources))


def test_no_complexity_and_an_unknown_interval_are_written_as_words(round_):
    studies = tuple(dataclasses.replace(s, reruns=tuple(dataclasses.replace(t, curves=s.reruns[0].curves)
                                                        for t in s.reruns)) for s in round_.studies)
    rows = dict(decision_table(compare(Round(round_.plan, studies)), round_).rows)
    assert rows["improvement required"] == "0 percentage points (no added complexity)"
    assert rows["95% interval of the difference"] == "not known"


def test_tracebacks_of_distinct_failures_are_on_the_page(round_, no_plots):
    def failed(trial, error):
        trace = f'Traceback (most recent call last):\n  File "m.py", line 7, in train\n    x = <b>[3]\n{error}'
        return dataclasses.replace(trial, state=State.FAILED, reason=trace)

    study, other = round_.studies
    errors = ["KeyError: 1", "KeyError: 1", "IndexError: 2", "KeyError: 1", "IndexError: 2", "TypeError: 3", "OSError"]
    broken = dataclasses.replace(study, trials=tuple(map(failed, study.trials, errors)), reruns=())
    page = Page(render(Round(round_.plan, (broken, other)), [], None, ORIGIN))
    check_harmless(page)
    assert page.text.count("x = <b>[3]") == 3  # of the errors that are most frequent, and each once
    assert "Traceback of the first of #0, #1 and #3, which ended with the same error:" in page.text
    assert "Traceback of #5:" in page.text
    assert 'File "m.py", line 7, in train' in page.text


def test_a_command_whose_store_holds_the_round_is_not_said_to_run_as_it_is(round_, no_plots):
    stored = Page(render(round_, [], None, ORIGIN, store="runs.db"))
    assert "holds the round already, so run it into a new one: --store NEW.db" in stored.text
    assert "--store NEW.db" not in Page(render(round_, [], None, ORIGIN)).text


def test_what_is_decided_by_comes_first_in_the_results(round_):
    assert studies_table(round_).head[:2] == ("study", "reruns of the best")


def test_a_table_that_goes_on_beyond_the_edge_shows_it(text):
    style = text[text.index("<style>"):text.index("</style>")]
    scroll = style[style.index(".scroll {"):].partition("}")[0]
    # Covers that move with the content, shadows that stay: without both there is no hint, or one that never ends.
    assert "local" in scroll
    assert "var(--shadow)" in scroll
    assert style.count("--shadow:") == 2  # light and dark
