// The explorer: draws two columns of the snapshots in the page, and computes their correlation as
// the claims do (orchestrator/statistics/intervals/inference.py, over_conditions.py, jackknife.py).
// The tests run its statistics against those in Python.
"use strict";

const FEWEST_ROWS = 3; // for a correlation
const FEWEST_CONDITIONS = 6; // for a statement beyond this grid
const FEWEST_LEVELS = 3; // of an axis over which a statement generalizes
const FEWEST_LEFT = 3; // conditions that a fit on swept columns must leave free
const MOST_HELD = 60; // columns held fixed
const MOST_COLOURS = 7; // above, numbers get a continuous scale
const MOST_PANELS = 12;
const VIRIDIS = { name: "viridis", extent: [0.15, 0.9] }; // visible on dark and on light

// ---- Statistics: pure functions of numbers

const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => sum(values) / values.length;
const spread = (values) => {
  const middle = mean(values);
  return mean(values.map((value) => (value - middle) ** 2));
};
const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
const codes = (values) => {
  const found = new Map();
  return values.map((value) => found.get(value) ?? (found.set(value, found.size), found.size - 1));
};

function isConstant(column) {
  return Math.sqrt(spread(column)) <= 1e-13 * largest(column);
}

function standardized(column) {
  const scale = largest(column) || 1;
  const scaled = column.map((value) => value / scale);
  const middle = mean(scaled);
  const deviation = Math.sqrt(spread(scaled)) || 1;
  return scaled.map((value) => (value - middle) / deviation);
}

// What a weighted linear fit on the other columns, and on the mean of each stratum, leaves.
function remainder(column, given, weights, strata) {
  const indicators = [...new Set(strata)].map((one) => strata.map((of) => (of === one ? 1 : 0)));
  const inner = (a, b) => a.reduce((total, value, row) => total + weights[row] * value * b[row], 0);
  const basis = [];
  const take = (values) => {
    let left = values;
    for (let pass = 0; pass < 2; pass++) {
      for (const one of basis) {
        const along = inner(left, one);
        left = left.map((value, row) => value - along * one[row]);
      }
    }
    return left;
  };
  for (const values of [...indicators, ...given.map(standardized)]) {
    const left = take(values);
    const size = Math.sqrt(inner(left, left));
    if (size > 1e-5 * Math.sqrt(inner(values, values))) basis.push(left.map((v) => v / size));
  }
  return take(column);
}

// Columns that are neither constant nor a linear function of earlier ones.
function usefulControls(columns) {
  const held = [];
  for (const column of columns) {
    if (isConstant(column.values)) continue;
    const values = standardized(column.values);
    const one = values.map(() => 1);
    const left = remainder(values, held.map((other) => other.values), one, one);
    if (mean(left.map((value) => value ** 2)) > 1e-10) held.push(column);
  }
  return held;
}

// The share of each row in its condition: all conditions count alike, as do the trials within a
// condition and the rows within a trial.
function rowShares(trial, condition) {
  const rows = new Map();
  const trials = new Map();
  trial.forEach((one, row) => {
    rows.set(one, (rows.get(one) || 0) + 1);
    if (rows.get(one) === 1) trials.set(condition[row], (trials.get(condition[row]) || 0) + 1);
  });
  return trial.map((one, row) => 1 / trials.get(condition[row]) / rows.get(one));
}

// The trials in order, each with the summed products of its rows.
function summedTrials(columns, trial, condition, stratum) {
  const table = [trial.map(() => 1), ...columns.map(standardized)];
  const size = table.length;
  const shares = rowShares(trial, condition);
  const trials = new Map();
  trial.forEach((name, row) => {
    if (!trials.has(name)) {
      const moments = new Float64Array(size * size);
      trials.set(name, { condition: condition[row], stratum: stratum[row], moments });
    }
    const { moments } = trials.get(name);
    for (let i = 0; i < size; i++) {
      const share = shares[row] * table[i][row];
      for (let j = 0; j < size; j++) moments[i * size + j] += share * table[j][row];
    }
  });
  return [...trials.entries()].sort((a, b) => a[0] - b[0]).map(([, one]) => one);
}

// Adds the moments of trials, times a factor, to the totals of their strata.
function added(totals, trials, factor) {
  const found = totals.map((total) => total.slice());
  for (const one of trials) {
    const total = found[one.stratum];
    one.moments.forEach((value, place) => (total[place] += factor * value));
  }
  return found;
}

function covariance(moments, size) {
  const count = moments[0];
  const found = [];
  for (let i = 1; i < size; i++) {
    found.push([]);
    for (let j = 1; j < size; j++) {
      const means = (moments[i] / count) * (moments[j] / count);
      found[i - 1].push(moments[i * size + j] / count - means);
    }
  }
  return found;
}

// Pearson's r of the first two columns, within strata, with the other columns held fixed.
function partialCorrelation(totals) {
  const size = Math.sqrt(totals[0].length);
  const whole = sum(totals.map((total) => total[0]));
  const pooled = totals[0].map((_, place) => sum(totals.map((total) => total[place])));
  const before = covariance(pooled, size);
  const within = before.map((row) => row.map(() => 0));
  for (const total of totals.filter((one) => one[0] > 1e-12 * whole)) {
    covariance(total, size).forEach((row, i) => {
      row.forEach((value, j) => (within[i][j] += (total[0] / whole) * value));
    });
  }
  const original = within.map((row, i) => row[i]);
  const controls = new Set(within.map((_, i) => i).slice(2));
  while (controls.size) {
    const ratio = (i) => (original[i] > 1e-13 ? within[i][i] / original[i] : 0);
    const pivot = [...controls].reduce((best, i) => (ratio(i) > ratio(best) ? i : best));
    if (!(ratio(pivot) > 1e-10)) break; // The rest are functions of those already held fixed.
    controls.delete(pivot);
    const row = within[pivot].slice();
    for (let i = 0; i < within.length; i++) {
      const factor = within[i][pivot] / row[pivot];
      for (let j = 0; j < within.length; j++) within[i][j] -= factor * row[j];
    }
  }
  const known = [0, 1].every((i) => before[i][i] > 1e-13 && within[i][i] > 1e-10 * before[i][i]);
  if (!known) return NaN;
  const r = within[0][1] / Math.sqrt(within[0][0] * within[1][1]);
  return Math.max(-1, Math.min(1, r));
}

const fisher = (r) => Math.atanh(Math.max(-1 + 1e-9, Math.min(1 - 1e-9, r)));

// How far a statement over some conditions generalizes, and the axes whose levels are left out.
function reachOf(axes, conditions) {
  const distinct = (levels) => new Set(conditions.map((one) => levels[one])).size;
  const drawn = axes.filter((axis) => axis.drawn);
  const merged = { drawn: true, number: [], level: [] };
  if (drawn.length) {
    merged.level = codes(drawn[0].level.map((_, i) => drawn.map((one) => one.level[i]).join()));
  }
  const grid = axes.filter((axis) => !axis.drawn);
  const varied = [...grid, ...(drawn.length ? [merged] : [])].filter(
    (axis) => distinct(axis.level) > 1,
  );
  const usable = varied.filter((axis) => distinct(axis.level) >= FEWEST_LEVELS);
  if (conditions.length < FEWEST_CONDITIONS || !usable.length) {
    return { scope: "in this grid", levels: [] };
  }
  if (varied.every((axis) => isEven(conditions.map((one) => axis.number[one] ?? NaN)))) {
    return { scope: "within the range of this grid", levels: [] };
  }
  return { scope: "for conditions like these", levels: usable.map((axis) => axis.level) };
}

function isEven(values) {
  const levels = [...new Set(values)].sort((a, b) => a - b);
  if (levels.length < 6 || !levels.every(Number.isFinite)) return false;
  const scales = levels[0] > 0 ? [levels, levels.map(Math.log)] : [levels];
  return scales.some((scale) => {
    const steps = scale.slice(1).map((value, i) => value - scale[i]);
    return Math.max(...steps) <= 1.25 * Math.min(...steps);
  });
}

function leaveOutConditions(trials, totals, levels) {
  const kinds = [(one) => one, ...levels.map((level) => (one) => level[one])];
  const leftOut = kinds.map((kind) => {
    const blocks = new Map();
    for (const one of trials) {
      const block = kind(one.condition);
      if (!blocks.has(block)) blocks.set(block, []);
      blocks.get(block).push(one);
    }
    return [...blocks.values()].map((out) => fisher(partialCorrelation(added(totals, out, -1))));
  });
  if (leftOut[0].length < 3 || !leftOut.flat().every(Number.isFinite)) return null;
  const centre = fisher(partialCorrelation(totals));
  const [cells, ...ofLevels] = leftOut.map((values) => (values.length - 1) * spread(values));
  let [variance, freedom] = [cells, leftOut[0].length - 1];
  if (ofLevels.length) {
    const both = sum(ofLevels);
    variance = Math.max(both - (ofLevels.length - 1) * cells, ...ofLevels, cells);
    const squares = sum(ofLevels.map((v, i) => v ** 2 / (leftOut[i + 1].length - 1)));
    if (squares > 0) freedom = both ** 2 / squares;
  }
  const bias = (leftOut[0].length - 1) * (mean(leftOut[0]) - centre);
  return ends(centre, centre - bias, variance, freedom, leftOut[0]);
}

function leaveOutTrials(trials, totals) {
  if (trials.length < 3) return null;
  const byCondition = new Map();
  for (const one of trials) {
    if (!byCondition.has(one.condition)) byCondition.set(one.condition, []);
    byCondition.get(one.condition).push(one);
  }
  const all = [...byCondition.entries()].sort((a, b) => a[0] - b[0]).map(([, members]) => members);
  const single = all.filter((members) => members.length === 1).flat();
  const strata = all.filter((members) => members.length > 1);
  if (single.length) strata.push(single);
  strata.sort((a, b) => a.length - b.length);
  if (strata.length > 1 && strata[0].length === 1) strata.splice(0, 2, strata.slice(0, 2).flat());
  const leftOut = strata.map((members) => {
    const raised = added(totals, members, 1 / (members.length - 1));
    return members.map((one) => {
      const without = added(raised, [one], -members.length / (members.length - 1));
      return fisher(partialCorrelation(without));
    });
  });
  if (strata[0].length < 2 || !leftOut.flat().every(Number.isFinite)) return null;
  const variances = leftOut.map((values) => (values.length - 1) * spread(values));
  const squares = sum(variances.map((v, i) => v ** 2 / (strata[i].length - 1)));
  const freedom = squares > 0 ? sum(variances) ** 2 / squares : 1;
  const centre = fisher(partialCorrelation(totals));
  return ends(centre, centre, sum(variances), freedom, leftOut.flat());
}

function ends(centre, unbiased, variance, freedom, leftOut) {
  if (variance <= (1e-12 * largest(leftOut)) ** 2) return null;
  const half = studentQuantile(freedom) * Math.sqrt(variance);
  return [
    Math.tanh(Math.min(centre, unbiased) - half),
    Math.tanh(Math.max(centre, unbiased) + half),
  ];
}

// Student's 97.5 % quantile, from P(|T| > t) = I(ν / (ν + t²); ν/2, 1/2), by bisection.
function studentQuantile(freedom) {
  let [low, high] = [0, 1];
  for (let step = 0; step < 200 && high - low > 1e-16 * high; step++) {
    const middle = (low + high) / 2;
    if (incompleteBeta(middle, freedom / 2, 0.5) < 0.05) low = middle;
    else high = middle;
  }
  return Math.sqrt(freedom * (1 / high - 1));
}

// The regularized incomplete beta function, by its continued fraction (DLMF 8.17.22).
function incompleteBeta(x, a, b) {
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  if (x <= 0) return 0;
  const scale = logGamma(a + b) - logGamma(a) - logGamma(b);
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) + scale) / a;
  let fraction = 1;
  for (let m = 200; m >= 1; m--) {
    const odd = (-(a + m - 1) * (a + b + m - 1) * x) / ((a + 2 * m - 2) * (a + 2 * m - 1));
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    fraction = 1 + odd / (1 + even / fraction);
  }
  return front / fraction;
}

// Stirling's series, after shifting the argument above 10.
function logGamma(z) {
  let shift = 0;
  for (; z < 10; z++) shift += Math.log(z);
  const tail = 1 / (12 * z) - 1 / (360 * z ** 3) + 1 / (1260 * z ** 5) - 1 / (1680 * z ** 7);
  return (z - 0.5) * Math.log(z) - z + 0.5 * Math.log(2 * Math.PI) + tail - shift;
}

// r with its interval. `rows` has x, y, columns to hold fixed, trial, condition and stratum.
function correlate(rows, axes) {
  const { x, y, held, trial, condition } = rows;
  const conditions = [...new Set(condition)];
  const count = { n: x.length, trials: new Set(trial).size, conditions: conditions.length };
  const none = (reason) => ({ ...count, r: NaN, interval: null, reason });
  if (x.length < FEWEST_ROWS) return none(`a correlation needs ${FEWEST_ROWS} snapshots`);
  if (held.length > MOST_HELD) return none(`more than ${MOST_HELD} columns to hold fixed`);
  const useful = usefulControls(held);
  const swept = useful.filter((column) => column.swept).length;
  if (swept && conditions.length - swept < FEWEST_LEFT) {
    return none(`too few conditions to hold ${swept} swept columns fixed`);
  }
  const stratum = codes(rows.stratum);
  const columns = [x, y, ...useful.map((column) => column.values)];
  const trials = summedTrials(columns, trial, condition, stratum);
  const empty = Array.from({ length: Math.max(...stratum) + 1 }, () => {
    return new Float64Array((columns.length + 1) ** 2);
  });
  const totals = added(empty, trials, 1);
  const r = partialCorrelation(totals);
  if (Number.isNaN(r)) {
    return none("a column is constant, or a linear function of the columns held fixed");
  }
  const { scope, levels } = reachOf(axes, conditions);
  const interval =
    scope === "in this grid"
      ? leaveOutTrials(trials, totals)
      : leaveOutConditions(trials, totals, levels);
  const reason = interval ? "" : "too few networks, or undefined without one of them";
  const fixed = useful.map((column) => column.name);
  return { ...count, r, interval, scope, reason, fixed, within: totals.length > 1 };
}

// ---- Rows: what a view of the data shows, and what it leaves out

function decode(data) {
  const condition = data.trial.map((trial) => data.condition[trial]);
  const places = { row: data.trial.map((_, row) => row), trial: data.trial, condition };
  const columns = new Map();
  for (const column of data.columns) {
    const values = places[column.by].map((place) => {
      const value = column.values[place];
      if (column.levels) return column.levels[value];
      return value === null ? null : Number(value);
    });
    columns.set(column.name, { ...column, values });
  }
  const axes = data.axes.map((axis) => ({ ...axis, level: axis.level || codes(axis.number) }));
  return { ...data, axes, byName: columns, ofRow: condition };
}

// Why a value cannot be drawn, or "".
function trouble(value, log) {
  if (value === null) return "missing";
  if (!Number.isFinite(value)) return "not finite";
  return log && value <= 0 ? "not positive, so without a logarithm" : "";
}

const COMPARISONS = {
  "≤": (a, b) => a <= b,
  "≥": (a, b) => a >= b,
  "=": (a, b) => a === b,
  "≠": (a, b) => a !== b,
};
const IN_SQL = { "≤": "<=", "≥": ">=", "=": "=", "≠": "<>" };

// A filter that is set completely, with its value as the column's type; else null.
function activeFilter(data, [name, comparison, text]) {
  const column = data.byName.get(name);
  if (!column || !(comparison in COMPARISONS) || text.trim() === "") return null;
  const value = column.levels ? text.trim() : Number(text);
  const ordered = comparison === "≤" || comparison === "≥";
  if (Number.isNaN(value) || (column.levels && ordered)) return null;
  return { column, comparison, value, passes: COMPARISONS[comparison] };
}

// The columns that a view holds fixed, as functions of the rows that are left.
function holdable(data) {
  const found = [];
  const loss = data.byName.get("train_loss");
  if (loss) found.push({ name: "training loss", column: loss, log: true });
  data.axes.filter((axis) => axis.number).forEach((axis) => found.push({ name: axis.name, axis }));
  for (const [name, log] of data.views.flatMap((view) => view.given || [])) {
    const column = data.byName.get(name);
    const label = (log ? "log10 " : "") + column.label;
    if (!found.some((one) => one.name === label)) found.push({ name: label, column, log });
  }
  return found;
}

function heldColumns(one, rows, data) {
  if (one.column) {
    const values = rows.map((row) => one.column.values[row]);
    return [{ name: one.name, values: one.log ? values.map(Math.log10) : values }];
  }
  const { axis } = one;
  const numbers = rows.map((row) => axis.number[data.ofRow[row]]);
  const held = (values) => ({ name: one.name, values, swept: true });
  if (numbers.every(Number.isFinite)) {
    if (numbers.every((value) => value > 0)) return [held(numbers.map(Math.log10))];
    if (axis.drawn) return [held(numbers)];
  }
  const level = rows.map((row) => axis.level[data.ofRow[row]]);
  const levels = [...new Set(level)].sort((a, b) => a - b).slice(1);
  return levels.map((value) => held(level.map((of) => (of === value ? 1 : 0))));
}

// The rows that a view shows, with everything left out counted by its reason.
function select(data, view) {
  const filters = view.filters.map((filter) => activeFilter(data, filter)).filter(Boolean);
  const [x, y] = [data.byName.get(view.x), data.byName.get(view.y)];
  const held = holdable(data).filter((one) => view.hold.includes(one.name));
  const needed = [
    { column: x, log: view.xlog },
    { column: y, log: view.ylog },
    ...held.filter((one) => one.column),
  ];
  const left = new Map();
  let hidden = 0;
  const rows = data.trial
    .map((_, row) => row)
    .filter((row) => {
      const passes = ({ column, value, passes: compare }) => {
        const found = column.values[row];
        return found !== null && compare(found, value);
      };
      if (!filters.every(passes)) {
        hidden += 1;
        return false;
      }
      for (const { column, log } of needed) {
        const reason = trouble(column.values[row], log);
        if (reason) {
          const said = `${column.label} ${reason}`;
          left.set(said, (left.get(said) || 0) + 1);
          return false;
        }
      }
      return true;
    });
  return { rows, left, hidden, held, filters, x, y };
}

const scaled = (column, log, rows) =>
  rows.map((row) => (log ? Math.log10(column.values[row]) : column.values[row]));

function statisticsOf(data, view, selected, rows = selected.rows) {
  const kind = data.byName.get(data.kind);
  return {
    x: scaled(selected.x, view.xlog, rows),
    y: scaled(selected.y, view.ylog, rows),
    held: selected.held.flatMap((one) => heldColumns(one, rows, data)),
    trial: rows.map((row) => data.trial[row]),
    condition: rows.map((row) => data.ofRow[row]),
    stratum: rows.map((row) => (view.within && kind ? kind.values[row] : "")),
  };
}

// The claim's own choices: mixed architectures and losses are compared within, at equal loss.
function viewOfClaim(data, claim) {
  const view = { colour: "", panel: "", within: false, ...claim, hold: [] };
  for (const [name, log] of claim.given || []) {
    view.hold.push((log ? "log10 " : "") + data.byName.get(name).label);
  }
  const kind = data.byName.get(data.kind);
  if (claim.kinds && kind) {
    const { rows } = select(data, view);
    view.within = new Set(rows.map((row) => kind.values[row])).size > 1;
    if (view.within && data.byName.has("train_loss")) view.hold.push("training loss");
  }
  return view;
}

function sqlOf(data, view, selected) {
  const text = (value) => (typeof value === "string" ? `'${value.replaceAll("'", "''")}'` : value);
  const identifier = (name) => `"${name.replaceAll('"', '""')}"`;
  const wanted = [view.x, view.y, view.colour, view.panel, ...(view.within ? [data.kind] : [])];
  const columns = [...new Set([...wanted, ...selected.held.map((one) => one.column?.name)])]
    .map((name) => data.byName.get(name))
    .filter(Boolean);
  const conditions = selected.filters.map(
    ({ column, comparison, value }) => `${column.sql} ${IN_SQL[comparison]} ${text(value)}`,
  );
  // For DuckDB, NaN is larger than any number.
  for (const { column, comparison } of selected.filters) {
    if (comparison === "≥") conditions.push(`NOT isnan(CAST(${column.sql} AS DOUBLE))`);
  }
  const needed = [
    [selected.x, view.xlog],
    [selected.y, view.ylog],
    ...selected.held.filter((one) => one.column).map((one) => [one.column, one.log]),
  ];
  for (const [column, log] of needed) {
    conditions.push(`isfinite(CAST(${column.sql} AS DOUBLE))`);
    if (log) conditions.push(`${column.sql} > 0`);
  }
  const list = columns.map((column) => `,\n    ${column.sql} AS ${identifier(column.name)}`);
  return (
    `SELECT trial_id, condition_id, step${list.join("")}\nFROM wide\nWHERE ${data.where}` +
    conditions.map((one) => `\n    AND ${one}`).join("") +
    "\nORDER BY trial_id, step"
  );
}

// ---- Words

const number = (value) => value.toFixed(3).replace("-", "−");
const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

function estimateText(found) {
  const base = `${counted(found.n, "snapshot")} of ${counted(found.trials, "network")} in ${counted(found.conditions, "condition")}`;
  if (Number.isNaN(found.r)) return `No correlation over ${base}: ${found.reason}.`;
  const interval = found.interval
    ? ` [${found.interval.map(number).join(", ")}] ${found.scope}`
    : ` without an interval (${found.reason})`;
  const fixed = [...new Set(found.fixed)].join(", ");
  const how = (found.within ? ", within architectures and losses" : "") + (fixed && `, with ${fixed} held fixed`);
  return `r = ${number(found.r)}${interval}${how}; ${base}.`;
}

function leftOutText(selected) {
  const parts = [...selected.left].map(([reason, count]) => `${counted(count, "snapshot")} (${reason})`);
  if (selected.hidden) parts.unshift(`${counted(selected.hidden, "snapshot")} (filtered)`);
  return parts.length ? `Not shown: ${parts.join(", ")}.` : "All snapshots are shown.";
}

// ---- Chart: Altair's specification, completed with rows, titles and scales

function levelsOf(column, rows) {
  const levels = [...new Set(rows.map((row) => column.values[row]))];
  return column.levels ? levels.sort() : levels.sort((a, b) => a - b);
}

const shown = (value) => (value === null ? "missing" : String(value));

function completed(data, view, selected, width) {
  const specification = structuredClone(data.chart);
  const { encoding } = specification;
  const { rows } = selected;
  const numbers = statisticsOf(data, view, selected);
  const fixed = view.within || numbers.held.length > 0;
  const weights = rowShares(numbers.trial, numbers.condition);
  const drawn = (name, log) => {
    if (!fixed) return rows.map((row) => selected[name].values[row]);
    return remainder(numbers[name], numbers.held.map((one) => one.values), weights, numbers.stratum);
  };
  const [x, y] = [drawn("x", view.xlog), drawn("y", view.ylog)];
  const [colour, panel] = [data.byName.get(view.colour), data.byName.get(view.panel)];
  const outcome = data.byName.get(data.outcome);
  specification.data = {
    values: rows.map((row, place) => ({
      x: x[place],
      y: y[place],
      ...(colour && { colour: colour.values[row] }),
      ...(panel && { panel: shown(panel.values[row]) }),
      outcome: outcome.values[row],
      trial: data.trials[data.trial[row]],
    })),
  };
  for (const [name, log, place] of [["x", view.xlog, 0], ["y", view.ylog, 1]]) {
    const title = selected[name].label;
    encoding[name].title = fixed ? `${log ? "log₁₀ " : ""}${title}, remainder` : title;
    if (log && !fixed) encoding[name].scale.type = "log";
    encoding.tooltip[place].title = encoding[name].title;
  }
  if (colour) {
    const levels = levelsOf(colour, rows);
    encoding.color.title = encoding.tooltip[2].title = colour.label;
    if (levels.length > MOST_COLOURS && !colour.levels) {
      encoding.color.type = encoding.tooltip[2].type = "quantitative";
      encoding.color.scale = { scheme: VIRIDIS };
    } else {
      encoding.color.scale.domain = levels;
      if (levels.length > MOST_COLOURS) encoding.color.scale = { domain: levels, scheme: VIRIDIS };
    }
  } else {
    encoding.color = { value: encoding.color.scale.range[4] };
    encoding.tooltip.splice(2, 1);
  }
  specification.width = Math.max(200, Math.min(width, 720));
  if (panel) {
    encoding.facet.title = panel.label;
    encoding.facet.sort = levelsOf(panel, rows).map(shown);
    encoding.facet.columns = width < 600 ? 1 : 2;
    specification.width = Math.max(160, specification.width / encoding.facet.columns - 40);
    specification.height = 240;
  } else {
    delete encoding.facet;
  }
  return specification;
}

// ---- The page

const FIELDS = ["x", "y", "colour", "panel"];
const SWITCHES = ["xlog", "ylog", "within"];

function startExplorer() {
  const data = decode(JSON.parse(document.getElementById("explorer-data").textContent));
  const part = (name) => document.getElementById("explore-" + name);
  const form = part("form");
  const held = holdable(data);
  const kinds = new Set(data.byName.get(data.kind)?.values).size;

  function offer(select, columns, empty) {
    if (empty) select.append(new Option(empty, ""));
    for (const group of new Set(columns.map((column) => column.group))) {
      const heading = document.createElement("optgroup");
      heading.label = group;
      for (const column of columns.filter((one) => one.group === group)) {
        heading.append(new Option(column.label, column.name));
      }
      select.append(heading);
    }
  }

  function fill() {
    const columns = [...data.byName.values()];
    const every = data.trial.map((_, row) => row);
    for (const name of ["x", "y"]) offer(part(name), columns.filter((one) => !one.levels));
    offer(part("colour"), columns, "one colour");
    const few = columns.filter((one) => levelsOf(one, every).length <= MOST_PANELS);
    offer(part("panel"), few, "one panel");
    for (const place of [1, 2]) {
      offer(part("filter" + place), columns, "no filter");
      for (const name of Object.keys(COMPARISONS)) part("compare" + place).append(new Option(name));
    }
    part("start").append(new Option("own choice", ""));
    for (const view of data.views) part("start").append(new Option(view.name));
    part("within").closest("label").hidden = kinds < 2;
    held.forEach((one) => {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.value = one.name;
      label.append(box, " " + one.name);
      part("hold").append(label);
    });
  }

  const boxes = () => [...part("hold").querySelectorAll("input[value]")];
  const read = () => ({
    ...Object.fromEntries(FIELDS.map((name) => [name, part(name).value])),
    ...Object.fromEntries(SWITCHES.map((name) => [name, part(name).checked])),
    filters: [1, 2].map((place) =>
      ["filter", "compare", "value"].map((name) => part(name + place).value),
    ),
    hold: boxes().flatMap((box) => (box.checked ? [box.value] : [])),
  });

  function show(view) {
    for (const name of FIELDS) part(name).value = view[name];
    for (const name of SWITCHES) part(name).checked = view[name];
    [1, 2].forEach((place) => {
      const [name, comparison, value] = view.filters[place - 1] || ["", "≤", ""];
      part("filter" + place).value = name;
      part("compare" + place).value = comparison;
      part("value" + place).value = value;
    });
    for (const box of boxes()) box.checked = view.hold.includes(box.value);
    for (const name of ["x", "y"]) if (!part(name).value) part(name).selectedIndex = 0;
    for (const name of ["colour", "panel"]) if (!part(name).value) part(name).value = "";
  }

  function firstView() {
    if (data.views.length) return viewOfClaim(data, data.views[0]);
    const [x, y] = [...data.byName.values()].filter((column) => !column.levels);
    const other = y || x;
    const plain = { colour: "", panel: "", within: false, filters: [], hold: [] };
    return { ...plain, x: x.name, y: other.name, xlog: x.log, ylog: other.log };
  }

  const asFragment = (view) => "#explore?" + new URLSearchParams({ view: JSON.stringify(view) });

  // A view from the fragment of a shared address; anything it lacks comes from the first view.
  function sharedView() {
    if (!location.hash.startsWith("#explore?")) return null;
    try {
      const text = new URLSearchParams(location.hash.slice("#explore?".length)).get("view");
      const found = { ...firstView(), ...JSON.parse(text) };
      found.filters = Array.from(found.filters, (filter) => Array.from(filter, String));
      found.hold = Array.from(found.hold, String);
      return found;
    } catch {
      return null;
    }
  }

  let drawing = 0;
  function draw() {
    const view = read();
    const selected = select(data, view);
    const found = correlate(statisticsOf(data, view, selected), data.axes);
    const undone = view.filters
      .filter((filter) => filter[0] && filter[2].trim() && !activeFilter(data, filter))
      .map(([name, , value]) => ` The filter on ${name} is ignored: “${value}” is not a number, or text is not ordered.`);
    part("said").textContent = estimateText(found);
    part("left").textContent = leftOutText(selected) + undone.join("");
    part("sql").textContent = sqlOf(data, view, selected);
    perPanel(view, selected);
    const holder = part("chart");
    const specification = completed(data, view, selected, holder.clientWidth - 110);
    const started = ++drawing;
    const chart = document.createElement("div");
    vegaEmbed(chart, specification, {
      mode: "vega-lite",
      renderer: "svg",
      actions: { export: true, source: false, compiled: false, editor: false },
      downloadFileName: "explorer",
    }).then(
      () => started === drawing && holder.replaceChildren(chart),
      (error) => (part("left").textContent += ` The chart cannot be drawn: ${error.message}.`),
    );
  }

  function perPanel(view, selected) {
    const column = data.byName.get(view.panel);
    const items = (column ? levelsOf(column, selected.rows) : []).map((level) => {
      const rows = selected.rows.filter((row) => column.values[row] === level);
      const item = document.createElement("li");
      const found = correlate(statisticsOf(data, view, selected, rows), data.axes);
      item.textContent = `${column.label} ${shown(level)}: ${estimateText(found)}`;
      return item;
    });
    part("panels").replaceChildren(...items);
  }

  fill();
  show(sharedView() || firstView());
  part("start").value = sharedView() ? "" : data.views[0]?.name || "";
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    const claim = data.views.find((view) => view.name === part("start").value);
    if (event.target === part("start") && claim) show(viewOfClaim(data, claim));
    else part("start").value = "";
    for (const name of ["x", "y"]) {
      const column = data.byName.get(part(name).value);
      if (event.target === part(name)) part(name + "log").checked = column.log;
    }
    history.replaceState(null, "", asFragment(read()));
    draw();
  });
  part("copy").addEventListener("click", () => {
    getSelection().selectAllChildren(part("sql"));
    const done = () => (part("copied").textContent = "Copied.");
    const failed = () => (part("copied").textContent = "Selected: copy it with your keyboard.");
    if (navigator.clipboard) navigator.clipboard.writeText(part("sql").textContent).then(done, failed);
    else failed();
  });
  draw();
  if (location.hash.startsWith("#explore?")) document.getElementById("explore").scrollIntoView();
}

if (typeof document === "object" && document.getElementById("explorer-data")) startExplorer();
