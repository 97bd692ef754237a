"""Whole studies whose results lie on an object store."""

import pytest

import orchestrator

from .comparison import assert_equal_results
from .conftest import TWO_TRIALS

pytestmark = pytest.mark.ray


def test_a_study_on_a_store_ends_with_the_tables_of_one_on_a_disk(
    undisturbed, object_store, store_url, small_study, tmp_path
):
    study = small_study(**{**TWO_TRIALS, "measures": ["margin"]})
    assert orchestrator.run(study, store_url, quiet=True).complete
    summary = orchestrator.measure(store_url, ["norms"], quiet=True)
    assert not summary.failed_measures
    assert_equal_results(object_store.copy(store_url, tmp_path / "copy"), undisturbed)
