// The loss curve: how the losses fell, epoch by epoch.

import { find, make, makeSvg } from "./dom.js";

const [LEFT, RIGHT, TOP, BOTTOM] = [64, 592, 10, 172]; // of the plot, in 600 x 200
const LOSSES = ["train", "holdout"]; // as they stand in a point, after its epoch

export function drawCurve(history) {
  const curve = find("curve");
  const last = history.at(-1) ?? [];
  const drawn = LOSSES.filter((_, index) => last[index + 1] != null);
  const legend = drawn.map((name, index) => `${name} loss ${last[index + 1].toPrecision(4)}`);
  find("losses").replaceChildren(
    ...legend.map((text, index) => make("span", { class: `key ${drawn[index]}` }, text)),
  );
  curve.toggleAttribute("hidden", history.length < 2);
  if (history.length < 2) return;
  const values = history.flatMap((point) => point.slice(1, 1 + drawn.length));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  curve.replaceChildren(...axes(low, high, history[0][0], last[0]), ...lines(history, drawn, low, high));
  curve.setAttribute("aria-label", `Loss curve: ${legend.join(", ")}`);
}

function axes(low, high, first, last) {
  const text = (x, y, anchor, content) => makeSvg("text", { x, y, "text-anchor": anchor }, content);
  return [
    makeSvg("path", { d: `M${LEFT} ${TOP}V${BOTTOM}H${RIGHT}`, class: "axis" }),
    text(LEFT - 6, TOP + 12, "end", high.toPrecision(3)),
    text(LEFT - 6, BOTTOM, "end", low.toPrecision(3)),
    text(LEFT, BOTTOM + 22, "start", `epoch ${first}`),
    text(RIGHT, BOTTOM + 22, "end", `epoch ${last}`),
  ];
}

function lines(history, drawn, low, high) {
  const [first, last] = [history[0][0], history.at(-1)[0]];
  const place = (epoch, loss) => [
    LEFT + ((RIGHT - LEFT) * (epoch - first)) / (last - first || 1),
    BOTTOM - ((BOTTOM - TOP) * (loss - low)) / (high - low || 1),
  ];
  return drawn.map((name, index) => {
    const points = history.map((point) => place(point[0], point[index + 1]));
    const written = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`);
    return makeSvg("polyline", { points: written.join(" "), class: name });
  });
}
