// Training: whom to train on, what that would be, and the start of it.

import { insist, newKey, want } from "./api.js";
import { find, latest, make, say, wait } from "./dom.js";
import { follow } from "./job.js";
import { showMetrics } from "./metrics.js";
import { ARTICLE_PEOPLE, readCsv, sampleCsv } from "./people.js";
import { set } from "./store.js";

const LARGE = 200_000; // bytes; more is not put into the text field
const UPLOAD = 300_000; // ms
const SETTINGS = ["hidden_units", "epochs", "learning_rate", "seed"];

// Where the people come from: `content` is text or a file, null for the article's.
let source = { name: "nobody yet", content: "", isStarted: false };
let idempotencyKey = newKey();

export function start() {
  const text = find("csv");
  find("sample").addEventListener("click", () => choose("500 made-up people", sampleCsv(500)));
  find("article").addEventListener("click", () => choose("the article's four people", null));
  find("file").addEventListener("change", ({ target }) => {
    if (target.files[0]) chooseFile(target.files[0]);
    target.value = ""; // the same file may be chosen again
  });
  text.addEventListener("input", () => use("the people in the field", text.value));
  text.addEventListener("dragover", (event) => event.preventDefault());
  text.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files[0]) return;
    event.preventDefault();
    chooseFile(event.dataTransfer.files[0]);
  });
  find("training").addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.target.reportValidity()) train();
  });
  find("training").addEventListener("change", ({ target }) => {
    if (!target.name) return;
    idempotencyKey = newKey();
    source.isStarted = false;
    preview();
  });
}

async function chooseFile(file) {
  choose(file.name, file.size > LARGE ? file : await file.text());
}

function choose(name, content) {
  find("csv").value = typeof content === "string" ? content : "";
  use(name, content);
}

function use(name, content) {
  source = { name, content, isStarted: false };
  idempotencyKey = newKey();
  say(find("source"), `Training on ${name}.`);
  preview();
}

// The address and options of a request to train.
function request(isDryRun) {
  const form = new FormData(find("training"));
  const given = (name) => form.get(name)?.trim();
  const changed = SETTINGS.filter(given).map((name) => [name, given(name)]);
  const said = { promote: form.get("promote"), ...(given("note") && { note: given("note") }) };
  const query = new URLSearchParams(isDryRun ? { dry_run: true } : {});
  if (source.content === null) {
    const config = Object.fromEntries(changed.map(([name, value]) => [name, Number(value)]));
    const body = JSON.stringify({ ...said, config });
    return [`train?${query}`, { body, type: "application/json" }];
  }
  for (const [name, value] of [...Object.entries(said), ...changed]) query.set(name, value);
  return [`train?${query}`, { body: source.content, type: "text/csv" }];
}

function send([path, { body, type }], headers = {}) {
  headers = { "Content-Type": type, ...headers };
  return want(path, { method: "POST", body, headers, timeout: UPLOAD });
}

const preview = latest(async () => {
  await wait(0.3); // somebody may be typing
  if (source.content === "" || source.isStarted) return;
  find("preview").setAttribute("aria-busy", "true");
  try {
    const plan = await (await send(request(true))).json();
    if (!source.isStarted) showPreview(plan); // which would be older news
  } catch (problem) {
    if (!source.isStarted) showProblem(problem);
  }
  find("preview").removeAttribute("aria-busy");
});

async function train() {
  const { content } = source;
  if (content === "") {
    say(find("training-problem"), "Choose people first: a CSV, a sample, or the article's four.");
    return;
  }
  const headers = { "Idempotency-Key": idempotencyKey };
  const tell = (text) => say(find("training-problem"), text);
  find("train").disabled = source.isStarted = true;
  try {
    const job = await (await insist(() => send(request(false), headers), tell)).json();
    showProblem(null);
    showMetrics(find("champion"), "", {}); // the job has its own
    idempotencyKey = newKey();
    const people = content === null ? ARTICLE_PEOPLE : readCsv(await textOf(content));
    set({ people, crowd: `people of job ${job.id}` });
    follow(job);
  } catch (problem) {
    showProblem(problem);
  }
  find("train").disabled = false;
}

const textOf = (content) => (typeof content === "string" ? content : content.text());

function showPreview(plan) {
  const { rows, labels, split, conflicting_rows: conflicting, warnings, champion } = plan;
  showProblem(null);
  const facts = [
    ["people", rows.toLocaleString("en")],
    ["F and M", `${labels.F.toLocaleString("en")} and ${labels.M.toLocaleString("en")}`],
    ["trained on", split.training.toLocaleString("en")],
    ["held out", split.holdout.toLocaleString("en")],
    ["conflicting rows", conflicting.toLocaleString("en")],
  ];
  find("facts").replaceChildren(
    ...facts.map(([term, fact]) => make("div", {}, make("dt", {}, term), make("dd", {}, fact))),
  );
  find("warnings").replaceChildren(...warnings.map((warning) => make("li", {}, warning)));
  showMetrics(find("champion"), "The active version on those held out", { active: champion });
}

function showProblem(problem) {
  say(find("training-problem"), problem?.message ?? "");
  find("faults").hidden = !problem?.errors.length;
  find("fault-rows").replaceChildren(
    ...(problem?.errors ?? []).map(({ row, column, pointer, parameter, detail }) =>
      make("tr", {},
        make("td", {}, row ?? "–"),
        make("td", {}, column ?? parameter ?? pointer ?? "–"),
        make("td", {}, detail),
      ),
    ),
  );
  if (!problem) return;
  find("facts").replaceChildren();
  find("warnings").replaceChildren();
  showMetrics(find("champion"), "", {});
}
