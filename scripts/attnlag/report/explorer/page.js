// The controls, and the start of the page.

for (const key of ["model", "corpus", "site", "regression"]) {
  find(key).addEventListener("change", event => {
    state[key] = event.target.value;
    showStudy();
  });
}
find("theme").addEventListener("change", event => {
  state.theme = event.target.value;
  paint();
  drawTokens();
});
themes.addEventListener("change", () => {
  paint();
  drawTokens();
});
find("lag").addEventListener("change", event => {
  state.lag = event.target.value;
  showProfile();
  showLayer();
});
find("layer").addEventListener("input", event => {
  state.layer = study.layers[event.target.value];
  showLayer();
});
find("find").addEventListener("input", () => {
  if (showDocuments()) showDocument();
});
find("document").addEventListener("change", event => {
  state.document = event.target.value;
  delete state.token;
  delete state.span;
  showDocument();
});
for (const key of ["shade", "points"]) {
  find(key).addEventListener("change", event => {
    state[key] = event.target.value;
    drawTokens();
  });
}
function brushed(box) {
  delete state.span;
  state.brush = box?.map(value => Number(value.toPrecision(4)));
  showHighlight();
  writeAddress();
}
find("clear").addEventListener("click", () => brushed(undefined));
find("limits").addEventListener("submit", event => {
  event.preventDefault();
  const numbers = ["x0", "x1", "y0", "y1"].map(name => event.target.elements[name].value);
  const ends = [-1e6, 1e6, -1e6, 1e6];
  brushed(numbers.map((value, at) => value === "" ? ends[at] : Number(value)));
});
for (const form of document.forms) form.addEventListener("submit", event => event.preventDefault());

document.addEventListener("chart", ({detail}) => {
  if (detail.kind === "layer") {
    const near = Math.max(0, Math.round(detail.x) - study.layers[0]);
    state.layer = study.layers[near] ?? study.layers.at(-1);
    showLayer();
  } else if (detail.kind === "hover") {
    tell(detail.tokens.length ? detail.tokens[0] : kept());
  } else if (detail.kind === "point") {
    const near = nearest(detail.x, detail.y);
    if (near !== null) pick(near);
  } else if (detail.kind === "brush" && detail.type === "rect") {
    brushed([detail.x0, detail.x1, detail.y0, detail.y1]);
  }
});

// The token whose point is nearest to a position in the chart, if one is near.
function nearest(atX, atY) {
  const {x, y} = points(), range = charts.model("scatter").x_range;
  let best = null, least = (range.end - range.start) * 0.03;
  for (let token = 0; token < tokens.count; token++) {
    if (state.points === "document" && tokens.document[token] !== number) continue;
    const away = Math.hypot(x[token] - atX, y[token] - atY);
    if (away < least) [best, least] = [token, away];
  }
  return best;
}

addEventListener("hashchange", () => {
  readAddress();
  paint();
  showStudy();
});

// For the console of the browser: the data of the page.
globalThis.explorer = {index, state, get tokens() { return tokens; }, get study() { return study; }};

readAddress();
find("main").hidden = false;
paint();
await showStudy();
await new Promise(requestAnimationFrame);
charts.mendControls();
document.documentElement.dataset.ready = "yes";
