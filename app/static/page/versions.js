// The versions: which there are, which serves, and how another one comes to.

import { sendJson, want } from "./api.js";
import { find, make, percent, poll, say } from "./dom.js";
import { on, set, state } from "./store.js";

const MILLISECONDS = 4000;

let shown = "";

export function start() {
  const refresh = poll(load, MILLISECONDS);
  on(["key", "version"], refresh);
  on(["job"], () => state.job.model_version && refresh());
  on(["models"], show);
}

async function load() {
  try {
    const models = await (await want("models")).json();
    say(find("versions-problem"), "");
    set({ models });
  } catch (problem) {
    say(find("versions-problem"), `The list is not to be had: ${problem.message}`);
  }
}

function show() {
  const news = JSON.stringify(state.models);
  if (news === shown) return; // buttons keep their focus
  shown = news;
  find("version-rows").replaceChildren(...state.models.models.map(row));
}

const time = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

function row(model) {
  const { version, active, metrics } = model;
  const cell = (name, content) => make("td", { "data-name": name }, content);
  return make("tr", { "data-version": version, "data-active": String(active) },
    make("th", { scope: "row" }, `Version ${version}`),
    cell("people", model.rows.toLocaleString("en")),
    cell("error", metrics.mse.toFixed(4)),
    cell("accuracy", percent(metrics.accuracy)),
    cell("made", time.format(new Date(model.created_at))),
    cell("note", model.note ?? "–"),
    cell("", active ? make("strong", {}, "serves now") : offer(version)),
  );
}

const button = (text, click, attributes = {}) =>
  make("button", { type: "button", click, ...attributes }, text);

// A button that asks first, about the list that the person sees.
function offer(version) {
  const serving = state.models.models.find(({ active }) => active)?.version;
  const { generation } = state.models;
  const verb = version < serving ? "Roll back" : "Activate";
  const label = { "aria-label": `${verb} to version ${version}` };
  const opener = button(verb, () => {
    const text = `Let version ${version} serve${serving ? ` in place of ${serving}` : ""}? `;
    const yes = button("Yes", () => activate(version, generation), { class: "primary" });
    const no = button("No", () => {
      question.replaceWith(opener);
      opener.focus();
    });
    const named = { class: "asking", role: "group", "aria-label": text };
    const question = make("span", named, text, yes, no);
    opener.replaceWith(question);
    yes.focus();
  }, label);
  return opener;
}

const STALE =
  "Nothing was changed: another version came to serve since you saw this list. " +
  "It is fresh now; choose again.";

async function activate(version, generation) {
  const headers = { "If-Match": `"${generation}"` };
  try {
    await sendJson("models/active", { version }, { method: "PUT", headers });
    say(find("activated"), `Version ${version} serves now.`);
  } catch (problem) {
    const isStale = problem.status === 412;
    say(find("activated"), isStale ? STALE : `Nothing was changed: ${problem.message}`);
  }
  shown = ""; // the question goes
  await load();
  show();
  find("activated").focus();
}
