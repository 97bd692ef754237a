import numpy as np
import pytest
from scipy import stats

from orchestrator.statistics.association.correlation import partial_pearson, pearson
from orchestrator.statistics.association.partial import partial_correlation
from orchestrator.statistics.intervals.bootstrap import Groups
from orchestrator.statistics.intervals.resampling import Resampling

FEW = Resampling(resamples=100)
N = 60


@pytest.fixture
def confounded():
    """x and y follow loss and batch size, and besides each other the other way."""
    generator = np.random.default_rng(0)
    loss, batch, width = generator.normal(size=(3, N))
    x = 2 * loss + batch + generator.normal(size=N)
    y = 2 * loss - batch - 0.8 * (x - 2 * loss - batch) + 0.5 * generator.normal(size=N)
    return x, y, {"loss": loss, "batch": batch, "width": width}


def residual_correlation(x, y, controls):
    design = np.vstack([np.ones(len(x)), *controls.values()]).T
    left = [column - design @ np.linalg.lstsq(design, column, rcond=None)[0] for column in (x, y)]
    return float(np.sum(left[0] * left[1]) / np.sqrt(np.sum(left[0] ** 2) * np.sum(left[1] ** 2)))


def recursive_correlation(columns):
    """Of the first two given the rest, by the recursion over controls."""
    if len(columns) == 2:
        return np.corrcoef(columns)[0, 1]
    x, y, *given, last = columns
    xy, xz, yz = (recursive_correlation([*pair, *given]) for pair in ((x, y), (x, last), (y, last)))
    return (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))


def test_regression_inverse_matrix_and_recursion_give_the_same_partial_correlation(confounded):
    x, y, controls = confounded
    found = partial_correlation(x, y, controls)
    inverse = np.linalg.inv(np.corrcoef([x, y, *controls.values()]))
    by_inverse = -inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1])
    assert found.estimate.value == pytest.approx(by_inverse, abs=1e-12)
    assert found.estimate.value == pytest.approx(residual_correlation(x, y, controls), abs=1e-12)
    recursive = recursive_correlation([x, y, *controls.values()])
    assert found.estimate.value == pytest.approx(recursive, abs=1e-12)
    assert pearson(x, y).low > 0.1
    assert found.estimate.high < -0.5


def test_the_p_value_equals_that_of_the_regression_coefficient(confounded):
    x, y, controls = confounded
    found = partial_correlation(x, y, controls)
    design = np.vstack([np.ones(N), x, *controls.values()]).T
    slope, (squares,) = np.linalg.lstsq(design, y, rcond=None)[:2]
    freedom = N - design.shape[1]
    error = np.sqrt(squares / freedom * np.linalg.inv(design.T @ design)[1, 1])
    assert found.degrees_of_freedom == freedom == N - 2 - 3
    expected = 2 * stats.t.sf(abs(slope[1]) / error, freedom)
    assert found.t_p_value == pytest.approx(expected, rel=1e-8)


def test_without_controls_partial_correlation_is_pearsons(confounded):
    x, y, _ = confounded
    found, expected = partial_correlation(x, y, {}), stats.pearsonr(x, y)
    assert found.estimate == pearson(x, y)
    assert found.t_p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.degrees_of_freedom == N - 2


def test_partial_correlation_equals_pingouin(confounded):
    pandas, pingouin = pytest.importorskip("pandas"), pytest.importorskip("pingouin")
    x, y, controls = confounded
    frame = pandas.DataFrame({"x": x, "y": y, **controls})
    row = pingouin.partial_corr(frame, "x", "y", list(controls)).iloc[0]
    found = partial_correlation(x, y, controls)
    assert found.estimate.value == pytest.approx(row["r"], abs=1e-6)
    p_value = row["p_val"] if "p_val" in row else row["p-val"]
    assert found.t_p_value == pytest.approx(p_value, rel=1e-6)


def test_constant_and_redundant_controls_are_dropped_and_named(confounded):
    x, y, controls = confounded
    found = partial_correlation(
        x,
        y,
        {
            "depth": np.full(N, 3.0),
            **controls,
            "loss again": 5 - 2 * controls["loss"],
            "mixture": controls["loss"] + 1e3 * controls["width"] + 7,
        },
        None,
    )
    assert found.controls == ("loss", "batch", "width")
    assert found.dropped == {
        "depth": "constant",
        "loss again": "a linear function of loss, batch, width",
        "mixture": "a linear function of loss, batch, width",
    }
    plain = partial_correlation(x, y, controls)
    assert (found.estimate, found.t_p_value) == (plain.estimate, plain.t_p_value)


def test_a_nearly_collinear_control_is_kept(confounded):
    x, y, controls = confounded
    near = controls["loss"] + 1e-3 * np.random.default_rng(1).normal(size=N)
    found = partial_correlation(x, y, {"loss": controls["loss"], "near": near})
    assert (found.controls, found.dropped) == (("loss", "near"), {})


def test_the_interval_over_trials_is_wider_than_over_rows(clustered):
    study = clustered(3, np.random.default_rng(5))
    loss = study.x + np.random.default_rng(6).normal(size=len(study.x))
    found = partial_correlation(study.x, study.y, {"loss": loss}, study.groups, FEW)
    assert found.estimate == partial_pearson(study.x, study.y, [loss], study.groups, FEW)
    assert found.independent == partial_pearson(study.x, study.y, [loss])
    assert found.estimate.value == pytest.approx(found.independent.value, abs=1e-12)
    widths = [one.high - one.low for one in (found.estimate, found.independent)]
    assert widths[0] > 1.3 * widths[1]


def test_nonfinite_rows_are_counted(confounded):
    x, y, controls = confounded
    x[0], y[1], controls["loss"][2] = np.nan, np.inf, -np.inf
    found = partial_correlation(x, y, controls, Groups.of(range(N), [i % 6 for i in range(N)]), FEW)
    for one in (found.estimate, found.independent):
        assert (one.n, one.n_excluded) == (N - 3, 3)
    assert found.degrees_of_freedom == N - 3 - 2 - 3


@pytest.mark.parametrize(
    ("rows", "controls", "reason"),
    [
        (2, 0, "2 rows; a correlation needs at least 3"),
        (4, 2, "4 rows leave no degrees of freedom with 2 controls"),
        (3, 2, "linear function of the controls"),
    ],
)
def test_an_impossible_partial_correlation_gives_a_reason(rows, controls, reason):
    columns = np.random.default_rng(2).normal(size=(2 + controls, rows))
    given = {f"control {place}": column for place, column in enumerate(columns[2:])}
    found = partial_correlation(columns[0], columns[1], given)
    assert (found.estimate.value, found.t_p_value) == (None, None)
    assert reason in found.estimate.reason


def test_a_column_that_is_linear_in_a_control_has_no_value(confounded):
    _, y, controls = confounded
    found = partial_correlation(3 * controls["loss"] + 1, y, controls)
    assert found.estimate.value is None
    assert "linear function of the controls" in found.independent.reason


@pytest.mark.parametrize("seed", range(20))
def test_a_perfect_relation_has_a_p_value_of_about_zero(confounded, seed):
    x, _, controls = confounded
    slope, share = np.random.default_rng(seed).uniform(-3, 3, size=2)
    found = partial_correlation(x, slope * x + share * controls["loss"], controls)
    assert found.estimate.value == pytest.approx(np.sign(slope), abs=1e-12)
    assert 0 <= found.t_p_value < 1e-100


def test_the_p_value_is_that_of_students_t(confounded):
    x, _, controls = confounded
    noise = np.random.default_rng(1).normal(size=N)
    for share in (0, 0.001, 0.1, 1, 100):
        found = partial_correlation(x, share * x + noise, controls)
        r, freedom = found.estimate.value, N - 2 - len(controls)
        expected = 2 * stats.t.sf(abs(r) * np.sqrt(freedom / (1 - r * r)), freedom)
        assert found.t_p_value == pytest.approx(expected, rel=1e-9)
