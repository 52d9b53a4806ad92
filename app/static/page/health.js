// The banner: whether the server can be used, and the key where it wants one.

import { ask } from "./api.js";
import { find, poll, say } from "./dom.js";
import { on, remember, set, state } from "./store.js";

const MILLISECONDS = 2000;
const KEY = /^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$/; // as clients check it
const KEYLESS = "without OFFSETNET_ADMIN_KEY"; // no key opens what this is said of
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
    const key = find("key").value.trim();
    if (KEY.test(key)) keep(key);
    else say(find("key-wanted"), "This key has characters that no request may carry.");
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
  remember("sessionStorage", "key", key);
  find("key").value = "";
  set({ wanted: "", key });
  find("key-wanted").focus();
}

function showKey() {
  find("key-panel").hidden = !state.wanted && !state.key;
  const isKeyless = state.wanted.startsWith(KEYLESS);
  find("key-form").hidden = !state.wanted || isKeyless;
  find("forget").hidden = !state.key;
  let text = "A key is sent with every request; this tab forgets it when it is closed.";
  if (state.wanted) text = `This server wants a key, an admin key for training: ${state.wanted}.`;
  if (isKeyless) text = `No key opens this: ${state.wanted}.`;
  say(find("key-wanted"), text);
}
