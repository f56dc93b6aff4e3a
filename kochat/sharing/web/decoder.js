/* A GPT-2 over 8-bit weights: tokens in, scores of the next token out. What a token means it does not know. */

/** Tokens that the model has read, with their keys and values in every layer. */
class Sequence {
  /** Room for `room` tokens of a model with `layers` and `width`. */
  constructor(layers, width, room) {
    Object.assign(this, { width, room, length: 0, logits: null }); // logits: of the token after the last one
    this.layers = Array.from({ length: layers }, () => ({
      keys: new Float32Array(room * width),
      values: new Float32Array(room * width),
    }));
  }

  /** The same tokens again, to go on otherwise. */
  fork() {
    const copy = new Sequence(this.layers.length, this.width, this.room);
    const used = this.length * this.width;
    this.layers.forEach(({ keys, values }, i) => {
      copy.layers[i].keys.set(keys.subarray(0, used));
      copy.layers[i].values.set(values.subarray(0, used));
    });
    return Object.assign(copy, { length: this.length, logits: this.logits });
  }
}

class Decoder {
  /** `layout` is the model's description, `base64` its weights as the page holds them. */
  constructor(layout, base64, isPlain = !hasSimd()) {
    Object.assign(this, layout); // layers, heads, positions, epsilon, …
    const shapes = layout.parts.map(([, rows, columns]) => [rows, columns]);
    const matrices = shapes.filter(([, columns]) => columns);
    const rows = Math.max(...matrices.map(([rows]) => rows));
    const columns = Math.max(...matrices.map(([, columns]) => paddedTo(columns, WEIGHTS_AT_ONCE)));
    const size = shapes.reduce((sum, shape) => sum + bytesOf(...shape), 0);
    const scratch = paddedTo(size, 16);
    const room = scratch + SimdKernel.roomFor(columns, rows);
    const memory = isPlain ? { buffer: new ArrayBuffer(room) } : pagesFor(room);
    fromBase64(base64, new Uint8Array(memory.buffer, 0, size));
    this.kernel = isPlain ? new PlainKernel() : new SimdKernel(memory, scratch, columns, rows);
    this.read(layout.parts, memory.buffer);
    this.width = this.tensors["wte.weight"].columns;
    this.vocabulary = this.tensors["wte.weight"].rows;
    this.head = this.tensors["lm_head.weight"] ?? this.tensors["wte.weight"];
    this.blocks = Array.from({ length: this.layers }, (_, i) => this.block(i));
  }

  /** Find each tensor in the bytes, in the order in which kochat/sharing/web.py wrote them. */
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

  /** An empty sequence with room for so many tokens. */
  sequence(room) {
    return new Sequence(this.layers, this.width, Math.min(room, this.positions));
  }

  /** Feed tokens to a sequence; returns log P(token | those before) of each, in nats, NaN where that is not known. */
  extend(sequence, tokens) {
    const likelihoods = [];
    for (let i = 0; i < tokens.length; i += 2) {
      const two = tokens.slice(i, i + 2);
      const before = sequence.logits;
      const logits = this.pass(two.map((token) => [sequence, token]));
      likelihoods.push(before ? logProbability(before, two[0]) : NaN);
      if (two.length > 1) likelihoods.push(logProbability(logits[0], two[1]));
    }
    return likelihoods;
  }

  /** Feed one or two tokens, each to its sequence (or both to one); returns the logits after each. */
  pass(pairs) {
    const places = pairs.map(([sequence]) => sequence.length++);
    let hidden = pairs.map(([, token], i) => this.embedded(token, places[i]));
    const add = (outputs) => outputs.forEach((output, i) => output.forEach((value, j) => (hidden[i][j] += value)));
    this.blocks.forEach((block, layer) => {
      const qkv = this.linear(block.qkv, this.normalized(hidden, block.norms[0]));
      pairs.forEach(([sequence], i) => remember(sequence.layers[layer], places[i], qkv[i], this.width));
      const found = pairs.map(([sequence], i) =>
        this.attended(qkv[i], sequence.layers[layer], places[i] + 1, block.scale),
      );
      add(this.linear(block.out, found));
      const inner = this.linear(block.up, this.normalized(hidden, block.norms[1]));
      inner.forEach(gelu);
      add(this.linear(block.down, inner));
    });
    const last = { weight: this.tensors["ln_f.weight"], bias: this.tensors["ln_f.bias"] };
    const logits = this.linear({ weight: this.head }, this.normalized(hidden, last));
    pairs.forEach(([sequence], i) => (sequence.logits = logits[i]));
    return logits;
  }

  embedded(token, place) {
    const hidden = new Float64Array(this.width);
    this.tensors["wte.weight"].addRow(token, hidden);
    this.tensors["wpe.weight"].addRow(place, hidden);
    return hidden;
  }

  linear({ weight, bias }, inputs) {
    const outputs = inputs.map(() => new Float64Array(weight.rows));
    this.kernel.multiply(weight, inputs, outputs, bias);
    return outputs;
  }

  /** Layer normalization. */
  normalized(inputs, { weight, bias }) {
    return inputs.map((input) => {
      const mean = sum(input) / input.length;
      const variance = sum(input.map((value) => (value - mean) ** 2)) / input.length;
      const scale = 1 / Math.sqrt(variance + this.epsilon);
      return input.map((value, i) => (value - mean) * scale * weight[i] + bias[i]);
    });
  }

  /** What a token finds in the first `length` tokens of its sequence, head by head. */
  attended(query, { keys, values }, length, scale) {
    const [width, size] = [this.width, this.width / this.heads];
    const output = new Float64Array(width);
    const shares = new Float64Array(length);
    for (let start = 0; start < width; start += size) {
      for (let t = 0; t < length; t++) {
        let score = 0;
        for (let i = start; i < start + size; i++) score += query[i] * keys[t * width + i];
        shares[t] = score * scale;
      }
      softmax(shares);
      for (let t = 0; t < length; t++) {
        for (let i = start; i < start + size; i++) output[i] += shares[t] * values[t * width + i];
      }
    }
    return output;
  }
}

/** Keep the key and the value of a token; a query, its key and its value lie one behind the other. */
function remember({ keys, values }, place, qkv, width) {
  keys.set(qkv.subarray(width, 2 * width), place * width);
  values.set(qkv.subarray(2 * width), place * width);
}

function gelu(values) {
  for (let i = 0; i < values.length; i++) {
    const x = values[i];
    values[i] = 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  }
}

const sum = (values) => values.reduce((a, b) => a + b, 0);

const largestOf = (values) => values.reduce((a, b) => (b > a ? b : a), -Infinity);

/** Make probabilities of scores, in place. */
function softmax(scores) {
  const largest = largestOf(scores);
  let total = 0;
  for (let i = 0; i < scores.length; i++) total += scores[i] = Math.exp(scores[i] - largest);
  for (let i = 0; i < scores.length; i++) scores[i] /= total;
  return scores;
}

function logProbability(logits, token) {
  const largest = largestOf(logits);
  return logits[token] - largest - Math.log(logits.reduce((total, one) => total + Math.exp(one - largest), 0));
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

function fromBase64(text, bytes) {
  if (bytes.setFromBase64) {
    bytes.setFromBase64(text);
    return;
  }
  const binary = atob(text);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
}
