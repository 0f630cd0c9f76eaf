// The study: its question, its answers, and its coefficients by layer.

const profile = new LineChart("profile");

// Parts of the page, each with what it needs and what draws it; the bar shows what a part uses.
const TABS = {
  coefficients: {bar: [], draw: () => showTable()},
  text: {bar: ["layer"], draw: () => drawTokens()},
  kinds: {bar: ["layer"], has: () => kinds().length, draw: () => showKinds()},
  heads: {bar: [], has: () => beyond().heads, draw: () => showHeads()},
  causes: {bar: [], has: () => beyond().causes, draw: () => showCauses()},
  sources: {bar: [], has: () => beyond().traced, draw: () => showTraced()},
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
    ...tokens.columns.map(column => [column.name, column.label])];
  state.shade = fill("shade", shades, state.shade);
  showDocuments();
  showFindings();
  say("about", study.about);
  showDocument();
  if (keptToken() === null) delete state.token;
  writeAddress();
  if (arriving) sayUnknown();
  arriving = false;
}

function openTab(name) {
  state.tab = name;
  showTab();
  const {top} = find("tabs").getBoundingClientRect();
  if (top > innerHeight / 2) scrollBy(0, top - 8);
  // The card lies where there is room once the page has moved.
  if (name === "text") showCard(keptToken());
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
  const {bar, draw} = TABS[state.tab];
  find("bar").hidden = !bar.length;
  showProfile();
  draw();
}

// --- the first screen -----------------------------------------------------------------------------------

function showOverview() {
  const {title, lines, main} = index.answers.find(ofStudy);
  find("title").textContent = title;
  const sublayer = {attention: "attention", mlp: "the MLP"}[study.site] ?? "a block";
  say("question", `In each layer, ${sublayer} adds a vector to a token's residual stream: its adjustment.`);
  const [equation, symbol] = ofSite().find(({regression}) => regression === main).equation;
  find("equation").replaceChildren(equation, make("span", symbol, {className: "note"}));
  find("answers").tBodies[0].replaceChildren(...lines.map(([label, text, isPart]) => {
    const row = make("tr", ""), head = make("th", "", {scope: "row", className: isPart ? "part" : ""}), data = make("td", "");
    head.append(...withTerms(label));
    // The word that answers stands out.
    const [, answer, details] = text.match(/^(\S*\d[^\s,:;]*(?: to \S*\d[^\s,:;]*)?|[^:]+(?=: )|)([^]*)$/);
    data.append(make("b", answer), ...withTerms(details));
    row.append(head, data);
    return row;
  }));
}

// The coefficients of a term by layer as a chart, with its controls.
function showProfile() {
  const {layers, level, axes} = study, term = study.terms[state.lag], label = find("lag").selectedOptions[0].textContent;
  const [high, low] = innerWidth > 600 ? [250, 110] : [120, 60];
  const panels = [{label: axes[state.lag], height: high, series: [
    {name: "random order", kind: "band", colour: "--band", low: term.permuted_low, high: term.permuted_high},
    {name: `${label}, ${level}% interval`, kind: "dot", colour: "--blue", y: term.estimate, low: term.conf_low, high: term.conf_high,
      ...term.tests},
  ]}];
  const before = Object.entries(term.before);
  if (before.length) {
    panels.push({label: "before and after training, same texts, not corrected for bias", height: low, series: [
      ...before.map(([scale, values], at) => ({name: scale, kind: ["square", "diamond", "line"][at], colour: "--orange", line: true, y: values})),
      {name: "trained, same texts", kind: "dot", colour: "--soft", y: term.trained},
    ]});
  }
  profile.draw({x: layers, xLabel: "layer", panels, cursor: place(), onPick: at => setLayer(layers[at]),
    label: `${label} by layer, beside both controls; arrow keys read it, Enter chooses a layer`});
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

// Says which tables of the results the numbers of a part come from.
function showTables(id, paths) {
  find(id).replaceChildren(paths.length > 1 ? "Tables: " : "Table: ", ...paths.flatMap((path, at) =>
    [at ? ", " : "", make("a", `results/${path}`, {href: path.split("/").map(encodeURIComponent).join("/")})]));
}

const COLUMNS = {estimate: "coefficient", std_error: "standard error", conf_low: "from", conf_high: "to", p_value: "p",
  p_adjusted: "p, corrected", permuted_low: "random order, from", permuted_high: "to", trained: "trained, same texts"};

function showTable() {
  const term = study.terms[state.lag], label = find("lag").selectedOptions[0].textContent;
  say("coefficients-claim", `${capitalised(label)} of ${study.regression}, ${study.outcomeName}, ` +
    `${study.effects ? "within documents" : "pooled over documents"}: ${counted(study.rows, "row")} of ` +
    `${counted(study.documents, "document")}; intervals cover ${study.level}%; corrected p: ${study.correction}.`);
  const small = value => value < 1e-4 ? "< 0.0001" : three(value);
  const shown = Object.entries(COLUMNS).filter(([name]) => term[name].some(Number.isFinite));
  const headers = ["layer", ...shown.map(([, header]) => header), ...Object.keys(term.before), study.rSquaredName];
  const rows = study.layers.map((layer, at) => [layer, ...shown.map(([name]) => term[name][at]),
    ...Object.values(term.before).map(values => values[at]), study.rSquared[at]]);
  const table = make("table", "");
  table.append(make("thead", ""), make("tbody", ""));
  table.tHead.append(make("tr", ""));
  table.tHead.rows[0].append(...headers.map(header => make("th", header, {scope: "col"})));
  table.tBodies[0].append(...rows.map(([layer, ...numbers], at) => {
    const row = make("tr", "", {className: at === place() ? "now" : ""});
    row.append(make("th", layer, {scope: "row"}),
      ...numbers.map((value, at) => make("td", value === null ? "" : /^p\b/.test(headers[at + 1]) ? small(value) : three(value))));
    return row;
  }));
  find("table").replaceChildren(table);
  find("save-table").onclick = () => saveRows("coefficients", [headers, ...rows]);
  showTables("coefficients-tables", study.tables);
}
