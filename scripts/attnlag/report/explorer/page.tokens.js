// The tokens of the chosen document and layer, as text and as points.

// Lists the documents that match the search, or all if none does, and chooses the first one if the
// one that is shown does not match.
function showDocuments() {
  const words = find("find").value.trim(), select = find("document"), all = tokens.documents;
  const matching = all.filter(({name, group, tokens}) => [name, group, tokens.join("")]
    .some(text => text.toLowerCase().includes(words.toLowerCase())));
  const listed = matching.length ? matching : all, groups = new Map();
  // Traced documents come first.
  for (const isTraced of [true, false]) {
    for (const {name, group} of listed.filter(({name}) => tokens.traced(name) === isTraced)) {
      const label = isTraced ? "traced to their sources" : group;
      if (!groups.has(label)) groups.set(label, make("optgroup", "", {label}));
      groups.get(label).append(new Option(name, name));
    }
  }
  select.replaceChildren(...groups.values());
  const isShown = ({name}) => name === state.document, stays = listed.some(isShown);
  if (!stays) {
    // The kept token belongs to the previous document.
    if (all.some(isShown)) {
      delete state.token;
      delete state.span;
    }
    state.document = [...groups.values()][0].children[0].value;
  }
  select.value = state.document;
  const total = counted(all.length, "document");
  find("found").textContent = !matching.length ? `No document has “${words}”; ${state.document} stays.`
    : words ? `${matching.length} of ${total}` : total;
  return !stays;
}

const cloud = new Cloud("cloud");
const pane = new TextPane(find("text"), {
  onPoint: token => showCard(token ?? keptToken()),
  onPick: pick,
  onDrop: drop,
  onSpan: (from, to) => {
    delete state.brush;
    delete state.class;
    state.span = from === null ? undefined : [from - tokens.first[number], to - tokens.first[number]];
    showHighlight();
    writeAddress();
  },
});

function showDocument() {
  number = tokens.documents.findIndex(({name}) => name === state.document);
  pane.write(tokens, number);
  showLayer();
}

const place = () => study.layers.indexOf(state.layer);

// Distance in tokens from a token to the one at the chosen lag or lead; of another term, lag 1.
const away = () => study.lags.length ? study.cells[state.lag][1] : -1;
const otherToken = () => `t${away() < 0 ? "−" : "+"}${Math.abs(away())}`;

// The coordinates of each token in the scatter.
const points = () => tokens.pairs(place(), away());

// Index of the kept token among all tokens.
function keptToken() {
  const exists = state.token !== undefined && tokens.documents[number].tokens[state.token] !== undefined;
  return exists ? tokens.first[number] + Number(state.token) : null;
}

function pick(token, scroll = true) {
  const picked = tokens.document[token];
  state.token = token - tokens.first[picked];
  if (picked !== number) {
    delete state.span;
    state.document = tokens.documents[picked].name;
    find("find").value = "";
    showDocuments();
    showDocument();
  }
  pane.activate(token, true);
  showCard(token);
  if (scroll) {
    pane.element.focus({preventScroll: true});
    pane.element.scrollIntoView({block: "nearest"});
  }
  writeAddress();
}

function drop() {
  delete state.token;
  pane.activate(null, true);
  showCard(null);
  writeAddress();
}

// --- the layer ----------------------------------------------------------------------------------

function showLayer() {
  const term = study.terms[state.lag], at = place(), slider = find("layer");
  slider.value = at;
  const name = find("lag").selectedOptions[0].textContent;
  const text = term.estimate[at] === null ? `layer ${state.layer}: not fitted`
    : `layer ${state.layer}: ${name} ${three(term.estimate[at])} (${three(term.low[at])} to ` +
      `${three(term.high[at])}), ${study.rSquaredName} ${three(study.rSquared[at])}`;
  find("layer-says").textContent = text;
  slider.setAttribute("aria-valuetext", text);
  showTab();
  writeAddress();
}

function drawTokens() {
  const at = place();
  shading = new Shading(tokens, at, state.shade, theme());
  pane.shade(shading);
  showScale();
  showHighlight();
  showExtremes();
  const kept = keptToken();
  if (kept === null) delete state.token;
  pane.activate(kept, true);
  showCard(kept);
}

function drawCloud() {
  const at = place(), {x, y} = points(), all = [];
  for (let token = 0; token < tokens.count; token++) {
    if (Number.isFinite(x[token]) && Number.isFinite(y[token])) all.push(token);
  }
  const own = all.filter(token => tokens.document[token] === number);
  const slope = study.lags.length ? study.terms[state.lag].estimate[at] : null;
  const mean = values => all.reduce((sum, token) => sum + values[token], 0) / all.length;
  const [mx, my] = [mean(x), mean(y)];
  const covered = all.reduce((sum, token) => sum + (x[token] - mx) * (y[token] - my), 0) /
    all.reduce((sum, token) => sum + (x[token] - mx) ** 2, 0);
  const outcome = study.outcomeName + (study.effects ? ", minus its document's mean" : "");
  const [low, high] = centralRange(Float64Array.from(all, token => x[token])), beside = (high - low) * 0.15;
  const colour = token => {
    const [rgb] = shading.colours(token) ?? [rgbOf(OTHER[1])];
    return `rgb(${rgb})`;
  };
  cloud.draw({x, y, own, all, mode: state.points, chosen, colour, brush: state.brush, range: [low - beside, high + beside],
    labels: [`token ${otherToken()}: ${outcome}`, `token t: ${outcome}`], label: "each token against the one at the chosen lag; " +
      "the text names its points", line: slope === null ? null : {x: mx, y: my, slope},
    onPoint: token => showCard(token ?? keptToken()), onPick: pick, onBrush: brushed,
    describe: token => {
      const [name, place] = nameAndPlace(token);
      return [name, place, tokens.text(token), shading.inWords(token)];
    }});
  find("cloud-note").textContent = `Layer ${state.layer}: ${counted(own.length, "point")} of this ` +
    `document, ${all.length.toLocaleString("en")} of all documents. The slope of the whole cloud ` +
    `is ${three(covered)}` + (slope === null ? "." : `; that of the line is the coefficient of ` +
    `${find("lag").selectedOptions[0].textContent}, ${three(slope)}, with the other terms held ` +
    "fixed.") + " Drag over points to highlight them.";
}

// The ten tokens with the largest and the smallest values of what colours the text, or norms.
function showExtremes() {
  const by = shading.categories || state.shade.startsWith("head_") ? new Shading(tokens, place(), "norm", theme()) : shading;
  const usable = [];
  for (let token = 0; token < tokens.count; token++) {
    if (Number.isFinite(by.values[token]) && tokens.position[token] >= study.dropFirst) usable.push(token);
  }
  usable.sort((a, b) => by.values[b] - by.values[a]);
  const name = find("shade").querySelector(`[value="${by.name}"]`).textContent;
  for (const [id, extremes] of [["largest", usable.slice(0, 10)], ["smallest", usable.slice(-10).reverse()]]) {
    find(`${id}-title`).textContent = `Ten ${id} in layer ${state.layer}: ${name}`;
    find(id).replaceChildren(...extremes.map(token => linkTo(token, by.inWords(token))));
  }
}

// The name of a token's document, and its place there.
function nameAndPlace(token) {
  const number = tokens.document[token];
  return [tokens.documents[number].name, token - tokens.first[number]];
}

// A link to a token, with the words around it.
function linkTo(token, value = "") {
  const item = make("li", ""), link = make("a", ""), [name, place] = nameAndPlace(token);
  const address = new URLSearchParams(location.hash.slice(1));
  address.set("document", name);
  address.set("token", place);
  link.href = `#${address}`;
  link.append(value && `${value}  `, make("small", name), " ", ...around(tokens, token, 4));
  link.addEventListener("click", event => {
    event.preventDefault();
    pick(token);
  });
  item.append(link);
  return item;
}

function showScale() {
  const scale = find("scale");
  if (shading.categories) {
    const used = new Set(shading.familyOf);
    scale.replaceChildren(...shading.families.flatMap(([name, colour, tags], family) => {
      if (!used.has(family)) return [];
      const button = make("button", name, {type: "button", title: tags.map(named).join(", ")});
      button.style.background = colour;
      button.style.color = inkOn(rgbOf(colour));
      setAttributes(button, {"aria-label": `highlight ${name} in all documents`, "aria-pressed": state.class === name});
      button.addEventListener("click", () => {
        delete state.brush;
        delete state.span;
        state.class = state.class === name ? undefined : name;
        showScale();
        showHighlight();
        writeAddress();
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

// Highlights the tokens of a class, in the brush or in the span; the points in a brush differ
// between layers.
function showHighlight() {
  const {brush, span} = state, {x, y} = points(), every = [...tokens.document.keys()];
  chosen = null;
  if (brush) {
    const [x0, x1, y0, y1] = brush;
    chosen = new Set(every.filter(token => x[token] >= x0 && x[token] <= x1 && y[token] >= y0 && y[token] <= y1 &&
      (state.points !== "document" || tokens.document[token] === number)));
  } else if (span) {
    const first = tokens.first[number], last = tokens.documents[number].tokens.length - 1;
    chosen = new Set(every.slice(first + Math.max(0, span[0]), first + Math.min(span[1], last) + 1));
  } else if (state.class !== undefined && shading.categories) {
    chosen = new Set(every.filter(token => shading.isOf(token, state.class)));
  }
  if (state.class !== undefined && !chosen?.size) {
    chosen = null;
    delete state.class;
  }
  pane.highlight(chosen);
  drawCloud();
  find("clear").disabled = chosen === null;
  find("highlighted").hidden = chosen === null;
  if (chosen === null) return;
  const others = [...chosen].filter(token => tokens.document[token] !== number);
  const documents = new Set([...chosen].map(token => tokens.document[token]));
  find("highlighted-title").textContent = `${counted(chosen.size, "token")} highlighted` +
    (documents.size > 1 ? ` in ${documents.size} documents, ${chosen.size - others.length} in this one` : "");
  // The list samples the other documents evenly.
  const step = Math.max(1, Math.floor(others.length / 12));
  find("elsewhere").replaceChildren(...others.filter((_, at) => at % step === 0).slice(0, 12).map(token => linkTo(token)));
}

// --- the card of a token ------------------------------------------------------------------------

// Shows the card of a token beside it, and rings its point.
function showCard(token) {
  pane.activate(token, false);
  const card = find("card"), {x, y} = points();
  card.hidden = token === null;
  cloud.ring(x[token], y[token]);
  pane.mark(token === null ? [] : tokens.writers(state.layer, token));
  if (token === null) return;
  const close = make("button", "×", {type: "button", className: "close"});
  close.setAttribute("aria-label", "close the card");
  close.addEventListener("click", drop);
  const [name, place] = nameAndPlace(token), head = make("p", "", {id: "token"});
  head.append(make("b", JSON.stringify(tokens.text(token))), ` · token ${place} of ${name} · layer ${state.layer}` +
    (tokens.position[token] < study.dropFirst ? " · left out of the regressions" : ""));
  const context = make("p", "", {id: "words"});
  context.append(...around(tokens, token, 6));
  card.classList.toggle("kept", token === keptToken());
  card.replaceChildren(close, head, facts(token), ...writers(token), context);
  pane.beside(token, card);
}

// The numbers and the properties of a token, as a list.
function facts(token) {
  const at = place(), {x, y} = points(), list = make("dl", "");
  const rows = [["norm", three(Math.exp(tokens.norm(at)[token]))], ["relative norm", three(Math.exp(tokens.relative(at)[token]))],
    ["residual", three(tokens.residual(at)[token])]];
  const outcome = study.outcomeName + (study.effects ? " less its document's mean" : "");
  if (Number.isFinite(x[token])) rows.push([`${outcome}, at ${otherToken()}`, three(x[token])], ["at t", three(y[token])]);
  for (const {name, label} of tokens.columns) rows.push([label, new Shading(tokens, at, name, theme()).inWords(token)]);
  if (state.shade.startsWith("head_")) rows.push([find("shade").selectedOptions[0].textContent, shading.inWords(token)]);
  list.append(...rows.map(([name, value]) => {
    const row = make("div", "");
    row.append(make("dt", name), make("dd", value));
    return row;
  }));
  return list;
}

// The tokens that wrote the adjustment to a token, as a paragraph, if they are known.
function writers(token) {
  const sources = tokens.writers(state.layer, token).map(([source, share]) => {
    const text = source === token ? "itself" : source === tokens.first[tokens.document[token]] ? "the first token"
      : JSON.stringify(tokens.text(source));
    return `${text} ${Math.round(100 * share)}%`.replace("-", "−");
  });
  const traced = tokens.traced(tokens.documents[tokens.document[token]].name);
  const text = sources.length ? `written by ${sources.join(" · ")}`
    : traced ? "not traced to its sources in this layer or at this place" : "this document was not traced to its sources";
  return tokens.sources ? [make("p", text, {id: "writers"})] : [];
}
