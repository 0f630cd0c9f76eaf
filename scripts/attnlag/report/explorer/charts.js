// Fills the charts from charts.py.

const ROLES = {
  permuted: {fill_color: "--band", line_color: null, fill_alpha: 0.7},
  intervals: {line_color: "--blue"},
  estimates: {fill_color: "--blue", line_color: "--page"},
  uncorrectedPoints: {line_color: "--blue"},
  untrainedPoints: {fill_color: "--orange", line_color: "--orange"},
  untrainedLine: {line_color: "--orange"},
  density: {fill_color: "--soft"},
  othersPoints: {fill_color: "--soft", line_color: null, fill_alpha: 0.35},
  ownPoints: {fill_color: "--blue", line_color: "--page", fill_alpha: 0.85},
  fit: {line_color: "--ink"},
  ring: {line_color: "--orange"},
};

// All elements below one, those inside components included.
function* elements(root) {
  for (const element of root.querySelectorAll("*")) {
    yield element;
    if (element.shadowRoot) yield* elements(element.shadowRoot);
  }
}

class Charts {
  static async made() {
    const items = await block("charts", true);
    for (const item of Object.values(items)) await Bokeh.embed.embed_item(item);
    return new Charts();
  }

  model(name) {
    return Bokeh.documents.map(one => one.get_model_by_name(name)).find(Boolean);
  }

  // Bokeh's layers of events can be focused, but have no keyboard controls; its tools have no role.
  mendControls() {
    for (const element of elements(document)) {
      if (element.matches(".bk-events")) element.removeAttribute("tabindex");
      else if (element.matches("div[tabindex='0'][title]")) element.setAttribute("role", "button");
    }
  }

  // Applies the colours of the page.
  paint() {
    const style = getComputedStyle(document.documentElement);
    const colour = value => String(value).startsWith("--") ? style.getPropertyValue(value).trim() : value;
    for (const name of ["trained", "random", "scatter"]) {
      const chart = this.model(name);
      for (const axis of [...chart.below, ...chart.left]) {
        axis.axis_label_text_color = axis.major_label_text_color = colour("--ink");
        axis.axis_line_color = axis.major_tick_line_color = colour("--soft");
      }
      for (const grid of chart.center) grid.grid_line_color = colour("--line");
    }
    for (const [name, colours] of Object.entries(ROLES)) {
      const renderer = this.model(name), {glyph} = renderer;
      for (const [property, value] of Object.entries(colours)) glyph[property] = colour(value);
      // Only points can be highlighted.
      if (!/own|others/.test(name)) continue;
      renderer.nonselection_glyph.fill_color = glyph.fill_color;
      renderer.selection_glyph.setv({fill_color: colour("--orange"), line_color: null});
    }
    for (const name of ["trained", "random"]) {
      this.model(`${name}Zero`).line_color = colour("--soft");
      this.model(`${name}Cursor`).line_color = colour("--orange");
      this.model(`${name}Cursor`).line_alpha = 0.6;
    }
    const brush = this.model("brush");
    brush.fill_color = brush.line_color = colour("--orange");
  }

  drawProfile(study, lag) {
    const term = study.terms[lag], {layers} = study;
    const known = values => values.map(value => value ?? NaN);
    const columns = ["estimate", "low", "high", "permutedLow", "permutedHigh", "random",
      "uncorrected"];
    const data = Object.fromEntries(columns.map(name => [name, known(term[name])]));
    this.model("coefficients").data = {layer: layers, ...data};
    this.model("untrained").data = {layer: layers, random: data.random,
      uncorrected: data.uncorrected};
    const range = this.model("layers");
    range.start = layers[0] - 0.7;
    range.end = layers.at(-1) + 0.7;
    const {low, high, permutedLow, permutedHigh, estimate, random} = data;
    this.fitRange("trained", "y_range", [low, high, permutedLow, permutedHigh, estimate, [0]].flat());
    this.fitRange("random", "y_range", [...random, ...data.uncorrected, 0]);
    this.model("random").visible = random.some(Number.isFinite);
    // Without the lower chart, the upper one labels the layers.
    this.model("trained").below[0].axis_label = this.model("random").visible ? null : "layer";
  }

  fitRange(chart, axis, values) {
    const known = values.filter(Number.isFinite);
    const low = Math.min(...known), high = Math.max(...known);
    const beside = (high - low) * 0.06 || 0.5;
    const range = this.model(chart)[axis];
    range.setv({start: low - beside, end: high + beside});
  }

  moveCursor(layer) {
    for (const name of ["trained", "random"]) this.model(`${name}Cursor`).location = layer;
  }

  // Draws the points of one document in front of the points or the density of all documents.
  drawCloud({x, y}, own, all, mode, labels, line) {
    const points = tokens => ({
      x: Array.from(tokens, token => x[token]),
      y: Array.from(tokens, token => y[token]),
      token: Array.from(tokens),
    });
    this.model("own").data = points(own);
    this.model("others").data = points(mode === "all" ? all : []);
    const xRange = centralRange(Float64Array.from(all, token => x[token]));
    const beside = (xRange[1] - xRange[0]) * 0.12;
    const [low, high] = [xRange[0] - beside, xRange[1] + beside];
    this.model("cells").data = density(x, y, mode === "density" ? all : [], low, high);
    const chart = this.model("scatter");
    for (const range of [chart.x_range, chart.y_range]) {
      range.setv({start: low, end: high, reset_start: low, reset_end: high});
    }
    [chart.below[0].axis_label, chart.left[0].axis_label] = labels;
    this.model("fitted").data = line
      ? {x: [low, high], y: [low, high].map(at => line.y + line.slope * (at - line.x))}
      : {x: [], y: []};
  }

  // Selects the points of highlighted tokens; null removes the highlight.
  select(chosen) {
    for (const name of ["own", "others"]) {
      const source = this.model(name);
      const places = [];
      if (chosen) {
        Array.from(source.data.token).forEach((token, place) => {
          if (chosen.has(token)) places.push(place);
        });
        // With an empty selection, Bokeh would show all points as selected.
        if (!places.length) places.push(source.data.token.length);
      }
      source.selected.indices = places;
    }
  }

  showBrush(box) {
    const [left, right, bottom, top] = box ?? [0, 0, 0, 0];
    this.model("brush").setv({left, right, bottom, top, visible: Boolean(box)});
  }

  ring(x, y) {
    const known = Number.isFinite(x) && Number.isFinite(y);
    this.model("active").data = known ? {x: [x], y: [y]} : {x: [], y: []};
  }
}

// Counts of points in squares, as shades on a logarithmic scale.
function density(x, y, tokens, low, high) {
  const cells = 44, width = (high - low) / cells, counts = new Map();
  for (const token of tokens) {
    const column = Math.floor((x[token] - low) / width), row = Math.floor((y[token] - low) / width);
    if (column < 0 || row < 0 || column >= cells || row >= cells) continue;
    const cell = row * cells + column;
    counts.set(cell, (counts.get(cell) ?? 0) + 1);
  }
  const most = Math.log1p(Math.max(1, ...counts.values()));
  const data = {left: [], right: [], bottom: [], top: [], alpha: []};
  for (const [cell, count] of counts) {
    const column = cell % cells, row = Math.floor(cell / cells);
    data.left.push(low + column * width);
    data.right.push(low + (column + 1) * width);
    data.bottom.push(low + row * width);
    data.top.push(low + (row + 1) * width);
    data.alpha.push(0.08 + 0.8 * Math.log1p(count) / most);
  }
  return data;
}
