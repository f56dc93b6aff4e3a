/* Which of the bot's own questions is asked in other words, as kochat/inference/matching.py finds it. */

class QuestionMatcher {
  /** `description` is what kochat/sharing/description.py writes. */
  constructor(description) {
    Object.assign(this, description);
    this.labels = new Map(this.questions);
    this.others = new Set(this.others);
    this.weights = new Map(Object.entries(this.features).map(([name, level]) => [name, this.levels[level]]));
    this.stems = Object.entries(this.synonyms).flatMap(([name, stems]) => stems.map((stem) => [stem, "#" + name]));
    this.own = this.questions.map(([question]) => {
      const features = this.featuresOf(question);
      return { question, features: new Set(features), size: this.size(features) };
    });
  }

  weight(feature) {
    return this.weights.get(feature) ?? this.otherWeights[feature.startsWith("#") ? 1 : 0];
  }

  size(features) {
    return features.reduce((sum, one) => sum + this.weight(one), 0);
  }

  /** {question, labels} of the own question that is meant, of those answered under `label` if one is given; or null. */
  match(question, label) {
    const isAnswered = (text) => label === null || this.labels.get(text).includes(label);
    if (this.labels.has(question)) return isAnswered(question) ? this.found(question) : null;
    if (this.others.has(checksum(question))) return null;
    const features = this.featuresOf(question);
    const size = this.size(features);
    let [best, highest] = [null, -1];
    for (const own of this.own) {
      if (!isAnswered(own.question)) continue;
      const common = this.size(features.filter((one) => own.features.has(one)));
      const similarity = common ? common / Math.sqrt(size * own.size) : 0;
      if (similarity > highest) [best, highest] = [own.question, similarity];
    }
    return highest >= this.minSimilarity ? this.found(best) : null;
  }

  found(question) {
    return { question, labels: this.labels.get(question) };
  }

  /** What a question is compared by: syllables, one and two at a time, and concepts; sorted, each once. */
  featuresOf(text) {
    const words = this.words(text);
    const features = new Set();
    for (const word of words) {
      const letters = [" ", ...word];
      letters.forEach((letter, i) => {
        if (letter !== " ") features.add(letter);
        if (i + 1 < letters.length) features.add(letter + letters[i + 1]);
      });
    }
    const [spaced, joined] = [words.join(" "), words.join("")];
    for (const [stem, concept] of this.stems) {
      const together = stem.replaceAll(" ", "");
      // Two syllables, without their space, are found in too much.
      if (spaced.includes(stem) || ([...together].length > 2 && joined.includes(together))) features.add(concept);
    }
    return [...features].sort();
  }

  words(text) {
    const folded = [...text.normalize("NFKC")].map((one) => this.folds[one] ?? one.toLowerCase()).join("");
    return folded.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  }
}

/** The CRC-32 of a text in UTF-8, as zlib has it. */
function checksum(text) {
  let crc = -1;
  for (const byte of new TextEncoder().encode(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
