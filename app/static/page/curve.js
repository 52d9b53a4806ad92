// The loss curve: how the losses fell, epoch by epoch.

import { find, make, makeSvg } from "./dom.js";

const [LEFT, RIGHT, TOP, BOTTOM] = [64, 592, 10, 172]; // of the plot, in 600 x 200
const LOSSES = ["train", "holdout"]; // as they stand in a point, after its epoch

export function drawCurve(history) {
  const curve = find("curve");
  curve.toggleAttribute("hidden", history.length < 2);
  if (history.length < 2) return;
  const last = history.at(-1);
  const drawn = LOSSES.filter((_, index) => last[index + 1] !== null);
  const values = history.flatMap((point) => point.slice(1, 1 + drawn.length));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  curve.replaceChildren(...axes(low, high, last[0]), ...lines(history, drawn, low, high));
  const legend = drawn.map((name, index) => `${name} loss ${last[index + 1].toPrecision(4)}`);
  curve.setAttribute("aria-label", `Loss curve: ${legend.join(", ")}`);
  find("losses").replaceChildren(
    ...legend.map((text, index) => make("span", { class: `key ${drawn[index]}` }, text)),
  );
}

function axes(low, high, epoch) {
  const text = (x, y, anchor, content) => makeSvg("text", { x, y, "text-anchor": anchor }, content);
  return [
    makeSvg("path", { d: `M${LEFT} ${TOP}V${BOTTOM}H${RIGHT}`, class: "axis" }),
    text(LEFT - 6, TOP + 12, "end", high.toPrecision(3)),
    text(LEFT - 6, BOTTOM, "end", low.toPrecision(3)),
    text(LEFT, BOTTOM + 22, "start", "epoch 0"),
    text(RIGHT, BOTTOM + 22, "end", `epoch ${epoch}`),
  ];
}

function lines(history, drawn, low, high) {
  const last = history.at(-1)[0];
  const place = (epoch, loss) => [
    LEFT + ((RIGHT - LEFT) * epoch) / last,
    BOTTOM - ((BOTTOM - TOP) * (loss - low)) / (high - low || 1),
  ];
  return drawn.map((name, index) => {
    const points = history.map((point) => place(point[0], point[index + 1]));
    const written = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`);
    return makeSvg("polyline", { points: written.join(" "), class: name });
  });
}
