// Draws sheets: the panels of lines and maps of the figures, as as_json.py describes them.

const NS = "http://www.w3.org/2000/svg";
const LEFT = 52, RIGHT = 10, TOP = 12, BELOW = 40;

function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(NS, tag);
  setAttributes(node, attributes);
  node.append(...children);
  return node;
}

const words = (text, x, y, attributes = {}) => svg("text", {x, y, ...attributes}, text);
const DIGITS = {maximumSignificantDigits: 12};
const plain = value => value.toLocaleString("en", DIGITS).replace("-", "−");

// About `count` round numbers between two.
function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough);
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return Array.from({length: last - first + 1}, (_, at) => Number(((first + at) * step).toPrecision(12)));
}

// The powers of ten, and three times these, between two logarithms.
function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(low); power <= high; power++) found.push(power, power + Math.log10(3));
  return found.filter(value => low <= value && value <= high);
}

// A mark of a line at a place.
function mark(kind, colour, x, y, size) {
  const filled = `fill:${colour}`, hollow = `fill:var(--page);stroke:${colour};stroke-width:1.5`;
  if (kind === "square") return svg("rect", {x: x - size, y: y - size, width: 2 * size, height: 2 * size, style: filled});
  const cross = `M${x - size},${y - size}l${2 * size},${2 * size}m0,${-2 * size}l${-2 * size},${2 * size}`;
  if (kind === "cross") return svg("path", {d: cross, style: `fill:none;stroke:${colour};stroke-width:1.5`});
  return svg("circle", {cx: x, cy: y, r: size, style: kind === "ring" ? hollow : filled});
}

// What both kinds of panels share: size, title, saving, what they tell, and the keyboard.
class Panel {
  static all = new Map();

  constructor(id, panel, onPick) {
    Object.assign(this, {id, panel, onPick, told: null});
    this.element = make("figure", "");
    this.keys = make("div", "", {className: "keys"});
    const head = make("figcaption", ""), saves = make("div", "", {className: "save"});
    for (const [kind, action] of [["CSV", () => saveRows(id, this.rows())], ["SVG", () => this.savePicture()]]) {
      const button = make("button", kind, {type: "button", onclick: action});
      button.setAttribute("aria-label", `save ${panel.title || id} as ${kind}`);
      saves.append(button);
    }
    head.append(make("strong", panel.title), saves);
    this.svg = svg("svg", {role: "slider", tabindex: 0});
    const does = onPick && panel.xLabel === "layer" ? ", Enter chooses a layer" : "";
    this.svg.setAttribute("aria-label", `${panel.title || id}: arrow keys read it${does}`);
    this.element.append(head, this.keys, this.svg);
    this.svg.addEventListener("pointermove", event => this.point(this.placeAt(event), event));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    this.svg.addEventListener("blur", () => this.point(null));
    this.svg.addEventListener("click", event => this.pick(this.placeAt(event)));
    this.svg.addEventListener("keydown", event => this.press(event));
    this.observer = new ResizeObserver(() => this.element.clientWidth !== this.width && this.draw());
    this.observer.observe(this.element);
    Panel.all.set(id, this);
  }

  draw() {
    this.width = this.element.clientWidth;
    if (!this.width) return;
    this.svg.replaceChildren();
    this.keys.replaceChildren();
    this.paint();
    setAttributes(this.svg, {"aria-valuemin": 0, "aria-valuemax": this.panel.x.length - 1, "aria-valuenow": this.cursor()});
  }

  // The place of the chosen layer on an axis of layers, 0 on others.
  cursor() {
    return this.panel.xLabel === "layer" ? Math.max(0, this.panel.x.indexOf(state.layer)) : 0;
  }

  size(height) {
    setAttributes(this.svg, {width: this.width, height, viewBox: `0 0 ${this.width} ${height}`});
  }

  // An entry of the key: a square for bars, otherwise a line.
  key(colour, dashes, text, bars) {
    const style = `stroke:${colour};stroke-width:2.5;stroke-dasharray:${dashes.map(length => 2.5 * length).join()}`;
    const sign = bars ? mark("square", colour, 11, 5, 4) : svg("path", {d: "M0,5h22", style});
    const key = make("span", "");
    key.append(svg("svg", {width: 22, height: 10, "aria-hidden": "true"}, sign), text);
    this.keys.append(key);
  }

  label(places, bottom) {
    const {x, xLabel} = this.panel, room = Math.max(28, 6 + 7 * Math.max(...x.map(value => plain(value).length)));
    let last = -Infinity;
    for (const [at, place] of places.entries()) {
      if (place - last < room) continue;
      last = place;
      this.svg.append(words(plain(x[at]), place, bottom + 16, {"text-anchor": "middle"}));
    }
    for (const layer of this.panel.withoutAttention) {
      this.svg.append(words("◇", places[x.indexOf(layer)], bottom + 4, {"text-anchor": "middle"}));
    }
    this.svg.append(words(xLabel, (LEFT + this.width - RIGHT) / 2, bottom + 33, {"text-anchor": "middle"}));
  }

  point(place, event) {
    this.told = place;
    this.show(place);
    if (!place) return hideTip();
    const box = this.svg.getBoundingClientRect(), [x, y] = this.spot(place);
    showTip(this.says(place), event?.clientX ?? box.left + x, event?.clientY ?? box.top + y);
  }

  pick(place) {
    if (place && this.panel.xLabel === "layer") this.onPick?.(this.panel.x[place[0]]);
  }

  press(event) {
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
      Home: [-1e9, 0], End: [1e9, 0]}[event.key];
    if (event.key === "Enter" && this.told) this.pick(this.told);
    if (event.key === "Escape") this.point(null);
    if (!step) return;
    event.preventDefault();
    const clamp = (value, count) => Math.max(0, Math.min(count - 1, value));
    const [column, row] = this.told ?? [this.cursor(), 0];
    const place = [clamp(column + step[0], this.panel.x.length), clamp(row + step[1], this.panel.rows?.length ?? 1)];
    setAttributes(this.svg, {"aria-valuenow": place[0], "aria-valuetext": this.says(place).join("; ")});
    this.point(place);
  }

  // The picture in the colours of the page, with its title and its key.
  savePicture() {
    const style = getComputedStyle(document.documentElement), copy = this.svg.cloneNode(true);
    const added = 40, height = Number(copy.getAttribute("height")) + added;
    copy.append(words(this.panel.title, LEFT, height - 24));
    let x = LEFT;
    for (const key of this.keys.children) {
      const sign = key.querySelector("svg"), text = key.textContent;
      if (sign) copy.append(svg("g", {transform: `translate(${x},${height - 16})`}, ...sign.cloneNode(true).children));
      copy.append(words(text, x + 26, height - 7));
      x += 7 * text.length + 44;
    }
    const width = Math.max(this.width, x);
    setAttributes(copy, {xmlns: NS, width, height, viewBox: `0 0 ${width} ${height}`});
    copy.prepend(svg("rect", {width: "100%", height: "100%", style: "fill:var(--page)"}),
      svg("style", {}, "text{font:12px sans-serif;fill:var(--ink)}"));
    const text = new XMLSerializer().serializeToString(copy)
      .replace(/var\((--\w+)\)/g, (_, name) => style.getPropertyValue(name).trim());
    save(`${this.id}.svg`, "image/svg+xml", text);
  }
}

// Lines with bands, bars and marks.
class LinesPanel extends Panel {
  // The ends of the vertical axis; panels that name the same share have the same.
  range() {
    const {share} = this.panel, values = [];
    for (const panel of this.sheet.panels) {
      if (panel !== this.panel && (!share || panel.share !== share)) continue;
      if (panel.zero) values.push(0);
      for (const {y, low, high} of panel.lines) values.push(...y, ...low ?? [], ...high ?? []);
    }
    const known = values.map(value => this.scaled(value)).filter(Number.isFinite);
    if (!known.length) return [0, 1];
    const least = Math.min(...known), most = Math.max(...known), beside = (most - least) * 0.06 || 0.5;
    return [this.panel.low ?? least - beside, this.panel.high ?? most + beside];
  }

  scaled(value) {
    if (value === null) return NaN;
    return this.panel.logScale ? Math.log10(value) : value;
  }

  // A value on the horizontal axis, of which the linear part is as wide as a doubling.
  scaledAcross(value) {
    const {linearTo} = this.panel;
    return linearTo && value > linearTo ? linearTo * (1 + Math.log2(value / linearTo)) : value;
  }

  // Number of cells of equal width on an axis of layers: those that were left out have empty ones. Beside a map,
  // which has none of these, lines have its cells.
  cells() {
    const {x} = this.panel;
    return this.hasMap() ? x.length : x.at(-1) - x[0] + 1;
  }

  hasMap() {
    return this.sheet.panels.some(({kind}) => kind === "map");
  }

  // Layers lie in the middle of their cells, other values where they are.
  placeOf(value, at) {
    const {x, xLabel} = this.panel, wide = this.width - LEFT - RIGHT;
    if (xLabel === "layer") return LEFT + ((this.hasMap() ? at : value - x[0]) + 0.5) * wide / this.cells();
    const least = this.scaledAcross(Math.min(...x)), most = this.scaledAcross(Math.max(...x));
    return LEFT + 14 + (most > least ? (this.scaledAcross(value) - least) / (most - least) : 0.5) * (wide - 28);
  }

  paint() {
    const {x, yLabel, lines, missing, xLabel} = this.panel, height = 190, bottom = TOP + 14 + height;
    const [low, high] = this.range();
    const y = value => bottom - (this.scaled(value) - low) / (high - low) * height;
    this.places = x.map((value, at) => this.placeOf(value, at));
    this.svg.append(words(yLabel, 4, TOP));
    for (const tick of this.panel.logScale ? logTicks(low, high) : ticks(low, high, 5.5)) {
      const value = this.panel.logScale ? Number((10 ** tick).toPrecision(1)) : tick;
      const place = bottom - (tick - low) / (high - low) * height, isZero = tick === 0 && !this.panel.logScale;
      this.svg.append(svg("path", {d: `M${LEFT},${place}H${this.width - RIGHT}`, style: `stroke:var(${isZero ? "--soft" : "--line"})`}),
        words(plain(value), LEFT - 6, place + 4, {"text-anchor": "end"}));
    }
    if (xLabel === "layer" && x.includes(state.layer)) {
      const wide = Math.max(4, (this.width - LEFT - RIGHT) / this.cells());
      this.svg.append(svg("rect", {x: this.places[this.cursor()] - wide / 2, y: TOP + 14, width: wide, height,
        style: "fill:var(--mark);opacity:.35"}));
    }
    // What lies beyond a stated end of the axis is cut off.
    const clip = `clip-${this.id}`;
    this.plot = svg("g", {"clip-path": `url(#${clip})`});
    this.svg.append(svg("clipPath", {id: clip}, svg("rect", {x: LEFT - 6, y: TOP + 8, width: this.width - LEFT, height: height + 12})), this.plot);
    this.named = new Set();
    const behind = lines.filter(line => line.behind), others = lines.filter(line => !line.behind);
    for (const line of [...behind, ...others]) this.line(line, y);
    for (const layer of missing) {
      const place = this.places[x.indexOf(layer)];
      this.svg.append(words("△", place, bottom - 4, {"text-anchor": "middle"}));
    }
    this.pointer = svg("path", {style: "stroke:var(--soft);stroke-dasharray:2 3"});
    this.svg.append(this.pointer);
    this.bottom = bottom;
    this.label(this.places, bottom);
    this.size(bottom + BELOW);
  }

  line({name, colour, dashes, width, shade, bars, y: values, low, high, x, marks}, y) {
    const place = at => x ? this.placeOf(x[at], at) : this.places[at];
    const isKnown = (list, at) => Number.isFinite(this.scaled(list?.[at] ?? null));
    if (name && !this.named.has(name) && values.some((_, at) => isKnown(values, at) || isKnown(low, at))) {
      this.named.add(name);
      this.key(colour, width ? dashes : [], name, bars);
    }
    if (low && !bars) this.plot.append(this.band(low, high, place, y, colour, shade));
    const known = [...values.keys()].filter(at => isKnown(values, at));
    if (width && !bars) {
      const d = known.map((at, n) => `${n && known[n - 1] === at - 1 ? "L" : "M"}${place(at)},${y(values[at])}`).join("");
      const dashed = dashes.map(length => length * width).join();
      this.plot.append(svg("path", {d, style: `fill:none;stroke:${colour};stroke-width:${width};stroke-dasharray:${dashed}`}));
    }
    const size = Math.max(2.2, Math.min(4, (this.width - LEFT) / this.panel.x.length / 3));
    for (const at of known) {
      if (bars && isKnown(low, at)) {
        this.plot.append(svg("path", {d: `M${place(at)},${y(low[at])}V${y(high[at])}`, style: `stroke:${colour};stroke-width:1.5`}));
      }
      const kinds = bars ? ["square"] : marks?.[at] ?? [];
      this.plot.append(...kinds.map(kind => mark(kind, colour, place(at), y(values[at]), size)));
    }
  }

  // A band has gaps where its ends are not known.
  band(low, high, place, y, colour, shade) {
    const runs = [];
    for (const at of low.keys()) {
      if (low[at] === null || high[at] === null) continue;
      if (runs.length && runs.at(-1).at(-1) === at - 1) runs.at(-1).push(at);
      else runs.push([at]);
    }
    const d = runs.map(run => `M${run.map(at => `${place(at)},${y(low[at])}`).join("L")}` +
      `L${run.toReversed().map(at => `${place(at)},${y(high[at])}`).join("L")}z`);
    return svg("path", {d: d.join(""), style: `fill:${colour};opacity:${shade}`});
  }

  placeAt(event) {
    const x = event.clientX - this.svg.getBoundingClientRect().left;
    if (x < LEFT || !this.places) return null;
    const away = this.places.map(place => Math.abs(place - x));
    return [away.indexOf(Math.min(...away)), 0];
  }

  spot([at]) {
    return [this.places[at], 30];
  }

  show(place) {
    this.pointer?.setAttribute("d", place ? `M${this.places[place[0]]},${TOP + 14}V${this.bottom}` : "");
  }

  says([at]) {
    const {x, xLabel, yLabel, lines} = this.panel, told = [`${xLabel} ${plain(x[at])}`];
    // Many lines of one name have the ends of their values.
    const many = Map.groupBy(lines.filter(({each, y}) => each && Number.isFinite(y[at])), ({name}) => name);
    for (const [name, group] of many) {
      const values = group.map(({y}) => y[at]);
      told.push(`${name}: ${three(Math.min(...values))} to ${three(Math.max(...values))}`);
    }
    for (const {name, y, low, high} of lines.filter(({each}) => !each)) {
      const ends = Number.isFinite(low?.[at]) ? `${three(low[at])} to ${three(high[at])}` : "";
      const value = Number.isFinite(y[at]) ? three(y[at]) : "";
      if (value || ends) told.push(`${name || yLabel}: ${value && ends ? `${value} (${ends})` : value || ends}`);
    }
    return told;
  }

  rows() {
    const {x, xLabel, yLabel, lines} = this.panel, columns = [];
    for (const {name, each, y, low, high} of lines) {
      const of = each || name || yLabel;
      columns.push([of, y]);
      if (low) columns.push([`${of}, from`, low], [`${of}, to`, high]);
    }
    const known = columns.filter(([, values]) => values.some(Number.isFinite));
    return [[xLabel, ...known.map(([name]) => name)], ...x.map((value, at) => [value, ...known.map(([, values]) => values[at])])];
  }
}

// Cells, a row for each name.
class MapPanel extends Panel {
  left() {
    const {rows, ticks} = this.panel;
    return Math.min(this.width * 0.5, 14 + 6.6 * Math.max(...ticks.map(row => rows[row].length)));
  }

  cell() {
    return [(this.width - this.left() - RIGHT) / this.panel.x.length, 18];
  }

  paint() {
    const {x, rows, ticks: named, values, dots, texts, label, low, high, diverging} = this.panel;
    const [width, height] = this.cell(), left = this.left(), bottom = TOP + rows.length * height;
    const ramp = diverging ? DIVERGING[theme()] : VIRIDIS, centre = at => left + (at + 0.5) * width;
    for (const row of named) {
      this.svg.append(words(rows[row], left - 6, TOP + (row + 0.5) * height + 4, {"text-anchor": "end"}));
    }
    for (const [row, cells] of values.entries()) {
      for (const [at, value] of cells.entries()) {
        const fill = value === null ? "var(--panel)" : `rgb(${mixed(ramp, (value - low) / (high - low || 1))})`;
        this.svg.append(svg("rect", {class: "cell", x: left + at * width, y: TOP + row * height, width, height, style: `fill:${fill}`}));
        if (dots?.[row][at]) this.svg.append(svg("circle", {cx: centre(at), cy: TOP + (row + 0.5) * height, r: 1.6, style: "fill:var(--ink)"}));
      }
      if (texts[row]) this.svg.append(words(texts[row], left + 8, TOP + (row + 0.5) * height + 4));
    }
    this.ring = svg("rect", {width: width + 1, height: height + 1, style: "fill:none;stroke:var(--orange);stroke-width:3", visibility: "hidden"});
    this.svg.append(this.ring);
    const scale = make("span", "", {className: "ramp"});
    scale.style.background = `linear-gradient(to right, ${ramp.join(", ")})`;
    this.keys.append(make("span", `${label}: ${three(low)}`), scale, make("span", three(high)));
    this.label(x.map((_, at) => centre(at)), bottom);
    this.size(bottom + BELOW);
  }

  placeAt(event) {
    const box = this.svg.getBoundingClientRect(), [width, height] = this.cell();
    const at = Math.floor((event.clientX - box.left - this.left()) / width), row = Math.floor((event.clientY - box.top - TOP) / height);
    return at >= 0 && row >= 0 && at < this.panel.x.length && row < this.panel.rows.length ? [at, row] : null;
  }

  spot([at, row]) {
    const [width, height] = this.cell();
    return [this.left() + (at + 0.5) * width, TOP + (row + 0.5) * height];
  }

  show(place) {
    const [width, height] = this.cell(), [at, row] = place ?? [0, 0];
    if (this.ring) setAttributes(this.ring, {visibility: place ? "visible" : "hidden", x: this.left() + at * width, y: TOP + row * height});
  }

  says([at, row]) {
    const {x, xLabel, rows, rowLabel, label, values} = this.panel;
    return [`${xLabel} ${x[at]}, ${rowLabel} ${rows[row]}`, `${label}: ${three(values[row][at])}`];
  }

  rows() {
    const {x, xLabel, rows, rowLabel, label, values} = this.panel, made = [[xLabel, rowLabel || "row", label]];
    for (const [row, name] of rows.entries()) for (const [at, layer] of x.entries()) made.push([layer, name, values[row][at]]);
    return made;
  }
}

// Draws some panels of a sheet into an element.
function drawPanels(element, sheet, panels, id) {
  element.replaceChildren(...panels.map((panel, at) => {
    const Kind = panel.kind === "map" ? MapPanel : LinesPanel;
    const view = new Kind(`${id}-${at}`, panel, setLayer);
    view.sheet = sheet;
    return view.element;
  }));
  element.style.setProperty("--across", sheet.across);
  // A panel that is alone in its row takes all of it.
  if (sheet.across > 1 && panels.length % sheet.across === 1) element.lastChild.style.gridColumn = "1 / -1";
}

// Forgets the panels of an earlier study.
function forgetPanels() {
  for (const panel of Panel.all.values()) panel.observer.disconnect();
  Panel.all.clear();
}

// A sheet as a section: what it claims, some of its panels, what marks mean, and its tables.
function sheetView(sheet, shown = sheet.panels) {
  const section = make("section", "", {className: "sheet"}), claim = make("p", "", {className: "claim"});
  const panels = make("div", "", {className: "panels"}), caption = make("p", "", {className: "note"});
  const paths = make("p", "", {className: "note"});
  const explained = new Set();
  claim.append(...withTerms(`${sheet.claim}.`, explained));
  caption.append(...withTerms(sheet.caption, explained));
  section.dataset.sheet = sheet.name;
  section.append(claim, panels, caption, paths);
  showTables(paths, sheet.tables);
  drawPanels(panels, sheet, shown, sheet.name);
  return section;
}

// A cell of CSV, in which a spreadsheet takes nothing for a formula.
function cell(value) {
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : "";
  const text = String(value ?? "").replace(/^([=@\t\r]|[+-](?![\d.]*$))/, "'$1");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const saveRows = (name, rows) => save(`${name}.csv`, "text/csv", rows.map(row => row.map(cell).join(",")).join("\r\n"));

// Saves a file under the name of its study.
function save(name, type, text) {
  const file = [study.model, study.corpus, study.site, study.regression, name].join("_").replace(/[^\w.-]+/g, "-");
  const link = make("a", "", {download: file, href: URL.createObjectURL(new Blob([text], {type}))});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
