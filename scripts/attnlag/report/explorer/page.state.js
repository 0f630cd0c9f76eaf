// The state of the page, which is also kept in its address.

const find = id => document.getElementById(id);
const KEYS = ["model", "corpus", "site", "regression", "lag", "layer", "shade", "document", "points",
  "token", "brush", "span", "theme"];
const index = await block("index", true);
const state = {points: "document", shade: "norm", theme: "auto"};
const charts = await Charts.made();
let tokens, study, shading, chosen = null, number = 0;

const make = (tag, text, properties = {}) =>
  Object.assign(document.createElement(tag), {textContent: text}, properties);

const counted = (count, one) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;

// Fills a select and returns its value: the wanted one if it exists, otherwise the first.
function fill(id, options, wanted) {
  const select = find(id);
  select.replaceChildren(...options.map(option => {
    const [value, label] = Array.isArray(option) ? option : [option, option];
    return new Option(label, value);
  }));
  const values = options.map(option => String(Array.isArray(option) ? option[0] : option));
  select.value = values.includes(String(wanted)) ? wanted : values[0];
  return select.value;
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const key of KEYS) {
    if (given.has(key)) state[key] = given.get(key);
    else if (["token", "brush", "span"].includes(key)) delete state[key];
  }
  // The address may contain anything.
  state.layer = state.layer === undefined ? undefined : Number(state.layer);
  for (const [key, count] of [["brush", 4], ["span", 2]]) {
    const numbers = state[key]?.toString().split(",").map(Number);
    state[key] = numbers?.length === count && numbers.every(Number.isFinite) ? numbers : undefined;
  }
}

function writeAddress() {
  const known = KEYS.filter(key => state[key] !== undefined && state[key] !== null);
  const text = new URLSearchParams(known.map(key => [key, state[key]])).toString();
  try {
    history.replaceState(null, "", `#${text}`);
  } catch {
    // A page inside a frame may not be allowed to change its address.
  }
}

const themes = matchMedia("(prefers-color-scheme: dark)");
const theme = () => state.theme === "auto" ? (themes.matches ? "dark" : "light") : state.theme;

function paint() {
  if (!["auto", "light", "dark"].includes(state.theme)) state.theme = "auto";
  find("theme").value = state.theme;
  document.documentElement.dataset.theme = theme();
  charts.paint();
}
