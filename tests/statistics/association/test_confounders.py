import numpy as np
import pytest

from orchestrator.statistics.association.confounders import residuals


@pytest.mark.parametrize("power", [-900, 0, 600, 1000])
def test_residuals_correlate_alike_in_any_unit(power):
    generator = np.random.default_rng(0)
    given = generator.normal(size=(2, 30))
    columns = np.stack([given.sum(0), given[0] - given[1]]) + generator.normal(size=(2, 30))
    unit = 2.0**power
    expected = np.corrcoef(residuals(columns, given))
    found = residuals(unit * columns, given * [[1.0], [unit]])
    np.testing.assert_allclose(np.corrcoef(found), expected, rtol=1e-9)


def test_the_residual_of_an_explained_column_is_zero():
    given = np.arange(12.0).reshape(1, 12)
    found = residuals(np.stack([3 * given[0] + 1, np.tile([0.0, 1.0], 6)]), given)
    assert not found[0].any()
    assert found[1].any()


def test_residuals_without_other_columns_are_deviations_from_the_mean():
    columns = np.array([[1.0, 2.0, 6.0]])
    np.testing.assert_allclose(residuals(columns, np.empty((0, 3))), [[-2, -1, 3]], atol=1e-12)
