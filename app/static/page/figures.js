// Live figures, from the histogram that the server keeps for Prometheus.

import { ask } from "./api.js";
import { find, poll, say } from "./dom.js";
import { on } from "./store.js";

const MILLISECONDS = 2000;
const WINDOW = 60_000; // ms
const NAME = "http_server_request_duration_seconds";
const LINE = new RegExp(`^(?:${NAME}_(bucket|count)|offsetnet_(predictions)_total)\\{(.*)\\} (\\S+)`);
const ABSENT = {
  401: "The figures need a key.",
  403: "The figures need another key.",
  404: "This server keeps no figures.",
};

let snapshots = [];

export function start() {
  const refresh = poll(load, MILLISECONDS);
  on(["key"], refresh);
}

async function load() {
  try {
    const text = await (await ask("metrics")).text();
    remember(read(text));
    show();
  } catch ({ status, message }) {
    snapshots = [];
    find("figures").hidden = true;
    say(find("figures-problem"), ABSENT[status] ?? message);
    return !(status in ABSENT); // only a new key may change that
  }
}

// Counts by bucket of the answered predictions; people and requests since the start.
function read(text) {
  const counts = { predictions: 0, requests: 0, failures: 0 };
  const snapshot = { time: Date.now(), buckets: new Map(), ...counts };
  for (const line of text.split("\n")) {
    const [found, kind, people, inside, digits] = LINE.exec(line) ?? [];
    if (!found) continue;
    const labels = Object.fromEntries(
      [...inside.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name, value]),
    );
    const [status, count] = [labels.http_response_status_code ?? "", Number(digits)];
    if (people) snapshot.predictions += count;
    if (kind === "bucket" && labels.http_route === "/predict" && status.startsWith("2")) {
      const bound = Number(labels.le.replace("+Inf", "Infinity"));
      snapshot.buckets.set(bound, (snapshot.buckets.get(bound) ?? 0) + count);
    } else if (kind === "count") {
      snapshot.requests += count;
      if (status.startsWith("5")) snapshot.failures += count;
    }
  }
  return snapshot;
}

function remember(snapshot) {
  const last = snapshots.at(-1);
  if (last && snapshot.requests < last.requests) snapshots = []; // it started anew
  snapshots.push(snapshot);
  while (snapshots.length > 2 && snapshot.time - snapshots[1].time >= WINDOW) snapshots.shift();
}

// Linear inside the bucket, as Prometheus' histogram_quantile() does it.
function quantile(share, bounds, counts) {
  const rank = share * counts.at(-1);
  const index = counts.findIndex((count) => count >= rank);
  const [from, before] = index ? [bounds[index - 1], counts[index - 1]] : [0, 0];
  if (bounds[index] === Infinity) return `over ${inMilliseconds(from)}`;
  const inside = (rank - before) / (counts[index] - before || 1);
  return inMilliseconds(from + inside * (bounds[index] - from));
}

function show() {
  const [first, last] = [snapshots[0], snapshots.at(-1)];
  const bounds = [...last.buckets.keys()].sort((a, b) => a - b);
  const counts = bounds.map((le) => last.buckets.get(le) - (first.buckets.get(le) ?? 0));
  const isQuiet = !counts.at(-1);
  say(find("p50"), isQuiet ? "–" : quantile(0.5, bounds, counts));
  say(find("p99"), isQuiet ? "–" : quantile(0.99, bounds, counts));
  for (const name of ["predictions", "requests", "failures"]) {
    say(find(name), last[name].toLocaleString("en"));
  }
  say(find("figures-problem"), isQuiet ? "No prediction in the last minute, as far as this page looked." : "");
  find("figures").hidden = false;
}

const inMilliseconds = (seconds) => `${Number((1000 * seconds).toPrecision(2))} ms`;
