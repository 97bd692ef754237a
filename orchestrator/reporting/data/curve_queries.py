"""Queries on the curves: spectral densities, loss slices and distributions of margins.

As in ``queries``, everything is aggregated in SQL, so figures do not grow with the study.
"""

# ruff: noqa: S608 - names are our own, or quoted.

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.reporting.data.hue import Hue
from orchestrator.reporting.data.open_results import Source
from orchestrator.reporting.data.queries import Query, identifier, quote
from orchestrator.statistics.claim import counted

DENSITY_POINTS = 200
MOST_SLICE_POINTS = 101
MOST_PLANE_POINTS = 31
MOST_EPOCHS = 40
MOST_QUANTILES = 101


@dataclass(frozen=True)
class Chosen:
    """The curves that a figure draws, chosen among requests with different parameters.

    Attributes:
        curve: Name of the curve.
        request: Request with results on the most final networks.
        variant: Variant of the curves.
        remark: Sentences on curves that are not drawn, or "".
        query: Query that chose them.
    """

    curve: str
    request: str
    variant: str
    remark: str
    query: Query

    @property
    def condition(self) -> str:
        """SQL condition that selects the rows of the curves."""
        return (
            f"curve = {quote(self.curve)} AND request = {quote(self.request)} "
            f"AND variant = {quote(self.variant)}"
        )


def choose_curves(source: Source, curve: str, variant: str | None = None) -> Chosen | None:
    """Choose the curves of final networks to draw; return None if none exist.

    Args:
        source: The results.
        curve: Name of the curve.
        variant: Variant of the curve; any by default.
    """
    only = "" if variant is None else f" AND variant = {quote(variant)}"
    query = Query(
        f"{curve}_requests",
        f"number of final networks with {curve}, per request",
        f"""
        SELECT request, variant, count(*) AS networks,
            count(*) FILTER (status <> 'ok') AS nonfinite
        FROM curves SEMI JOIN final USING (checkpoint_id)
        WHERE curve = {quote(curve)}{only}
        GROUP BY request, variant ORDER BY networks DESC, request, variant
        """,
    )
    rows = source.rows(query).tuples()
    if not rows:
        return None
    request, found, _, nonfinite = rows[0]
    sentences = [
        f"Not drawn: non-finite values of {counted(nonfinite, 'network')}." if nonfinite else "",
        f"Of {len(rows)} requests, only {request} is drawn." if len(rows) > 1 else "",
    ]
    remark = " ".join(sentence for sentence in sentences if sentence)
    return Chosen(curve, request, found, remark, query)


def spectral_densities(chosen: Chosen, hue: Hue | None) -> Query:
    """Return the query for densities averaged over networks, at common points per level."""
    return Query(
        "spectral_densities",
        "density of the Hessian’s eigenvalues, averaged over the final networks of each level",
        f"""
        WITH densities AS (
            SELECT level, x, value, len(x) AS n
            FROM curves JOIN {_networks(hue)} USING (checkpoint_id)
            WHERE {chosen.condition} AND curves.status = 'ok'
        ), ranges AS (
            SELECT level, min(x[1]) AS low, max(x[-1]) AS high FROM densities GROUP BY level
        ), points AS (
            SELECT level, low + (high - low) * i / {DENSITY_POINTS - 1} AS eigenvalue
            FROM ranges, range({DENSITY_POINTS}) AS grid(i)
        ), places AS (
            SELECT points.level AS level, eigenvalue, value, n,
                (eigenvalue - x[1]) / (x[-1] - x[1]) * (n - 1) AS place
            FROM points JOIN densities ON points.level IS NOT DISTINCT FROM densities.level
        ), interpolated AS (
            -- Beyond its grid, five widths from the outermost eigenvalues, a density is 0.
            SELECT level, eigenvalue, CASE WHEN place BETWEEN 0 AND n - 1 THEN
                value[floor(place)::INT + 1] * (1 - place + floor(place))
                + value[ceil(place)::INT + 1] * (place - floor(place)) ELSE 0 END AS density
            FROM places
        )
        SELECT level, eigenvalue, avg(density) AS density, min(density) AS low,
            max(density) AS high, count(*) AS networks
        FROM interpolated GROUP BY level, eigenvalue ORDER BY level NULLS LAST, eigenvalue
        """,
    )


def top_eigenvalues(hue: Hue | None) -> Query:
    """Return the query for the largest measured eigenvalue, over final networks per level."""
    return Query(
        "top_eigenvalues",
        "largest eigenvalue of the Hessian over the final networks of each level",
        f"""
        WITH largest AS (
            SELECT {_level(hue)} AS level, hessian_eigenvalue_1 AS eigenvalue
            FROM wide SEMI JOIN final USING (checkpoint_id)
        )
        SELECT level, avg(eigenvalue) AS eigenvalue, min(eigenvalue) AS low,
            max(eigenvalue) AS high, count(*) AS networks
        FROM largest WHERE isfinite(largest.eigenvalue)
        GROUP BY level ORDER BY level NULLS LAST
        """,
    )


def loss_slices(chosen: Chosen, hue: Hue | None) -> Query:
    """Return the query for losses along a line, over the final networks of each level."""
    return Query(
        "loss_slices",
        "training loss along a filter-normalized direction, over the final networks of each level",
        f"""
        WITH slices AS (
            SELECT level, len(x) AS n,
                unnest(x) AS distance, unnest(value) AS loss, unnest(range(len(x))) AS point
            FROM curves JOIN {_networks(hue)} USING (checkpoint_id)
            WHERE {chosen.condition}
        )
        SELECT level, distance, median(loss) AS loss, min(loss) AS low, max(loss) AS high,
            count(*) AS networks
        FROM slices
        WHERE isfinite(loss) AND abs(point - n // 2) % ceil(n / {MOST_SLICE_POINTS})::INT = 0
        GROUP BY level, distance ORDER BY level NULLS LAST, distance
        """,
    )


def loss_planes(chosen: Chosen, hue: Hue | None) -> Query:
    """Return the query for losses on a plane, of one network per level."""
    return Query(
        "loss_planes",
        "training loss on a plane, of the network with the median training loss of each level",
        f"""
        WITH planes AS (
            SELECT trial_id, level, train_loss, x, y, value,
                sqrt(len(x))::INT AS n, median(train_loss) OVER (PARTITION BY level) AS middle
            FROM curves JOIN {_networks(hue)} USING (checkpoint_id, trial_id)
            WHERE {chosen.condition}
        ), representatives AS (
            SELECT * FROM planes QUALIFY row_number() OVER (
                PARTITION BY level ORDER BY abs(train_loss - middle), trial_id) = 1
        ), points AS (
            SELECT * EXCLUDE (x, y, value), unnest(x) AS x, unnest(y) AS y,
                unnest(value) AS loss, unnest(range(len(x))) AS point,
                ceil(n / {MOST_PLANE_POINTS})::INT AS stride
            FROM representatives
        )
        SELECT level, trial_id, x, y, loss FROM points
        WHERE isfinite(loss) AND abs(point % n - n // 2) % stride = 0
            AND abs(point // n - n // 2) % stride = 0
        ORDER BY level NULLS LAST, y, x
        """,
    )


def final_margins(chosen: Chosen, hue: Hue | None) -> Query:
    """Return the query for quantiles of margins, averaged over final networks per level."""
    return Query(
        "final_margins",
        "quantiles of the training margins, averaged over the final networks of each level",
        f"""
        WITH quantiles AS (
            SELECT level, len(x) AS n,
                unnest(x) AS share, unnest(value) AS margin, unnest(range(len(x))) AS point
            FROM curves JOIN {_networks(hue)} USING (checkpoint_id)
            WHERE {chosen.condition} AND curves.status = 'ok'
        )
        SELECT level, share, avg(margin) AS margin, min(margin) AS low, max(margin) AS high,
            count(*) AS networks
        FROM quantiles
        WHERE point % ceil(n / {MOST_QUANTILES})::INT = 0 OR point = n - 1
        GROUP BY level, share ORDER BY level NULLS LAST, share
        """,
    )


def margins_along_training(chosen: Chosen, hue: Hue | None) -> Query:
    """Return the query for five margin quantiles over epochs, averaged per level."""
    quantiles = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
    columns = ",".join(
        # Linear interpolation between two stored quantiles.
        f"""
                avg(value[floor({p} * (n - 1))::INT + 1] * (1 - {p} * (n - 1) % 1)
                    + value[ceil({p} * (n - 1))::INT + 1] * ({p} * (n - 1) % 1)) AS {name}"""
        for name, p in quantiles.items()
    )
    return Query(
        "margins_along_training",
        "quantiles of the training margins per epoch, if half of a level’s networks have them",
        f"""
        WITH distributions AS (
            SELECT trial_id, level, epoch, value, len(x) AS n
            FROM curves JOIN {_networks(hue, "gap")} USING (checkpoint_id, trial_id)
            WHERE {chosen.condition} AND curves.status = 'ok' AND epoch > 0
                AND trial_status = 'completed'
        ), epochs AS (
            SELECT level, epoch, count(*) AS networks,{columns}
            FROM distributions GROUP BY level, epoch
        ), levels AS (
            SELECT level, count(DISTINCT trial_id) AS trials FROM distributions GROUP BY level
        )
        SELECT epochs.* FROM epochs JOIN levels
            ON epochs.level IS NOT DISTINCT FROM levels.level
        WHERE 2 * networks >= trials
        QUALIFY (row_number() OVER (PARTITION BY epochs.level ORDER BY epoch) - 1)
            % ceil(count(*) OVER (PARTITION BY epochs.level) / {MOST_EPOCHS})::INT = 0
        ORDER BY level NULLS LAST, epoch
        """,
    )


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
            SELECT data, example, count(*) AS networks, avg(margin) AS margin
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


def _level(hue: Hue | None) -> str:
    return identifier(hue.column) if hue else "'all'"


def _networks(hue: Hue | None, view: str = "final") -> str:
    """Return SQL for a view of snapshots without the study's own columns, whose names can clash."""
    return f"""(
                SELECT checkpoint_id, trial_id, epoch, train_loss, status AS trial_status,
                    {_level(hue)} AS level
                FROM {view}
            )"""
