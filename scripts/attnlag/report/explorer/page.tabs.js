// Kinds of token, heads and causes: each a sentence, a chart, and what to compare it with.

const means = new LineChart("means"), slopes = new LineChart("slopes"), heads = new MapChart("heads"),
  causes = new LineChart("causes"), sources = new LineChart("sources");

const two = value => Number.isFinite(value) ? (Math.round(value * 100) / 100 + 0).toFixed(2).replace("-", "−") : "none";
const percent = value => `${Math.round(100 * value)}%`;
// The rows of a table in columns that fulfil a condition, as objects.
const rowsOf = (table, keep = () => true) => Object.values(table)[0].map((_, at) =>
  Object.fromEntries(Object.entries(table).map(([name, values]) => [name, values[at]]))).filter(keep);
// The values of some rows by layer.
const over = (xs, rows, key, name) => xs.map(x => rows.find(row => row[key] === x)?.[name] ?? null);

// --- kinds of token ---------------------------------------------------------------------------------------

const FEWEST_TOKENS = 20;
const kinds = () => tokens.columns.filter(({categories}) => categories?.length > 1);

// Mean log norm of each kind minus the layer's mean, with intervals clustered by document, and what
// it is if the tokens of each document are exchanged.
function meansByKind(column, layer) {
  const values = tokens.norm(layer), codes = tokens.column(column.name), count = column.categories.length;
  const cell = () => Array.from({length: count}, () => new Float64Array(tokens.documents.length));
  const n = cell(), sums = cell(), all = tokens.documents.map(() => 0), rows = tokens.documents.map(() => 0);
  for (let token = 0; token < tokens.count; token++) {
    const code = codes[token], document = tokens.document[token];
    if (code >= count || tokens.position[token] < study.dropFirst || Number.isNaN(values[token])) continue;
    n[code][document]++;
    sums[code][document] += values[token];
    rows[document]++;
    all[document] += values[token];
  }
  const sum = list => list.reduce((total, value) => total + value, 0);
  const total = sum(rows), mean = sum(all) / total, clusters = rows.filter(Boolean).length;
  // The quantile of t, expanded in its degrees of freedom.
  const free = clusters - 1, quantile = 1.96 + 2.37 / free + 2.82 / free ** 2;
  return column.categories.map((name, code) => {
    const count = sum(n[code]), ofKind = sum(sums[code]) / count, difference = ofKind - mean;
    const errors = n[code].map((tokens, document) => (sums[code][document] - ofKind * tokens) / count -
      (all[document] - mean * rows[document]) / total);
    const half = quantile * Math.sqrt(sum(errors.map(error => error ** 2)) * clusters / free);
    const expected = n[code].map((tokens, document) => tokens && tokens * all[document] / rows[document]);
    return {name: named(name), count, ratio: Math.exp(difference), low: Math.exp(difference - half),
      high: Math.exp(difference + half), chance: Math.exp(sum(expected) / count - mean)};
  }).filter(({count}) => count >= FEWEST_TOKENS).sort((a, b) => b.ratio - a.ratio);
}

const named = category => index.categories[category] ?? category;

function showKinds() {
  const columns = kinds();
  state.kind = fill("kind", columns.map(({name, label}) => [name, label]), state.kind);
  const column = columns.find(({name}) => name === state.kind), rows = meansByKind(column, place());
  const open = at => {
    state.shade = column.name;
    find("shade").value = state.shade;
    state.class = column.categories.find(category => named(category) === rows[at].name);
    delete state.brush;
    delete state.span;
    openTab("text");
  };
  const of = name => rows.map(row => row[name]);
  means.draw({label: "mean norm by kind of token", x: of("name"), xLabel: column.label, onPick: open, panels: [
    {label: "norm / layer's mean (geometric means)", height: 260, base: 1, series: [
      {name: "mean with its 95% interval", kind: "dot", colour: "--blue", y: of("ratio"), low: of("low"), high: of("high")},
      {name: "random order", kind: "diamond", colour: "--soft", y: of("chance")}]}]});
  say("means-claim", rows.length < 2 ? "Too few tokens have a kind." :
    `In layer ${state.layer}, norms are largest for “${rows[0].name}”, ${two(rows[0].ratio)} times the layer's mean, ` +
    `and smallest for “${rows.at(-1).name}”, ${two(rows.at(-1).ratio)} times.`);
  showSlopes(column);
  say("kinds-note", `Kinds with at least ${FEWEST_TOKENS} tokens on this page. Random order: the mean that a kind has if the tokens ` +
    "of each document are exchanged. Click a kind to highlight its tokens in the text.");
}

// Slopes of the chosen regression, or of another one of the site: by this kind, or by a number.
function showSlopes(column) {
  const all = [study, ...ofSite()].filter(({slopes}) => slopes);
  const owner = all.find(({slopes}) => slopes.property === column.name) ??
    all.find(({slopes}) => !kinds().some(({name}) => name === slopes.property));
  find("slopes").hidden = find("slopes-claim").hidden = !owner;
  if (!owner) return;
  const {term: [term, label], property, by, ...columns} = owner.slopes;
  const rows = rowsOf(columns, row => row.layer === state.layer);
  const classes = rows.filter(row => row.subset !== "all" && Number.isFinite(row.estimate)).sort((a, b) => b.estimate - a.estimate);
  const shared = rows.find(row => row.subset === "all")?.estimate ?? null;
  const at = owner.layers.indexOf(state.layer), control = owner.terms[term];
  const of = name => classes.map(row => row[name]), same = value => classes.map(() => value);
  slopes.draw({label: `${label} by ${by}`, x: of("subset"), xLabel: by, panels: [
    {label: `${label}: ${owner.unit}`, height: 260, series: [
      {name: "random order, all tokens", kind: "band", colour: "--band", low: same(control.permutedLow[at]), high: same(control.permutedHigh[at])},
      {name: "all tokens", kind: "line", colour: "--soft", y: same(shared)},
      {name: `${label} with its interval`, kind: "dot", colour: "--blue", y: of("estimate"),
        low: of("conf_low"), high: of("conf_high")}]}]});
  say("slopes-claim", classes.length ? `In layer ${state.layer}, ${label} is ${two(classes[0].estimate)} for “${classes[0].subset}” and ` +
    `${two(classes.at(-1).estimate)} for “${classes.at(-1).subset}”; of all tokens ${two(shared)} (regression ${owner.regression}).`
    : `Layer ${state.layer} was not fitted.`);
}

// --- heads ------------------------------------------------------------------------------------------------

function showHeads() {
  const table = beyond().heads, {term, regression, equal, ...columns} = table, rows = rowsOf(columns);
  const measures = {
    estimate: {label: term, has: term, diverging: true, format: three},
    random_weights: {label: `${term} before training`, has: term, diverging: true, format: three},
    share: {label: "share of squared norms", has: true, format: percent},
    sink: {label: "attention to the first token", has: true, format: percent},
  };
  const known = Object.entries(measures).filter(([name, {has}]) => has && table[name].some(Number.isFinite));
  state.measure = fill("measure", known.map(([name, {label}]) => [name, label]), state.measure);
  const {label, diverging, format} = measures[state.measure];
  const parts = [...new Set(table.part)], at = new Map(rows.map(row => [`${row.layer}.${row.part}`, row]));
  const {layers} = study, cell = (x, row) => at.get(`${layers[x]}.${parts[row]}`);
  heads.draw({label: `map of ${label}: arrow keys read it, Enter colours the text by a head`, x: layers, xLabel: "layer",
    rowLabel: "head", rows: parts, unit: label, diverging, format, cellHeight: Math.max(12, Math.min(30, 360 / parts.length)),
    values: parts.map((_, row) => layers.map((_, x) => cell(x, row)?.[state.measure] ?? NaN)),
    tells: (x, row) => known.filter(([name]) => Number.isFinite(cell(x, row)?.[name]))
      .map(([name, {label, format}]) => `${label}: ${format(cell(x, row)[name])}` + (name === "estimate" && Number.isFinite(cell(x, row).conf_low)
        ? ` (${three(cell(x, row).conf_low)} to ${three(cell(x, row).conf_high)})` : "")),
    onPick: (x, row) => showHead(layers[x], parts[row])});
  const values = name => table[name].filter(Number.isFinite), of = name => two(median(values(name)));
  const claims = {
    share: () => `The largest head of a layer has up to ${percent(Math.max(...values("share")))} of its squared norms; equal heads ` +
      `would have ${percent(1 / parts.length)}.`,
    sink: () => `Heads give ${percent(median(values("sink")))} of their attention to the first token (median); equal attention to all ` +
      `tokens would give ${percent(equal)}.`,
  };
  say("heads-claim", (claims[state.measure] ?? (() => `${capitalised(term)} of single heads is ${of("estimate")} in the ` +
    `median, ${two(Math.min(...values("estimate")))} to ${two(Math.max(...values("estimate")))}` +
    (values("random_weights").length ? `; before training ${of("random_weights")}` : "") + "."))());
  say("heads-note", (term && `The terms are those of the regression ${regression}. `) +
    (tokens.heads ? "Click a head to colour the text by the norm of what it writes." : "The page has no room for the norms of single heads."));
}

function showHead(layer, part) {
  if (!tokens.heads) return;
  state.layer = layer;
  state.shade = `head_${part}`;
  find("shade").value = state.shade;
  const {documents} = tokens.heads;
  if (!documents.includes(state.document)) {
    [state.document] = documents;
    delete state.token;
    delete state.span;
    find("find").value = "";
    showDocuments();
  }
  state.tab = "text";
  showDocument();
}

// --- causes -----------------------------------------------------------------------------------------------

function showCauses() {
  const {all, single, documents, regression} = beyond().causes, rows = rowsOf(all), {site} = study;
  const pairOf = row => `${row.source_site} → ${row.target_site}`, pairs = [...new Set(rows.map(pairOf))];
  state.pair = fill("pair", pairs, pairs.includes(state.pair) ? state.pair : `${site} → ${site}`);
  const ofPair = row => pairOf(row) === state.pair;
  state.later = fill("later", [...new Set(rows.filter(ofPair).map(row => row.lag))], state.later ?? 1);
  const isChosen = row => ofPair(row) && row.lag === Number(state.later), effects = rows.filter(isChosen);
  const targets = effects.map(row => row.target_layer), of = name => effects.map(row => row[name]);
  state.target = fill("target", targets, targets.includes(Number(state.target)) ? state.target : targets.at(-1));
  const target = Number(state.target);
  causes.draw({label: "predicted beside caused by layer", x: targets, xLabel: "layer of the later token", cursor: targets.indexOf(target),
    onPick: at => { state.target = targets[at]; showCauses(); writeAddress(); }, panels: [
      {label: "% longer per 1% longer before", height: 240, series: [
        {name: `predicted: lag ${state.later} of ${regression}`, kind: "ring", colour: "--blue", aside: -1, y: of("coefficient"),
          low: of("coefficient_conf_low"), high: of("coefficient_conf_high")},
        {name: "caused by all layers before", kind: "dot", colour: "--orange", aside: 1, y: of("estimate"), low: of("conf_low"),
          high: of("conf_high")}]}]});
  const ofLayers = rowsOf(single, row => isChosen(row) && row.target_layer === target);
  const layers = [...new Set(ofLayers.map(row => row.source_layer))].sort((a, b) => a - b);
  const by = name => over(layers, ofLayers, "source_layer", name);
  find("sources").hidden = !layers.length;
  sources.draw({label: "predicted beside caused by the layer that is changed", x: layers, xLabel: "layer that is changed", panels: [
    {label: `% in layer ${target} per 1% in one layer before`, height: 240, series: [
      {name: "predicted", kind: "ring", colour: "--blue", y: by("predictive")},
      {name: "caused, with its interval", kind: "dot", colour: "--orange", y: by("estimate"), low: by("conf_low"), high: by("conf_high")}]}]});
  const compared = effects.filter(row => Number.isFinite(row.coefficient)).map(row =>
    `${two(row.coefficient)} predicted and ${two(row.estimate)} caused in layer ${row.target_layer}`);
  const later = Number(state.later) === 1 ? "the next token's" : `that of the token ${state.later} later`;
  say("causes-claim", compared.length ? `1% longer adjustments go with ${later} being longer by (in %) ${compared.slice(0, 3).join("; ")}.`
    : `If adjustments are made 1% longer in all layers before, ${later} changes by ` +
      `${effects.slice(0, 3).map(row => `${two(row.estimate)}% in layer ${row.target_layer}`).join("; ")}.`);
  say("causes-note", `Caused: the adjustments of a token are made longer in the model itself, in ${counted(documents, "document")}. ` +
    "Predicted: what the regression associates with it. Click a layer of the later token to see which layers before it matter.");
}
