// The state of the page: one object, changed by `set` only, which tells who listens.

import { UNITS } from "./people.js";

// A browser may forbid storage; then the page remembers until it is closed.
export function recall(storage, name) {
  try {
    return window[storage].getItem(name);
  } catch {
    return null;
  }
}

export function remember(storage, name, value) {
  try {
    window[storage].setItem(name, value);
  } catch {
    // forbidden, or full
  }
}

const units = recall("localStorage", "units") === "metric" ? "metric" : "imperial";

export const state = {
  units,
  weight: UNITS[units].weight.fromOffset(-7), // in the units shown
  height: UNITS[units].height.fromOffset(-3),
  version: null, // that answered last
  crowds: JSON.parse(recall("sessionStorage", "crowds") ?? "{}"), // by dataset_sha256
  health: "ready",
  wanted: "", // why a key is asked for
  key: recall("sessionStorage", "key") ?? "",
  job: null,
  models: null, // the list of versions, with its generation
};

const listeners = [];

export function on(names, listener) {
  listeners.push([names, listener]);
}

export function set(changes) {
  const changed = Object.keys(changes).filter(
    (name) => !Object.is(state[name], changes[name]),
  );
  Object.assign(state, changes);
  for (const [names, listener] of listeners) {
    if (names.some((name) => changed.includes(name))) listener();
  }
}
