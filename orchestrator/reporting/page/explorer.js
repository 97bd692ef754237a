// The explorer: draws two columns of the snapshots in the page, with the correlation that
// explorer_statistics.js computes.
"use strict";

const MOST_COLOURS = 7; // above, numbers get a continuous scale
const MOST_PANELS = 12;
const VIRIDIS = { name: "viridis", extent: [0.15, 0.9] }; // visible on dark and on light

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
