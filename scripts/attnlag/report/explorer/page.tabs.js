// Kinds of token, heads, causes and sources: each a sentence, a chart, and what to compare it with.

const means = new LineChart("means"), slopes = new LineChart("slopes"), heads = new MapChart("heads"),
  causes = new LineChart("causes"), single = new LineChart("single"),
  shares = new LineChart("shares"), readout = new LineChart("readout");

const two = value => Number.isFinite(value) ? (Math.round(value * 100) / 100 + 0).toFixed(2).replace("-", "−") : "none";
const percent = value => `${Math.round(100 * value)}%`;
// The rows of a table in columns that fulfil a condition, as objects.
const rowsOf = (table, keep = () => true) => Object.values(table)[0].map((_, at) =>
  Object.fromEntries(Object.entries(table).map(([name, values]) => [name, values[at]]))).filter(keep);
// The values of some rows by layer.
const over = (xs, rows, key, name) => xs.map(x => rows.find(row => row[key] === x)?.[name] ?? null);

// --- kinds of token ---------------------------------------------------------------------------------------

const kinds = () => tokens.columns.filter(({name}) => tokens.kinds[name]);
const named = category => index.categories[category] ?? category;

function showKinds() {
  const columns = kinds();
  state.kind = fill("kind", columns.map(({name, label}) => [name, label]), state.kind);
  const column = columns.find(({name}) => name === state.kind), at = place();
  const rows = rowsOf(tokens.kinds[column.name], row => row.layer === at);
  const open = at => {
    state.shade = column.name;
    find("shade").value = state.shade;
    state.class = column.categories.find(category => category === rows[at].kind);
    openTab("text");
  };
  const of = name => rows.map(row => row[name]);
  const said = ({kind}) => ["yes", "no"].includes(kind) ? `${column.label}: ${kind}` : named(kind);
  means.draw({label: "mean norm by kind of token", x: of("kind").map(named), xLabel: column.label, onPick: open, panels: [
    {label: "norm / layer's mean (geometric means)", height: 260, base: 1, series: [
      {name: "mean with its 95% interval", kind: "dot", colour: "--blue", y: of("ratio"), low: of("low"), high: of("high")},
      {name: "random order", kind: "diamond", colour: "--soft", y: of("chance")}]}]});
  say("means-claim", rows.length < 2 ? "Too few tokens have a kind." :
    `In layer ${state.layer}, norms are largest for “${said(rows[0])}”, ${two(rows[0].ratio)} times the layer's mean, ` +
    `and smallest for “${said(rows.at(-1))}”, ${two(rows.at(-1).ratio)} times.`);
  showSlopes(column);
}

// Slopes of the chosen regression, or of another one of the site: by this kind, or by a number.
function showSlopes(column) {
  const all = [study, ...ofSite()].filter(({slopes}) => slopes);
  const owner = all.find(({slopes}) => slopes.property === column.name) ??
    all.find(({slopes}) => !kinds().some(({name}) => name === slopes.property));
  find("slopes").hidden = find("slopes-claim").hidden = find("slopes-tables").hidden = !owner;
  if (!owner) return;
  const {term: [term, label], property, by, tables, ...columns} = owner.slopes;
  showTables("slopes-tables", tables);
  const rows = rowsOf(columns, row => row.layer === state.layer);
  const classes = rows.filter(row => row.subset !== "all" && Number.isFinite(row.estimate)).sort((a, b) => b.estimate - a.estimate);
  const shared = rows.find(row => row.subset === "all")?.estimate ?? null;
  const at = owner.layers.indexOf(state.layer), control = owner.terms[term];
  const of = name => classes.map(row => row[name]), same = value => classes.map(() => value);
  slopes.draw({label: `${label} by ${by} in the regression ${owner.regression}`, x: of("subset"), xLabel: by, panels: [
    {label: `${owner.regression}: ${owner.axes[term]}`, height: 260, series: [
      {name: "random order, all tokens", kind: "band", colour: "--band",
        low: same(control.permuted_low[at]), high: same(control.permuted_high[at])},
      {name: "all tokens", kind: "line", colour: "--soft", y: same(shared)},
      {name: `${label} with its interval`, kind: "dot", colour: "--blue", y: of("estimate"),
        low: of("conf_low"), high: of("conf_high")}]}]});
  say("slopes-claim", classes.length ? `In layer ${state.layer}, ${label} is ${two(classes[0].estimate)} for “${classes[0].subset}” and ` +
    `${two(classes.at(-1).estimate)} for “${classes.at(-1).subset}”; of all tokens ${two(shared)} (regression ${owner.regression}).`
    : `Layer ${state.layer} was not fitted.`);
}

// --- heads ------------------------------------------------------------------------------------------------

function showHeads() {
  const table = beyond().heads, {term, regression, claims, tables, ...columns} = table, rows = rowsOf(columns);
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
  heads.draw({label: `map of ${label}: arrow keys read it, Enter chooses a layer`, x: layers, xLabel: "layer",
    rowLabel: "head", rows: parts, unit: label, diverging, format, cellHeight: Math.max(12, Math.min(30, 360 / parts.length)),
    values: parts.map((_, row) => layers.map((_, x) => cell(x, row)?.[state.measure] ?? NaN)),
    tells: (x, row) => known.filter(([name]) => Number.isFinite(cell(x, row)?.[name]))
      .map(([name, {label, format}]) => `${label}: ${format(cell(x, row)[name])}` + (name === "estimate" && Number.isFinite(cell(x, row).conf_low)
        ? ` (${three(cell(x, row).conf_low)} to ${three(cell(x, row).conf_high)})` : "")),
    onPick: x => setLayer(layers[x])});
  say("heads-claim", `${claims[state.measure]}.`);
  say("heads-note", term && `The terms are those of the regression ${regression}. Click a head to choose its layer.`);
  showTables("heads-tables", tables);
}

// --- causes -----------------------------------------------------------------------------------------------

function showCauses() {
  const {all, single: singly, documents, regression, claims, tables} = beyond().causes, rows = rowsOf(all), {site} = study;
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
        {name: "predicted by all layers before", kind: "square", colour: "--green", y: of("predicted"),
          low: of("predicted_conf_low"), high: of("predicted_conf_high")},
        {name: "caused by all layers before", kind: "dot", colour: "--orange", aside: 1, y: of("estimate"), low: of("conf_low"),
          high: of("conf_high")}]}]});
  const ofLayers = rowsOf(singly, row => isChosen(row) && row.target_layer === target);
  const layers = [...new Set(ofLayers.map(row => row.source_layer))].sort((a, b) => a - b);
  const by = name => over(layers, ofLayers, "source_layer", name);
  find("single").hidden = !layers.length;
  single.draw({label: "predicted beside caused by the layer that is changed", x: layers, xLabel: "layer that is changed", panels: [
    {label: `% in layer ${target} per 1% in one layer before`, height: 240, series: [
      {name: "predicted by that layer alone", kind: "ring", colour: "--blue", aside: -1, y: by("predictive"),
        low: by("predictive_conf_low"), high: by("predictive_conf_high")},
      {name: "caused by that layer", kind: "dot", colour: "--orange", aside: 1, y: by("estimate"), low: by("conf_low"),
        high: by("conf_high")}]}]});
  say("causes-claim", `${claims[`${state.pair}, ${state.later}`]}.`);
  say("causes-note", `Caused: the adjustments of a token are made longer in the model itself, in ${counted(documents, "document")}. ` +
    "Predicted: what the regression associates with it. Click a layer of the later token to see which layers before it matter.");
  showTables("causes-tables", tables);
}

// --- sources ----------------------------------------------------------------------------------------------

const KINDS = [["dot", "--orange"], ["dot", "--blue"], ["diamond", "--green"], ["ring", "--blue"], ["square", "--soft"]];

function showTraced() {
  const {claims, tokens: count, documents, shares: written, readout: effects, tables} = beyond().traced, {layers} = study;
  const series = (list, value, scale = 1) => list.map(({name, ...columns}, at) => {
    const by = column => over(layers, rowsOf(columns), "layer", column).map(y => Number.isFinite(y) ? scale * y : null);
    const [kind, colour] = KINDS[at];
    return {name, kind, colour, line: true, y: by(value), low: by("conf_low"), high: by("conf_high")};
  });
  const show = (chart, name, aria, label, list, ...of) => {
    find(name).hidden = !list;
    if (!list) return;
    chart.draw({label: aria, x: layers, xLabel: "layer", panels: [{label, height: 260, series: series(list, ...of)}], onPick: at => setLayer(layers[at])});
  };
  say("sources-claim", `${claims.join(". ")}.`);
  show(shares, "shares", "who writes adjustments, by layer", "% of the adjustment, mean over tokens", written, "mean", 100);
  show(readout, "readout", "effects on logits by layer", "effect on the logit, SD over the vocabulary", effects, "difference");
  say("sources-note", `${counted(count, "token")} of ${counted(documents, "document")} were traced` +
    (written ? "; they come first in the list of documents, and the card of a token there names its writers." : ".") +
    (effects ? " Effects on logits are those beyond the effect on the same token of another place." : ""));
  showTables("sources-tables", tables);
}
