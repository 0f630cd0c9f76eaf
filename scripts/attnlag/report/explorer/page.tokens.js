// The tokens of the chosen document and layer, as text and as points.

function matching() {
  const words = find("find").value.trim().toLowerCase();
  const every = tokens.documents.map((one, place) => ({one, place}));
  return every.filter(({one}) => !words || one.name.toLowerCase().includes(words) ||
    one.group.toLowerCase().includes(words) || one.tokens.join("").toLowerCase().includes(words));
}

// Lists the documents that match the search, or all if none does, and chooses the first one if the
// one that is shown does not match.
function showDocuments() {
  const words = find("find").value.trim(), matched = matching(), select = find("document");
  const total = tokens.documents.length, found = matched.length ? matched
    : tokens.documents.map((one, place) => ({one, place}));
  const groups = new Map();
  for (const {one} of found) {
    if (!groups.has(one.group)) groups.set(one.group, make("optgroup", "", {label: one.group}));
    groups.get(one.group).append(new Option(one.name, one.name));
  }
  select.replaceChildren(...groups.values());
  const known = tokens.documents.some(one => one.name === state.document);
  const here = found.some(({one}) => one.name === state.document);
  if (!here) {
    // The kept token belongs to the previous document.
    if (known) {
      delete state.token;
      delete state.span;
    }
    state.document = found[0].one.name;
  }
  select.value = state.document;
  find("found").textContent = !matched.length ? `No document has “${words}”; ${state.document} stays.`
    : words ? `${matched.length} of ${counted(total, "document")}` : counted(total, "document");
  return !here;
}

const cloud = new Cloud("cloud");
const pane = new TextPane(find("text"), {
  onPoint: token => tell(token ?? kept()),
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
  number = tokens.documents.findIndex(one => one.name === state.document);
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
function kept() {
  const at = Number(state.token), one = tokens.documents[number];
  return state.token !== undefined && one.tokens[at] !== undefined ? tokens.first[number] + at : null;
}

function pick(token, scroll = true) {
  const of = tokens.document[token];
  state.token = token - tokens.first[of];
  if (of !== number) {
    delete state.span;
    state.document = tokens.documents[of].name;
    find("find").value = "";
    showDocuments();
    showDocument();
  }
  pane.activate(token, true);
  tell(token);
  if (scroll) {
    pane.element.focus({preventScroll: true});
    pane.element.scrollIntoView({block: "nearest"});
  }
  writeAddress();
}

function drop() {
  delete state.token;
  pane.activate(null, true);
  tell(null);
  writeAddress();
}

// --- the layer ----------------------------------------------------------------------------------

function showLayer() {
  const term = study.terms[state.lag], at = place(), slider = find("layer");
  slider.value = at;
  const name = find("lag").selectedOptions[0].textContent;
  const said = term.estimate[at] === null ? `layer ${state.layer}: not fitted`
    : `layer ${state.layer}: ${name} ${three(term.estimate[at])} (${three(term.low[at])} to ` +
      `${three(term.high[at])}), ${study.rSquaredName} ${three(study.rSquared[at])}`;
  find("layer-says").textContent = said;
  slider.setAttribute("aria-valuetext", said);
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
  const now = kept();
  if (now === null) delete state.token;
  pane.activate(now, true);
  tell(now);
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
  const what = study.outcomeName + (study.effects ? ", minus its document's mean" : "");
  const [low, high] = centralRange(Float64Array.from(all, token => x[token])), beside = (high - low) * 0.15;
  const colours = new Map();
  const colour = token => {
    const [rgb] = shading.colours(token) ?? [parts(OTHER[1])];
    if (!colours.has(rgb.join())) colours.set(rgb.join(), `rgb(${rgb})`);
    return colours.get(rgb.join());
  };
  cloud.draw({x, y, own, all, mode: state.points, chosen, colour, brush: state.brush, range: [low - beside, high + beside],
    labels: [`token ${otherToken()}: ${what}`, `token t: ${what}`], label: "each token against the one at the chosen lag; " +
      "the text names its points", line: slope === null ? null : {x: mx, y: my, slope},
    onPoint: token => tell(token ?? kept()), onPick: pick, onBrush: brushed,
    describe: token => {
      const of = tokens.document[token];
      return [tokens.documents[of].name, token - tokens.first[of], tokens.text(token), shading.said(token)];
    }});
  for (const label of document.querySelectorAll(".other")) label.textContent = otherToken();
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
  for (const [id, found] of [["largest", usable.slice(0, 10)], ["smallest", usable.slice(-10).reverse()]]) {
    find(`${id}-title`).textContent = `Ten ${id} in layer ${state.layer}: ${name}`;
    find(id).replaceChildren(...found.map(token => placeOf(token, by.said(token))));
  }
}

// A link to a token, with the words around it.
function placeOf(token, value = "") {
  const item = make("li", ""), link = make("a", ""), of = tokens.document[token];
  const address = new URLSearchParams(location.hash.slice(1));
  address.set("document", tokens.documents[of].name);
  address.set("token", token - tokens.first[of]);
  link.href = `#${address}`;
  link.append(value && `${value}  `, make("small", tokens.documents[of].name), " ", ...around(tokens, token, 4));
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
      button.style.color = inkOn(parts(colour));
      button.setAttribute("aria-label", `highlight ${name} in all documents`);
      button.setAttribute("aria-pressed", String(state.class === name));
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
  const {brush, span} = state, {x, y} = points(), every = () => Array.from({length: tokens.count}, (_, token) => token);
  chosen = null;
  if (brush) {
    const [x0, x1, y0, y1] = brush;
    chosen = new Set(every().filter(token => x[token] >= x0 && x[token] <= x1 && y[token] >= y0 && y[token] <= y1 &&
      (state.points !== "document" || tokens.document[token] === number)));
    for (const [at, name] of ["x0", "x1", "y0", "y1"].entries()) find("limits").elements[name].value = brush[at];
  } else if (span) {
    const first = tokens.first[number], last = tokens.documents[number].tokens.length - 1;
    chosen = new Set(every().slice(first + Math.max(0, span[0]), first + Math.min(span[1], last) + 1));
  } else if (state.class !== undefined && shading.categories) {
    chosen = new Set(every().filter(token => shading.isOf(token, state.class)));
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
  const all = [...chosen], here = all.filter(token => tokens.document[token] === number);
  const documents = new Set(all.map(token => tokens.document[token]));
  find("highlighted-title").textContent = `${counted(all.length, "token")} highlighted` +
    (documents.size > 1 ? ` in ${documents.size} documents, ${here.length} in this one` : "");
  // The list samples the other documents evenly.
  const others = all.filter(token => tokens.document[token] !== number);
  const step = Math.max(1, Math.floor(others.length / 12));
  find("elsewhere").replaceChildren(...others.filter((_, at) => at % step === 0).slice(0, 12).map(token => placeOf(token)));
}

// --- the card of a token ------------------------------------------------------------------------

// What a card shows of a token, part by part: each returns nodes, or nothing.
const CARD = [
  function what(token) {
    const of = tokens.document[token], head = make("p", "", {id: "token"});
    head.append(make("b", JSON.stringify(tokens.text(token))),
      ` · token ${token - tokens.first[of]} of ${tokens.documents[of].name} · layer ${state.layer}` +
      (tokens.position[token] < study.dropFirst ? " · left out of the regressions" : ""));
    return [head];
  },
  function facts(token) {
    const at = place(), {x, y} = points(), list = make("dl", "");
    const known = [["norm", three(Math.exp(tokens.norm(at)[token]))], ["relative norm", three(Math.exp(tokens.relative(at)[token]))],
      ["residual", three(tokens.residual(at)[token])]];
    if (Number.isFinite(x[token])) known.push([otherToken(), three(x[token])], ["t", three(y[token])]);
    for (const {name, label} of tokens.columns) known.push([label, new Shading(tokens, at, name, theme()).said(token)]);
    if (state.shade.startsWith("head_")) known.push([find("shade").selectedOptions[0].textContent, shading.said(token)]);
    list.append(...known.map(([name, value]) => {
      const one = make("div", "");
      one.append(make("dt", name), make("dd", value));
      return one;
    }));
    return [list];
  },
  function writers(token) {
    const found = tokens.writers(state.layer, token);
    pane.mark(found);
    if (!found.length) return [];
    const list = make("p", "written by ", {id: "writers"});
    for (const [source, share] of found) {
      const back = source === token ? "itself" : source === tokens.first[tokens.document[token]] ? "the first token"
        : JSON.stringify(tokens.text(source));
      list.append(`${back} ${Math.round(100 * share)}%`.replace("-", "−"), " · ");
    }
    list.lastChild.remove();
    return [list];
  },
  function context(token) {
    const text = make("p", "", {id: "words"});
    text.append(...around(tokens, token));
    return [text];
  },
];

// Shows the card of a token beside it, and rings its point.
function tell(token) {
  pane.activate(token, false);
  const card = find("card"), {x, y} = points();
  card.hidden = token === null;
  if (token === null) pane.mark([]);
  if (token === null) return cloud.ring(NaN, NaN);
  cloud.ring(x[token], y[token]);
  const close = make("button", "×", {type: "button", className: "close"});
  close.setAttribute("aria-label", "close the card");
  close.addEventListener("click", drop);
  card.classList.toggle("kept", token === kept());
  card.replaceChildren(close, ...CARD.flatMap(part => part(token) ?? []));
  pane.beside(token, card);
}
