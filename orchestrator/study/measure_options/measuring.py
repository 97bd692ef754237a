"""How all measures of a study are computed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from orchestrator.study.options import Options


class MeasuringOptions(Options):
    """How all measures of a study are computed."""

    dtype: Literal["float64", "float32"] = Field(
        "float64",
        description="Precision. float32 saturates: cross-entropy is exactly 0 from a margin of 17.",
    )
    examples: PositiveInt | None = Field(
        None, description="Measure on a fixed stratified subset of each split; all by default."
    )
    examples_per_pass: PositiveInt = Field(1000, description="Bounds the memory of one pass.")
    timeout: PositiveFloat = Field(
        3600.0,
        description="Seconds one snapshot's measures may take together; if they take longer, "
        "each is tried by itself.",
    )

    trust_checks: bool = Field(
        True,
        description="Check each shape of network before it is trained and measured: whether it "
        "leaves the data alone, is repeatable and is differentiated rightly. Part of no id.",
    )

    @property
    def suffix(self) -> str:
        """What distinguishes values measured under these settings, or "" for the defaults.

        Only settings that change a value take part.
        """
        parts = [] if self.dtype == "float64" else [f"dtype={self.dtype}"]
        parts += [] if self.examples is None else [f"examples={self.examples}"]
        return f" [{', '.join(parts)}]" if parts else ""
