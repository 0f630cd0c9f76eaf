// The study: its answers, findings and coefficients by layer.

async function showStudy() {
  const unique = (key, studies) => [...new Set(studies.map(one => one[key]))];
  let left = index.studies;
  for (const key of ["model", "corpus", "site", "regression"]) {
    state[key] = fill(key, unique(key, left), state[key]);
    left = left.filter(one => one[key] === state[key]);
  }
  [study] = left;
  tokens = await Tokens.of(index, study);
  const weights = study.weights && ` (${study.weights})`;
  find("title").textContent =
    `Norms of the ${study.siteLabel}: ${study.model}${weights}, ${study.corpus}`;
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
  const {title, lines} = index.answers.find(({of}) => of.every((part, place) => part === names[place]));
  find("answers-title").textContent = title;
  find("answers").tBodies[0].replaceChildren(...lines.map(([label, text, isPart]) => {
    const row = make("tr", "");
    row.append(make("th", label, {scope: "row", className: isPart ? "part" : ""}), make("td", text));
    return row;
  }));
  // The first line of a text only names its study, unless it counts the layers of a regression.
  const rest = all.flatMap(one => one.of.length === 4 ? one.lines : one.lines.slice(1));
  find("more-findings").hidden = !rest.length;
  find("more-findings").querySelector("ul").replaceChildren(...rest.map(text => make("li", text)));
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
    "trained, same documents, uncorrected", study.rSquaredName];
  const rows = study.layers.map((layer, place) => [layer, ...["estimate", "low", "high",
    "permutedLow", "permutedHigh", "random", "uncorrected"].map(name => term[name][place]), study.rSquared[place]]);
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
    `The page holds ${shown}, with at most ${corpus.longest.toLocaleString("en")} tokens each. Log ` +
    `norms are rounded, with errors of at most ${three(Math.max(...step) / 2)}. Shades span the ` +
    "central 99% of the tokens in a layer. Dashed: first tokens of a sequence, which the " +
    "regressions leave out. Struck through: no value. A residual is the outcome minus the " +
    `prediction of the coefficients${study.effects ? ", minus the mean of its document" : ""}. ` +
    "Coefficients, intervals and controls are those of the whole corpus.";
}
