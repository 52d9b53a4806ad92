// The decision surface: what the network says about everybody, as a map to click on.

import { sendJson } from "./api.js";
import { find, latest, make, percent, say } from "./dom.js";
import { ARTICLE_PEOPLE, UNITS } from "./people.js";
import { inWords } from "./prediction.js";
import { on, set, state } from "./store.js";

const NODES = 30; // a side, from edge to edge
const BATCH = 1000; // people, at most
const STEPS = 15; // between two nodes, where the line is looked for
const RANGE = { weight: [-55, 125], height: [-12, 14] }; // offsets
const MARGIN = { left: 46, right: 16, top: 10, bottom: 40 }; // px

const canvas = find("surface");
const box = { width: 0, height: 0 };
let grid = null; // probabilities, by row from the top; crossings; the version that gave them

export function start() {
  on(["version", "models", "key"], load);
  on(["units"], () => grid && describe());
  on(["units", "weight", "height", "models", "crowds"], draw);
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pick(event);
  });
  canvas.addEventListener("pointermove", (event) => event.buttons && pick(event));
}

const load = latest(async () => {
  if (state.version === null || grid?.version === state.version) return;
  try {
    grid = await mapOf(state.version);
    describe();
    draw();
  } catch (problem) {
    say(find("surface-text"), `The map cannot be drawn: ${problem.message}`);
  }
});

export async function mapOf(version) {
  const shares = await predict([...Array(NODES * NODES).keys()].map(place), version);
  return { shares, version, crossings: await findCrossings(shares, version) };
}

async function predict(places, version) {
  const instances = places.map(([column, row]) => ({
    weight_offset: at("weight", column / (NODES - 1)),
    height_offset: at("height", 1 - row / (NODES - 1)),
  }));
  const path = `predict/batch?model_version=${version}`;
  const { predictions } = await (await sendJson(path, { instances })).json();
  return predictions.map(({ probability }) => probability);
}

const place = (node) => [node % NODES, Math.floor(node / NODES)];
const between = (a, b, share) => place(a).map((from, i) => from + share * (place(b)[i] - from));

// The places between neighbours where F becomes M, which may happen in a step.
async function findCrossings(shares, version) {
  const edges = [...shares.keys()]
    .flatMap((a) => [...((a + 1) % NODES ? [[a, a + 1]] : []), [a, a + NODES]])
    .filter(([a, b]) => b < shares.length && shares[a] < 0.5 !== shares[b] < 0.5);
  const steps = Math.min(STEPS, Math.floor(BATCH / edges.length));
  const inside = [...Array(edges.length && steps).keys()].map((step) => (step + 1) / (steps + 1));
  const places = edges.flatMap(([a, b]) => inside.map((share) => between(a, b, share)));
  const found = places.length ? await predict(places, version) : [];
  return new Map(edges.map(([a, b], edge) => {
    const steep = [shares[a], ...found.slice(edge * steps, (edge + 1) * steps), shares[b]];
    const index = steep.findIndex((value, i) => value < 0.5 !== steep[i + 1] < 0.5);
    const rest = (steep[index] - 0.5) / (steep[index] - steep[index + 1]);
    return [`${a} ${b}`, between(a, b, (index + rest) / (steep.length - 1))];
  }));
}

const at = (name, share) => RANGE[name][0] + share * (RANGE[name][1] - RANGE[name][0]);
const along = (name, offset) => (offset - RANGE[name][0]) / (RANGE[name][1] - RANGE[name][0]);
const x = (offset) => MARGIN.left + along("weight", offset) * box.width;
const y = (offset) => MARGIN.top + (1 - along("height", offset)) * box.height;

function pick({ offsetX, offsetY }) {
  const { weight, height } = UNITS[state.units];
  set({
    weight: weight.fromOffset(at("weight", (offsetX - MARGIN.left) / box.width)),
    height: height.fromOffset(at("height", 1 - (offsetY - MARGIN.top) / box.height)),
  });
}

function draw() {
  const { clientWidth, clientHeight } = canvas;
  if (!grid || !clientWidth) return;
  const ratio = devicePixelRatio || 1;
  canvas.width = clientWidth * ratio;
  canvas.height = clientHeight * ratio;
  box.width = clientWidth - MARGIN.left - MARGIN.right;
  box.height = clientHeight - MARGIN.top - MARGIN.bottom;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  context.font = `12px ${style.fontFamily}`;
  drawMap(context, colour);
  drawAxes(context, colour);
  context.save();
  context.beginPath();
  context.rect(MARGIN.left, MARGIN.top, box.width, box.height);
  context.clip();
  drawBoundary(context, colour);
  const crowd = findCrowd(grid.version);
  drawPeople(context, colour, crowd.people);
  context.restore();
  drawPerson(context, colour);
  canvas.dataset.version = grid.version;
  canvas.dataset.people = crowd.people.length;
  say(find("crowd"), crowd.name ? `The points are ${crowd.name}.` : "");
}

// Whom the version was trained on, as far as this page has seen them.
function findCrowd(version) {
  if (version === 1) return { name: "the article’s four people", people: ARTICLE_PEOPLE };
  const model = state.models?.models.find((one) => one.version === version);
  return state.crowds[model?.dataset_sha256] ?? { people: [] };
}

function drawMap(context, colour) {
  const [f, middle, m] = ["map-f", "map-middle", "map-m"].map((name) => rgb(colour(name)));
  const image = new ImageData(NODES, NODES);
  grid.shares.forEach((share, index) => {
    const [end, strength] = share < 0.5 ? [m, 1 - 2 * share] : [f, 2 * share - 1];
    const mixed = middle.map((value, i) => value + strength * (end[i] - value));
    image.data.set([...mixed, 255], 4 * index);
  });
  const small = new OffscreenCanvas(NODES, NODES);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingQuality = "high";
  const side = NODES - 1; // from the middle of a pixel to that of the last
  context.drawImage(small, 0.5, 0.5, side, side, MARGIN.left, MARGIN.top, box.width, box.height);
}

const rgb = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));

// Marching squares at a probability of one half: Lorensen & Cline (1987), in the plane.
function drawBoundary(context, colour) {
  const onCanvas = ([column, row]) => [
    MARGIN.left + (column / (NODES - 1)) * box.width,
    MARGIN.top + (row / (NODES - 1)) * box.height,
  ];
  context.strokeStyle = colour("ink");
  context.lineWidth = 1.5;
  context.setLineDash([5, 4]);
  context.beginPath();
  for (let node = 0; node < NODES * (NODES - 1); node += 1) {
    if ((node + 1) % NODES === 0) continue;
    const [right, below] = [node + 1, node + NODES];
    const sides = [[node, right], [right, below + 1], [below, below + 1], [node, below]];
    const met = sides.map((side) => grid.crossings.get(side.join(" "))).filter(Boolean);
    for (let index = 0; index + 1 < met.length; index += 2) {
      context.moveTo(...onCanvas(met[index]));
      context.lineTo(...onCanvas(met[index + 1]));
    }
  }
  context.stroke();
  context.setLineDash([]);
}

function drawPeople(context, colour, people) {
  const isCrowd = people.length > 50;
  const size = isCrowd ? 2.5 : 5.5;
  context.lineWidth = isCrowd ? 0.5 : 1.5;
  context.strokeStyle = colour("card");
  for (const { weight, height, label, name } of people) {
    const [left, top] = [x(weight), y(height)];
    context.fillStyle = colour(label === "F" ? "f" : "m");
    context.beginPath();
    if (label === "F") context.arc(left, top, size, 0, 2 * Math.PI);
    else context.rect(left - size, top - size, 2 * size, 2 * size);
    context.fill();
    context.stroke();
    context.fillStyle = colour("ink");
    if (name) context.fillText(name, left + 10, top + 4);
  }
}

function drawPerson(context, colour) {
  const { weight, height } = UNITS[state.units];
  const place = [x(weight.toOffset(state.weight)), y(height.toOffset(state.height))];
  for (const [width, name] of [[5, "card"], [2.5, "ink"]]) {
    context.lineWidth = width;
    context.strokeStyle = colour(name);
    context.beginPath();
    context.arc(...place, 10, 0, 2 * Math.PI);
    context.stroke();
  }
}

function drawAxes(context, colour) {
  const { weight, height } = UNITS[state.units];
  context.fillStyle = colour("quiet");
  context.textAlign = "center";
  const [bottom, middle] = [MARGIN.top + box.height, MARGIN.top + box.height / 2];
  for (const value of ticks(weight, "weight", box.width < 400 ? 40 : 20)) {
    context.fillText(value, x(weight.toOffset(value)), bottom + 16);
  }
  context.fillText(`weight (${weight.unit})`, MARGIN.left + box.width / 2, bottom + 34);
  context.save();
  context.translate(12, middle);
  context.rotate(-Math.PI / 2);
  context.fillText(`height (${height.unit})`, 0, 0);
  context.restore();
  context.textAlign = "right";
  for (const value of ticks(height, "height", height.unit === "cm" ? 10 : 4)) {
    context.fillText(value, MARGIN.left - 6, y(height.toOffset(value)) + 4);
  }
  context.textAlign = "left";
}

function ticks({ min, max, toOffset }, name, step) {
  const values = [];
  for (let value = Math.ceil(min / step) * step; value <= max; value += step) {
    const share = along(name, toOffset(value));
    if (share >= 0 && share <= 1) values.push(value);
  }
  return values;
}

// The same in words and as a table, for who does not see it.
function describe() {
  const share = grid.shares.filter((one) => one >= 0.5).length / grid.shares.length;
  say(
    find("surface-text"),
    `Version ${grid.version} says F on ${percent(share)} of this map; the dashed line is ` +
      "where it changes its mind. Click or drag to move the sliders.",
  );
  const picked = [2, 8, 15, 21, 27];
  const of = (name, share) => inWords(name, UNITS[state.units][name].fromOffset(at(name, share)));
  const head = picked.map((column) =>
    make("th", { scope: "col" }, of("weight", column / (NODES - 1))),
  );
  const rows = picked.map((row) =>
    make("tr", {},
      make("th", { scope: "row" }, of("height", 1 - row / (NODES - 1))),
      ...picked.map((column) => make("td", {}, percent(grid.shares[row * NODES + column]))),
    ),
  );
  find("surface-table").replaceChildren(
    make("caption", {}, "Probability of F"),
    make("tbody", {}, make("tr", {}, make("td"), ...head), ...rows),
  );
}
