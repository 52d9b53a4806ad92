// The state of the page: one object, changed by `set` only, which tells who listens.

import { ARTICLE_PEOPLE, UNITS } from "./people.js";

const units = localStorage.getItem("units") === "metric" ? "metric" : "imperial";

export const state = {
  units,
  weight: UNITS[units].weight.fromOffset(-7), // in the units shown
  height: UNITS[units].height.fromOffset(-3),
  version: null, // that answered last
  people: ARTICLE_PEOPLE, // drawn as points
  crowd: "", // who those are
  health: "ready",
  wanted: "", // why a key is asked for
  key: sessionStorage.getItem("key") ?? "",
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
