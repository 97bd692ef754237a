"""The statistics of the explorer in JavaScript are those of the claims."""

import numpy as np
import pytest
from scipy import stats

from orchestrator.reporting.claims.evidence import judge_claims
from orchestrator.reporting.data.open_results import open_source
from orchestrator.reporting.explorer.exploring import explore
from orchestrator.statistics import Design
from orchestrator.statistics.claims.stated_claim import Compared, infer_statistic
from orchestrator.statistics.intervals.bootstrap import Groups
from tests.reporting.explorer.in_javascript import evaluate, needs_node
from tests.reporting.simulated import simulate, study_content

pytestmark = needs_node
ROUNDED = 2e-4
"""Largest change of r and its interval by rounding the data to six significant digits."""


def case(number):
    """Rows of a random study: a grid or a random search, with strata and columns held fixed."""
    draw = np.random.default_rng(number)
    drawn = number % 3 == 0
    sizes = [(2, 2), (3, 4), (7, 1), (1, 2)][number % 4]
    conditions = 9 if drawn else sizes[0] * sizes[1]
    condition = np.arange(conditions)
    axes = (
        {"a": draw.uniform(size=conditions), "b": draw.uniform(size=conditions)}
        if drawn
        else {"a": 2.0 ** (condition % sizes[0]), "b": condition // sizes[0] + 1.0}
    )
    seeds = draw.integers(1, 4, conditions)
    of_trial = np.repeat(condition, seeds)
    rows = draw.integers(1, 6, len(of_trial))
    trial = np.repeat(np.arange(len(of_trial)), rows)
    level = draw.normal(size=conditions)[of_trial] + 0.5 * draw.normal(size=len(of_trial))
    common = level[trial]
    x = common + draw.normal(size=len(trial))
    y = 1e6 * (draw.normal(size=len(trial)) - common)
    held = [common + draw.normal(size=len(trial)) for _ in range(number % 3)]
    held += held[:1] * (number % 2)  # Twice the same.
    stratum = (of_trial % 2)[trial] if number % 5 == 0 else np.zeros(len(trial), dtype=int)
    groups = Groups(trial, of_trial)
    levels = {name: column[of_trial][trial].tolist() for name, column in axes.items()}
    design = Design.of(levels, groups, ("a", "b") if drawn else ())
    content = {
        "rows": {
            **{"x": x.tolist(), "y": y.tolist(), "trial": trial.tolist()},
            **{"condition": of_trial[trial].tolist(), "stratum": stratum.tolist()},
            "held": [{"name": "h", "values": one.tolist()} for one in held],
        },
        "axes": [
            {"drawn": one.drawn, "level": one.level.tolist(), "number": one.value.tolist()}
            for one in design.axes
        ],
    }
    table = np.stack([x, y, *held])
    return content, infer_statistic("pearson", Compared(table, groups, stratum), design)


def test_r_and_its_interval_are_those_of_python_in_random_studies():
    cases = [case(number) for number in range(60)]
    found = evaluate(
        "cases.map((one) => correlate(one.rows, one.axes))", cases=[one for one, _ in cases]
    )
    scopes = set()
    for number, (got, (_, expected)) in enumerate(zip(found, cases, strict=True)):
        estimate = expected.estimate
        assert got["r"] == pytest.approx(estimate.value, rel=1e-9, abs=1e-9), number
        assert got["scope"] == expected.scope, number
        assert (got["interval"] is not None) == estimate.has_interval, number
        if estimate.has_interval:
            ends = (estimate.low, estimate.high)
            assert got["interval"] == pytest.approx(ends, rel=1e-7, abs=1e-7), number
            scopes.add(expected.scope)
    assert len(scopes) == 3


def test_quantiles_of_student_are_those_of_scipy():
    freedoms = [0.8, 1, 1.5, 2, 3.7, 10, 31.4, 200, 5000]
    found = evaluate("freedoms.map(studentQuantile)", freedoms=freedoms)
    assert found == pytest.approx(stats.t.ppf(0.975, freedoms).tolist(), rel=1e-9)


def stated(**changes):
    claim = {"statement": "s", "x": "hessian_trace", "y": "weight_norm", "statistic": "pearson"}
    return {**claim, "below": -0.5, "log": ["hessian_trace"], **changes}


def two_losses(rows):
    for place, trial in enumerate(rows["trials"]):
        trial["loss"] = ("cross_entropy", "mse")[place % 2]


@pytest.mark.parametrize(
    ("change", "learning_rates"), [(None, (0.05,)), (two_losses, (0.01, 0.02, 0.05))]
)
def test_a_view_of_a_claim_shows_its_numbers(tmp_path, change, learning_rates):
    sweep = {
        "training.batch_size": [16, 64, 256, 1024],
        "training.optimizer.learning_rate": [0.05],
    }
    claims = [
        "flatness_tracks_margin",
        {"all": stated()},
        {"last": stated(design="final")},
        {"given": stated(given=["margin_mean", "train_loss"], log=["hessian_trace", "train_loss"])},
    ]
    study = study_content(sweep=sweep, claims=claims)
    path = simulate(tmp_path / "r", study=study, learning_rates=learning_rates, change=change)
    with open_source(path) as source:
        content = explore(source).fit(10**9).content
        judged = [one.claim for one in judge_claims(source)]
    own = evaluate("data.views.map((view) => shownOf(viewOfClaim(data, view)))", content)
    fixing = "const all = ['training loss', ...data.axes.map((axis) => axis.name)]; "
    held = evaluate(
        f"(() => {{ {fixing} return data.views.map((claim) => {{ "
        "const view = viewOfClaim(data, claim); "
        "return shownOf({ ...view, hold: [...view.hold, ...all] }); }); })()",
        content,
    )
    assert len(own) == len(judged) == 4
    for claim, got, fixed in zip(judged, own, held, strict=True):
        compare(claim.estimate, got)
        assert got["scope"] == claim.scope
        (beside,) = [one for one in claim.beside if one.fixed]
        compare(beside.estimate, fixed)


def compare(estimate, got):
    assert got["n"] == estimate.n
    assert (got["r"] is None) == (estimate.value is None)
    if estimate.value is not None:
        assert got["r"] == pytest.approx(estimate.value, abs=ROUNDED)
        assert (got["interval"] is not None) == estimate.has_interval
    if estimate.has_interval:
        assert got["interval"] == pytest.approx((estimate.low, estimate.high), abs=10 * ROUNDED)


def spoil(rows):
    """Make some traces missing, infinite, NaN, zero or negative."""
    traces = [row for row in rows["measures"] if row["measure"] == "hessian_trace"]
    for row, value in zip(traces, (None, np.inf, -np.inf, np.nan, 0.0, -1.0), strict=False):
        row["value"] = value
    rows["measures"].remove(traces[6])


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("explorer") / "spoiled", change=spoil)


VIEW = (
    "{ x: 'hessian_trace', y: 'margin_mean', xlog: true, ylog: false, within: false, "
    "colour: '', panel: '', filters: [%s], hold: [%s] }"
)


def test_every_row_that_is_not_shown_is_counted_with_its_reason(spoiled):
    with open_source(spoiled) as source:
        content = explore(source).fit(10**9).content
    got = evaluate(f"shownOf({VIEW % ('', '')})", content)
    assert got["n"] == 96 - 7 == len(got["chart"]["data"]["values"])
    assert got["left"] == (
        "Not shown: 2 snapshots (hessian trace missing), 3 snapshots (hessian trace not finite), "
        "2 snapshots (hessian trace not positive, so without a logarithm)."
    )
    got = evaluate(
        f"shownOf({VIEW % (chr(34).join(['[', 'step', ',', '≥', ',', '1000', ']']), '')})", content
    )
    assert "(filtered)" in got["left"]


FILTERS = (
    "",
    "['train_error', '≤', '0.1']",
    "['hessian_trace', '≥', '50'], ['final_network', '=', 'no']",
    "['hessian_trace', '≠', '50'], ['outcome', '≠', 'failed']",
)


def test_the_sql_returns_the_rows_shown(spoiled):
    views = ", ".join(VIEW % (filters, repr("training loss")) for filters in FILTERS)
    with open_source(spoiled) as source:
        content = explore(source).fit(10**9).content
        found = evaluate(f"[{views}].map(shownOf)", content)
        for filters, got in zip(FILTERS, found, strict=True):
            returned = source.connection.sql(got["sql"]).fetchall()
            assert 0 < len(returned) == got["n"], filters
            # The points are remainders; their rows are those of the same trials, in order.
            points = got["chart"]["data"]["values"]
            assert [row[0] for row in returned] == [one["trial"] for one in points], filters
    assert len({got["n"] for got in found}) > 1


def test_text_from_a_study_is_quoted_in_sql(tmp_path):
    name = 'it\'s </script> "odd".[0]'

    def rename(rows):
        for trial in rows["trials"][:5]:
            trial["model"] = name

    path = simulate(tmp_path / "r", change=rename)
    view = VIEW % ("['architecture_and_loss', '=', `" + name + ", none`]", "")
    with open_source(path) as source:
        content = explore(source).fit(10**9).content
        got = evaluate(f"shownOf({view})", content)
        assert len(source.connection.sql(got["sql"]).fetchall()) == got["n"] == 5 * 8
