"""Simulated results folders, written once and only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.reporting.data.open_results import Source, open_source
from orchestrator.reporting.figures import Figure, all_figures
from tests.reporting.simulated import simulate, study_content
from tests.reporting.simulated_curves import curve_study, with_curves


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four batch sizes × three seeds × eight snapshots, finished and fully measured."""
    return simulate(tmp_path_factory.mktemp("results") / "simulated")


@pytest.fixture(scope="session")
def without_trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with margins and norms only, one batch size, and no sweep."""
    study = study_content(sweep={}, measures=[{"name": "margin"}, {"name": "norms"}])
    path = tmp_path_factory.mktemp("results") / "plain"
    return simulate(path, study=study, batch_sizes=[64], requests=["margin", "norms"])


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A started study without a single row."""
    return simulate(tmp_path_factory.mktemp("results") / "empty", batch_sizes=[])


@pytest.fixture(scope="session")
def source(simulated: Path) -> Iterator[Source]:
    """The opened finished study."""
    with open_source(simulated) as opened:
        yield opened


@pytest.fixture(scope="session")
def figures(source: Source) -> tuple[Figure, ...]:
    """All figures of the finished study, drawn once."""
    return tuple(all_figures(source))


@pytest.fixture(scope="session")
def curve_figures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Figure, ...]:
    """All figures of a study with curves and little else, drawn once."""
    path = simulate(
        tmp_path_factory.mktemp("results") / "little_else",
        study=curve_study(),
        batch_sizes=[64],
        requests=["norms"],
        epochs=[1, 60],
        change=with_curves,
    )
    with open_source(path) as opened:
        return tuple(all_figures(opened))


@pytest.fixture(scope="session")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished study, with densities, slices and distributions of margins."""
    path = tmp_path_factory.mktemp("results") / "curves"
    return simulate(path, study=curve_study(), change=with_curves)


@pytest.fixture(scope="session")
def curve_source(curves: Path) -> Iterator[Source]:
    """The opened study with curves."""
    with open_source(curves) as opened:
        yield opened
