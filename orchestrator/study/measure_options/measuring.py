"""Settings for all measures of a study."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from orchestrator.study.options import Options


class MeasuringOptions(Options):
    """Settings for all measures of a study."""

    dtype: Literal["float64", "float32"] = Field(
        "float64",
        description="Precision. float32 saturates: cross-entropy is exactly 0 from margin 17 on.",
    )
    examples: PositiveInt | None = Field(
        None, description="Measure on a fixed stratified subset of each split; all by default."
    )
    examples_per_pass: PositiveInt = Field(
        1000, description="Examples per pass, which bounds its memory."
    )
    timeout: PositiveFloat = Field(
        3600.0,
        description="Seconds allowed for all measures of one snapshot; if exceeded, each measure "
        "is retried separately.",
    )

    trust_checks: bool = Field(
        True,
        description="Check each network shape before training and measuring: it must not change "
        "the data, must be repeatable and have correct derivatives. Not part of any id.",
    )

    @property
    def suffix(self) -> str:
        """Suffix of requests under these settings, or "" for the defaults.

        It includes only settings that change values.
        """
        parts = [] if self.dtype == "float64" else [f"dtype={self.dtype}"]
        parts += [] if self.examples is None else [f"examples={self.examples}"]
        return f" [{', '.join(parts)}]" if parts else ""
