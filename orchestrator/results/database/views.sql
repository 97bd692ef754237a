-- The views and macros of a connection over results, in addition to the tables.
-- connection.py fills in the $placeholders.

-- Rank correlations of two lists of equal length, as kendall(list(x), list(y)).
-- Pairs in which either value is NULL or NaN are left out; infinities are ranked. The result is
-- NULL if fewer than two pairs remain or all values on one side are equal.

-- Lambdas over a list of one element stand for local variables. Lists of lists, not structs:
-- DuckDB 2.0 fails on structs in lambdas under HAVING.

-- [x, y] without the pairs to be left out.
CREATE MACRO parts.complete_pairs(x, y) AS
    CASE WHEN len(x) = len(y) THEN
        list_transform(
            [list_filter(
                list_zip(x::DOUBLE[], y::DOUBLE[]),
                lambda p: p[1] IS NOT NULL AND p[2] IS NOT NULL AND NOT isnan(p[1]) AND NOT isnan(p[2])
            )],
            lambda pairs: [
                list_transform(pairs, lambda p: p[1]),
                list_transform(pairs, lambda p: p[2])
            ]
        )[1]
    WHEN len(x) <> len(y) THEN
        -- A cast that fails: error() counts as a side effect, which ORDER BY an alias refuses.
        [[concat('not lists of equal length: ', len(x), ' and ', len(y))::DOUBLE], []]
    END;

-- Ordered pairs of different values: n² − Σ (size of each group of ties)².
CREATE MACRO parts.untied_pairs(v) AS
    len(v) * len(v)
    - list_sum(list_transform(map_values(list_histogram(v)), lambda size: size * size));

-- Mid-ranks: the average of each value's position with ties in list order and with ties in reverse
-- order. Macro arguments are substituted as text, so lambda parameters here must differ from the
-- callers'.
CREATE MACRO parts.ranks(v) AS list_transform(
    [[
        list_grade_up(list_grade_up(list_transform(v, lambda one, place: [one, place]))),
        list_grade_up(list_grade_up(list_transform(v, lambda one, place: [one, -place])))
    ]],
    lambda orders: list_transform(
        orders[1], lambda one, place: (one + orders[2][place])::DOUBLE / 2
    )
)[1];

-- Ranks minus their mean, so that their cosine is Pearson's correlation.
CREATE MACRO parts.centered_ranks(v) AS
    list_transform(parts.ranks(v), lambda one: one - (len(v) + 1) / 2);

-- Kendall's tau-b: (concordant − discordant) / √(pairs untied in x · pairs untied in y).
-- Time and memory grow quadratically with the length.
CREATE MACRO kendall(x, y) AS list_transform(
    [parts.complete_pairs(x, y)],
    lambda s: list_transform([s[1]], lambda us: list_transform([s[2]], lambda vs:
        CASE WHEN len(list_distinct(us)) > 1 AND len(list_distinct(vs)) > 1 THEN
            list_sum(list_transform(us, lambda a, i: list_sum(list_transform(us, lambda b, j:
                ((a > b)::TINYINT - (a < b)::TINYINT)
                * ((vs[i] > vs[j])::TINYINT - (vs[i] < vs[j])::TINYINT)
            ))))
            / sqrt(parts.untied_pairs(us)::DOUBLE * parts.untied_pairs(vs))
        END
    ))[1][1]
)[1];

-- Spearman's rho: Pearson's correlation of mid-ranks.
CREATE MACRO spearman(x, y) AS list_transform(
    [parts.complete_pairs(x, y)],
    lambda s: CASE WHEN len(list_distinct(s[1])) > 1 AND len(list_distinct(s[2])) > 1 THEN
        list_cosine_similarity(parts.centered_ranks(s[1]), parts.centered_ranks(s[2]))
    END
)[1];

-- Upper 2.5 % point of Student's t distribution. Beyond the table: Abramowitz and Stegun
-- (1964), 26.7.5, with errors below 2e-7 there.
CREATE MACRO student_t_975(degrees) AS CASE
    WHEN degrees < 1 THEN NULL
    WHEN degrees <= 20 THEN ([
        12.706204736174694, 4.302652729749462, 3.1824463052837078, 2.7764451051977934,
        2.5705818356363146, 2.4469118511449786, 2.364624251592784, 2.306004135204166,
        2.262157162798205, 2.228138851986274, 2.200985160091639, 2.1788128296672284,
        2.1603686564627913, 2.144786687917804, 2.131449545559776, 2.1199052992212546,
        2.1098155778333156, 2.1009220402410382, 2.0930240544083087, 2.085963447265864
    ]::DOUBLE[])[degrees]
    ELSE 1.959963984540054
        + 2.372271230299 / degrees
        + 2.822498615740 / degrees ^ 2
        + 2.555849679508 / degrees ^ 3
        + 1.589534053393 / degrees ^ 4
END;

-- Every checkpoint with its trial and its gaps, test minus train: in loss and in error, which may
-- differ in sign.
CREATE VIEW gap AS
SELECT
    checkpoints.* EXCLUDE (written_at),
    $trial_columns,
    checkpoints.test_loss - checkpoints.train_loss AS loss_gap,
    checkpoints.test_error - checkpoints.train_error AS error_gap
FROM checkpoints LEFT JOIN trials USING (trial_id);

-- The last checkpoint of every completed trial.
CREATE VIEW final AS
SELECT * FROM gap WHERE status = 'completed'
QUALIFY row_number() OVER (PARTITION BY trial_id ORDER BY step DESC) = 1;

-- Milestones, the train losses at which checkpoints were requested: one row per milestone reached.
CREATE VIEW milestones AS
SELECT trial_id, checkpoint_id, step, train_loss_milestone
FROM (
    SELECT trial_id, checkpoint_id, step, unnest(milestones) AS train_loss_milestone
    FROM checkpoints
);

-- Measured values with the names of their columns in wide. If several requests measure the same
-- quantity of a checkpoint, the exact value is preferred, then the value on most examples, then the
-- newest.
CREATE VIEW parts.measured AS
SELECT
    measures.*,
    column_name,
    ((measures.variant = 'exact')::UTINYINT, coalesce(measures.n_examples, 0), measures.written_at) AS preference
FROM measures
JOIN parts.wide_columns
    ON measures.measure = wide_columns.measure
    AND measures.variant = wide_columns.variant
    AND measures.split IS NOT DISTINCT FROM wide_columns.split
WHERE measures.status IN ('ok', 'nonfinite');

-- One row per checkpoint, one column per measure. NaN and infinities stay; NULL means not measured.
CREATE VIEW wide AS
SELECT gap.*$wide_columns
FROM gap LEFT JOIN (
    SELECT measured.checkpoint_id$wide_aggregates
    FROM parts.measured GROUP BY measured.checkpoint_id
) AS of_measures USING (checkpoint_id);

-- Means over the seeds of a condition at the final checkpoints, with 95 % t-intervals.
-- Completed trials without a finite value are counted in n_excluded.
CREATE VIEW by_condition AS
WITH quantities AS (
    SELECT trial_id, quantity, value
    FROM (
        SELECT trial_id, train_loss, test_loss, train_error, test_error, loss_gap, error_gap
        FROM final
    ) UNPIVOT (
        value FOR quantity IN (train_loss, test_loss, train_error, test_error, loss_gap, error_gap)
    )
    UNION ALL
    SELECT trial_id, column_name, value
    FROM parts.measured SEMI JOIN final USING (checkpoint_id)
    QUALIFY row_number() OVER (PARTITION BY checkpoint_id, column_name ORDER BY preference DESC) = 1
),
scaled AS (
    SELECT
        trials.condition_id, quantities.quantity, quantities.value,
        -- Values are scaled, because squares of large values would overflow.
        max(abs(quantities.value)) OVER (
            PARTITION BY trials.condition_id, quantities.quantity
        ) AS scale
    FROM quantities JOIN trials USING (trial_id)
    WHERE isfinite(quantities.value)
),
summaries AS (
    SELECT
        condition_id, quantity,
        count(*) AS n,
        -- In one order, so that equal values have equal sums on any number of threads.
        avg(value ORDER BY value) AS mean,
        CASE WHEN any_value(scale) = 0 AND count(*) > 1 THEN 0
            ELSE any_value(scale) * stddev_samp(value / nullif(scale, 0) ORDER BY value)
        END AS sd
    FROM scaled GROUP BY condition_id, quantity
),
conditions AS (
    SELECT condition_id$condition_aggregates
    FROM trials WHERE status = 'completed' GROUP BY condition_id
),
completed AS (
    SELECT condition_id, count(*) AS trials
    FROM trials WHERE status = 'completed' GROUP BY condition_id
)
SELECT
    conditions.*,
    observed.quantity,
    coalesce(summaries.n, 0) AS n,
    completed.trials - coalesce(summaries.n, 0) AS n_excluded,
    summaries.mean,
    summaries.sd,
    summaries.mean - student_t_975(summaries.n - 1) * summaries.sd / sqrt(summaries.n) AS low,
    summaries.mean + student_t_975(summaries.n - 1) * summaries.sd / sqrt(summaries.n) AS high
FROM conditions
JOIN completed ON conditions.condition_id = completed.condition_id
CROSS JOIN (SELECT DISTINCT quantity FROM quantities) AS observed
LEFT JOIN summaries
    ON conditions.condition_id = summaries.condition_id
    AND observed.quantity = summaries.quantity;

-- Fragility of each measure: the median over audited snapshots of |after − before|, divided by the
-- larger of the two, with one column per change. NULL where a change or a value does not exist.
CREATE VIEW fragility AS
SELECT
    measure, variant, split,
    count(DISTINCT checkpoint_id) AS snapshots,
    count(*) FILTER (status <> 'ok') AS excluded,
    median(relative_change) FILTER (change = 'layer_rescaling') AS layer_rescaling,
    median(relative_change) FILTER (change = 'unit_permutation') AS unit_permutation,
    median(relative_change) FILTER (change = 'logit_scale') AS logit_scale,
    median(relative_change) FILTER (change = 'batch_partition') AS batch_partition,
    median(relative_change) FILTER (change = 'duplicated_data') AS duplicated_data,
    median(relative_change) FILTER (change = 'float32') AS float32,
    median(relative_change) FILTER (change = 'data_subset') AS data_subset,
    median(relative_change) FILTER (change = 'probe_seed') AS probe_seed
FROM audit WHERE measure <> ''
GROUP BY measure, variant, split;

-- The points of each curve, one row per point, in the order of the curve.
CREATE VIEW curve_points AS
SELECT
    trial_id, checkpoint_id, step, request, curve, variant, split,
    unnest(range(1, len(x) + 1)) AS point,
    unnest(x) AS x,
    unnest(coalesce(y, list_transform(x, lambda one: NULL::DOUBLE))) AS y,
    unnest(value) AS value,
    unnest(coalesce(standard_error, list_transform(x, lambda one: NULL::DOUBLE))) AS standard_error
FROM curves;
