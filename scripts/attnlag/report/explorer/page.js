// The state of the page, which is in its address too, and the controls that change it.

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

// Fills a select, and returns its value: the one that is wanted, if it is there, or the first.
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
  // What a reader typed may be anything.
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
    // A page inside another one may have no address of its own.
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

// --- the study ----------------------------------------------------------------------------------

async function showStudy() {
  const unique = (key, studies) => [...new Set(studies.map(one => one[key]))];
  let left = index.studies;
  for (const key of ["model", "corpus", "site", "regression"]) {
    state[key] = fill(key, unique(key, left), state[key]);
    left = left.filter(one => one[key] === state[key]);
  }
  [study] = left;
  tokens = await Tokens.of(index, study);
  find("title").textContent = `Norms of the ${study.siteLabel}: ${study.model}, ${study.corpus}`;
  document.title = `${study.model}, ${study.corpus}: attnlag`;
  showFindings();
  const terms = study.lags.length ? study.lags : Object.keys(study.terms).map(term => [term, term]);
  state.lag = fill("lag", terms, state.lag);
  const {layers} = study, middle = layers[Math.floor(layers.length / 2)];
  if (!layers.includes(state.layer)) state.layer = middle;
  find("layer").max = layers.length - 1;
  find("layer").value = layers.indexOf(state.layer);
  const shades = [["norm", "norm"], ["relative", "norm / norm of the stream"],
    ["residual", `residual of ${study.regression}`],
    ...tokens.columns.map(column => [column.name, column.label])];
  state.shade = fill("shade", shades, state.shade);
  if (!["document", "all", "density"].includes(state.points)) state.points = "document";
  find("points").value = state.points;
  showDocuments();
  showProfile();
  showDocument();
  describe();
}

function showFindings() {
  const names = [study.model, study.corpus, study.site, study.regression];
  const all = index.findings.filter(({of}) => of[0] === "comparison" || of.every((part, place) =>
    part === names[place] || (place === 2 && part === "causal")));
  const [own, others] = [all.filter(({of}) => of.length === 4), all.filter(({of}) => of.length < 4)];
  const lines = own.flatMap(one => one.lines);
  // Sizes, order and random weights come first; the rest can be opened.
  const main = lines.slice(0, 2 + study.lags.length + 1);
  const items = texts => texts.map(text => make("li", text));
  find("findings").replaceChildren(...items([...main, ...others.flatMap(one => one.lines.slice(1))]));
  const rest = lines.slice(main.length);
  find("more-findings").hidden = !rest.length;
  find("more-findings").querySelector("ul").replaceChildren(...items(rest));
}

function showProfile() {
  const term = study.terms[state.lag];
  charts.drawProfile(study, state.lag);
  find("key-permuted").hidden = !term.permutedLow.some(Number.isFinite);
  find("key-random").hidden = !term.random.some(Number.isFinite);
  find("profile-note").textContent =
    `${study.outcomeName}, ${study.effects ? "within documents" : "pooled over documents"}: ` +
    `${counted(study.rows, "row")} of ${counted(study.documents, "document")}; intervals of ` +
    `${study.level}%. Click a layer to see its tokens. Coefficients within a layer are ` +
    "predictive associations, not causes.";
  const heads = ["layer", "coefficient", "from", "to", "random order, from", "to", "random weights",
    study.rSquaredName];
  const rows = study.layers.map((layer, place) => [layer, ...["estimate", "low", "high",
    "permutedLow", "permutedHigh", "random"].map(name => term[name][place]), study.rSquared[place]]);
  const table = make("table", "");
  table.append(make("thead", ""), make("tbody", ""));
  table.tHead.append(make("tr", ""));
  table.tHead.rows[0].append(...heads.map(head => make("th", head, {scope: "col"})));
  table.tBodies[0].append(...rows.map(([layer, ...numbers]) => {
    const row = make("tr", "");
    row.append(make("th", layer, {scope: "row"}),
      ...numbers.map(value => make("td", value === null ? "" : three(value))));
    return row;
  }));
  find("table").querySelector(".scroll").replaceChildren(table);
}

function describe() {
  const corpus = index.corpora[study.corpus];
  const {step} = index.norms[`${study.model}/${study.corpus}/${study.site}`];
  const shown = corpus.shown === corpus.documents ? `all ${counted(corpus.documents, "document")}`
    : `${corpus.shown.toLocaleString("en")} of ${counted(corpus.documents, "document")}, taken from ` +
      `the ${counted(corpus.groups, "group")} in turn`;
  find("about").textContent =
    `The page holds ${shown}, of each at most ${corpus.longest.toLocaleString("en")} tokens. Log ` +
    `norms are rounded: they are at most ${three(Math.max(...step) / 2)} off. Shades hold the ` +
    "central 99% of the tokens in a layer. Dashed: first tokens of a sequence, which the " +
    "regressions leave out. Struck through: no value. A residual is the outcome less what the coefficients of the table " +
    `predict${study.effects ? ", without the mean of its document" : ""}. Coefficients, intervals ` +
    "and controls rest on the whole corpus.";
}

// --- the document -------------------------------------------------------------------------------

function matching() {
  const words = find("find").value.trim().toLowerCase();
  const every = tokens.documents.map((one, place) => ({one, place}));
  return every.filter(({one}) => !words || one.name.toLowerCase().includes(words) ||
    one.group.toLowerCase().includes(words) || one.tokens.join("").toLowerCase().includes(words));
}

// Fills the list of documents with those that are searched for; the first one if none is chosen.
function showDocuments() {
  const found = matching(), select = find("document");
  const groups = new Map();
  for (const {one} of found) {
    if (!groups.has(one.group)) groups.set(one.group, make("optgroup", "", {label: one.group}));
    groups.get(one.group).append(new Option(one.name, one.name));
  }
  select.replaceChildren(...groups.values());
  const total = tokens.documents.length;
  find("found").textContent = found.length === total ? counted(total, "document")
    : `${found.length} of ${counted(total, "document")}`;
  if (!found.length) return false;
  const here = found.some(({one}) => one.name === state.document);
  if (!here) {
    // A token is one of the document that was shown.
    if (state.document !== undefined) {
      delete state.token;
      delete state.span;
    }
    state.document = found[0].one.name;
  }
  select.value = state.document;
  return !here;
}

const pane = new TextPane(find("text"), {
  onPoint: token => tell(token ?? kept()),
  onPick: pick,
  onSpan: (from, to) => {
    delete state.brush;
    state.span = from === null ? undefined : [from - tokens.first[number], to - tokens.first[number]];
    showHighlight();
    writeAddress();
  },
});

function showDocument() {
  number = tokens.documents.findIndex(one => one.name === state.document);
  pane.write(tokens, number);
  showLayer();
}

const place = () => study.layers.indexOf(state.layer);

// The token that was clicked, in all tokens.
function kept() {
  const at = Number(state.token), one = tokens.documents[number];
  return state.token !== undefined && one.tokens[at] !== undefined ? tokens.first[number] + at : null;
}

function pick(token, scroll = true) {
  const of = tokens.document[token];
  if (of !== number) {
    delete state.span;
    state.document = tokens.documents[of].name;
    find("find").value = "";
    showDocuments();
    number = of;
    pane.write(tokens, number);
    drawTokens();
  }
  state.token = token - tokens.first[of];
  pane.activate(token, true);
  tell(token);
  if (scroll) pane.element.focus({preventScroll: true});
  writeAddress();
}

// --- the layer ----------------------------------------------------------------------------------

function showLayer() {
  const term = study.terms[state.lag], at = place();
  const slider = find("layer");
  slider.value = at;
  const name = find("lag").selectedOptions[0].textContent;
  const said = term.estimate[at] === null ? `layer ${state.layer}: not fitted`
    : `layer ${state.layer}: ${name} ${three(term.estimate[at])} (${three(term.low[at])} to ` +
      `${three(term.high[at])}), ${study.rSquaredName} ${three(study.rSquared[at])}`;
  find("layer-says").textContent = said;
  slider.setAttribute("aria-valuetext", said);
  charts.moveCursor(state.layer);
  for (const [row, one] of [...document.querySelectorAll("#table tbody tr")].entries()) {
    one.classList.toggle("now", row === at);
  }
  drawTokens();
}

function drawTokens() {
  const at = place();
  shading = new Shading(tokens, at, state.shade, theme());
  pane.shade(shading);
  showScale();
  const {x, y} = tokens.neighbours(at);
  const all = [];
  for (let token = 0; token < tokens.count; token++) if (tokens.hasPoint(at, token)) all.push(token);
  const own = all.filter(token => tokens.document[token] === number);
  const lag = study.terms.lag_1?.estimate[at] ?? null;
  const mean = values => all.reduce((sum, token) => sum + values[token], 0) / all.length;
  const [mx, my] = [mean(x), mean(y)];
  const covered = all.reduce((sum, token) => sum + (x[token] - mx) * (y[token] - my), 0) /
    all.reduce((sum, token) => sum + (x[token] - mx) ** 2, 0);
  const what = study.outcomeName + (study.effects ? ", less its document's mean" : "");
  charts.drawCloud({x, y}, own, all, state.points, [`token t−1: ${what}`, `token t: ${what}`],
    lag === null ? null : {x: mx, y: my, slope: lag});
  find("cloud-note").textContent = `Layer ${state.layer}: ${counted(own.length, "point")} of this ` +
    `document, ${all.length.toLocaleString("en")} of all. The slope of the whole cloud is ` +
    `${three(covered)}` + (lag === null ? "." : `; the line has the coefficient of lag 1, ` +
    `${three(lag)}, which holds the other terms fixed.`) + " Drag over points to highlight them.";
  showHighlight();
  const now = kept();
  pane.activate(now, true);
  tell(now);
  writeAddress();
}

function showScale() {
  const scale = find("scale");
  if (shading.categories) {
    const present = new Set(pane.spans.map((_, token) =>
      shading.familyOf[shading.values[tokens.first[number] + token]]));
    scale.replaceChildren(...shading.families.flatMap(([name, colour, tags], family) => {
      if (!present.has(family)) return [];
      const button = make("button", name, {type: "button", title: tags.join(", ")});
      button.style.background = colour;
      button.style.color = inkOn(parts(colour));
      button.setAttribute("aria-label", `highlight ${name}`);
      button.addEventListener("click", () => {
        const own = pane.spans.map((_, token) => tokens.first[number] + token);
        chosen = new Set(own.filter(token => shading.familyOf[shading.values[token]] === family));
        delete state.brush;
        delete state.span;
        sayHighlight();
      });
      return [button];
    }));
    return;
  }
  const [low, high] = shading.range.map(value => three(shading.exponential ? Math.exp(value) : value));
  const ramp = make("span", "", {className: "ramp"});
  ramp.style.background = `linear-gradient(to right, ${shading.ramp.join(", ")})`;
  scale.replaceChildren(make("span", low), ramp,
    make("span", `${high}${shading.exponential ? " (log scale)" : ""}`));
}

// --- highlight and pointing ---------------------------------------------------------------------

// What the brush or the span holds; another layer has other points in the same brush.
function showHighlight() {
  const {brush, span} = state, {x, y} = tokens.neighbours(place());
  chosen = null;
  if (brush) {
    const [x0, x1, y0, y1] = brush;
    chosen = new Set();
    for (let token = 0; token < tokens.count; token++) {
      const inside = x[token] >= x0 && x[token] <= x1 && y[token] >= y0 && y[token] <= y1;
      const shown = state.points !== "document" || tokens.document[token] === number;
      if (inside && shown) chosen.add(token);
    }
    for (const [at, name] of ["x0", "x1", "y0", "y1"].entries()) find("limits").elements[name].value = brush[at];
  } else if (span) {
    const first = tokens.first[number], last = tokens.documents[number].tokens.length - 1;
    chosen = new Set();
    for (let at = Math.max(0, span[0]); at <= Math.min(span[1], last); at++) chosen.add(first + at);
  }
  sayHighlight();
}

function sayHighlight() {
  charts.showBrush(state.brush);
  charts.select(chosen);
  pane.highlight(chosen);
  find("clear").disabled = chosen === null;
  find("highlighted").hidden = chosen === null;
  if (chosen === null) return;
  const all = [...chosen], here = all.filter(token => tokens.document[token] === number);
  const documents = new Set(all.map(token => tokens.document[token]));
  find("highlighted-title").textContent = `${counted(all.length, "token")} highlighted` +
    (documents.size > 1 ? ` in ${documents.size} documents, ${here.length} in this one` : "");
  // Some from each document come first.
  const others = all.filter(token => tokens.document[token] !== number);
  const step = Math.max(1, Math.floor(others.length / 12));
  find("elsewhere").replaceChildren(...others.filter((_, at) => at % step === 0).slice(0, 12).map(token => {
    const item = make("li", ""), button = make("button", "", {type: "button"});
    button.append(`${tokens.documents[tokens.document[token]].name}: `, ...around(tokens, token));
    button.addEventListener("click", () => pick(token));
    item.append(button);
    return item;
  }));
}

// Says what a token is, with the text around it, and rings its point.
function tell(token) {
  pane.activate(token, false);
  if (token === null) {
    charts.ring(NaN, NaN);
    find("token").textContent = "Point at a token or at a point of the chart; click to keep it.";
    find("words").replaceChildren();
    return;
  }
  const at = place(), {x, y} = tokens.neighbours(at), of = tokens.document[token];
  charts.ring(x[token], y[token]);
  const facts = [`norm ${three(Math.exp(tokens.norm(at)[token]))}`,
    `relative ${three(Math.exp(tokens.relative(at)[token]))}`,
    `residual ${three(tokens.residual(at)[token])}`];
  if (Number.isFinite(x[token])) facts.unshift(`t−1 ${three(x[token])}, t ${three(y[token])}`);
  for (const {name, label} of tokens.columns) {
    facts.push(`${label} ${new Shading(tokens, at, name, theme()).said(token)}`);
  }
  const left = tokens.position[token] < study.dropFirst ? "; left out of the regressions" : "";
  find("token").textContent = `${tokens.documents[of].name}, token ${token - tokens.first[of]} ` +
    `${JSON.stringify(tokens.text(token))} in layer ${state.layer}: ${facts.join("; ")}${left}`;
  find("words").replaceChildren(...around(tokens, token));
}

// --- controls -----------------------------------------------------------------------------------

for (const key of ["model", "corpus", "site", "regression"]) {
  find(key).addEventListener("change", event => {
    state[key] = event.target.value;
    showStudy();
  });
}
find("theme").addEventListener("change", event => {
  state.theme = event.target.value;
  paint();
  drawTokens();
});
themes.addEventListener("change", () => {
  paint();
  drawTokens();
});
find("lag").addEventListener("change", event => {
  state.lag = event.target.value;
  showProfile();
  showLayer();
});
find("layer").addEventListener("input", event => {
  state.layer = study.layers[event.target.value];
  showLayer();
});
find("find").addEventListener("input", () => {
  if (showDocuments()) showDocument();
});
find("document").addEventListener("change", event => {
  state.document = event.target.value;
  delete state.token;
  delete state.span;
  showDocument();
});
for (const key of ["shade", "points"]) {
  find(key).addEventListener("change", event => {
    state[key] = event.target.value;
    drawTokens();
  });
}
function brushed(box) {
  delete state.span;
  state.brush = box?.map(value => Number(value.toPrecision(4)));
  showHighlight();
  writeAddress();
}
find("clear").addEventListener("click", () => brushed(undefined));
find("limits").addEventListener("submit", event => {
  event.preventDefault();
  const numbers = ["x0", "x1", "y0", "y1"].map(name => event.target.elements[name].value);
  const ends = [-1e6, 1e6, -1e6, 1e6];
  brushed(numbers.map((value, at) => value === "" ? ends[at] : Number(value)));
});
for (const form of document.forms) form.addEventListener("submit", event => event.preventDefault());

document.addEventListener("chart", ({detail}) => {
  if (detail.kind === "layer") {
    const near = Math.max(0, Math.round(detail.x) - study.layers[0]);
    state.layer = study.layers[near] ?? study.layers.at(-1);
    showLayer();
  } else if (detail.kind === "hover") {
    tell(detail.tokens.length ? detail.tokens[0] : kept());
  } else if (detail.kind === "point") {
    const near = nearest(detail.x, detail.y);
    if (near !== null) pick(near);
  } else if (detail.kind === "brush" && detail.type === "rect") {
    brushed([detail.x0, detail.x1, detail.y0, detail.y1]);
  }
});

// The token whose point is nearest to a place of the chart, if one is near.
function nearest(atX, atY) {
  const {x, y} = tokens.neighbours(place()), range = charts.model("scatter").x_range;
  let best = null, least = (range.end - range.start) * 0.03;
  for (let token = 0; token < tokens.count; token++) {
    if (state.points === "document" && tokens.document[token] !== number) continue;
    const away = Math.hypot(x[token] - atX, y[token] - atY);
    if (away < least) [best, least] = [token, away];
  }
  return best;
}

addEventListener("hashchange", () => {
  readAddress();
  paint();
  showStudy();
});

// For the console of the browser: the numbers behind the page.
globalThis.explorer = {index, state, get tokens() { return tokens; }, get study() { return study; }};

readAddress();
find("main").hidden = false;
paint();
await showStudy();
document.documentElement.dataset.ready = "yes";
