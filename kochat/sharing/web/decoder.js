/* A GPT-2 over 8-bit weights: tokens in, scores of the next token out. What a token means it does not know. */

/** Tokens that the model has read, with their keys and values in every layer. */
class Sequence {
  /** An empty one, of a model with `layers` and `width`, with room for `room` tokens at first. */
  constructor(layers, width, room) {
    Object.assign(this, { width, room, length: 0, logits: null }); // logits: of the token after the last one
    this.layers = Array.from({ length: layers }, () => ({
      keys: new Float32Array(room * width),
      values: new Float32Array(room * width),
    }));
  }

  /** The same tokens again, to go on otherwise, with room for `room`. */
  fork(room = this.room) {
    const copy = new Sequence(this.layers.length, this.width, room);
    const used = this.length * this.width;
    this.layers.forEach(({ keys, values }, i) => {
      copy.layers[i].keys.set(keys.subarray(0, used));
      copy.layers[i].values.set(values.subarray(0, used));
    });
    return Object.assign(copy, { length: this.length, logits: this.logits });
  }

  /** The place of one more token. */
  next() {
    if (this.length === this.room) Object.assign(this, this.fork(2 * this.room));
    return this.length++;
  }
}

class Decoder {
  /** `layout` is the model's description; its weights are to be put into `bytes` before it is used. */
  constructor(layout, isPlain = !hasSimd()) {
    Object.assign(this, layout); // layers, heads, positions, epsilon, …
    const shapes = layout.parts.map(([, rows, columns]) => [rows, columns]);
    const matrices = shapes.filter(([, columns]) => columns);
    const rows = Math.max(...matrices.map(([rows]) => rows));
    const columns = Math.max(...matrices.map(([, columns]) => paddedTo(columns, WEIGHTS_AT_ONCE)));
    const size = shapes.reduce((sum, shape) => sum + bytesOf(...shape), 0);
    const scratch = paddedTo(size, 16);
    const room = scratch + SimdKernel.roomFor(columns, rows);
    const memory = isPlain ? { buffer: new ArrayBuffer(room) } : pagesFor(room);
    this.bytes = new Uint8Array(memory.buffer, 0, size);
    this.kernel = isPlain ? new PlainKernel() : new SimdKernel(memory, scratch, columns, rows);
    this.read(layout.parts, memory.buffer);
    this.width = this.tensors["wte.weight"].columns;
    this.vocabulary = this.tensors["wte.weight"].rows;
    this.head = this.tensors["lm_head.weight"] ?? this.tensors["wte.weight"];
    this.lastNorm = { weight: this.tensors["ln_f.weight"], bias: this.tensors["ln_f.bias"] };
    this.blocks = Array.from({ length: this.layers }, (_, i) => this.block(i));
  }

  /** Where each tensor lies in the bytes, in the order in which kochat/sharing/web.py writes them. */
  read(parts, buffer) {
    this.tensors = {};
    let at = 0;
    for (const [name, rows, columns] of parts) {
      const floats = new Float32Array(buffer, at, rows);
      at += floats.byteLength;
      if (columns) {
        const weights = new Int8Array(buffer, at, rows * paddedTo(columns, WEIGHTS_AT_ONCE));
        this.tensors[name] = new Matrix(rows, columns, at, floats, weights);
        at += weights.byteLength;
      } else this.tensors[name] = floats;
    }
  }

  block(number) {
    const part = (name) => ({
      weight: this.tensors[`h.${number}.${name}.weight`],
      bias: this.tensors[`h.${number}.${name}.bias`],
    });
    const scale = this.scaleAttention ? (this.width / this.heads) ** -0.5 : 1;
    return {
      norms: [part("ln_1"), part("ln_2")],
      qkv: part("attn.c_attn"),
      out: part("attn.c_proj"),
      up: part("mlp.c_fc"),
      down: part("mlp.c_proj"),
      scale: this.scaleByLayer ? scale / (number + 1) : scale,
    };
  }

  /** An empty sequence with room for so many tokens at first. */
  sequence(room) {
    return new Sequence(this.layers, this.width, room);
  }

  /** Feed tokens to sequences, two at a time; `pairs` are [sequence, tokens].

      Returns for each pair log P(token | those before) of its tokens, in nats, NaN where that is not known. */
  extend(...pairs) {
    const likelihoods = pairs.map(() => []);
    const steps = pairs.flatMap(([sequence, tokens], i) => tokens.map((token) => ({ sequence, token, told: likelihoods[i] })));
    for (let i = 0; i < steps.length; i += 2) {
      const two = steps.slice(i, i + 2);
      const before = two.map(({ sequence }) => sequence.logits);
      const after = this.pass(two.map(({ sequence, token }) => [sequence, token]));
      if (two.length > 1 && two[0].sequence === two[1].sequence) before[1] = after[0];
      two.forEach(({ token, told }, n) => told.push(before[n] ? logProbability(before[n], token) : NaN));
    }
    return likelihoods;
  }

  /** Feed one or two tokens, each to its sequence (or both to one); returns the logits after each. */
  pass(pairs) {
    const places = pairs.map(([sequence]) => sequence.next());
    const { hidden, normal, qkv, found, inner, added } = this.workspace(pairs.length);
    pairs.forEach(([, token], i) => this.embed(token, places[i], hidden[i]));
    this.blocks.forEach((block, layer) => {
      this.normalize(hidden, block.norms[0], normal);
      this.multiply(block.qkv, normal, qkv);
      pairs.forEach(([sequence], i) => remember(sequence.layers[layer], places[i], qkv[i], this.width));
      pairs.forEach(([sequence], i) =>
        this.attend(qkv[i], sequence.layers[layer], places[i] + 1, block.scale, found[i]),
      );
      this.multiply(block.out, found, added);
      add(hidden, added);
      this.normalize(hidden, block.norms[1], normal);
      this.multiply(block.up, normal, inner);
      inner.forEach(gelu);
      this.multiply(block.down, inner, added);
      add(hidden, added);
    });
    this.normalize(hidden, this.lastNorm, normal);
    const logits = pairs.map(() => new Float64Array(this.vocabulary));
    this.multiply({ weight: this.head }, normal, logits);
    pairs.forEach(([sequence], i) => (sequence.logits = logits[i]));
    return logits;
  }

  /** Arrays for the steps of a pass of one token or two, made once. */
  workspace(count) {
    const sizes = { hidden: 1, normal: 1, qkv: 3, found: 1, added: 1 };
    this.workspaces ??= [1, 2].map((n) => {
      const arrays = (size) => Array.from({ length: n }, () => new Float64Array(size));
      const made = Object.entries(sizes).map(([name, widths]) => [name, arrays(widths * this.width)]);
      return { ...Object.fromEntries(made), inner: arrays(this.blocks[0].up.weight.rows) };
    });
    return this.workspaces[count - 1];
  }

  embed(token, place, output) {
    output.fill(0);
    this.tensors["wte.weight"].addRow(token, output);
    this.tensors["wpe.weight"].addRow(place, output);
  }

  multiply({ weight, bias }, inputs, outputs) {
    this.kernel.multiply(weight, inputs, outputs, bias);
  }

  /** Layer normalization. */
  normalize(inputs, { weight, bias }, outputs) {
    for (let n = 0; n < inputs.length; n++) {
      const [input, output, size] = [inputs[n], outputs[n], inputs[n].length];
      const mean = sum(input) / size;
      let squares = 0;
      for (let i = 0; i < size; i++) squares += (input[i] - mean) * (input[i] - mean);
      const scale = 1 / Math.sqrt(squares / size + this.epsilon);
      for (let i = 0; i < size; i++) output[i] = (input[i] - mean) * scale * weight[i] + bias[i];
    }
  }

  /** What a token finds in the first `length` tokens of its sequence, head by head. */
  attend(query, { keys, values }, length, scale, output) {
    const [width, size] = [this.width, this.width / this.heads];
    output.fill(0);
    const shares = new Float64Array(length);
    for (let start = 0; start < width; start += size) {
      const end = start + size;
      for (let t = 0; t < length; t++) {
        let score = 0;
        for (let i = start, at = t * width + start; i < end; i++, at++) score += query[i] * keys[at];
        shares[t] = score * scale;
      }
      softmax(shares);
      for (let t = 0; t < length; t++) {
        const share = shares[t];
        for (let i = start, at = t * width + start; i < end; i++, at++) output[i] += share * values[at];
      }
    }
  }
}

/** Keep the key and the value of a token; a query, its key and its value lie one behind the other. */
function remember({ keys, values }, place, qkv, width) {
  keys.set(qkv.subarray(width, 2 * width), place * width);
  values.set(qkv.subarray(2 * width), place * width);
}

/** GELU by its tanh, in place: (1 + tanh y) / 2 is 1 / (1 + exp(-2 y)). */
function gelu(values) {
  const twice = 2 * Math.sqrt(2 / Math.PI);
  for (let i = 0; i < values.length; i++) {
    const x = values[i];
    values[i] = x / (1 + exp(-twice * (x + 0.044715 * x * x * x)));
  }
}

/* e^x is 2^(k / 256) times e^r with |r| < 0.0014, of which five terms are as exact as a number of 64 bits. */
const PARTS = 256;
const [LEAST, MOST_EXPONENT] = [-750, 700]; // e^-750 is 0 in 64 bits
const POWERS = Float64Array.from({ length: PARTS }, (_, i) => 2 ** (i / PARTS));
const WHOLE_POWERS = Float64Array.from({ length: 2200 }, (_, i) => 2 ** (i - 1100));

/** e^x, in half the time of Math.exp; x is held within limits without a branch. */
function exp(x) {
  const held = Math.min(Math.max(x, LEAST), MOST_EXPONENT);
  const k = Math.floor(held * (PARTS / Math.LN2) + 0.5);
  const r = held - k * (Math.LN2 / PARTS);
  const rest = 1 + r * (1 + r * (1 / 2 + r * (1 / 6 + r / 24)));
  return POWERS[k & (PARTS - 1)] * WHOLE_POWERS[(k >> 8) + 1100] * rest;
}

function sum(values) {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

function largestOf(values) {
  let largest = -Infinity;
  for (let i = 0; i < values.length; i++) if (values[i] > largest) largest = values[i];
  return largest;
}

/** Make probabilities of scores, in place. */
function softmax(scores) {
  const largest = largestOf(scores);
  for (let i = 0; i < scores.length; i++) scores[i] = exp(scores[i] - largest);
  const total = sum(scores);
  for (let i = 0; i < scores.length; i++) scores[i] /= total;
  return scores;
}

function logProbability(logits, token) {
  const largest = largestOf(logits);
  let total = 0;
  for (let i = 0; i < logits.length; i++) total += exp(logits[i] - largest);
  return logits[token] - largest - Math.log(total);
}

const paddedTo = (number, multiple) => Math.ceil(number / multiple) * multiple;

/** The bytes of a part: the scales and the weights of a matrix, or a vector. */
function bytesOf(rows, columns) {
  return 4 * rows + (columns ? rows * paddedTo(columns, WEIGHTS_AT_ONCE) : 0);
}

function pagesFor(bytes) {
  const pages = Math.ceil(bytes / 65536);
  return new WebAssembly.Memory({ initial: pages, maximum: pages });
}
