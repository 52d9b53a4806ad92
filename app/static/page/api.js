// The server: questions, answers, problems (RFC 9457) and event streams.

import { wait } from "./dom.js";
import { set, state } from "./store.js";

const SILENCE = 45_000; // ms; the server sends a comment sooner
const PASSING = new Set([0, 429, 503]);

export class Problem extends Error {
  constructor(status, body = {}, retryAfter = null) {
    const pause = retryAfter ? ` It asks to wait ${retryAfter} s.` : "";
    super(`${body.detail ?? body.title ?? `The server answered ${status}.`}${pause}`);
    this.status = status;
    this.code = body.code ?? "";
    this.errors = body.errors ?? [];
    this.retryAfter = Number(retryAfter) || null;
  }
}

// Returns the response, or throws the problem that it is.
export async function ask(path, { timeout = 10_000, signal, headers, ...rest } = {}) {
  const given = [AbortSignal.timeout(timeout), ...(signal ? [signal] : [])];
  const options = { ...rest, headers: { ...headers, ...authorization() } };
  let response;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.any(given) });
  } catch {
    throw new Problem(0, { detail: "The server does not answer." });
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Problem(response.status, body, response.headers.get("Retry-After"));
}

// As `ask`, for what a person wants to know: a missing key is asked for.
export async function want(path, options) {
  try {
    return await ask(path, options);
  } catch (problem) {
    const needsKey = problem.status === 401 || problem.code === "forbidden";
    if (needsKey) set({ wanted: problem.message });
    throw problem;
  }
}

export function sendJson(path, value, { headers, ...options } = {}) {
  return want(path, {
    method: "POST",
    body: JSON.stringify(value),
    headers: { "Content-Type": "application/json", ...headers },
    ...options,
  });
}

// Asks again what may be asked twice, as long as the failure may pass.
export async function insist(question, tell, tries = 4) {
  for (let left = tries - 1; ; left -= 1) {
    try {
      return await question();
    } catch (problem) {
      if (!left || !PASSING.has(problem.status)) throw problem;
      tell(`${problem.message} Trying again.`);
      await wait(problem.retryAfter ?? 2);
    }
  }
}

export function newKey() {
  // randomUUID() exists in secure contexts only, and plain http may serve this page.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function authorization() {
  if (!state.key) return {};
  const bytes = new TextEncoder().encode(state.key); // headers take bytes only
  return { Authorization: `Bearer ${String.fromCharCode(...bytes)}` };
}

// Yields the events of a stream until it ends. EventSource cannot send a key.
export async function* events(path, lastEventId, signal) {
  const silent = new AbortController();
  let timer = setTimeout(() => silent.abort(), SILENCE);
  try {
    const response = await want(path, {
      headers: { Accept: "text/event-stream", "Last-Event-ID": lastEventId },
      signal: AbortSignal.any([signal, silent.signal]),
      timeout: 3_600_000,
    });
    if (response.status === 204) return;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), SILENCE);
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      yield* blocks.map(readEvent).filter((event) => event.data !== undefined);
    }
  } finally {
    clearTimeout(timer);
    silent.abort();
  }
}

const readEvent = (block) =>
  Object.fromEntries(
    block.split("\n").map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).trimStart()];
    }),
  );
