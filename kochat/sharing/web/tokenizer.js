/* The tokenizer: text to token ids and back, as the Python library `tokenizers` does with a BPE model and Metaspace
   (▁ for a space). Texts are encoded without the structural tokens, so whoever types </s> types text. */

const SPACES = "[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]"; // to Rust and Oniguruma
const PYTHON_SPACES = SPACES.replace("[", "[\\x1c-\\x1f"); // str.strip takes these away too
const BYTE_PIECE = /^<0x([0-9A-F]{2})>$/;
const BROKEN = "\ufffd"; // stands for bytes that are no character

/** A function that takes the characters of a class, the source of a RegExp, off the ends of a text. */
function stripper(characters) {
  const one = new RegExp(`^${characters}$`);
  return (text) => {
    let [start, end] = [0, text.length];
    while (start < end && one.test(text[start])) start += 1;
    while (start < end && one.test(text[end - 1])) end -= 1;
    return text.slice(start, end);
  };
}

const pythonStrip = stripper(PYTHON_SPACES);
const rustStrip = stripper(SPACES);
const NORMALIZE = {
  spaces: (text) => text.replace(new RegExp(`(?:(?!\\n)${SPACES})+`, "gu"), " "),
  strip: rustStrip,
};

class Tokenizer {
  /** `description` is what kochat/sharing/description.py writes. */
  constructor(description) {
    Object.assign(this, description);
    this.ids = new Map(this.pieces.map((piece, id) => [piece, id]));
    this.ranks = new Map(); // of a pair of ids, as one number: its rank
    this.merged.forEach((_, rank) => {
      const pair = this.merges[2 * rank] * this.pieces.length + this.merges[2 * rank + 1];
      this.ranks.set(pair, rank);
    });
    this.words = new Map(); // ids of words that were encoded before
    this.isStructural = new Set(this.structural);
    const longest = (some) => some.sort((a, b) => b[0].length - a[0].length);
    this.addedRaw = longest(this.added.filter(([, , normalized]) => !normalized));
    this.addedNormalized = longest(this.added.filter(([, , normalized]) => normalized));
  }

  /** Token ids of a text; a space is put before it, as everywhere in Metaspace. */
  encode(text) {
    const ids = [];
    for (const [raw, rawId] of parts(text, this.addedRaw)) {
      if (rawId !== null) ids.push(rawId);
      else {
        for (const [piece, id] of parts(this.normalize(raw), this.addedNormalized)) {
          if (id !== null) ids.push(id);
          else for (const word of metaspace(piece)) ids.push(...this.word(word));
        }
      }
    }
    return ids;
  }

  normalize(text) {
    for (const step of this.normalizers) text = NORMALIZE[step] ? NORMALIZE[step](text) : text.normalize(step);
    return text;
  }

  /** BPE: of all neighbours the pair that was learned first becomes one token, until no pair was learned. */
  word(text) {
    const known = this.words.get(text);
    if (known) return known;
    const ids = this.characters(text);
    const rankAt = (i) => this.ranks.get(ids[i] * this.pieces.length + ids[i + 1]) ?? Infinity;
    const ranks = ids.map((_, i) => (i + 1 < ids.length ? rankAt(i) : Infinity));
    for (;;) {
      let best = -1;
      for (let i = 0; i < ranks.length; i++) if (ranks[i] < (best < 0 ? Infinity : ranks[best])) best = i;
      if (best < 0) break;
      ids.splice(best, 2, this.merged[ranks[best]]);
      ranks.splice(best, 1);
      ranks[best] = best + 1 < ids.length ? rankAt(best) : Infinity;
      if (best > 0) ranks[best - 1] = rankAt(best - 1);
    }
    if (this.words.size < 10000) this.words.set(text, ids);
    return ids;
  }

  /** The id of each character; one that has none is written as its bytes, or is unknown. */
  characters(text) {
    const ids = [];
    let wasUnknown = false;
    for (const character of text) {
      const id = this.ids.get(character);
      const bytes = id === undefined && this.byteFallback ? this.bytes(character) : [];
      if (id !== undefined) ids.push(id);
      else if (bytes.length) ids.push(...bytes);
      else if (!(wasUnknown && this.fuseUnknown)) ids.push(this.unknown);
      wasUnknown = id === undefined && !bytes.length;
    }
    return ids;
  }

  bytes(character) {
    const hex = [...new TextEncoder().encode(character)].map((byte) => byte.toString(16).toUpperCase().padStart(2, "0"));
    const ids = hex.map((one) => this.ids.get(`<0x${one}>`));
    return ids.includes(undefined) ? [] : ids;
  }

  /** The text that ids make. */
  decode(ids) {
    const pieces = [];
    let bytes = [];
    const flush = () => {
      if (bytes.length) pieces.push(textOfBytes(bytes));
      bytes = [];
    };
    for (const id of ids) {
      const byte = this.byteFallback && BYTE_PIECE.exec(this.pieces[id]);
      if (byte) bytes.push(parseInt(byte[1], 16));
      else {
        flush();
        pieces.push(this.pieces[id]);
      }
    }
    flush();
    return pieces.map((piece, i) => piece.replaceAll("▁", i ? " " : "")).join("");
  }

  /** The text of a reply as far as it is certain: no half character, and no space at its ends. */
  certain(ids) {
    const text = this.decode(ids.filter((id) => !this.isStructural.has(id)));
    let end = text.length;
    while (text[end - 1] === BROKEN) end -= 1;
    return pythonStrip(text.slice(0, end)).replaceAll(BROKEN, "");
  }

  /** Each token as a text to look at; those that only together make a character are called 🦜 1/4, 🦜 2/4 and so on. */
  tokenTexts(ids) {
    const texts = [];
    while (texts.length < ids.length) {
      const rest = ids.slice(texts.length, texts.length + 4);
      const own = this.pieces[rest[0]];
      if (!BYTE_PIECE.test(own)) {
        texts.push(own.replaceAll("▁", " "));
        continue;
      }
      const runs = rest.map((_, i) => this.decode(rest.slice(0, i + 1)));
      const n = runs.findIndex((run) => !run.includes(BROKEN)) + 1;
      if (n < 2) texts.push(n ? runs[0] : own);
      else for (let i = 1; i <= n; i++) texts.push(`${runs[n - 1]} ${i}/${n}`);
    }
    return texts;
  }
}

/** [text, null] and [token, id] in turn, where added tokens (the longest first) stand in a text. */
function* parts(text, added) {
  let start = 0;
  for (let i = 0; added.length && i < text.length; ) {
    const found = added.find(([content]) => text.startsWith(content, i));
    if (!found) {
      i += 1;
      continue;
    }
    if (i > start) yield [text.slice(start, i), null];
    yield [found[0], found[1]];
    i = start = i + found[0].length;
  }
  if (start < text.length) yield [text.slice(start), null];
}

/** The words of a text, each with the ▁ before it. */
function metaspace(text) {
  if (!text) return [];
  const marked = text.replaceAll(" ", "▁");
  return (marked.startsWith("▁") ? marked : "▁" + marked).match(/▁[^▁]*/g);
}

/** UTF-8 bytes as text; where they are none, each byte is a sign of its own for that. */
function textOfBytes(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes));
  } catch {
    return BROKEN.repeat(bytes.length);
  }
}
