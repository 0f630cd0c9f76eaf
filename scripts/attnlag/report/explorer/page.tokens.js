// The tokens of the chosen document and layer.

// Lists the documents that match the search, or all if none does, and chooses the first one if the
// one that is shown does not match.
function showDocuments() {
  const words = find("find").value.trim(), select = find("document"), all = tokens.documents;
  const matching = all.filter(({name, group, tokens}) => [name, group, tokens.join("")]
    .some(text => text.toLowerCase().includes(words.toLowerCase())));
  const listed = matching.length ? matching : all, groups = new Map();
  // Traced documents come first.
  for (const isTraced of [true, false]) {
    for (const {name, group} of listed.filter(({name}) => tokens.traced(name) > 0 === isTraced)) {
      const label = isTraced ? "traced to their sources" : group;
      if (!groups.has(label)) groups.set(label, make("optgroup", "", {label}));
      groups.get(label).append(new Option(name, name));
    }
  }
  select.replaceChildren(...groups.values());
  const isShown = ({name}) => name === state.document, stays = listed.some(isShown);
  if (!stays) {
    // The kept token belongs to the previous document.
    if (all.some(isShown)) delete state.token;
    state.document = [...groups.values()][0].children[0].value;
  }
  select.value = state.document;
  const total = counted(all.length, "document");
  find("found").textContent = !matching.length ? `No document has “${words}”; ${state.document} stays.`
    : words ? `${matching.length} of ${total}` : total;
  return !stays;
}

const pane = new TextPane(find("text"), {onPoint: token => showCard(token ?? keptToken()), onPick: pick, onDrop: drop});

function showDocument() {
  number = tokens.documents.findIndex(({name}) => name === state.document);
  pane.write(tokens, number);
  showLayer();
}

const place = () => study.layers.indexOf(state.layer);

// Index of the kept token among all tokens.
function keptToken() {
  const exists = state.token !== undefined && tokens.documents[number].tokens[state.token] !== undefined;
  return exists ? tokens.first[number] + Number(state.token) : null;
}

function pick(token, scroll = true) {
  const picked = tokens.document[token];
  state.token = token - tokens.first[picked];
  if (picked !== number) {
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

const named = category => index.categories[category] ?? category;

// --- the layer ----------------------------------------------------------------------------------

function showLayer() {
  const term = study.terms[state.lag], at = place(), slider = find("layer");
  slider.value = at;
  const name = find("lag").selectedOptions[0].textContent;
  const text = term.estimate[at] === null ? `layer ${state.layer}: not fitted`
    : `layer ${state.layer}: ${name} ${three(term.estimate[at])} (${three(term.conf_low[at])} to ` +
      `${three(term.conf_high[at])}), ${study.rSquaredName} ${three(study.rSquared[at])}`;
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
  const kind = state.shade, traced = tokens.traced(state.document);
  if (traced) find("scale").append(make("span", `the first ${traced} tokens are traced to their sources, up to `, {className: "end"}));
  showTables(find("text-tables"), study.tablesOf[kind] ?? tokens.columns.find(({name}) => name === kind).tables);
  showHighlight();
  showExtremes();
  const kept = keptToken();
  if (kept === null) delete state.token;
  pane.activate(kept, true);
  showCard(kept);
  if (arriving && kept !== null) find("reader").scrollIntoView({block: "center"});
}

// The ten tokens with the largest and the smallest values of what colours the text, or norms.
function showExtremes() {
  const by = shading.categories ? new Shading(tokens, place(), "norm", theme()) : shading;
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

// Highlights the tokens of a class in all documents.
function showHighlight() {
  const every = state.class === undefined || !shading.categories ? [] : [...tokens.document.keys()];
  const chosen = new Set(every.filter(token => shading.isOf(token, state.class)));
  if (!chosen.size) delete state.class;
  pane.highlight(chosen);
  find("highlighted").hidden = !chosen.size;
  const others = [...chosen].filter(token => tokens.document[token] !== number);
  const documents = new Set([...chosen].map(token => tokens.document[token]));
  find("highlighted-title").textContent = `${counted(chosen.size, "token")} highlighted` +
    (documents.size > 1 ? ` in ${documents.size} documents, ${chosen.size - others.length} in this one` : "");
  // The list samples the other documents evenly.
  const step = Math.max(1, Math.floor(others.length / 12));
  find("elsewhere").replaceChildren(...others.filter((_, at) => at % step === 0).slice(0, 12).map(token => linkTo(token)));
}

// --- the card of a token ------------------------------------------------------------------------

// Shows the card of a token beside it.
function showCard(token) {
  pane.activate(token, false);
  const card = find("card");
  card.hidden = token === null;
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
  const at = place(), list = make("dl", "");
  const rows = [["norm", three(Math.exp(tokens.norm(at)[token]))], ["relative norm", three(Math.exp(tokens.relative(at)[token]))],
    ["residual", three(tokens.residual(at)[token])]];
  for (const {name, label} of tokens.columns) rows.push([label, new Shading(tokens, at, name, theme()).inWords(token)]);
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
