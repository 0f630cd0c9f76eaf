// Charts in SVG: lines by category, and maps. Their colours are properties of the page's style.

const NS = "http://www.w3.org/2000/svg";
const LEFT = 46, RIGHT = 8;

function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
}

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(NS, tag);
  setAttributes(node, attributes);
  node.append(...children);
  return node;
}

// About `count` round numbers between two.
function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough);
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return Array.from({length: last - first + 1}, (_, at) => Number(((first + at) * step).toPrecision(12)));
}

const plain = value => String(value).replace("-", "−");

function rangeOf(values) {
  const known = values.filter(Number.isFinite);
  if (!known.length) return [0, 1];
  const low = Math.min(...known), high = Math.max(...known), beside = (high - low) * 0.06 || 0.5;
  return [low - beside, high + beside];
}

// A mark of a series at a place: its kind tells series apart without colour.
function mark(kind, colour, x, y, size = 4) {
  const fill = `fill:var(${colour})`, hollow = `fill:var(--page);stroke:var(${colour});stroke-width:2`;
  if (kind === "band") return svg("rect", {x: x - 8, y: y - 5, width: 16, height: 10, style: fill});
  if (kind === "line") return svg("path", {d: `M${x - 8},${y}h16`, style: `stroke:var(${colour});stroke-width:2`});
  if (kind === "square") return svg("rect", {x: x - size, y: y - size, width: 2 * size, height: 2 * size, style: hollow});
  const cross = `M${x - size},${y - size}l${2 * size},${2 * size}m0,${-2 * size}l${-2 * size},${2 * size}`;
  if (kind === "cross") return svg("path", {d: cross, style: `stroke:var(${colour});stroke-width:1.5`});
  const diamond = `M${x},${y - size - 1}l${size + 1},${size + 1}l${-size - 1},${size + 1}l${-size - 1},${-size - 1}z`;
  if (kind === "diamond") return svg("path", {d: diamond, style: fill});
  return svg("circle", {cx: x, cy: y, r: size, style: kind === "ring" ? hollow : fill});
}

const words = (text, x, y, attributes = {}) => svg("text", {x, y, ...attributes}, text);

// What all charts share: a key, a button that saves, what they tell, and the keyboard. A chart has a
// `spec`, and a kind of chart says how to `paint` it and what it `says` of a place.
class Chart {
  static all = [];

  constructor(id) {
    this.id = id;
    this.element = find(id);
    this.keys = make("div", "", {className: "keys"});
    const saves = make("div", "", {className: "save"}), head = make("figcaption", "");
    for (const [kind, action] of [["CSV", () => saveRows(this.id, this.rows())], ["SVG", () => this.savePicture()]]) {
      const button = make("button", kind, {type: "button", onclick: action});
      button.setAttribute("aria-label", `save this chart as ${kind}`);
      saves.append(button);
    }
    head.append(this.keys, saves);
    this.svg = svg("svg", {role: "slider", tabindex: 0});
    this.element.replaceChildren(head, this.svg);
    this.told = null;
    this.svg.addEventListener("pointermove", event => this.point(this.placeAt(event), event));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    this.svg.addEventListener("blur", () => this.point(null));
    this.svg.addEventListener("click", event => this.pick(this.placeAt(event)));
    this.svg.addEventListener("keydown", event => this.press(event));
    new ResizeObserver(() => this.element.clientWidth !== this.width && this.repaint()).observe(this.element);
    Chart.all.push(this);
  }

  draw(spec) {
    this.spec = spec;
    this.svg.setAttribute("aria-label", spec.label);
    this.repaint();
  }

  repaint() {
    this.width = this.element.clientWidth;
    if (!this.spec || !this.width) return;
    this.svg.replaceChildren();
    this.keys.replaceChildren();
    this.paint();
    const {x, cursor = 0} = this.spec;
    setAttributes(this.svg, {"aria-valuemin": 0, "aria-valuemax": x.length - 1, "aria-valuenow": cursor});
  }

  size(height) {
    setAttributes(this.svg, {width: this.width, height, viewBox: `0 0 ${this.width} ${height}`});
  }

  key(kind, colour, name) {
    const sign = svg("svg", {width: 18, height: 12, "aria-hidden": "true"}, mark(kind, colour, 9, 6));
    const key = make("span", "");
    key.append(sign, ...withTerms(name));
    this.keys.append(key);
  }

  point(place, event) {
    this.told = place;
    this.mark(place);
    if (!place) return hideTip();
    const box = this.svg.getBoundingClientRect(), [x, y] = this.spot(place);
    showTip(this.says(place), event?.clientX ?? box.left + x, event?.clientY ?? box.top + y);
  }

  pick(place) {
    if (place) this.spec.onPick?.(...place);
  }

  press(event) {
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
      Home: [-1e9, 0], End: [1e9, 0]}[event.key];
    if (event.key === "Enter" && this.told) this.pick(this.told);
    if (event.key === "Escape") this.point(null);
    if (!step) return;
    event.preventDefault();
    const clamp = (value, count) => Math.max(0, Math.min(count - 1, value));
    const [column, row] = this.told ?? [this.spec.cursor ?? 0, 0];
    const rows = this.spec.rows?.length ?? 1;
    const place = [clamp(column + step[0], this.spec.x.length), clamp(row + step[1], rows)];
    setAttributes(this.svg, {"aria-valuenow": place[0], "aria-valuetext": this.says(place).join("; ")});
    this.point(place);
  }

  // The picture with its key, in the colours of the page.
  savePicture() {
    const style = getComputedStyle(document.documentElement), copy = this.svg.cloneNode(true);
    const height = Number(copy.getAttribute("height")) + 24;
    let x = LEFT;
    for (const key of this.keys.children) {
      const sign = key.querySelector("svg"), text = key.textContent;
      if (sign) {
        copy.append(svg("g", {transform: `translate(${x},${height - 18})`}, ...sign.cloneNode(true).children));
        x += 22;
      }
      copy.append(words(text, x, height - 8));
      x += 7 * text.length + 16;
    }
    const width = Math.max(this.width, x);
    setAttributes(copy, {xmlns: NS, width, height, viewBox: `0 0 ${width} ${height}`});
    copy.prepend(svg("rect", {width: "100%", height: "100%", style: "fill:var(--page)"}),
      svg("style", {}, "text{font:12px sans-serif;fill:var(--ink)}.grid{stroke:var(--line)}"));
    const text = new XMLSerializer().serializeToString(copy)
      .replace(/var\((--\w+)\)/g, (_, name) => style.getPropertyValue(name).trim());
    save(`${this.id}.svg`, "image/svg+xml", text);
  }
}

// Series by category, in panels that share it: bands, lines, and marks with intervals.
class LineChart extends Chart {
  band() {
    return (this.width - LEFT - RIGHT) / this.spec.x.length;
  }

  place(at) {
    return LEFT + (at + 0.5) * this.band();
  }

  paint() {
    const {x, xLabel, panels, cursor} = this.spec, band = this.band();
    const longest = Math.max(...x.map(name => 7 * String(name).length)), turned = isNaN(x[0]) && longest > band - 4;
    const short = 7 * xLabel.length < LEFT;
    const below = turned ? 20 + Math.min(longest * 0.66, 110) : short ? 24 : 40;
    let top = 22;
    const wide = Math.min(Math.max(band, 4), 40);
    this.cursor = svg("rect", {width: wide, y: 20, style: "fill:var(--mark);opacity:.45"});
    if (cursor >= 0) {
      this.cursor.setAttribute("x", this.place(cursor) - wide / 2);
      this.svg.append(this.cursor);
    }
    for (const panel of panels) {
      this.panel(panel, top);
      top += panel.height + 30;
    }
    const bottom = top - 30;
    if (cursor >= 0) this.key("band", "--mark", `chosen ${xLabel}`);
    this.cursor.setAttribute("height", bottom - 20);
    const every = isNaN(x[0]) ? 1 : Math.ceil(30 / band);
    for (const [at, name] of x.entries()) {
      if (at % every) continue;
      const label = words(name, this.place(at), bottom + 16, {"text-anchor": turned ? "end" : "middle"});
      if (turned) label.setAttribute("transform", `rotate(-45 ${this.place(at)} ${bottom + 10})`);
      this.svg.append(label);
    }
    if (!turned) this.svg.append(words(xLabel, short ? 4 : LEFT, bottom + (short ? 16 : 34)));
    this.pointer = svg("path", {style: "stroke:var(--soft);stroke-dasharray:2 3"});
    this.svg.append(this.pointer);
    this.bottom = bottom;
    this.size(bottom + below);
  }

  panel({label, height, series, base = 0, format = plain}, top) {
    const shown = series.filter(({y, low}) => [y, low].some(values => values?.some(Number.isFinite)));
    const [low, high] = rangeOf([base, ...shown.flatMap(({y, low, high}) => [y, low, high].flatMap(values => values ?? []))]);
    const y = value => top + height - (value - low) / (high - low) * height;
    this.svg.append(words(label, 4, top - 8));
    for (const tick of ticks(low, high, Math.max(2.5, height / 45))) {
      this.svg.append(svg("path", {class: tick === base ? "base" : "grid", d: `M${LEFT},${y(tick)}H${this.width - RIGHT}`,
        style: `stroke:var(${tick === base ? "--soft" : "--line"})`}),
      words(format(tick), LEFT - 6, y(tick) + 4, {"text-anchor": "end"}));
    }
    for (const {name, kind, colour, line, aside = 0, y: values, low, high, marks, meanings} of shown) {
      const at = place => this.place(place) + aside * Math.min(this.band() * 0.2, 9);
      for (const [sign, text] of [[kind, name], ...Object.entries(meanings ?? {})]) this.key(sign, colour, text);
      if (kind === "band") {
        this.svg.append(this.area({low, high, colour}, y));
        continue;
      }
      const known = values.flatMap((value, place) => Number.isFinite(value) ? [place] : []);
      if (line || kind === "line") {
        const d = known.map((place, n) => `${n && known[n - 1] === place - 1 ? "L" : "M"}${at(place)},${y(values[place])}`);
        this.svg.append(svg("path", {d: d.join(""), style: `fill:none;stroke:var(${colour});stroke-width:1.5`}));
      }
      for (const place of known) {
        if (Number.isFinite(low?.[place])) {
          this.svg.append(svg("path", {d: `M${at(place)},${y(low[place])}V${y(high[place])}`,
            style: `stroke:var(${colour});stroke-width:2`}));
        }
        const signs = kind === "line" ? [] : marks?.[place] ?? [kind], size = this.band() < 12 ? 2.5 : 4;
        this.svg.append(...signs.map(sign => mark(sign, colour, at(place), y(values[place]), size)));
      }
    }
  }

  area({low, high, colour}, y) {
    const half = this.band() / 2;
    const d = low.flatMap((value, at) => Number.isFinite(value)
      ? [`M${this.place(at) - half},${y(value)}h${2 * half}V${y(high[at])}h${-2 * half}z`] : []);
    return svg("path", {d: d.join(""), style: `fill:var(${colour});opacity:.8`});
  }

  placeAt(event) {
    const at = Math.floor((event.clientX - this.svg.getBoundingClientRect().left - LEFT) / this.band());
    return at >= 0 && at < this.spec.x.length ? [at, 0] : null;
  }

  spot([at]) {
    return [this.place(at), 30];
  }

  mark(place) {
    this.pointer?.setAttribute("d", place ? `M${this.place(place[0])},20V${this.bottom}` : "");
  }

  says([at]) {
    const {x, xLabel, panels} = this.spec;
    return [`${isNaN(x[at]) ? "" : `${xLabel} `}${x[at]}`, ...panels.flatMap(({series, format = three}) =>
      series.flatMap(({name, y, low, high}) => {
        const ends = Number.isFinite(low?.[at]) ? `${format(low[at])} to ${format(high[at])}` : "";
        if (!y) return ends ? [`${name}: ${ends}`] : [];
        return Number.isFinite(y[at]) ? [`${name}: ${format(y[at])}${ends && ` (${ends})`}`] : [];
      }))];
  }

  rows() {
    const columns = this.spec.panels.flatMap(({series}) => series.flatMap(({name, y, low, high}) =>
      [[name, y], [`${name}, from`, low], [`${name}, to`, high]].filter(([, values]) => values)));
    return [[this.spec.xLabel, ...columns.map(([name]) => name)],
      ...this.spec.x.map((name, at) => [name, ...columns.map(([, values]) => values[at])])];
  }
}

// A map of rows by categories.
class MapChart extends Chart {
  cell() {
    return [(this.width - LEFT - RIGHT) / this.spec.x.length, this.spec.cellHeight ?? 24];
  }

  paint() {
    const {x, rows, values, xLabel, rowLabel, unit, format = three, diverging} = this.spec;
    const [width, height] = this.cell(), known = values.flat().filter(Number.isFinite);
    let [low, high] = known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
    if (diverging) [low, high] = [-1, 1].map(sign => sign * Math.max(Math.abs(low), Math.abs(high)));
    else low = Math.min(low, 0);
    const ramp = (diverging ? DIVERGING : RAMPS)[theme()];
    this.svg.append(words(rowLabel, 4, 14));
    for (const [row, name] of rows.entries()) {
      this.svg.append(words(name, LEFT - 6, 22 + (row + 0.5) * height + 4, {"text-anchor": "end"}));
      for (const at of x.keys()) {
        const value = values[row][at];
        if (!Number.isFinite(value)) continue;
        this.svg.append(svg("rect", {x: LEFT + at * width, y: 22 + row * height, width: width - 0.5, height: height - 1,
          style: `fill:rgb(${mixed(ramp, (value - low) / (high - low || 1))})`}));
      }
    }
    const bottom = 22 + rows.length * height, every = Math.ceil(30 / width);
    for (const [at, name] of x.entries()) {
      if (at % every === 0) this.svg.append(words(name, LEFT + (at + 0.5) * width, bottom + 16, {"text-anchor": "middle"}));
    }
    this.svg.append(words(xLabel, 4, bottom + 16));
    this.ring = svg("rect", {width: width + 1, height: height + 1, style: "fill:none;stroke:var(--orange);stroke-width:3", visibility: "hidden"});
    this.svg.append(this.ring);
    const scale = make("span", "", {className: "ramp"});
    scale.style.background = `linear-gradient(to right, ${ramp.join(", ")})`;
    this.keys.append(make("span", `${unit} ${format(low)}`), scale, make("span", format(high)));
    this.size(bottom + 24);
  }

  placeAt(event) {
    const box = this.svg.getBoundingClientRect(), [width, height] = this.cell();
    const at = Math.floor((event.clientX - box.left - LEFT) / width), row = Math.floor((event.clientY - box.top - 22) / height);
    return at >= 0 && row >= 0 && at < this.spec.x.length && row < this.spec.rows.length ? [at, row] : null;
  }

  spot([at, row]) {
    const [width, height] = this.cell();
    return [LEFT + (at + 0.5) * width, 22 + (row + 0.5) * height];
  }

  mark(place) {
    if (!this.ring) return;
    const [width, height] = this.cell();
    const [at, row] = place ?? [0, 0];
    setAttributes(this.ring, {visibility: place ? "visible" : "hidden", x: LEFT + at * width - 1, y: 22 + row * height - 1});
  }

  says([at, row]) {
    const {x, rows, xLabel, rowLabel, tells} = this.spec;
    return [`${xLabel} ${x[at]}, ${rowLabel} ${rows[row]}`, ...tells(at, row)];
  }

  rows() {
    const {x, rows, values, xLabel, rowLabel, unit} = this.spec;
    return [[xLabel, rowLabel, unit], ...rows.flatMap((name, row) => x.map((column, at) => [column, name, values[row][at]]))];
  }
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
