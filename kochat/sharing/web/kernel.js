/* Products of 8-bit weights with activations: in WebAssembly SIMD, whose code is put together below, or in plain
   JavaScript where a browser lacks that. Both give the same numbers to nine digits.

   An activation becomes two whole numbers of 16 bits, a coarse and a fine one, so that nothing of a float32 is lost and
   sums are exact: a reply does not depend on the processor. */

const WEIGHTS_AT_ONCE = 8; // rows are filled up to a multiple of it
const ROWS_AT_ONCE = 2; // so that an input is loaded half as often
const MOST = { int16: 2 ** 15 - 1, int32: 2 ** 31 - 1, weight: 127 };

class Matrix {
  /** `scales` has one number for each of `rows`; `weights` are (rows, `stride`), of which the first `columns` count. */
  constructor(rows, columns, at, scales, weights) {
    Object.assign(this, { rows, columns, at, scales, weights });
    this.stride = weights.length / rows;
  }

  /** The numbers of a row, added to `output`. */
  addRow(row, output) {
    const [scale, start] = [this.scales[row], row * this.stride];
    for (let i = 0; i < this.columns; i++) output[i] += scale * this.weights[start + i];
  }
}

class SimdKernel {
  /** `memory` holds the weights; `scratch` is where it has room for `roomFor(columns, rows)` bytes. */
  constructor(memory, scratch, columns, rows) {
    this.packed = new Int16Array(memory.buffer, scratch, 4 * columns);
    this.sums = new Int32Array(memory.buffer, scratch + this.packed.byteLength, 4 * paddedTo(rows, ROWS_AT_ONCE));
    const compiled = new WebAssembly.Module(program());
    this.run = new WebAssembly.Instance(compiled, { page: { memory } }).exports;
  }

  static roomFor(columns, rows) {
    return 8 * columns + 16 * paddedTo(rows, ROWS_AT_ONCE);
  }

  /** Each of one or two `inputs` times the matrix, plus `bias` where there is one, into `outputs`. */
  multiply(matrix, inputs, outputs, bias) {
    const { rows, stride, at, scales } = matrix;
    // The larger, the finer; and no sum of all products may leave 32 bits.
    const steps = Math.min(MOST.int16, Math.floor(MOST.int32 / (MOST.weight * stride)));
    const units = inputs.map((input, i) => this.pack(input, i, inputs.length, steps, stride));
    const run = inputs.length > 1 ? this.run.four : this.run.two;
    run(at, this.packed.byteOffset, this.sums.byteOffset, rows, 4 * inputs.length * stride, stride);
    outputs.forEach((output, i) => unpack(this.sums, 2 * i, units[i], units[i] / (2 * steps), scales, output));
    if (bias) add(outputs, inputs.map(() => bias));
  }

  /** Write an input as whole numbers, eight coarse ones beside their eight fine ones; returns what a coarse one is. */
  pack(input, place, count, steps, stride) {
    let largest = 0;
    for (let i = 0; i < input.length; i++) if (Math.abs(input[i]) > largest) largest = Math.abs(input[i]);
    const perUnit = largest ? steps / largest : 0;
    const packed = this.packed;
    let to = place << 4;
    for (let start = 0; start < stride; start += WEIGHTS_AT_ONCE, to += count << 4) {
      for (let i = 0; i < WEIGHTS_AT_ONCE; i++) {
        const whole = start + i < input.length ? input[start + i] * perUnit : 0;
        const coarse = Math.floor(whole + 0.5);
        packed[to + i] = coarse;
        packed[to + i + WEIGHTS_AT_ONCE] = Math.floor((whole - coarse) * 2 * steps + 0.5);
      }
    }
    return largest / steps;
  }
}

/** Put the sums of a coarse and of a fine vector, at `place` of each four, together. */
function unpack(sums, place, coarse, fine, scales, output) {
  for (let row = 0, at = place; row < output.length; row++, at += 4) {
    output[row] = (sums[at] * coarse + sums[at + 1] * fine) * scales[row];
  }
}

/** Add to each of `outputs` its neighbour of `inputs`. */
function add(outputs, inputs) {
  for (let n = 0; n < outputs.length; n++) {
    const [output, input] = [outputs[n], inputs[n]];
    for (let i = 0; i < output.length; i++) output[i] += input[i];
  }
}

class PlainKernel {
  /** As SimdKernel's. */
  multiply({ rows, stride, scales, weights }, inputs, outputs, bias) {
    inputs.forEach((input, i) => {
      const padded = new Float64Array(stride);
      padded.set(input);
      for (let row = 0, at = 0; row < rows; row++) {
        // Four sums, none of which has to wait for another.
        let a = 0, b = 0, c = 0, d = 0;
        for (let column = 0; column < stride; column += 4, at += 4) {
          a += weights[at] * padded[column];
          b += weights[at + 1] * padded[column + 1];
          c += weights[at + 2] * padded[column + 2];
          d += weights[at + 3] * padded[column + 3];
        }
        outputs[i][row] = (a + b + c + d) * scales[row];
      }
    });
    if (bias) add(outputs, inputs.map(() => bias));
  }
}

/** Whether this browser runs the program; one that is older than the page's policy forbids it to be compiled. */
function hasSimd() {
  try {
    return WebAssembly.validate(program()) && Boolean(new WebAssembly.Module(program()));
  } catch {
    return false;
  }
}

/* The program, by the names of the WebAssembly specification (https://webassembly.github.io/spec/core/binary/).
   It exports `two` and `four`, for one and for two inputs, each of which is a coarse and a fine vector. */
const I32 = 0x7f;
const V128 = 0x7b;
const simd = (code) => [0xfd, ...leb128(code)];
const OPCODE = {
  loop: [0x03, 0x40], // that gives nothing
  end: [0x0b],
  br_if: [0x0d],
  "local.get": [0x20],
  "local.set": [0x21],
  "local.tee": [0x22],
  "i32.const": [0x41],
  "i32.lt_u": [0x49],
  "i32.gt_s": [0x4a],
  "i32.add": [0x6a],
  "i32.sub": [0x6b],
  "v128.load": simd(0x00),
  "i16x8.load8x8_s": simd(0x01),
  "v128.store": simd(0x0b),
  "v128.const": simd(0x0c),
  "i8x16.shuffle": simd(0x0d),
  "i32x4.add": simd(0xae),
  "i32x4.dot_i16x8_s": simd(0xba),
};

/** A number below 2^31 in the variable length of the specification. */
function leb128(number) {
  return number < 0x80 ? [number] : [(number & 0x7f) | 0x80, ...leb128(number >>> 7)];
}

/** One instruction; what follows its name are numbers, or arrays of bytes as they are. */
function op(name, ...operands) {
  return [...OPCODE[name], ...operands.flatMap((one) => (Array.isArray(one) ? one : leb128(one)))];
}

/** A constant from 0 to 8191: its bytes have a sign, which takes one bit. */
function constant(number) {
  return op("i32.const", number < 0x40 ? [number] : [(number & 0x7f) | 0x80, number >>> 7]);
}

/** The offset of a memory access; its alignment is not promised. */
const offset = (bytes) => [0, ...leb128(bytes)];

const vector = (items) => [...leb128(items.length), ...items.flat()];
const section = (id, content) => [id, ...vector(content)];
const named = (text) => vector([...new TextEncoder().encode(text)]);

/** The bytes of the module. */
function program() {
  const type = [0x60, ...vector(Array(6).fill(I32)), ...vector([])];
  const memory = [...named("page"), ...named("memory"), 0x02, 0x00, 0x01];
  const exported = ["two", "four"].map((name, i) => [...named(name), 0x00, i]);
  const code = [2, 4].map((vectors) => {
    const body = product(vectors);
    return [...leb128(body.length), ...body];
  });
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // \0asm, version 1
    ...section(1, vector([type])),
    ...section(2, vector([memory])),
    ...section(3, vector([[0], [0]])), // both functions are of the type 0
    ...section(7, vector(exported)),
    ...section(10, vector(code)),
  ]);
}

/** (weights, inputs, sums, rows, bytes of the inputs, bytes of a row): the sums of products of each row with each of 2
    or 4 vectors.

    The inputs lie eight of each vector side by side; four sums of 32 bits are written for each row. Where the number of
    rows is odd, what lies behind the last one is taken for one more. */
function product(vectors) {
  const [weights, inputs, sums, rows, bytes, stride, at, below, input, first] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const get = (local) => op("local.get", local);
  const advance = (local, by) => [...get(local), ...constant(by), ...op("i32.add"), ...op("local.set", local)];
  // Two rows: where each begins, its eight weights, and a sum for each vector.
  const two = [weights, below].map((start, row) => {
    const eight = first + row * (vectors + 1);
    return { start, eight, accumulators: Array.from({ length: vectors }, (_, i) => eight + 1 + i) };
  });
  const load = ({ start, eight }) => [...get(start), ...op("i16x8.load8x8_s", offset(0)), ...op("local.set", eight)];
  const multiplyAdd = ({ eight, accumulators }, i) => [
    ...[...get(accumulators[i]), ...get(eight), ...get(input), ...op("i32x4.dot_i16x8_s"), ...op("i32x4.add")],
    ...op("local.set", accumulators[i]),
  ];
  const columns = [
    ...two.flatMap(load),
    ...two[0].accumulators.flatMap((_, i) => [
      ...[...get(at), ...op("v128.load", offset(16 * i)), ...op("local.set", input)],
      ...two.flatMap((row) => multiplyAdd(row, i)),
    ]),
    ...two.flatMap(({ start }) => advance(start, WEIGHTS_AT_ONCE)),
    ...advance(at, 16 * vectors),
    ...[...get(at), ...get(inputs), ...get(bytes), ...op("i32.add"), ...op("i32.lt_u")],
    ...op("br_if", 0),
  ];
  const clear = (local) => [...op("v128.const", Array(16).fill(0)), ...op("local.set", local)];
  const body = [
    ...[...get(weights), ...get(stride), ...op("i32.add"), ...op("local.set", below)],
    ...[...get(inputs), ...op("local.set", at)],
    ...two.flatMap(({ accumulators }) => accumulators.flatMap(clear)),
    ...[...op("loop"), ...columns, ...op("end")],
    ...two.flatMap(({ accumulators }) => [...total(accumulators, sums), ...advance(sums, 16)]),
    ...[...get(below), ...op("local.set", weights)], // which has come to the end of the second row
    ...[...get(rows), ...constant(ROWS_AT_ONCE), ...op("i32.sub"), ...op("local.tee", rows)],
    ...[...constant(0), ...op("i32.gt_s")],
    ...op("br_if", 0),
  ];
  const locals = vector([
    [2, I32],
    [1 + two.length * (1 + vectors), V128],
  ]);
  return [...locals, ...op("loop"), ...body, ...op("end"), ...op("end")];
}

/** Add up the four lanes of each of 2 or 4 vectors, and write the sums to memory. */
function total(accumulators, sums) {
  const get = (local) => op("local.get", local);
  const [first, last] = [accumulators[0], accumulators[accumulators.length / 2 - 1]];
  const pairs = accumulators.length === 4 ? [accumulators.slice(0, 2), accumulators.slice(2)] : [accumulators];
  return [
    // Lanes of two vectors side by side, added up by halves.
    ...pairs.flatMap(([one, other], i) => [
      ...addShuffled([...get(one), ...get(other)], [0, 4, 1, 5], [2, 6, 3, 7]),
      ...op("local.set", first + i),
    ]),
    ...get(sums),
    ...addShuffled([...get(first), ...get(last)], [0, 1, 4, 5], [2, 3, 6, 7]),
    ...op("v128.store", offset(0)),
  ];
}

/** The sum of two shuffles of the same two vectors; lanes of 32 bits, 4 to 7 being the second one's. */
function addShuffled(two, ...orders) {
  const lanes = (order) => order.flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte));
  return [...orders.flatMap((order) => [...two, ...op("i8x16.shuffle", lanes(order))]), ...op("i32x4.add")];
}
