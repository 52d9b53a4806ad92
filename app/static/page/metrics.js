// A table of metrics, a column for each network that has any.

import { make, percent } from "./dom.js";

const ROWS = [
  ["mse", "mean squared error", (value) => value.toFixed(4)],
  ["log_loss", "log loss", (value) => value.toFixed(4)],
  ["accuracy", "accuracy", percent],
  ["calibration_error", "calibration error", (value) => value.toFixed(4)],
];

export function showMetrics(table, caption, networks) {
  const columns = Object.entries(networks).filter(([, metrics]) => metrics);
  table.hidden = columns.length === 0;
  if (table.hidden) return;
  const head = columns.map(([name]) => make("th", { scope: "col" }, name));
  const rows = ROWS.map(([key, name, format]) =>
    make("tr", {},
      make("th", { scope: "row" }, name),
      ...columns.map(([, metrics]) => make("td", {}, format(metrics[key]))),
    ),
  );
  table.replaceChildren(
    make("caption", {}, `${caption}; smaller is better, except accuracy.`),
    make("thead", {}, make("tr", {}, make("td"), ...head)),
    make("tbody", {}, ...rows),
  );
}
