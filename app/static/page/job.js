// A job: followed live to its end, over broken connections, and told in words.

import { ask, events, want } from "./api.js";
import { drawCurve } from "./curve.js";
import { find, poll, say, wait } from "./dom.js";
import { showMetrics } from "./metrics.js";
import { on, set, state } from "./store.js";

const FINAL = new Set(["succeeded", "failed", "cancelled"]);
const GONE = new Set([401, 403, 404]);
const MILLISECONDS = 4000;
const REASONS = {
  "not-better":
    "on the people held out its error is more than 1.01 times that of the active version, or " +
    "whatever the server tolerates",
  "too-few-rows":
    "below 20 people nobody can be held out to judge by, and the active version has seen more",
  "no-holdout": "nobody was held out, so there is nothing to compare on",
  diverged: "the loss grew beyond all bounds; a smaller learning rate may help",
  timeout: "it took longer than a training may",
  stalled: "it stood still for too long",
  "out-of-memory": "it needed more memory than it may have",
  killed: "its process was killed on every try",
  lost: "its process was lost on every try",
  error: "something in it went wrong; the server's log says what",
};
let following = null; // what ends it

export function start() {
  on(["job"], show);
  on(["job", "models"], compare);
  find("cancel").addEventListener("click", cancel);
  on(["key"], poll(look, MILLISECONDS));
}

// Finds the job that runs, or the newest, whoever started it.
async function look() {
  const before = state.job;
  if (following) return;
  const [running, newest] = await Promise.all(["state=running&", ""].map(first));
  const job = running ?? newest;
  if (!job || following || state.job !== before) return; // somebody has just started one
  if (job.id !== before?.id || !FINAL.has(before.state)) follow(job);
}

const first = (query) =>
  ask(`train?${query}limit=1`).then((answer) => answer.json()).then(({ jobs }) => jobs[0], () => null);

export async function follow(job) {
  following?.abort();
  const mine = (following = new AbortController());
  set({ job });
  await listen(job, mine.signal);
  if (following === mine) following = null;
}

async function listen(job, signal) {
  let seen = "";
  while (!signal.aborted && !FINAL.has(state.job.state)) {
    let pause = 1;
    try {
      for await (const { id, event, data } of events(`train/${job.id}/events`, seen, signal)) {
        if (signal.aborted) return;
        seen = id ?? seen;
        if (event === "draining") set({ health: "draining" });
        else set({ job: JSON.parse(data) });
      }
    } catch (problem) {
      if (signal.aborted) return;
      say(find("job-problem"), `The news broke off. ${problem.message ?? ""}`);
      if (GONE.has(problem.status)) return;
      pause = problem.retryAfter ?? pause;
    }
    await wait(pause);
  }
}

async function cancel() {
  try {
    const answer = await want(`train/${state.job.id}`, { method: "DELETE" });
    if (answer.status === 200) set({ job: await answer.json() });
  } catch (problem) {
    say(find("job-problem"), problem.message);
  }
}

function show() {
  const { job } = state;
  const isFinal = FINAL.has(job.state);
  find("job").hidden = false;
  find("job").dataset.state = job.state;
  find("job").dataset.outcome = job.outcome ?? "";
  say(find("job-title"), `Job ${job.id}`);
  say(find("job-note"), job.note ?? "");
  say(find("job-problem"), "");
  find("job-progress").value = job.progress;
  say(find("epochs-done"), epochs(job));
  say(find("outcome"), outcome(job));
  if (isFinal && document.activeElement === find("cancel")) find("outcome").focus();
  find("cancel").hidden = isFinal;
  drawCurve(job.history);
}

function compare() {
  const { metrics, model_version: made } = state.job ?? {};
  const { challenger, champion, rows } = metrics ?? {};
  const parent = state.models?.models.find(({ version }) => version === made)?.parent;
  showMetrics(find("comparison"), `Both on the ${rows} people held out`, {
    [`new version ${made}`]: challenger,
    [`${parent ? `version ${parent}, ` : ""}active then`]: champion,
  });
}

function epochs({ epoch, epochs: all, eta_seconds: left, state: now }) {
  const rest = left ? `, ${Math.ceil(left)} s left at most` : "";
  return now === "queued" ? "" : `epoch ${epoch} of at most ${all}${rest}`;
}

function outcome(job) {
  const { state: now, outcome: end, reason, model_version: version, attempt } = job;
  const why = REASONS[reason] ?? reason;
  if (now === "queued") return "Waiting for its turn.";
  if (now === "running") return attempt > 1 ? `Training, try ${attempt}.` : "Training.";
  if (now === "cancelled") return "Cancelled; it made no version.";
  if (now === "failed") return `Failed: ${why}.`;
  if (end === "promoted") return `Promoted: version ${version} came to serve.`;
  const verb = end === "rejected" ? "Rejected" : "Kept";
  const cause = reason ? `: ${why}` : ", as was asked for";
  return `${verb}: version ${version} is stored and did not come to serve${cause}.`;
}
