// The document: elements found, made and filled. Data enters as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

export const find = (id) => document.getElementById(id);

export function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function makeSvg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// A screen reader speaks a live region that is written to, so only news is written.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// One call at a time; whatever is asked for meanwhile is one more call afterwards.
export function latest(work) {
  let isRunning = false;
  let isStale = false;
  return async function run() {
    isStale = true;
    if (isRunning) return;
    isRunning = true;
    try {
      while (isStale) {
        isStale = false;
        await work();
      }
    } finally {
      isRunning = false;
    }
  };
}

// Works at once and then at intervals, but not while nobody sees the page.
export function poll(work, milliseconds) {
  let timer = 0;
  const turn = latest(async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    const goesOn = await work();
    if (goesOn !== false) timer = setTimeout(turn, milliseconds);
  });
  document.addEventListener("visibilitychange", turn);
  turn();
  return turn;
}

export const percent = (share) => {
  const value = 100 * share;
  const isNearEnd = value > 0 && (value < 1 || value > 99) && value < 100;
  return `${value.toFixed(isNearEnd ? 1 : 0)} %`;
};

export const wait = (seconds) =>
  new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
