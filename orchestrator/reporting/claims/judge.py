"""Judges of the built-in claims: what each file of this folder states about one claim."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from orchestrator.reporting.claims.verdict_scale import Scale
from orchestrator.reporting.data.conditions import Conditions
from orchestrator.reporting.data.open_results import Rows, Source
from orchestrator.reporting.data.queries import Query
from orchestrator.statistics import Claim
from orchestrator.statistics.claim import as_given, with_interval
from orchestrator.study.claim_options import CLAIM_NEEDS, BuiltInClaim

JUDGES: dict[str, Judge] = {}
"""The judge of every built-in claim, by the name that a study file uses."""


class Judge(ABC):
    """The judge of a built-in claim: its query, its verdict and its sentences.

    A subclass registers itself: ``class MarginIsCheaper(Judge, name="margin_is_cheaper")``. The
    same name stands in ``study/claim_options.py``, with the columns that the claim needs. A
    function in ``statistics/claims/`` computes the verdict. Sentences may contain ``{scope}`` (the
    conditions that the verdict covers), ``{threshold}`` and ``{number}``. Claims of one study alone
    need no class: its file states them.

    Attributes:
        name: Name in study files.
        short: The claim in at most a dozen words, for the first screen of the report; it may
            contain ``{threshold}``.
        figure: Key of the figure, or of the section, that shows the claim.
        symbol: Form of the estimate on the first screen; by default ``number``.
        scale: Scale on which the estimate is compared with its threshold.
        number: Form of the estimate in sentences; it may contain ``{criterion}``.
        digits: Decimals of the estimate in sentences.
        holds: Sentence for a claim that holds.
        fails: Sentence for a claim that fails.
        unclear: Sentence for a claim that remains unclear.
        methods: Heading and text of a paragraph on its statistic, or None.
    """

    name: ClassVar[str]
    short: ClassVar[str]
    figure: ClassVar[str]
    symbol: ClassVar[str] = ""
    scale: ClassVar[Scale] = "linear"
    number: ClassVar[str] = "{}"
    digits: ClassVar[int] = 2
    holds: ClassVar[str]
    fails: ClassVar[str]
    unclear: ClassVar[str]
    methods: ClassVar[tuple[str, str] | None] = None

    def __init_subclass__(cls, name: str) -> None:
        super().__init_subclass__()
        cls.name = name
        JUDGES[name] = cls()

    @abstractmethod
    def query(self, measures: Sequence[str]) -> Query:
        """Return the query for the rows that the claim is judged on.

        Args:
            measures: The columns of ``wide`` that the claim needs, as far as the results have them.
        """

    @abstractmethod
    def judge(self, source: Source, rows: Rows, **given: Any) -> Claim:
        """Judge the claim.

        Args:
            source: The results.
            rows: Rows of :meth:`query`.
            **given: ``design`` and ``learned`` for the pure function, and ``threshold`` if the
                study sets one.
        """

    def judge_results(
        self, source: Source, options: BuiltInClaim, conditions: Conditions
    ) -> tuple[Claim, Query]:
        """Judge the claim on a results folder; without a measure that it needs, it is unclear."""
        needed = CLAIM_NEEDS[self.name].columns
        missing = [column for column in needed if not source.has(column)]
        query = self.query([column for column in needed if column not in missing])
        rows = source.rows(query)
        given = {} if options.threshold is None else {"threshold": options.threshold}
        design, learned = conditions.design(rows), conditions.learned(rows)
        claim = self.judge(source, rows, design=design, learned=learned, **given)
        if missing:
            first = f"No snapshot has {' or '.join(missing)} yet, so the claim cannot be judged."
            claim = replace(claim, explanation=first, verdict="unclear")
        return claim, query

    def sentence(self, claim: Claim) -> str:
        """Describe the verdict with its number."""
        form: str = getattr(self, claim.verdict)
        number = claim.estimate.reason
        if claim.estimate.value is not None:
            interval = with_interval(claim.estimate, self.digits)
            number = self.number.format(interval, criterion=claim.criterion)
        return form.format(number=number, threshold=as_given(claim.threshold), scope=claim.scope)
