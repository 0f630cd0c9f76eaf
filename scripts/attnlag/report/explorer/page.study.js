// The study: its question, its answers, and its coefficients by layer.

const first = new LineChart("first"), profile = new LineChart("profile");

// Parts of the page, each with what it needs and what draws it; the bar shows what a part uses.
const TABS = {
  coefficients: {bar: ["regression", "term", "layer"], draw: () => showProfile()},
  text: {bar: ["regression", "term", "layer"], draw: () => drawTokens()},
  kinds: {bar: ["layer"], has: () => kinds().length, draw: () => showKinds()},
  heads: {bar: [], has: () => beyond().heads, draw: () => showHeads()},
  causes: {bar: [], has: () => beyond().causes, draw: () => showCauses()},
  vectors: {bar: ["layer"], has: () => beyond().vectors, draw: () => showVectors()},
};
const beyond = () => index.beyond[`${study.model}/${study.corpus}/${study.site}`];
const ofStudy = ({of}) => of.every((part, at) => part === [study.model, study.corpus, study.site][at]);

async function showStudy() {
  const unique = (key, studies) => [...new Set(studies.map(one => one[key]))];
  let left = index.studies;
  for (const key of ["model", "corpus", "site", "regression"]) {
    // Without a choice, the regression is the one that answers.
    if (key === "regression") {
      [study] = left;
      if (!left.some(one => one[key] === state[key])) state[key] = index.answers.find(ofStudy).main;
    }
    state[key] = fill(key, unique(key, left), state[key]);
    left = left.filter(one => one[key] === state[key]);
  }
  [study] = left;
  tokens = await Tokens.of(index, study);
  document.title = `${study.model}, ${study.corpus}: attnlag`;
  const {layers} = study, middle = layers[Math.floor(layers.length / 2)];
  if (!layers.includes(state.layer)) state.layer = middle;
  find("layer").max = layers.length - 1;
  const terms = study.lags.length ? study.lags : Object.keys(study.terms).map(term => [term, term]);
  state.lag = fill("lag", terms, state.lag);
  showOverview();
  const tabs = Object.keys(TABS).filter(name => !TABS[name].has || TABS[name].has());
  if (!tabs.includes(state.tab)) [state.tab] = tabs;
  find("tabs").replaceChildren(...tabs.map(name => {
    const panel = document.querySelector(`[data-tab=${name}]`);
    const tab = make("button", panel.dataset.title, {type: "button", id: `tab-${name}`});
    for (const [key, value] of Object.entries({role: "tab", "aria-controls": `panel-${name}`})) tab.setAttribute(key, value);
    tab.addEventListener("click", () => openTab(name));
    return tab;
  }));
  const shades = [["norm", "norm"], ["relative", "norm / norm of the stream"],
    ["residual", `residual of ${study.regression}`],
    ...tokens.columns.map(column => [column.name, column.label]),
    ...Array.from({length: tokens.heads?.heads ?? 0}, (_, head) => [`head_${head}`, `norm of head ${head}`])];
  state.shade = fill("shade", shades, state.shade);
  if (!["document", "all", "density"].includes(state.points)) state.points = "document";
  find("points").value = state.points;
  showDocuments();
  showFindings();
  describe();
  showDocument();
  if (kept() === null) delete state.token;
  if (arriving) sayUnknown();
  arriving = false;
}

function openTab(name) {
  state.tab = name;
  showTab();
  const {top} = find("tabs").getBoundingClientRect();
  if (top > innerHeight / 2) scrollBy(0, top - 8);
  writeAddress();
}

function showTab() {
  for (const panel of document.querySelectorAll("[data-tab]")) {
    const name = panel.dataset.tab, tab = find(`tab-${name}`);
    panel.hidden = name !== state.tab;
    if (!tab) continue;
    tab.setAttribute("aria-selected", String(name === state.tab));
    tab.tabIndex = name === state.tab ? 0 : -1;
    panel.id = `panel-${name}`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
  }
  find("tabs").scrollLeft = find(`tab-${state.tab}`).offsetLeft - 60;
  const {bar, draw} = TABS[state.tab];
  for (const part of ["term", "layer"]) find(`of-${part}`).hidden = !bar.includes(part);
  find("of-regression").hidden = !bar.includes("regression") || find("regression").length < 2;
  find("layer-says").hidden = !bar.includes("term");
  find("bar").hidden = !bar.length;
  draw();
}

// --- the first screen -----------------------------------------------------------------------------------

const subscript = (name, below) => {
  const node = make("i", name);
  node.append(make("sub", below));
  return node;
};

function showOverview() {
  const {title, lines, main} = index.answers.find(ofStudy);
  find("title").textContent = title;
  const what = {attention: "attention", mlp: "the MLP"}[study.site] ?? "a block";
  say("question", `In each layer, ${what} adds a vector to a token's residual stream: its adjustment. ` +
    "Do long adjustments follow long ones?");
  const own = index.studies.find(one => ofStudy({of: [one.model, one.corpus, one.site]}) && one.regression === main);
  showEquation(own);
  find("answers").tBodies[0].replaceChildren(...lines.map(([label, text, isPart]) => {
    const row = make("tr", ""), head = make("th", "", {scope: "row", className: isPart ? "part" : ""}), data = make("td", "");
    head.append(...withTerms(label));
    // The word that answers stands out.
    const [, word, rest] = text.match(/^(\S*\d\S*|[^:]+(?=: )|)([^]*)$/);
    data.append(make("b", word), ...withTerms(rest));
    row.append(head, data);
    return row;
  }));
  const [term] = own.lags.length ? own.lags[0] : Object.keys(own.terms);
  first.draw({...byLayer(own, term, innerWidth > 600 ? [270, 120] : [120, 60]), label: "coefficients by layer, beside both controls",
    onPick: layer => { state.regression = main; state.lag = term; state.layer = layer; state.tab = "coefficients"; showStudy(); }});
}

// The regression as an equation: a[t] is the norm of a token's adjustment.
function showEquation(own) {
  const symbol = {norm: "a", relative: "r"}[own.outcome] ?? "y", log = symbol === "y" ? "" : "log ";
  const at = away => subscript(symbol, away ? `t${away < 0 ? "−" : "+"}${Math.abs(away)}` : "t");
  const nodes = [log, at(0), " = ", subscript("b", "0")];
  for (const [place, [term]] of own.lags.slice(0, 3).entries()) {
    nodes.push(" + ", subscript("b", place + 1), ` ${log}`, at(own.cells[term][1]));
  }
  if (own.lags.length > 3) nodes.push(" + …");
  if (own.covariates.length) nodes.push(` + ${own.covariates.map(one => one.replaceAll("_", " ")).join(" + ")}`);
  if (own.effects) nodes.push(" + document");
  nodes.push(" + ", subscript("e", "t"));
  const what = make("span", "", {className: "note"});
  what.append(subscript(symbol, "t"), ...withTerms(`: ${own.outcomeName.replace(/^log /, "")} of the ${own.siteLabel} ` +
    `of token t; ${own.effects ? "within documents" : "pooled over documents"}`));
  find("equation").replaceChildren(...nodes, " ", what);
}

// The coefficients of a term by layer as a chart, with its controls.
function byLayer(own, name, [high, low]) {
  const term = own.terms[name], said = own.lags.find(([one]) => one === name)?.[1] ?? name;
  const panels = [{label: `${said}: ${own.unit}`, height: high, series: [
    {name: "random order", kind: "band", colour: "--band", low: term.permutedLow, high: term.permutedHigh},
    {name: `${said}, ${own.level}% interval`, kind: "dot", colour: "--blue", y: term.estimate, low: term.low, high: term.high},
  ]}];
  if (term.random.some(Number.isFinite)) {
    panels.push({label: `${said} before and after training: ${own.unit}`, height: low, series: [
      {name: "before training", kind: "square", colour: "--orange", line: true, y: term.random},
      {name: "trained, same documents, uncorrected", kind: "ring", colour: "--blue", y: term.uncorrected},
    ]});
  }
  return {x: own.layers, xLabel: "layer", panels, onPick: at => setLayer(own.layers[at])};
}

function setLayer(layer) {
  state.layer = layer;
  showLayer();
}

// --- coefficients -----------------------------------------------------------------------------------------

function showFindings() {
  const names = [study.model, study.corpus, study.site, study.regression];
  const all = index.findings.filter(({of}) => of[0] === "comparison" || of.every((part, place) =>
    part === names[place] || (place === 2 && part === "causal")));
  // The first line of a text only names its study, unless it counts the layers of a regression.
  const rest = all.flatMap(one => one.of.length === 4 ? one.lines : one.lines.slice(1));
  find("more-findings").hidden = !rest.length;
  find("more-findings").querySelector("ul").replaceChildren(...rest.map(text => make("li", text)));
}

function showProfile() {
  const term = study.terms[state.lag], said = find("lag").selectedOptions[0].textContent;
  profile.draw({...byLayer(study, state.lag, [270, 130]), cursor: place(),
    label: `${said} by layer; arrow keys read it, Enter chooses a layer`});
  const known = term.estimate.filter(Number.isFinite);
  const middle = (values, words) => values.some(Number.isFinite) ? `; ${words} ${two(median(values))}` : "";
  say("coefficients-claim", known.length ? `${said[0].toUpperCase()}${said.slice(1)} is ${two(median(known))} in the median layer, ` +
    `${two(Math.min(...known))} to ${two(Math.max(...known))}` + middle(term.permutedMean, "in random order") +
    middle(term.random, "before training") + "." : "No layer was fitted.");
  say("profile-note", `${study.outcomeName}, ${study.effects ? "within documents" : "pooled over documents"}: ` +
    `${counted(study.rows, "row")} of ${counted(study.documents, "document")}. Click a layer to choose it for all tabs. ` +
    "Coefficients within a layer are predictive associations, not causes.");
  const heads = ["layer", "coefficient", "from", "to", "random order, from", "to", "random weights",
    "trained, same documents, uncorrected", study.rSquaredName];
  const rows = study.layers.map((layer, at) => [layer, ...["estimate", "low", "high",
    "permutedLow", "permutedHigh", "random", "uncorrected"].map(name => term[name][at]), study.rSquared[at]]);
  const table = make("table", "");
  table.append(make("thead", ""), make("tbody", ""));
  table.tHead.append(make("tr", ""));
  table.tHead.rows[0].append(...heads.map(head => make("th", head, {scope: "col"})));
  table.tBodies[0].append(...rows.map(([layer, ...numbers], at) => {
    const row = make("tr", "", {className: at === place() ? "now" : ""});
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
  say("about", `The page holds ${shown}, with at most ${corpus.longest.toLocaleString("en")} tokens each` +
    (tokens.heads ? `, and the heads of ${tokens.heads.documents.length.toLocaleString("en")} of them` : "") +
    `. Log norms are rounded, with errors of at most ${three(Math.max(...step) / 2)}. Colours span the ` +
    "central 99% of the tokens in a layer. Dashed: first tokens of a sequence, which the " +
    "regressions leave out. Struck through: no value. A residual is the outcome minus the " +
    `prediction of the coefficients${study.effects ? ", minus the mean of its document" : ""}. ` +
    "Coefficients, intervals and controls are those of the whole corpus.");
}
