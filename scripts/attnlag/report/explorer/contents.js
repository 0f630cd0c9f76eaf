// Unpacks the contents from contents.py.

const names = await unpackedJson("names");
const blockOf = new Map(names.map((name, place) => [name, `block-${place}`]));
const unpackedBlocks = new Map();

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

async function unpackedJson(id) {
  return JSON.parse(new TextDecoder().decode(await unpacked(id)));
}

// Returns a block of bytes or of JSON by name; each block is unpacked once.
function block(name, json = false) {
  if (!unpackedBlocks.has(name)) {
    unpackedBlocks.set(name, (json ? unpackedJson : unpacked)(blockOf.get(name)));
  }
  return unpackedBlocks.get(name);
}

// The numbers of a row of bytes; NaN for 255.
function decoded({buffer, scale}, row, count) {
  const low = scale.low[row], step = scale.step[row];
  const codes = new Uint8Array(buffer, row * count, count);
  return Float64Array.from(codes, code => code === 255 ? NaN : low + step * code);
}

// The ends of the central 99% of some numbers.
function centralRange(values) {
  const known = values.filter(Number.isFinite).sort();
  if (!known.length) return [-0.5, 0.5];
  const at = share => known[Math.round(share * (known.length - 1))];
  const [low, high] = [at(0.005), at(0.995)];
  return high > low ? [low, high] : [low - 0.5, low + 0.5];
}

// The tokens and numbers of one study: one regression of one site, model and corpus.
class Tokens {
  static async of(index, study) {
    const pair = `${study.model}/${study.corpus}`, site = `${pair}/${study.site}`;
    const scaled = async (name, scale) => ({scale, buffer: await block(name)});
    const traced = index.sources[site];
    const [documents, columns, stream, norms, residuals, writersOf] = await Promise.all([
      block(`${pair}.texts`, true),
      block(`${pair}.shades`, true),
      scaled(`${pair}.stream`, index.texts[pair]),
      scaled(`${site}.norms`, index.norms[site]),
      scaled(`${site}/${study.regression}.residuals`, study.residuals),
      traced && block(`${site}.sources`, true),
    ]);
    const sources = traced && {...traced, writers: writersOf};
    return new Tokens({study, documents, columns, stream, norms, residuals, sources});
  }

  constructor(contents) {
    Object.assign(this, contents);
    const {documents} = this;
    this.count = documents.reduce((sum, {tokens}) => sum + tokens.length, 0);
    // For each token: its document, and its position in its sequence.
    this.document = new Int32Array(this.count);
    this.position = new Int32Array(this.count);
    this.first = [];
    let at = 0;
    for (const [number, {starts, tokens}] of documents.entries()) {
      this.first.push(at);
      const ends = [...starts.slice(1), tokens.length];
      for (const [place, start] of starts.entries()) {
        for (let token = start; token < ends[place]; token++) {
          this.document[at + token] = number;
          this.position[at + token] = token - start;
        }
      }
      at += tokens.length;
    }
    this.cache = new Map();
  }

  // Each series is computed once.
  cached(name, make) {
    if (!this.cache.has(name)) {
      if (this.cache.size > 40) this.cache.clear();
      this.cache.set(name, make());
    }
    return this.cache.get(name);
  }

  text(token) {
    return this.documents[this.document[token]].tokens[token - this.first[this.document[token]]];
  }

  // Log norms of a layer, given its index.
  norm(layer) {
    return this.cached(`norm ${layer}`, () => decoded(this.norms, layer, this.count));
  }

  relative(layer) {
    return this.cached(`relative ${layer}`, () => {
      const stream = decoded(this.stream, layer, this.count);
      return this.norm(layer).map((log, token) => log - stream[token]);
    });
  }

  // How many of the first tokens of a document were traced to their sources.
  traced(name) {
    return this.sources?.counts[this.sources.documents.indexOf(name)] ?? 0;
  }

  // The tokens that wrote the adjustment to a token in a layer, and their shares, largest first.
  writers(layer, token) {
    const {layers, documents, counts, writers} = this.sources ?? {layers: []};
    if (!layers.includes(layer)) return [];
    const number = this.document[token], place = token - this.first[number];
    const before = documents.indexOf(this.documents[number].name);
    if (!(place < counts[before])) return [];
    let row = place;
    for (const count of counts.slice(0, before)) row += count;
    const pairs = writers[layers.indexOf(layer)][row], found = [];
    for (let at = 0; at < pairs.length; at += 2) found.push([token - pairs[at], pairs[at + 1] / 100]);
    return found;
  }

  // The numbers of a column, or the places of its categories; NaN where it has none.
  column(name) {
    const {values} = this.columns.find(column => column.name === name);
    return this.cached(`column ${name}`, () => Float64Array.from(values, value => value ?? NaN));
  }

  // The outcome minus the prediction of the coefficients; NaN if a token gives no row.
  residual(layer) {
    return this.cached(`residual ${layer}`, () => decoded(this.residuals, layer, this.count));
  }
}
