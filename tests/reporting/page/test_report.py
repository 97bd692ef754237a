"""The page as its readers get it."""

import html
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from orchestrator.errors import ResultsError
from orchestrator.reporting import write_report
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.figures import FIGURES
from orchestrator.reporting.page.report import compose
from tests.reporting.simulated import DRAWN, simulate, study_content
from tests.reporting.simulated_curves import curve_study, with_curves, with_examples

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Parsed(HTMLParser):
    """Tags in order, attributes that load something, and text by enclosing tag."""

    def __init__(self, text):
        super().__init__()
        self.open, self.problems, self.tags, self.loads = [], [], [], []
        self.ids = []
        self.texts = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.loads += [
            values[name]
            for name in ("src", "href", "xlink:href", "data", "action")
            if name in values and not values[name].startswith("#")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)

    def handle_data(self, data):
        tag = self.open[-1] if self.open else ""
        self.texts.setdefault(tag, []).append(data)


def written(path):
    return write_report(path).read_text(encoding="utf-8")


def without_scripts(text):
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def without_bars(text):
    """The page without scripts and without the bars of verdicts: its only drawings are figures."""
    return re.sub(r'<svg class="bar.*?</svg>', "", without_scripts(text), flags=re.DOTALL)


@pytest.fixture(scope="module")
def text(simulated):
    return written(simulated)


def test_the_page_contains_every_required_part(text):
    for part in (
        '<h1>simulated <span class="question">Do flat minima and large margins tell',
        "Flatness tracks the margin in this grid",
        "✓ holds in this grid",
        "<strong>Holds in this grid:</strong> Flat minima are large margins once training error",
        "<strong>12 networks</strong> 4 conditions × 3 seeds",
        "2 verdicts on 3 claims: the expected number of wrong verdicts is at most 0.1, even if",
        "All apply to this grid only, with other seeds.",
        "With one condition left out at a time, it ranges from −0.9",
        "Holm’s p over the claims on this page: ",
        '<figure id="figure-flatness-margin" data-key="flatness-margin">\n<h3>Figure 1. Margin',
        *(f"<h3>Figure {number}. " for number in range(1, 6)),
        "<h2>Networks and limits</h2>",
        "<h2>Methods and provenance</h2>",
        "<summary>Provenance</summary>",
        "orchestrator run study.yaml",
        "Few seeds: 4 conditions",
        "color-scheme: light dark",
    ):
        assert part in text
    assert "This study is not finished" not in text


def test_the_page_is_well_formed_and_loads_nothing(text):
    parsed = Parsed(text)
    assert parsed.problems == []
    assert parsed.open == []
    assert parsed.loads == []
    assert len(parsed.ids) == len(set(parsed.ids))
    outside = without_scripts(text).replace("http://www.w3.org/", "")
    assert not re.search(r"https?://", outside)
    assert not re.search(r"url\((?!#)", outside)
    assert "default-src 'none'" in text


def test_the_page_is_readable_without_scripts(text):
    plain = Parsed(without_bars(text))
    assert plain.tags.count("svg") == len(DRAWN)
    assert plain.tags.count("figcaption") == len(DRAWN)
    assert plain.tags.count("table") >= len(DRAWN)


def drawn(page):
    """The keys of the figures that the page draws, each once as a picture and once as data."""
    keys = re.findall(r'<script type="application/json" id="specification-([^"]+)">', page)
    assert Parsed(without_bars(page)).tags.count("svg") == len(keys)
    return keys


def test_charts_are_embedded_as_data_with_one_script_bundle(text):
    blocks = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', text)
    assert {name for name, _ in blocks} == {f"specification-{key}" for key in DRAWN}
    assert len(blocks) == len(DRAWN)
    for _, block in blocks:
        specification = json.loads(block)
        assert "$schema" not in specification
        assert "url" not in json.dumps(specification)
    assert text.count("window.vegaEmbed=") == 1
    assert "editor: false" in text


def test_every_query_of_the_page_runs(text, simulated):
    blocks = re.findall(r"<pre><code>(.*?)</code></pre>", text, flags=re.DOTALL)
    queries = [html.unescape(block) for block in blocks]
    queries = [query for query in queries if query.startswith(("SELECT", "WITH"))]
    assert len(queries) > 20
    with open_source(simulated) as source:
        for query in dict.fromkeys(queries):
            source.connection.sql(query).fetchall()


@pytest.mark.slow
def test_equal_results_give_equal_pages_and_no_other_files(text, simulated):
    def timeless(page):
        return re.sub(r"<time>.*?</time>", "", page)

    before = {path.name for path in simulated.iterdir()}
    assert timeless(written(simulated)) == timeless(text)
    assert {path.name for path in simulated.iterdir()} == before


ATTACK = (
    "</script><script>alert('x')</script><img src=x onerror=alert(1)>{{ 7*7 }} "
    '"quoted" \\u003cb> \\ &lt; ]]> <!-- \x1b[31m \N{COLLISION SYMBOL}'
)


def texts_of(value):
    """Every string in a JSON value."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return [text for one in inner for text in texts_of(one)]
    return [value] if isinstance(value, str) else []


def attack(rows):
    rows["trials"][0] |= {"status": "failed", "error": ATTACK}
    rows["measures"][0] |= {"status": "error", "error": ATTACK, "value": None}
    for row in rows["trials"]:
        row |= {"host": ATTACK, "dataset": ATTACK, "model": f"{row['seed']}{ATTACK}"}
        row["params_json"] = json.dumps({"model": {"name": row["model"]}})
    for row in rows["measures"][:40]:
        row["request"] += ATTACK


def test_text_from_data_or_study_is_escaped(tmp_path):
    study = study_content(
        study="a<script>alert(1)</script>",
        question=ATTACK,
        sweep={"model.name": [ATTACK, "b"]},
        data={"name": ATTACK},
        claims=[
            "flatness_is_an_epiphenomenon",
            {"name": "mine", "statement": ATTACK, "x": "margin_mean", "y": ATTACK, "below": 0},
        ],
    )
    provenance = {"command": ["run", ATTACK], "overrides": [ATTACK], "hardware": {"cpu": ATTACK}}
    path = simulate(
        tmp_path / "r",
        study=study,
        batch_sizes=[16, 64],
        seeds=2,
        epochs=[1, 16, 60],
        change=attack,
        provenance=provenance,
    )
    page = written(path)
    parsed = Parsed(page)
    assert parsed.problems == []
    assert "img" not in parsed.tags
    assert parsed.tags.count("script") == len(drawn(page)) + 2
    assert drawn(page) == [
        "flatness-margin",
        "threshold",
        "gaps",
        "designs",
        "training",
        "cost",
        "coverage",
    ]
    blocks = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page)
    assert any(ATTACK in text for block in blocks for text in texts_of(json.loads(block)))
    for drawing in re.findall(r"<svg.*?</svg>", without_scripts(page), flags=re.DOTALL):
        ElementTree.fromstring(drawing)
    assert "{{ 7*7 }}" in page
    scripts = "".join(re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL))
    assert "alert(" not in scripts


def test_the_report_of_an_interrupted_study_says_so(tmp_path):
    def interrupt(rows):
        del rows["trials"][4:]
        rows["trials"][3] |= {"status": "running", "stop_reason": None}
        kept = {row["trial_id"] for row in rows["trials"]}
        for table in ("checkpoints", "measures"):
            rows[table] = [row for row in rows[table] if row["trial_id"] in kept]
        rows["measures"] = rows["measures"][:90]

    with open_source(simulate(tmp_path / "r", change=interrupt)) as source:
        page = compose(source)
    assert page.missing.startswith("3 of 12 trials are completed")
    assert [figure.key for figure in page.figures if figure.chart] == [
        "threshold",
        "flatness-margin",
        "gaps",
        "training",
        "cost",
        "coverage",
    ]


def test_a_study_without_traces_explains_missing_figures(without_trace):
    page = written(without_trace)
    assert "Figure not available: No snapshot has a hessian_trace" in page
    assert "so its panels are omitted" in page
    assert "? unclear" in page
    assert drawn(page) == ["cost", "training", "gaps", "designs", "coverage"]


def test_a_study_without_rows_has_a_report(empty):
    page = written(empty)
    assert "0 of 12 trials are completed" in page
    assert page.count("Figure not available") == len(DRAWN)
    assert "vegaEmbed=" not in page


@pytest.mark.full
def test_the_page_of_a_hundred_thousand_rows_stays_small(tmp_path):
    counts = {}

    def count(rows):
        counts.update({table: len(content) for table, content in rows.items()})

    path = simulate(
        tmp_path / "r",
        study=study_content(seeds=25, claims=[]),
        seeds=25,
        epochs=range(1, 201),
        change=count,
    )
    assert counts["measures"] == 100_000
    page = written(path)
    assert len(page.encode()) < 5_000_000
    assert "Shown: 1,000 of 20,000 snapshots" in page


@pytest.mark.slow
def test_curves_are_drawn_without_loading_anything(tmp_path):
    path = simulate(
        tmp_path / "r",
        study=curve_study(),
        epochs=[1, 16, 60],
        change=with_curves,
    )
    page = written(path)
    parsed = Parsed(without_scripts(page))
    assert parsed.problems == []
    asked = [key for key in FIGURES if key != "interventions"]
    assert sorted(drawn(page)) == sorted(asked)
    assert all(address.startswith("data:image/png") for address in parsed.loads)
    numbers = [int(number) for number in re.findall(r"<h3>Figure (\d+)\.", page)]
    assert numbers == list(range(1, len(asked) + 1))
    assert re.search(r"<h3>Figure \d+\. Loss on a random plane</h3>", page)


def test_pictures_of_examples_are_embedded_in_the_page(tmp_path):
    def change(rows):
        with_curves(rows)
        with_examples((1, 8, 8))(rows)

    path = simulate(
        tmp_path / "r",
        study=study_content(measures=[{"name": "margin_distribution"}]),
        batch_sizes=[64],
        requests=["norms"],
        epochs=[1, 60],
        change=change,
    )
    page = written(path)
    loads = Parsed(without_scripts(page)).loads
    assert len(loads) == 5
    assert all(address.startswith("data:image/png;base64,") for address in loads)


@pytest.mark.slow
def test_pages_of_large_studies_with_curves_stay_small(tmp_path):
    path = simulate(
        tmp_path / "r",
        study=curve_study(seeds=10),
        batch_sizes=[2**power for power in range(12)],
        seeds=10,
        change=with_curves,
    )
    page = written(path)
    assert len(page.encode()) < 5_000_000
    assert "Shown: 6 of 12 levels of batch size." in page


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ResultsError):
        write_report(tmp_path)
