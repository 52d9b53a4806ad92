// Training: whom to train on, what that would be, and the start of it.

import { insist, newKey, want } from "./api.js";
import { find, latest, make, say, wait } from "./dom.js";
import { follow } from "./job.js";
import { showMetrics } from "./metrics.js";
import { ARTICLE_PEOPLE, readCsv, sampleCsv } from "./people.js";
import { remember, set, state } from "./store.js";

const LARGE = 200_000; // bytes; more is not put into the text field
const UPLOAD = 300_000; // ms
const CROWDS = 8; // lists of people that are kept for the map
const SETTINGS = ["hidden_units", "epochs", "learning_rate", "seed"];

// Where the people come from: `content` is text or a file, null for the article's.
let source = { name: "", content: "" };
let idempotencyKey = newKey();
let previewing = new AbortController();

export function start() {
  const [text, form, noPeople] = [find("csv"), find("training"), find("source").textContent];
  const use = (name, content) => {
    source = { name, content };
    say(find("source"), content === "" ? noPeople : `Training on ${name}.`);
    if (content === "") showProblem({});
    changed();
  };
  const choose = async (name, content) => {
    const isFile = content instanceof File;
    use(name, isFile && !content.size ? "" : content);
    if (isFile && !content.size) say(find("source"), `${name} is empty.`);
    const chosen = source;
    if (isFile) content = content.size > LARGE ? "" : await content.text();
    if (source === chosen) text.value = content ?? "";
  };
  find("sample").addEventListener("click", () => choose("500 made-up people", sampleCsv(500)));
  find("article").addEventListener("click", () => choose("the article's four people", null));
  find("file").addEventListener("change", ({ target }) => {
    if (target.files[0]) choose(target.files[0].name, target.files[0]);
    target.value = ""; // the same file may be chosen again
  });
  text.addEventListener("input", () => use("the people in the field", text.value));
  text.addEventListener("paste", (event) => {
    const pasted = event.clipboardData.getData("text/plain");
    if (pasted.length <= LARGE) return;
    event.preventDefault(); // the field would stand still for seconds
    choose("pasted text", new File([pasted], "pasted text"));
  });
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault(); // the browser would open it in place of the page
    choose(file.name, file);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    train();
  });
  const open = ({ target }) => target.closest("details")?.setAttribute("open", "");
  form.addEventListener("invalid", open, true); // a fault out of sight has no bubble
  form.addEventListener("change", ({ target }) => {
    if (SETTINGS.includes(target.name)) changed();
    else if (target.name) idempotencyKey = newKey();
  });
}

function changed() {
  idempotencyKey = newKey();
  previewing.abort();
  previewing = new AbortController();
  preview();
}

// The address and options of a request to train.
function request(isDryRun) {
  const form = new FormData(find("training"));
  const given = (name) => form.get(name)?.trim();
  const changed = SETTINGS.filter(given).map((name) => [name, given(name)]);
  const note = given("note") && { note: given("note") };
  const said = isDryRun ? {} : { promote: form.get("promote"), ...note };
  const query = new URLSearchParams(isDryRun ? { dry_run: true } : {});
  if (source.content === null) {
    const config = Object.fromEntries(changed.map(([name, value]) => [name, Number(value)]));
    const body = JSON.stringify({ ...said, config });
    return [`train?${query}`, { body, type: "application/json" }];
  }
  for (const [name, value] of [...Object.entries(said), ...changed]) query.set(name, value);
  return [`train?${query}`, { body: source.content, type: "text/csv" }];
}

function send([path, { body, type }], { headers, signal } = {}) {
  headers = { "Content-Type": type, ...headers };
  return want(path, { method: "POST", body, headers, signal, timeout: UPLOAD });
}

const preview = latest(async () => {
  const { signal } = previewing; // which a newer preview aborts, and a start
  await wait(0.3); // somebody may be typing
  if (source.content === "" || signal.aborted) return;
  find("preview").setAttribute("aria-busy", "true");
  try {
    showPreview(await (await send(request(true), { signal })).json());
  } catch (problem) {
    if (!signal.aborted) showProblem(problem);
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
  previewing.abort();
  find("train").disabled = true;
  try {
    const job = await (await insist(() => send(request(false), { headers }), tell)).json();
    showProblem(null);
    showMetrics(find("champion"), "", {}); // the job has its own
    idempotencyKey = newKey();
    follow(job);
    const people = content === null ? ARTICLE_PEOPLE : readCsv(await textOf(content));
    keepCrowd(job.dataset_sha256, { people, name: `people of job ${job.id}` });
  } catch (problem) {
    showProblem(problem);
  }
  find("train").disabled = false;
}

const textOf = (content) => (typeof content === "string" ? content : content.text());

// A reload draws them, too, with a version that was trained on them.
function keepCrowd(dataset, crowd) {
  const crowds = Object.entries({ ...state.crowds, [dataset]: crowd }).slice(-CROWDS);
  set({ crowds: Object.fromEntries(crowds) });
  remember("sessionStorage", "crowds", JSON.stringify(state.crowds));
}

function showPreview(plan) {
  const { rows, labels, split, warnings, champion } = plan;
  showProblem(null);
  const facts = [
    ["people", rows.toLocaleString("en")],
    ["F and M", `${labels.F.toLocaleString("en")} and ${labels.M.toLocaleString("en")}`],
    ["trained on", split.training.toLocaleString("en")],
    ["held out", split.holdout.toLocaleString("en")],
  ];
  find("facts").replaceChildren(
    ...facts.map(([term, fact]) => make("div", {}, make("dt", {}, term), make("dd", {}, fact))),
  );
  find("warnings").replaceChildren(...warnings.map((warning) => make("li", {}, warning)));
  showMetrics(find("champion"), "The active version on those held out", { active: champion });
}

function showProblem(problem) {
  say(find("training-problem"), problem?.message ?? "");
  find("faults").hidden = !problem?.errors?.length;
  find("fault-rows").replaceChildren(
    ...(problem?.errors ?? []).map(({ row, column, pointer, parameter, detail }) =>
      make("tr", {},
        make("td", {}, row ?? "–"),
        make("td", {}, column ?? parameter ?? pointer?.split("/").pop() ?? "–"),
        make("td", {}, detail),
      ),
    ),
  );
  if (!problem) return;
  find("facts").replaceChildren();
  find("warnings").replaceChildren();
  showMetrics(find("champion"), "", {});
}
