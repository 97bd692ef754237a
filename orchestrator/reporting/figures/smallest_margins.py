"""The training examples with the smallest margins in final networks, drawn where possible."""

# ruff: noqa: S608 - names are our own, or quoted.

from __future__ import annotations

import math
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt

from orchestrator.reporting.data.curve_queries import Chosen
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import Query
from orchestrator.reporting.figures.figure import Table
from orchestrator.reporting.figures.pictures import is_signal, picture_addresses, picture_size
from orchestrator.reporting.figures.report_figure import Drawn, Missing, ReportFigure, curves_of
from orchestrator.reporting.figures.scales import Span, linear
from orchestrator.reporting.figures.theme import OKABE_ITO, data, themed
from orchestrator.statistics.claim import counted, joined, number

REQUEST = "margin_distribution"
_MOST = 12
_PICTURE = 88
_SIGNAL_WIDTH, _SIGNAL_HEIGHT = 130, 70


def smallest_margins(chosen: Chosen, most: int) -> Query:
    """Return the query for examples most often among the smallest margins of final networks."""
    prediction = Chosen(
        "smallest_margin_predictions", chosen.request, chosen.variant, "", chosen.query
    )
    return Query(
        "smallest_margins",
        "training examples that are among the smallest margins of the most final networks",
        f"""
        WITH named AS (
            SELECT trial_id, json_extract(params_json, '$.data')::VARCHAR AS data,
                unnest(x)::BIGINT AS example, unnest(value) AS margin
            FROM curves JOIN (SELECT checkpoint_id, trial_id, params_json FROM final)
                USING (checkpoint_id, trial_id)
            WHERE {chosen.condition}
        ), predicted AS (
            SELECT trial_id, unnest(x)::BIGINT AS example, unnest(value) AS class
            FROM curves SEMI JOIN final USING (checkpoint_id)
            WHERE {prediction.condition}
        ), networks AS (
            SELECT data, count(DISTINCT trial_id) AS trials FROM named GROUP BY data
            -- The number of an example depends on the subset and the noise.
            ORDER BY trials DESC, data LIMIT 1
        ), votes AS (
            SELECT data, example, class, count(*) AS votes
            FROM named JOIN predicted USING (trial_id, example)
            WHERE isfinite(margin) GROUP BY data, example, class
        ), winners AS (
            SELECT * FROM votes QUALIFY row_number() OVER (
                PARTITION BY data, example ORDER BY votes DESC, class) = 1
        ), counts AS (
            SELECT data, example, count(*) AS networks, avg(margin ORDER BY margin) AS margin
            FROM named WHERE isfinite(margin) GROUP BY data, example
        )
        SELECT example, label, class::BIGINT AS prediction, votes, counts.networks AS networks,
            trials, margin, shape, inputs
        FROM counts JOIN networks USING (data) JOIN winners USING (data, example)
        LEFT JOIN (
            SELECT * REPLACE (json_extract(data, '$')::VARCHAR AS data)
            FROM examples WHERE split = 'train'
        ) USING (data, example)
        ORDER BY counts.networks DESC, margin, example LIMIT {most}
        """,
    )


@ReportFigure(
    "smallest-margins",
    "Training examples with the smallest margins",
    place=130,
    request=REQUEST,
)
def smallest_margins_figure(source: Source) -> Drawn:
    """Draw the examples that most final networks have among their smallest margins."""
    chosen = curves_of(source, REQUEST, "smallest_margins")
    query = smallest_margins(chosen, _MOST)
    rows = source.rows(query)
    examples = [dict(zip(rows.columns, row, strict=True)) for row in rows.tuples()]
    if not examples:
        raise Missing(f"No final network has a {REQUEST} with finite values.", chosen.query, query)
    queries, table = (chosen.query, query), _table(examples)
    panels = _panels(examples)
    if not panels:
        reason = (
            "The examples are not pictures or signals, or are missing from the table examples, "
            f"which {REQUEST} of final networks fills. The table of this figure lists them."
        )
        raise Missing(reason, *queries, table=table)
    trials = examples[0]["trials"]
    hidden = len(examples) - len(panels)
    sentences = [
        f"The {len(panels)} training examples that most of {counted(trials, 'final network')} have "
        "among their smallest margins. Above each example: its label and the label that most of "
        "these networks predict; the number of networks that have it among their smallest "
        "margins; and its mean margin over these networks. A negative margin means that the "
        "example is misclassified. If many networks agree on a wrong label, the example itself "
        "may be mislabelled.",
        f"{counted(hidden, 'example')} can’t be drawn." if hidden else "",
        chosen.remark,
    ]
    return Drawn(
        caption=joined(sentences),
        alternative=_alternative(examples),
        queries=queries,
        table=table,
        chart=themed(
            alt.concat(*panels, columns=6 if _are_pictures(examples) else 4, spacing=22), room=24
        ),
    )


def _shape(example: dict[str, Any]) -> tuple[int, ...]:
    return tuple(map(int, example["shape"].split("x"))) if example["shape"] else ()


def _are_pictures(examples: list[dict[str, Any]]) -> bool:
    return any(picture_size(_shape(example)) for example in examples)


def _panels(examples: list[dict[str, Any]]) -> list[Any]:
    """Return a panel per stored example; all examples of a data set have the same shape."""
    kept = [e for e in examples if e["inputs"] and all(map(math.isfinite, e["inputs"]))]
    if not kept:
        return []
    shape, inputs = _shape(kept[0]), np.array([example["inputs"] for example in kept])
    size = picture_size(shape)
    if size is not None:
        addresses = picture_addresses(inputs, size)
        return [_picture(e, address, size) for e, address in zip(kept, addresses, strict=True)]
    if is_signal(shape):
        span = linear([float(inputs.min()), float(inputs.max())])
        return [_signal(e, own, span) for e, own in zip(kept, inputs, strict=True)]
    return []


def _picture(example: dict[str, Any], address: str, size: tuple[int, int, int]) -> Any:
    _, height, width = size
    scale = _PICTURE / max(height, width)
    chart = alt.Chart(data([{"picture": address}]))
    # Sharp pixels: a smoothed 8 × 8 digit is hard to read.
    mark = chart.mark_image(width=scale * width, height=scale * height, aspect=False, smooth=False)
    return mark.encode(
        url="picture:N",
        x=alt.value(_PICTURE / 2),
        y=alt.value(_PICTURE / 2),
        tooltip=alt.value(_said(example)),
    ).properties(width=_PICTURE, height=_PICTURE, title=_title(example))


def _signal(example: dict[str, Any], inputs: npt.NDArray[np.float64], span: Span) -> Any:
    points = [{"at": at, "input": float(value)} for at, value in enumerate(inputs)]
    axis = alt.Axis(labels=False, ticks=False, grid=False, title=None)
    return (
        alt.Chart(data(points))
        .mark_line(color=OKABE_ITO[4], strokeWidth=1.5)
        .encode(
            x=alt.X("at:Q", axis=axis, scale=linear([0, len(points) - 1], share=0).scale()),
            y=alt.Y("input:Q", axis=axis, scale=span.scale()),
            tooltip=alt.value(_said(example)),
        )
        .properties(width=_SIGNAL_WIDTH, height=_SIGNAL_HEIGHT, title=_title(example))
    )


def _title(example: dict[str, Any]) -> alt.TitleParams:
    return alt.TitleParams(
        f"{_label(example)}, predicted {example['prediction']}",
        subtitle=[
            f"{example['networks']} of {example['trials']}",
            f"margin {number(example['margin'], 2)}",
        ],
        fontSize=11,
        subtitleFontSize=10,
        subtitleColor="currentColor",
        offset=4,
    )


def _label(example: dict[str, Any]) -> str:
    return "?" if example["label"] is None else str(example["label"])


def _said(example: dict[str, Any]) -> str:
    return f"training example {example['example']}"


def _alternative(examples: list[dict[str, Any]]) -> str:
    first = "; ".join(
        f"example {e['example']}, label {_label(e)}, mostly predicted as {e['prediction']}, among "
        f"the smallest margins in {e['networks']} of {e['trials']} networks"
        for e in examples[:4]
    )
    return f"Small pictures of {len(examples)} training examples, hardest first: {first}."


def _table(examples: list[dict[str, Any]]) -> Table:
    heads = (
        "training example",
        "label",
        "predicted by most",
        "by how many",
        "networks that name it",
        "final networks",
        "mean margin",
    )
    names = ("example", "label", "prediction", "votes", "networks", "trials", "margin")
    return Table.of(heads, [tuple(example[name] for name in names) for example in examples])
