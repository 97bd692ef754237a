"""All measures with what a reader must know of them."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.measures.base import CatalogEntry
from orchestrator.measures.build import build_measure, built_in_entries
from orchestrator.study.measure_options import MeasureOptions


def catalog(requests: Iterable[MeasureOptions] = ()) -> list[CatalogEntry]:
    """Entries of every built-in measure with default options, and of further ``requests``.

    Args:
        requests: What a study asks for, where that can bring measures that the defaults don't
            have: more eigenvalues, or the user's own.

    Returns:
        One entry for each name, in the order of first appearance.

    Raises:
        ImportPathError: If the user's own measure cannot be imported or called.
        MeasureError: As :func:`build_measure`.
    """
    entries: dict[str, CatalogEntry] = {}
    own = (entry for options in requests for entry in build_measure(options).entries)
    for entry in (*built_in_entries(), *own):
        entries.setdefault(entry.measure, entry)
    return list(entries.values())
