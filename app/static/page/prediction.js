// One person: the sliders, the live prediction and its explanation.

import { sendJson } from "./api.js";
import { find, latest, percent, say, wait } from "./dom.js";
import { UNITS } from "./people.js";
import { on, remember, set, state } from "./store.js";

const FEATURES = ["weight", "height"];
const QUIET = 800; // ms without news, after which a screen reader hears the answer

let speech = 0;

export function start() {
  for (const name of FEATURES) {
    find(name).addEventListener("input", (event) => {
      set({ [name]: Number(event.target.value) });
    });
  }
  for (const input of document.querySelectorAll("[name=units]")) {
    input.addEventListener("change", () => changeUnits(input.value));
  }
  find(state.units).checked = true;
  on(["units", "weight", "height"], showSliders);
  on(["units", "weight", "height", "health", "key"], ask);
  on(["models"], () => isSuperseded() && ask());
  showSliders();
  ask();
}

const isSuperseded = () =>
  state.models.models.some(({ active, version }) => active && version !== state.version);

function changeUnits(units) {
  remember("localStorage", "units", units);
  const moved = FEATURES.map((name) => {
    const offset = UNITS[state.units][name].toOffset(state[name]);
    return [name, UNITS[units][name].fromOffset(offset)];
  });
  set({ units, ...Object.fromEntries(moved) });
}

export function inWords(name, value = state[name], units = state.units) {
  return `${Number(value.toFixed(1))} ${UNITS[units][name].unit}`;
}

function showSliders() {
  for (const name of FEATURES) {
    const { min, max, step } = UNITS[state.units][name];
    const slider = find(name);
    Object.assign(slider, { min, max, step, value: state[name] });
    slider.setAttribute("aria-valuetext", inWords(name));
    say(find(`${name}-shown`), inWords(name));
  }
}

const ask = latest(async () => {
  const { weight, height } = UNITS[state.units];
  const person = { [weight.column]: state.weight, [height.column]: state.height };
  try {
    const response = await sendJson("predict?explain=true", person, { timeout: 5000 });
    const answer = await response.json();
    show(answer);
    set({ version: answer.model_version });
  } catch (problem) {
    say(find("prediction-problem"), problem.message);
    find("prediction").classList.add("stale");
  }
  await wait(0.04);
});

function show({ probability, label, model_version: version, extrapolating, explanation }) {
  say(find("prediction-problem"), "");
  find("prediction").classList.remove("stale");
  find("prediction").dataset.label = label;
  say(find("label"), label);
  say(find("probability"), percent(probability));
  find("needle").style.left = `${100 * probability}%`;
  say(find("by-version"), `version ${version}`);
  find("extrapolating").classList.toggle("warning", extrapolating);
  const reach = extrapolating
    ? "Extrapolating: nobody that it was trained on is like this, so the number means nothing."
    : "Within the range of the people that it was trained on.";
  say(find("extrapolating"), reach);
  explain(explanation, probability);
  clearTimeout(speech);
  const person = `${inWords("weight")}, ${inWords("height")}`;
  const sentence = `${person}: label ${label}, probability of F ${percent(probability)}`;
  speech = setTimeout(() => say(find("spoken"), `${sentence}. ${reach}`), QUIET);
}

function explain(explanation, probability) {
  for (const name of FEATURES) {
    const share = explanation[name];
    const bar = find(`${name}-bar`);
    bar.dataset.toward = share < 0 ? "M" : "F";
    bar.style.width = `${50 * Math.min(1, Math.abs(share))}%`;
    say(find(`${name}-share`), points(share));
  }
  const sum = FEATURES.map((name) => `${name} ${points(explanation[name])}`);
  say(
    find("baseline"),
    `It starts from ${percent(explanation.baseline)} for ${average()}; ` +
      `${sum.join(" and ")} points make ${percent(probability)}.`,
  );
}

function points(share) {
  const rounded = (100 * share).toFixed(1);
  return rounded.startsWith("-") ? rounded.replace("-", "−") : `+${rounded}`;
}

const average = () =>
  state.units === "metric" ? "61.2 kg and 167.6 cm" : "135 lb and 66 in";
