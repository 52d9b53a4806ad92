// People: the units they are measured in, and where lists of them come from.

const LB_IN_KG = 0.45359237;
const MAX_DRAWN = 2000;

function measure(column, unit, scale, origin, [min, max, step]) {
  const round = (value) => Math.round(value / step) * step;
  return {
    column, unit, min, max, step,
    fromOffset: (offset) => round(Math.min(max, Math.max(min, (offset + origin) * scale))),
    toOffset: (value) => value / scale - origin,
  };
}

export const UNITS = {
  imperial: {
    weight: measure("weight_lb", "lb", 1, 135, [80, 260, 1]),
    height: measure("height_in", "in", 1, 66, [54, 80, 0.5]),
  },
  metric: {
    weight: measure("weight_kg", "kg", LB_IN_KG, 135, [36, 118, 0.5]),
    height: measure("height_cm", "cm", 2.54, 66, [137, 203, 1]),
  },
};

const person = (weight, height, label, name) => ({ weight, height, label, name });

export const ARTICLE_PEOPLE = [
  person(-2, -1, "F", "Alice"),
  person(25, 6, "M", "Bob"),
  person(17, 4, "M", "Charlie"),
  person(-15, -6, "F", "Diana"),
];

const CONVERSIONS = {
  weight_offset: Number,
  height_offset: Number,
  ...Object.fromEntries(
    Object.values(UNITS)
      .flatMap(Object.values)
      .map(({ column, toOffset }) => [column, (text) => toOffset(Number(text))]),
  ),
};

// The labelled people of a CSV, for drawing: evenly chosen where there are many.
// What is no person is left out; it is the server that checks.
export function readCsv(text) {
  const [header, ...lines] = text.trim().split("\n");
  const names = cells(header);
  const [weight, height, label] = [/^weight_/, /^height_/, /^label$/].map((pattern) =>
    names.findIndex((name) => pattern.test(name)),
  );
  const [toWeight, toHeight] = [CONVERSIONS[names[weight]], CONVERSIONS[names[height]]];
  if (!toWeight || !toHeight || label < 0) return [];
  const stride = Math.max(1, Math.ceil(lines.length / MAX_DRAWN));
  return lines
    .filter((_, index) => index % stride === 0)
    .map(cells)
    .filter((row) => row.length === names.length)
    .map((row) =>
      person(toWeight(row[weight]), toHeight(row[height]), row[label][0]?.toUpperCase()),
    )
    .filter((one) => Number.isFinite(one.weight + one.height));
}

const cells = (line) =>
  line.split(",").map((cell) => cell.trim().replace(/^"(.*)"$/, "$1"));

// Clusters as `offsetnet sample` has them: share, height mean and deviation in inches,
// mean and deviation of the logarithm of the weight in pounds, correlation.
export const CLUSTERS = [
  ["M", 0.5, 69.18, 2.87, 5.14, 0.17, 0.42],
  ["F", 0.23, 63.11, 2.76, 5.06, 0.24, 0.41],
  ["F", 0.27, 64.36, 2.49, 4.86, 0.14, 0.44],
];

export function sampleCsv(rows) {
  const lines = Array.from({ length: rows }, () => {
    const [label, , mean, deviation, logMean, logDeviation, correlation] = cluster();
    const [along, across] = [normal(), normal()];
    const mixed = correlation * along + Math.sqrt(1 - correlation ** 2) * across;
    const weight = Math.exp(logMean + logDeviation * mixed);
    return `${weight.toFixed(1)},${(mean + deviation * along).toFixed(1)},${label}`;
  });
  return ["weight_lb,height_in,label", ...lines, ""].join("\n");
}

function cluster() {
  let rest = Math.random();
  return CLUSTERS.find(([, share]) => (rest -= share) < 0) ?? CLUSTERS[0];
}

// Box and Muller (1958).
const normal = () =>
  Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
