// The study: its question, its answers, and its coefficients by layer.

const first = new LineChart("first"), profile = new LineChart("profile");

// Parts of the page, each with what it needs and what draws it; the bar shows what a part uses.
const TABS = {
  coefficients: {bar: ["regression", "term", "layer"], draw: () => showProfile()},
  text: {bar: ["regression", "term", "layer"], draw: () => drawTokens()},
  kinds: {bar: ["layer"], has: () => kinds().length, draw: () => showKinds()},
  heads: {bar: [], has: () => beyond().heads, draw: () => showHeads()},
  causes: {bar: [], has: () => beyond().causes, draw: () => showCauses()},
};
const beyond = () => index.beyond[`${study.model}/${study.corpus}/${study.site}`];
const ofStudy = ({of}) => of.every((name, at) => name === [study.model, study.corpus, study.site][at]);
// All regressions of the chosen model, corpus and site.
const ofSite = () => index.studies.filter(({model, corpus, site}) => ofStudy({of: [model, corpus, site]}));

async function showStudy() {
  let studies = index.studies;
  for (const key of ["model", "corpus", "site", "regression"]) {
    const names = [...new Set(studies.map(study => study[key]))];
    [study] = studies;
    // Without a choice, the regression is the one that answers.
    if (key === "regression" && !names.includes(state[key])) state[key] = index.answers.find(ofStudy).main;
    state[key] = fill(key, names, state[key]);
    studies = studies.filter(study => study[key] === state[key]);
  }
  [study] = studies;
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
    setAttributes(tab, {role: "tab", "aria-controls": `panel-${name}`});
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
  if (keptToken() === null) delete state.token;
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
    const name = panel.dataset.tab, tab = find(`tab-${name}`), isOpen = name === state.tab;
    panel.hidden = !isOpen;
    if (!tab) continue;
    tab.setAttribute("aria-selected", String(isOpen));
    tab.tabIndex = isOpen ? 0 : -1;
    setAttributes(panel, {id: `panel-${name}`, role: "tabpanel", "aria-labelledby": tab.id});
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
  const sublayer = {attention: "attention", mlp: "the MLP"}[study.site] ?? "a block";
  say("question", `In each layer, ${sublayer} adds a vector to a token's residual stream: its adjustment. ` +
    "Do long adjustments follow long ones?");
  const answering = ofSite().find(({regression}) => regression === main);
  showEquation(answering);
  find("answers").tBodies[0].replaceChildren(...lines.map(([label, text, isPart]) => {
    const row = make("tr", ""), head = make("th", "", {scope: "row", className: isPart ? "part" : ""}), data = make("td", "");
    head.append(...withTerms(label));
    // The word that answers stands out.
    const [, answer, details] = text.match(/^(\S*\d\S*|[^:]+(?=: )|)([^]*)$/);
    data.append(make("b", answer), ...withTerms(details));
    row.append(head, data);
    return row;
  }));
  const [term] = answering.lags.length ? answering.lags[0] : Object.keys(answering.terms);
  first.draw({...byLayer(answering, term, innerWidth > 600 ? [270, 120] : [120, 60]), label: "coefficients by layer, beside both controls",
    onPick: layer => { state.regression = main; state.lag = term; state.layer = layer; state.tab = "coefficients"; showStudy(); }});
}

// The regression as an equation: a[t] is the norm of a token's adjustment.
function showEquation({outcome, outcomeName, lags, cells, covariates, effects, siteLabel}) {
  const symbol = {norm: "a", relative: "r"}[outcome] ?? "y", log = symbol === "y" ? "" : "log ";
  const at = away => subscript(symbol, away ? `t${away < 0 ? "−" : "+"}${Math.abs(away)}` : "t");
  const nodes = [log, at(0), " = ", subscript("b", "0")];
  for (const [place, [term]] of lags.slice(0, 3).entries()) {
    nodes.push(" + ", subscript("b", place + 1), ` ${log}`, at(cells[term][1]));
  }
  if (lags.length > 3) nodes.push(" + …");
  for (const covariate of covariates) nodes.push(` + ${covariate.replaceAll("_", " ")}`);
  if (effects) nodes.push(" + document");
  nodes.push(" + ", subscript("e", "t"));
  const note = make("span", "", {className: "note"});
  note.append(subscript(symbol, "t"), ...withTerms(`: ${outcomeName.replace(/^log /, "")} of the ${siteLabel} ` +
    `of token t; ${effects ? "within documents" : "pooled over documents"}`));
  find("equation").replaceChildren(...nodes, " ", note);
}

// The coefficients of a term by layer as a chart, with its controls.
function byLayer({terms, lags, layers, unit, level}, name, [high, low]) {
  const term = terms[name], label = new Map(lags).get(name) ?? name;
  const panels = [{label: `${label}: ${unit}`, height: high, series: [
    {name: "random order", kind: "band", colour: "--band", low: term.permutedLow, high: term.permutedHigh},
    {name: `${label}, ${level}% interval`, kind: "dot", colour: "--blue", y: term.estimate, low: term.low, high: term.high},
  ]}];
  if (term.random.some(Number.isFinite)) {
    panels.push({label: `${label} before and after training: ${unit}`, height: low, series: [
      {name: "before training", kind: "square", colour: "--orange", line: true, y: term.random},
      {name: "trained, same documents, uncorrected", kind: "ring", colour: "--blue", y: term.uncorrected},
    ]});
  }
  return {x: layers, xLabel: "layer", panels, onPick: at => setLayer(layers[at])};
}

function setLayer(layer) {
  state.layer = layer;
  showLayer();
}

const capitalised = text => text[0].toUpperCase() + text.slice(1);

// --- coefficients -----------------------------------------------------------------------------------------

function showFindings() {
  const names = [study.model, study.corpus, study.site, study.regression];
  const texts = index.findings.filter(({of}) => of[0] === "comparison" || of.every((name, place) =>
    name === names[place] || (place === 2 && name === "causal")));
  // The first line of a text only names its study, unless it counts the layers of a regression.
  const lines = texts.flatMap(({of, lines}) => of.length === 4 ? lines : lines.slice(1));
  find("more-findings").hidden = !lines.length;
  find("more-findings").querySelector("ul").replaceChildren(...lines.map(line => make("li", line)));
}

function showProfile() {
  const term = study.terms[state.lag], label = find("lag").selectedOptions[0].textContent;
  profile.draw({...byLayer(study, state.lag, [270, 130]), cursor: place(),
    label: `${label} by layer; arrow keys read it, Enter chooses a layer`});
  const known = term.estimate.filter(Number.isFinite);
  const middle = (values, words) => values.some(Number.isFinite) ? `; ${words} ${two(median(values))}` : "";
  say("coefficients-claim", known.length ? `${capitalised(label)} is ${two(median(known))} in the median layer, ` +
    `${two(Math.min(...known))} to ${two(Math.max(...known))}` + middle(term.permutedMean, "in random order") +
    middle(term.random, "before training") + "." : "No layer was fitted.");
  say("profile-note", `${study.outcomeName}, ${study.effects ? "within documents" : "pooled over documents"}: ` +
    `${counted(study.rows, "row")} of ${counted(study.documents, "document")}. Click a layer to choose it for all tabs. ` +
    "Coefficients within a layer are predictive associations, not causes.");
  const headers = ["layer", "coefficient", "from", "to", "random order, from", "to", "random weights",
    "trained, same documents, uncorrected", study.rSquaredName];
  const rows = study.layers.map((layer, at) => [layer, ...["estimate", "low", "high",
    "permutedLow", "permutedHigh", "random", "uncorrected"].map(name => term[name][at]), study.rSquared[at]]);
  const table = make("table", "");
  table.append(make("thead", ""), make("tbody", ""));
  table.tHead.append(make("tr", ""));
  table.tHead.rows[0].append(...headers.map(header => make("th", header, {scope: "col"})));
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
