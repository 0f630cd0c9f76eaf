// The text of a document: each token a shade, one of them active, some highlighted.

const RAMPS = {
  light: ["#eef8f4", "#a5dcc4", "#53b9b0", "#3488a6", "#3c5a92", "#2b2f5a"],
  dark: ["#1b2029", "#2c3a5e", "#33608f", "#3488a6", "#53c9ad", "#def5e5"],
};
const DIVERGING = {
  light: ["#2369bd", "#9baecb", "#faf5f4", "#d39794", "#a9373b"],
  dark: ["#6db3f2", "#2d5d8c", "#1b2029", "#8a3a3e", "#ef8a8e"],
};
// As in the files of figures.
const VIRIDIS = ["#440154", "#443983", "#31688e", "#21918c", "#35b779", "#90d743", "#fde725"];
// Parts of speech in families, for there are no seventeen colours that all eyes tell apart.
const FAMILIES = [
  ["nouns", "#0072b2", ["NOUN", "PROPN"]],
  ["verbs", "#d55e00", ["VERB", "AUX"]],
  ["adjectives, adverbs", "#e69f00", ["ADJ", "ADV"]],
  ["pronouns, determiners", "#56b4e9", ["PRON", "DET"]],
  ["adpositions, conjunctions, particles", "#009e73", ["ADP", "CCONJ", "SCONJ", "PART"]],
  ["numbers, symbols", "#cc79a7", ["NUM", "SYM"]],
  ["punctuation", "#f0e442", ["PUNCT"]],
];
const OTHER = ["other", "#9aa3ad", []];

const rgbOf = colour => [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));

function mixed(ramp, share) {
  const place = Math.max(0, Math.min(1, share)) * (ramp.length - 1);
  const low = Math.min(Math.floor(place), ramp.length - 2);
  const [a, b] = [rgbOf(ramp[low]), rgbOf(ramp[low + 1])];
  return a.map((value, at) => Math.round(value + (b[at] - value) * (place - low)));
}

// Black or white, whichever is read better on a colour (relative luminance of WCAG).
function inkOn(rgb) {
  const [r, g, b] = rgb.map(value => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}

// What shades the tokens: a number or a category for each, and its colours.
class Shading {
  constructor(tokens, layer, name, theme) {
    Object.assign(this, {tokens, layer, name});
    const column = tokens.columns.find(column => column.name === name);
    const diverging = name === "residual";
    this.values = column ? tokens.column(name) : tokens[name](layer);
    this.categories = column?.categories;
    this.exponential = name === "norm" || name === "relative";
    if (this.categories) {
      this.families = [...name === "upos" ? FAMILIES : this.categories.slice(0, FAMILIES.length)
        .map((category, place) => [category, FAMILIES[place][1], [category]]), OTHER];
      this.familyOf = this.categories.map(category => {
        const family = this.families.findIndex(([,, members]) => members.includes(category));
        return family < 0 ? this.families.length - 1 : family;
      });
      return;
    }
    const first = tokens.study.dropFirst;
    this.range = centralRange(this.values.filter((_, token) => tokens.position[token] >= first));
    if (diverging) {
      const most = Math.max(...this.range.map(Math.abs));
      this.range = [-most, most];
    }
    this.ramp = (diverging ? DIVERGING : RAMPS)[theme];
  }

  // Background and ink of a token; null where it has no value.
  colours(token) {
    const value = this.values[token], [low, high] = this.range ?? [];
    if (Number.isNaN(value)) return null;
    const rgb = this.categories ? rgbOf((this.families[this.familyOf[value]] ?? OTHER)[1])
      : mixed(this.ramp, (value - low) / (high - low));
    return [rgb, inkOn(rgb)];
  }

  // The value of a token in words.
  inWords(token) {
    const value = this.values[token];
    if (this.categories) return value in this.categories ? named(this.categories[value]) : "none";
    return three(this.exponential ? Math.exp(value) : value);
  }

  // Whether a token is of a family or a category.
  isOf(token, name) {
    const value = this.values[token];
    return this.categories[value] === name || this.families[this.familyOf[value]]?.[0] === name;
  }
}

// Three digits, as in 0.0512, 31.4 and 1,230; whole numbers as they are.
function three(value) {
  if (value === null || !Number.isFinite(value)) return "none";
  const digits = Number(value.toPrecision(3));
  const least = Number.isInteger(value) || Math.abs(digits) >= 100 ? 1 : 3;
  const options = {minimumSignificantDigits: least, maximumSignificantDigits: 3};
  return digits.toLocaleString("en", options).replace("-", "−");
}

class TextPane {
  constructor(element, {onPoint, onPick, onDrop}) {
    this.element = element;
    this.spans = [];
    this.active = null;
    const token = event => event.target.dataset?.token;
    element.addEventListener("mouseover", event => token(event) && onPoint(Number(token(event))));
    element.addEventListener("mouseleave", () => onPoint(null));
    element.addEventListener("click", event => {
      if (getSelection().isCollapsed && token(event)) onPick(Number(token(event)));
    });
    element.addEventListener("keydown", event => this.move(event, onPick, onDrop));
    element.addEventListener("scroll", () => this.told && this.beside(...this.told));
  }

  // Arrows, Home and End move.
  move(event, onPick, onDrop) {
    if (event.key === "Escape") return onDrop();
    const last = this.first + this.spans.length - 1, now = this.active ?? this.first;
    const to = {
      ArrowLeft: now - 1, ArrowRight: now + 1, ArrowUp: this.line(now, -1), ArrowDown: this.line(now, 1),
      Home: this.first, End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    onPick(this.active === null ? now : Math.max(this.first, Math.min(last, to)), false);
  }

  // The token one line further, at about the same place in it.
  line(token, step) {
    const {left, top} = this.spans[token - this.first].getBoundingClientRect();
    let best = token, least = Infinity, line = null;
    for (let at = token - this.first + step; this.spans[at]; at += step) {
      const box = this.spans[at].getBoundingClientRect(), away = Math.abs(box.left - left);
      if (Math.abs(box.top - top) < 4) continue;
      line ??= box.top;
      if (Math.abs(box.top - line) > 4) break;
      if (away < least) [best, least] = [this.first + at, away];
    }
    return best;
  }

  write(tokens, number) {
    const {tokens: texts, name} = tokens.documents[number], traced = tokens.traced(name);
    this.first = tokens.first[number];
    this.active = null;
    this.spans = texts.map((text, place) => {
      const span = make("span", text, {id: `token-${place}`});
      span.dataset.token = this.first + place;
      setAttributes(span, {role: "option", "aria-selected": "false"});
      span.classList.toggle("dropped", tokens.position[this.first + place] < tokens.study.dropFirst);
      span.classList.toggle("end", place === traced - 1);
      return span;
    });
    this.element.replaceChildren(...this.spans);
    this.element.scrollTop = 0;
    this.element.removeAttribute("aria-activedescendant");
  }

  shade(shading) {
    for (const [place, span] of this.spans.entries()) {
      const colours = shading.colours(this.first + place);
      span.classList.toggle("none", colours === null);
      span.style.background = colours ? `rgb(${colours[0]})` : "";
      span.style.color = colours ? colours[1] : "";
    }
  }

  // Underlines tokens, the more so the larger their share; those against it in another colour.
  mark(shares) {
    for (const span of this.marked ?? []) span.style.boxShadow = "";
    this.marked = shares.map(([token, share]) => {
      const span = this.spans[token - this.first];
      const height = 1 + Math.min(12, 14 * Math.abs(share));
      if (span) span.style.boxShadow = `inset 0 -${height}px ${share < 0 ? "#d55e00" : "#0072b2"}`;
      return span;
    }).filter(Boolean);
  }

  highlight(chosen) {
    for (const [place, span] of this.spans.entries()) {
      const high = chosen.has(this.first + place);
      span.classList.toggle("high", high);
      span.setAttribute("aria-selected", String(high));
    }
  }

  // Marks a token, and brings it into sight within the pane.
  activate(token, kept) {
    this.element.querySelector(".active")?.classList.remove("active");
    const span = token === null ? undefined : this.spans[token - this.first];
    if (kept) this.active = span ? token : null;
    if (!span) return;
    span.classList.add("active");
    if (kept) this.element.setAttribute("aria-activedescendant", span.id);
    const pane = this.element.getBoundingClientRect(), box = span.getBoundingClientRect();
    if (box.top < pane.top || box.bottom > pane.bottom) {
      this.element.scrollTop += box.top - pane.top - pane.height / 2;
    }
  }

  // Places a card below a token, or above it where there is more room.
  beside(token, card) {
    this.told = [token, card];
    const span = this.spans[token - this.first];
    card.style.left = card.style.top = "";
    if (!span || getComputedStyle(card).position === "fixed") return;
    const pane = this.element.getBoundingClientRect(), [box] = span.getClientRects();
    const left = Math.min(box.left - pane.left, pane.width - card.offsetWidth - 8);
    const above = box.bottom + card.offsetHeight + 8 > innerHeight && box.top > card.offsetHeight + 8;
    card.style.left = `${Math.max(8, left)}px`;
    card.style.top = `${above ? box.top - pane.top - card.offsetHeight - 6 : box.bottom - pane.top + 6}px`;
  }
}

// A token and some to each side of it, as nodes; it and the one before are marked.
function around(tokens, token, beside) {
  const number = tokens.document[token], first = tokens.first[number];
  const last = first + tokens.documents[number].tokens.length - 1;
  const nodes = [];
  for (let at = Math.max(first, token - beside); at <= Math.min(last, token + beside); at++) {
    const tag = at === token ? "mark" : at === token - 1 ? "u" : "span";
    nodes.push(make(tag, tokens.text(at).replace(/\s*\n\s*/g, " ⏎ ")));
  }
  return [token - beside > first ? "… " : "", ...nodes, token + beside < last ? " …" : ""];
}
