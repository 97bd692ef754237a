"""Types of the arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

StudyFile = Annotated[Path, typer.Argument(help="The study file (YAML).", metavar="STUDY")]
StudyFiles = Annotated[
    list[Path], typer.Argument(help="One or more study files (YAML).", metavar="STUDY")
]
Results = Annotated[str, typer.Argument(help="Folder, s3://, gs:// or az://", metavar="RESULTS")]
SeveralResults = Annotated[
    list[str], typer.Argument(help="One or more results folders.", metavar="RESULTS")
]
Overrides = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads it
    typer.Option("--set", metavar="PATH=VALUE", help="Override one value; may be repeated."),
]
ResultsOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--results", metavar="DIR", help="Folder or address (default: results/<study>)."),
]
Address = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="A Ray cluster: 'auto' or host:port. Default: this machine."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Hide progress.")]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Also retry failures from earlier runs.")
]
For = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--for", metavar="TIME", help="End in good order after this time: 8h, 90min."),
]
Price = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(min=0, metavar="PRICE", help="In any currency; adds the cost of the study."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Format = Literal["table", "csv", "json", "markdown", "parquet"]
