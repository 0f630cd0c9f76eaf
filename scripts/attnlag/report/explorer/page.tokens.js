// The tokens of the chosen document and layer, as text and as points.

function matching() {
  const words = find("find").value.trim().toLowerCase();
  const every = tokens.documents.map((one, place) => ({one, place}));
  return every.filter(({one}) => !words || one.name.toLowerCase().includes(words) ||
    one.group.toLowerCase().includes(words) || one.tokens.join("").toLowerCase().includes(words));
}

// Lists the documents that match the search, and chooses the first one if none is chosen.
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
    // The kept token belongs to the previous document.
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
  const {x, y} = points(), all = [];
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
  charts.drawCloud({x, y}, own, all, state.points,
    [`token ${otherToken()}: ${what}`, `token t: ${what}`],
    slope === null ? null : {x: mx, y: my, slope});
  for (const label of document.querySelectorAll(".other")) label.textContent = otherToken();
  find("cloud-note").textContent = `Layer ${state.layer}: ${counted(own.length, "point")} of this ` +
    `document, ${all.length.toLocaleString("en")} of all documents. The slope of the whole cloud ` +
    `is ${three(covered)}` + (slope === null ? "." : `; that of the line is the coefficient of ` +
    `${find("lag").selectedOptions[0].textContent}, ${three(slope)}, with the other terms held ` +
    "fixed.") + " Drag over points to highlight them.";
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

// Highlights the tokens in the brush or the span; the points in a brush differ between layers.
function showHighlight() {
  const {brush, span} = state, {x, y} = points();
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
  // The list samples the other documents evenly.
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

// Describes a token with the text around it, and rings its point.
function tell(token) {
  pane.activate(token, false);
  if (token === null) {
    charts.ring(NaN, NaN);
    find("token").textContent = "Point at a token or at a point of the chart; click to keep it.";
    find("words").replaceChildren();
    return;
  }
  const at = place(), {x, y} = points(), of = tokens.document[token];
  charts.ring(x[token], y[token]);
  const facts = [`norm ${three(Math.exp(tokens.norm(at)[token]))}`,
    `relative ${three(Math.exp(tokens.relative(at)[token]))}`,
    `residual ${three(tokens.residual(at)[token])}`];
  if (Number.isFinite(x[token])) facts.unshift(`${otherToken()} ${three(x[token])}, t ${three(y[token])}`);
  for (const {name, label} of tokens.columns) {
    facts.push(`${label} ${new Shading(tokens, at, name, theme()).said(token)}`);
  }
  const left = tokens.position[token] < study.dropFirst ? "; left out of the regressions" : "";
  find("token").textContent = `${tokens.documents[of].name}, token ${token - tokens.first[of]} ` +
    `${JSON.stringify(tokens.text(token))} in layer ${state.layer}: ${facts.join("; ")}${left}`;
  find("words").replaceChildren(...around(tokens, token));
}
