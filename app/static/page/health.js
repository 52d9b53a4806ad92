// The banner: whether the server can be used, and the key where it wants one.

import { ask } from "./api.js";
import { find, poll, say } from "./dom.js";
import { on, set, state } from "./store.js";

const MILLISECONDS = 2000;
const WORDS = {
  ready: "",
  degraded:
    "The database does not answer: predicting goes on, training and the list of versions do not.",
  draining: "The server is stopping and takes nothing new. This page goes on when it is back.",
  "not-ready": "The server has no network loaded yet, so it cannot predict.",
  unreachable: "The server cannot be reached. This page tries again by itself.",
};

export function start() {
  on(["health"], show);
  on(["wanted", "key"], showKey);
  poll(load, MILLISECONDS);
  find("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    keep(find("key").value.trim());
  });
  find("forget").addEventListener("click", () => keep(""));
  showKey();
}

async function load() {
  try {
    const { degraded } = await (await ask("readyz", { timeout: 3000 })).json();
    set({ health: degraded ? "degraded" : "ready" });
  } catch ({ status, code }) {
    set({ health: status && code in WORDS ? code : "unreachable" });
  }
}

function show() {
  find("banner").hidden = !WORDS[state.health];
  find("banner").dataset.health = state.health;
  say(find("banner-text"), WORDS[state.health]);
}

function keep(key) {
  sessionStorage.setItem("key", key);
  find("key").value = "";
  set({ wanted: "", key });
}

function showKey() {
  find("key-panel").hidden = !state.wanted && !state.key;
  find("key-form").hidden = !state.wanted;
  find("forget").hidden = !state.key;
  say(find("key-wanted"), state.wanted
    ? `This server wants a key, an admin key for training: ${state.wanted}.`
    : "A key is sent with every request; this tab forgets it when it is closed.");
}
