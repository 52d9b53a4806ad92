// The versions: which there are, which serves, and how another one comes to.

import { sendJson, want } from "./api.js";
import { find, make, percent, poll, say } from "./dom.js";
import { on, set, state } from "./store.js";

const MILLISECONDS = 4000;

const rows = new Map(); // by version: the element, and the news that it tells

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
    say(find("versions-problem"), `The versions cannot be listed now: ${problem.message}`);
  }
}

const serving = () => state.models.models.find(({ active }) => active)?.version;

// What did not change stays, with its focus; and so does an open question.
function show() {
  const body = find("version-rows");
  const fresh = state.models.models.map((model) => {
    const news = JSON.stringify([model, model.version < serving()]);
    const old = rows.get(model.version);
    if (old?.news === news || old?.element.querySelector(".asking")) return old.element;
    const element = row(model);
    const isFocused = old?.element.contains(document.activeElement);
    old?.element.replaceWith(element);
    if (isFocused) element.querySelector("button")?.focus();
    rows.set(model.version, { news, element });
    return element;
  });
  for (const element of [...body.children]) if (!fresh.includes(element)) element.remove();
  fresh.forEach((element, index) => {
    const there = body.children[index];
    if (there !== element) body.insertBefore(element, there ?? null);
  });
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
  const verb = version < serving() ? "Roll back" : "Activate";
  const label = { "aria-label": `${verb} to version ${version}` };
  const opener = button(verb, () => {
    const { generation } = state.models;
    const place = serving() ? ` in place of ${serving()}` : "";
    const text = `Let version ${version} serve${place}? `;
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
  rows.get(version).news = "";
  rows.get(version).element.querySelector(".asking").remove(); // the row is made anew
  await load();
  show();
  find("activated").focus();
}
