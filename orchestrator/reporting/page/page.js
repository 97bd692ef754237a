// Replaces each static drawing, which is shown without scripts, by an interactive chart. The
// drawing stays in the page, hidden, for print.
"use strict";

const MENU = 38; // pixels that Vega-Embed reserves for its menu
const PHONE = 500; // pixels of width below which labels shrink to leave room for the panel
const PHONE_LABELS = 110;

// Uses as many columns of panels as fit; axes and legends need the rest of the width.
function fitPart(part, room, width) {
  const views = part.concat || [part];
  const columns = part.concat ? part.columns : 1;
  const widest = Math.max(...views.map((view) => view.width));
  const fitting = Math.max(1, Math.floor(width / (widest + room)));
  if (columns * (widest + room) <= width) return false;
  if (part.concat) part.columns = fitting;
  for (const view of views) view.width = Math.min(view.width, Math.max(120, width - room));
  return true;
}

function fit(specification, width) {
  const phone = width < PHONE;
  const room = Math.min(specification.usermeta.room, phone ? PHONE_LABELS + 56 : Infinity);
  const parts = specification.vconcat || [specification];
  const changed = parts.map((part) => fitPart(part, room, width));
  if (!phone || !changed.includes(true)) return;
  specification.config.axis.labelLimit = PHONE_LABELS;
  specification.config.legend.columns = width < 360 ? 1 : 2;
}

// A page that is written again reloads when its tab is shown again, never while it is being read.
if (document.querySelector("[data-watched]")) {
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) location.reload();
  });
}

document.documentElement.classList.add("scripted");
for (const figure of document.querySelectorAll("figure[data-key]")) {
  const key = figure.dataset.key;
  const holder = figure.querySelector(".chart");
  const drawing = holder.firstElementChild;
  const specification = JSON.parse(document.getElementById("specification-" + key).textContent);
  fit(specification, holder.clientWidth - MENU);
  const chart = document.createElement("div");
  chart.setAttribute("role", "group");
  chart.setAttribute("aria-label", drawing.getAttribute("aria-label"));
  vegaEmbed(chart, specification, {
    mode: "vega-lite",
    renderer: "svg",
    actions: { export: true, source: false, compiled: false, editor: false },
    downloadFileName: key,
  }).then(
    () => {
      drawing.setAttribute("hidden", "");
      holder.append(chart);
    },
    (error) => console.error("Figure " + key + ": " + error.message),
  );
}
