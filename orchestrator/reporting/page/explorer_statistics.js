// The statistics of the explorer: Pearson's r and its interval, computed as the claims do
// (orchestrator/statistics/intervals/inference.py, over_conditions.py, jackknife.py). The tests run
// these functions against those in Python.
"use strict";

const FEWEST_ROWS = 3; // for a correlation
const FEWEST_CONDITIONS = 6; // for a statement beyond this grid
const FEWEST_LEVELS = 3; // of an axis over which a statement generalizes
const FEWEST_LEFT = 3; // conditions that a fit on swept columns must leave free
const MOST_HELD = 60; // columns held fixed

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

// Why a value cannot be drawn, or "".
function trouble(value, log) {
  if (value === null) return "missing";
  if (!Number.isFinite(value)) return "not finite";
  return log && value <= 0 ? "not positive, so without a logarithm" : "";
}
