"""The content of the explorer: complete, within its budget, and marked."""

import json
import shutil
import subprocess
from dataclasses import replace

import pytest

from orchestrator.reporting import write_report
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.explorer import snapshot_sample
from orchestrator.reporting.explorer.exploring import explore
from orchestrator.reporting.explorer.quantities import size_of
from orchestrator.results import did_not_learn
from tests.reporting.simulated import draw_only, simulate

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def values(content, name):
    """A column of the explorer by row."""
    (column,) = [one for one in content["columns"] if one["name"] == name]
    trial = content["trial"]
    condition = [content["condition"][one] for one in trial]
    places = {"row": range(len(trial)), "trial": trial, "condition": condition}[column["by"]]
    found = [column["values"][place] for place in places]
    return [column["levels"][one] for one in found] if "levels" in column else found


def test_the_columns_are_those_of_wide_to_six_digits(source):
    found = explore(source).fit(10**9).content
    rows = source.connection.sql(
        "SELECT trial_id, hessian_trace, batch_size, train_error FROM wide "
        "WHERE step > 0 ORDER BY trial_id, step"
    ).fetchall()
    assert [found["trials"][one] for one in found["trial"]] == [row[0] for row in rows]
    for place, name in enumerate(("hessian_trace", "batch_size", "train_error"), 1):
        assert values(found, name) == pytest.approx([row[place] for row in rows], rel=5e-6)
    assert {one["by"] for one in found["columns"]} == {"row", "trial", "condition"}


def test_the_most_important_columns_are_kept_when_the_budget_is_small(source):
    explorable = explore(source)
    everything = explorable.fit(10**9)
    assert everything.left_out == ""
    assert everything.columns == len(explorable.columns)
    budget = size_of(everything.content) // 2
    found = explorable.fit(budget)
    assert size_of(found.content) <= budget
    names = {one["name"] for one in found.content["columns"]}
    assert {"hessian_trace", "margin_mean", "train_error", "outcome"} <= names
    assert found.columns == len(names) < everything.columns
    cut = [one["name"] for one in explorable.columns if one["name"] not in names]
    assert f"did not fit into this page: {', '.join(cut[:6])}" in found.left_out
    least = explorable.fit(0).content
    assert {"hessian_trace", "margin_mean", "train_error"} <= {
        one["name"] for one in least["columns"]
    }
    assert least["views"] == everything.content["views"]


def test_axes_drawn_at_random_that_do_not_fit_are_replaced_by_their_combinations(source):
    explorable = explore(source)
    axes = [
        {"name": name, "drawn": True, "number": number}
        for name, number in (("a", [0.1, 0.1, 0.3, 0.1]), ("b", [1.0, 2.0, 1.0, 1.0]))
    ]
    explorable = replace(explorable, axes=axes)
    assert explorable.fit(10**9).content["axes"] == axes
    found = explorable.fit(0)
    assert found.content["axes"] == [{"name": "", "drawn": True, "level": [0, 1, 2, 0]}]
    assert " a, b, " in found.left_out


def test_a_sample_is_stated_and_contains_every_condition(source, monkeypatch):
    monkeypatch.setattr(snapshot_sample, "FEWEST_SNAPSHOTS", 10)
    found = explore(source, room=100)
    assert found.sample.shown == len(found.base["trial"]) == 10
    assert set(found.base["condition"]) == {0, 1, 2, 3}
    assert found.fit(0).sampled.startswith("A sample of 10 of 96 snapshots")
    assert "It contains every condition." in found.fit(0).sampled
    assert explore(source, room=100) == found


def test_a_sample_smaller_than_the_number_of_conditions_says_so(source, monkeypatch):
    monkeypatch.setattr(snapshot_sample, "MOST_SNAPSHOTS", 3)
    assert "1 of 4 conditions are not in it" in explore(source).sample.sentence


def test_networks_that_failed_or_did_not_learn_are_marked(tmp_path):
    def spoil(rows):
        rows["trials"][0]["status"] = "failed"
        rows["trials"][1]["status"] = "running"
        unlearned = {rows["trials"][2]["trial_id"]: (0.9, 2.3), rows["trials"][3]["trial_id"]: None}
        for row in rows["checkpoints"]:
            if row["trial_id"] in unlearned:
                error, loss = unlearned[row["trial_id"]] or (0.05, float("nan"))
                row["train_error"], row["train_loss"] = error, loss

    with open_source(simulate(tmp_path / "r", change=spoil)) as source:
        found = explore(source).fit(10**9).content
        outcome = dict(zip(found["trial"], values(found, "outcome"), strict=True))
        named = {found["trials"][one]: said for one, said in outcome.items()}
        assert {one for one, said in named.items() if said == "did not learn"} == set(
            did_not_learn(source.connection, source.study)
        )
    assert [named[f"trial{number:03d}"] for number in range(5)] == [
        *("failed", "unfinished", "did not learn", "did not learn", "learned")
    ]


def test_a_study_without_snapshots_has_no_explorer(empty):
    with open_source(empty) as source:
        assert explore(source) is None


@pytest.fixture(scope="module")
def page(simulated, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        draw_only(patch)
        path = tmp_path_factory.mktemp("explorer") / "report.html"
        return write_report(simulated, path)


def test_the_page_has_the_explorer_before_its_folded_end(page):
    text = page.read_text(encoding="utf-8")
    assert text.index('id="limitations"') < text.index('id="explore"') < text.index('id="methods"')
    section = text[text.index('id="explore"') : text.index('id="methods"')]
    assert "is a hypothesis" in section
    assert "<noscript>" in section
    assert "FROM wide" in section


def test_text_from_a_study_stays_text_in_the_page(tmp_path, monkeypatch):
    def rename(rows):
        for trial in rows["trials"][:3]:
            trial["model"] = "</script><b>bold"

    draw_only(monkeypatch)
    path = simulate(tmp_path / "r", change=rename)
    assert "</script><b>" not in write_report(path).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_shows_the_view_of_the_address(page, tmp_path):
    view = {"x": "weight_norm", "xlog": False, "panel": "batch_size", "filters": []}
    fragment = "explore?view=" + json.dumps(view, separators=(",", ":"))
    shown = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"),
            *(f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom"),
            f"{page.absolute().as_uri()}#{fragment}",
        ],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=300,
    ).stdout
    assert "96 snapshots of 12 networks in 4 conditions" in shown
    assert shown.count("<li>batch size ") == 4
    assert shown[shown.index('id="explore-chart"') :].count("aria-label") > 0
    assert "weight norm</text>" in shown
