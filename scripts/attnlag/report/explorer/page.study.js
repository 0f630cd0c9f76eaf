// The study: its question, its answers, its coefficients by layer, and the tabs.

// Parts of the page. Where a part has sheets, it is there if there is one of them.
const TABS = {
  coefficients: {title: "Coefficients", draw: () => showTable()},
  text: {title: "Text", draw: () => drawTokens()},
  kinds: {title: "Kinds of token"},
  heads: {title: "Heads"},
  causes: {title: "Causes"},
  sources: {title: "Sources and readout"},
  training: {title: "Training"},
};
const ofStudy = ({of}) => of.every((name, at) => name === [study.model, study.corpus, study.site][at]);
// All regressions of the chosen model, corpus and site.
const ofSite = () => index.studies.filter(({model, corpus, site}) => ofStudy({of: [model, corpus, site]}));

// The sheets of a tab: of the regression and of its site.
function sheets(tab) {
  const site = `${study.model}/${study.corpus}/${study.site}`;
  // Not every regression has slopes by class of token.
  const names = tab === "kinds" ? ofSite().map(({regression}) => regression) : [study.regression];
  const all = [...index.sheets[site], ...names.flatMap(name => index.sheets[`${site}/${name}`])];
  return all.filter(sheet => sheet.tab === tab);
}

const hasTab = name => name === "coefficients" || name === "text" || sheets(name).length > 0;

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
  state.lag = fill("lag", study.lags, state.lag);
  forgetPanels();
  showOverview();
  showTabs();
  const shades = [["norm", "norm"], ["relative", "norm / norm of the stream"], ["residual", `residual of ${study.regression}`],
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

// --- the tabs -------------------------------------------------------------------------------------------

function showTabs() {
  const names = Object.keys(TABS).filter(hasTab);
  if (!names.includes(state.tab)) [state.tab] = names;
  find("tabs").replaceChildren(...names.map(name => {
    const tab = make("button", TABS[name].title, {type: "button", id: `tab-${name}`});
    setAttributes(tab, {role: "tab", "aria-controls": `panel-${name}`});
    tab.addEventListener("click", () => openTab(name));
    return tab;
  }));
  for (const name of names) {
    const place = find(`panel-${name}`).querySelector(".sheets");
    place?.replaceChildren(...sheets(name).map(sheet => sheet.name === "coefficients"
      ? sheetView(sheet, sheet.panels.filter((panel, at) => !isFirst(panel, at))) : sheetView(sheet)));
  }
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
  for (const panel of document.querySelectorAll("[role=tabpanel]")) {
    const name = panel.id.replace("panel-", ""), tab = find(`tab-${name}`), isOpen = name === state.tab;
    panel.hidden = !isOpen;
    if (!tab) continue;
    tab.setAttribute("aria-selected", String(isOpen));
    tab.tabIndex = isOpen ? 0 : -1;
    panel.setAttribute("aria-labelledby", tab.id);
  }
  find("bar").hidden = state.tab !== "text";
  for (const panel of Panel.all.values()) panel.draw();
  TABS[state.tab].draw?.();
}

// Chooses a layer; sources and readout also have layers that the regression lacks.
function setLayer(layer) {
  if (!study.layers.includes(layer)) return;
  state.layer = layer;
  showLayer();
}

// --- the first screen -----------------------------------------------------------------------------------

// Number of answers that are not folded.
const FIRST_ANSWERS = 2;

function showOverview() {
  const {title, lines, main} = index.answers.find(ofStudy);
  find("title").textContent = title;
  const sublayer = {attention: "attention", mlp: "the MLP"}[study.site] ?? "a block";
  say("question", `In each layer, ${sublayer} adds a vector to a token's residual stream: its adjustment.`);
  const [equation, symbol] = ofSite().find(({regression}) => regression === main).equation;
  find("equation").replaceChildren(equation, make("span", symbol, {className: "note"}));
  find("answers").tBodies[0].replaceChildren(...lines.slice(0, FIRST_ANSWERS).map(answerRow));
  find("more-answers").tBodies[0].replaceChildren(...lines.slice(FIRST_ANSWERS).map(answerRow));
  find("further-answers").hidden = lines.length <= FIRST_ANSWERS;
  const sheet = sheets("coefficients").find(({name}) => name === "coefficients");
  find("profile").hidden = !sheet;
  if (sheet) drawPanels(find("profile"), sheet, sheet.panels.filter(isFirst), "profile");
}

// Whether a panel of coefficients is on the first screen: the nearest lag, and its comparison with untrained models.
const isFirst = ({title}, at) => at === 0 || title.includes("untrained");

function answerRow([label, text, isPart]) {
  const row = make("tr", ""), head = make("th", "", {scope: "row", className: isPart ? "part" : ""}), data = make("td", "");
  head.append(...withTerms(label));
  // What answers stands out: of a part a number, perhaps with its lag, of a question the words before a colon.
  const [, answer, details] = text.match(isPart ? /^((?:(?:lag|lead) \d+ )?\S*\d[^\s,:;]*|)(.*)$/s : /^([^:]+(?=: )|)(.*)$/s);
  data.append(make("b", answer), ...withTerms(details));
  row.append(head, data);
  return row;
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
function showTables(element, paths) {
  element.replaceChildren(paths.length > 1 ? "Tables: " : "Table: ", ...paths.flatMap((path, at) =>
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
  const headers = ["layer", ...shown.map(([, header]) => header), ...Object.keys(term.untrained), study.rSquaredName];
  const rows = study.layers.map((layer, at) => [layer, ...shown.map(([name]) => term[name][at]),
    ...Object.values(term.untrained).map(values => values[at]), study.rSquared[at]]);
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
  showTables(find("coefficients-tables"), study.tables);
}
