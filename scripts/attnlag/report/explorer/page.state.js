// The state of the page, which is also kept in its address and its history, and what all parts use.

const find = id => document.getElementById(id);
const KEYS = ["model", "corpus", "site", "regression", "tab", "lag", "layer", "shade", "document",
  "token", "class", "theme"];
// Changes of these can be taken back with the browser's button.
const STEPS = ["model", "corpus", "site", "regression", "tab", "layer", "document", "token"];
const index = await block("index", true), glossary = await block("glossary", true);
const DEFAULTS = {shade: "norm", theme: "auto"}, state = {};
let tokens, study, shading, number = 0;

const make = (tag, text, properties = {}) =>
  Object.assign(document.createElement(tag), {textContent: text}, properties);

const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

// Fills a select and returns its value: the wanted one if it exists, otherwise the first. A choice
// between fewer than two is not shown.
function fill(id, options, wanted) {
  const select = find(id);
  select.replaceChildren(...options.map(option => {
    const [value, label] = Array.isArray(option) ? option : [option, option];
    return new Option(label, value);
  }));
  const values = options.map(option => String(Array.isArray(option) ? option[0] : option));
  select.value = values.includes(String(wanted)) ? wanted : values[0];
  select.closest("label").hidden = options.length < 2;
  return select.value;
}

// --- the address and the history --------------------------------------------------------------------

// What the address asked for, until the page has shown it; and the steps that the history has.
let asked = {}, arriving = true, steps = "", lastKeys = "", lastTime = 0;

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  asked = Object.fromEntries(given);
  for (const key of KEYS) {
    delete state[key];
    if (given.has(key) || key in DEFAULTS) state[key] = given.get(key) ?? DEFAULTS[key];
  }
  // The address may contain anything.
  state.layer = state.layer === undefined ? undefined : Number(state.layer);
  arriving = true;
}

// Says what the address asked for in vain.
function sayUnknown() {
  const unknown = Object.entries(asked).filter(([key, value]) => !KEYS.includes(key) || String(state[key] ?? "") !== value);
  find("trouble").hidden = !unknown.length;
  const parts = unknown.map(([key, value]) =>
    `${key} “${value}”${KEYS.includes(key) && state[key] !== undefined ? ` (shown: ${state[key]})` : ""}`);
  find("trouble").textContent = `The address asks for what this study does not have: ${parts.join(", ")}.`;
  asked = {};
}

// Keeps the state in the address. A step makes an entry of the history, unless it goes on with the
// one before, as dragging and arrow keys do.
function writeAddress() {
  const known = KEYS.filter(key => state[key] !== undefined && state[key] !== null);
  const text = `#${new URLSearchParams(known.map(key => [key, state[key]]))}`;
  const now = STEPS.map(key => state[key]), before = steps ? JSON.parse(steps) : now;
  const keys = STEPS.filter((_, at) => String(now[at]) !== String(before[at] ?? undefined)).join();
  const isStep = keys && !arriving && !(keys === lastKeys && performance.now() - lastTime < 1000);
  if (keys && !arriving) [lastKeys, lastTime] = [keys, performance.now()];
  if (!arriving) find("trouble").hidden = true;
  steps = JSON.stringify(now);
  if (text === location.hash) return;
  try {
    history[isStep ? "pushState" : "replaceState"](null, "", text);
  } catch {
    // A page inside a frame may not be allowed to change its address.
  }
}

// --- colours, and what is a hover away ----------------------------------------------------------------

const themes = matchMedia("(prefers-color-scheme: dark)");
const theme = () => state.theme === "auto" ? (themes.matches ? "dark" : "light") : state.theme;

function paint() {
  if (!["auto", "light", "dark"].includes(state.theme)) state.theme = "auto";
  find("theme").value = state.theme;
  document.documentElement.dataset.theme = theme();
  for (const panel of Panel.all.values()) panel.draw();
}

// Shows lines beside a place on the screen.
function showTip(lines, x, y) {
  const tip = find("tip");
  tip.replaceChildren(...lines.map(line => make("div", line)));
  tip.hidden = false;
  const {width, height} = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 4))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 10) : y + 18}px`;
}

const hideTip = () => { find("tip").hidden = true; };

const TERMS = new RegExp(`(?<![\\w-])(${Object.keys(glossary).sort((a, b) => b.length - a.length).join("|")})(?![\\w-])`, "gi");

// A text as nodes, in which each term of the glossary shows its definition unless it is explained already.
function withTerms(text, explained = new Set()) {
  return text.split(TERMS).map(part => {
    const meaning = glossary[part.toLowerCase()];
    if (!meaning || explained.has(meaning)) return part;
    explained.add(meaning);
    const term = make("dfn", part, {tabIndex: 0});
    setAttributes(term, {role: "button", "aria-describedby": "tip"});
    const show = () => {
      const box = term.getBoundingClientRect();
      showTip([meaning], box.left - 14, box.bottom - 12);
    };
    for (const kind of ["mouseenter", "click", "focus"]) term.addEventListener(kind, show);
    for (const kind of ["mouseleave", "blur"]) term.addEventListener(kind, hideTip);
    term.addEventListener("keydown", event => {
      if (event.key === "Escape") hideTip();
    });
    return term;
  });
}

const say = (id, text) => find(id).replaceChildren(...withTerms(text));
