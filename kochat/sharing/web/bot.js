/* The bot: prompt, label, reply, and why; as kochat/model/prompt.py and kochat/inference/chatbot.py have them. */

const AUTO = "auto";
const SHORT_REPLY = 16; // tokens; most have fewer

class Chatbot {
  /** `description` is what kochat/sharing/description.py writes; the weights go into `decoder.bytes`. */
  constructor(description, isPlain) {
    Object.assign(this, description);
    this.tokenizer = new Tokenizer(description.tokenizer);
    this.matcher = description.matching && new QuestionMatcher(description.matching);
    this.decoder = new Decoder(description.model, isPlain);
  }

  /** A question as it is read: in one normal form, without what is not seen; "" where nothing is left. */
  clean(question) {
    const letters = [...question];
    const isBlank = (letter) => this.blank.includes(letter);
    while (letters.length && isBlank(letters.at(-1))) letters.pop();
    const text = letters.slice(Math.max(letters.findIndex((one) => !isBlank(one)), 0)).join("").normalize("NFC");
    return [...text].every((letter) => this.unseen.includes(letter)) ? "" : [...text].slice(-this.maxQuestionLength).join("");
  }

  encode(text) {
    // Half a surrogate pair (a broken emoji) cannot be encoded.
    return this.tokenizer.encode(pythonStrip(text).replace(/\p{Surrogate}/gu, "?"));
  }

  /** {ids, question, label, isCut}: the prompt, its question's ids as far as they fit, and the ids that name the label. */
  prompt(question, label) {
    const { usr, sys, label: mark } = this.tokenizer;
    const labelIds = label === null ? [] : this.encode(label);
    const whole = this.encode(this.stripPunctuation ? question.replace(/[?.!,]/g, " ") : question);
    const structure = labelIds.length + 3;
    const room = Math.min(Math.floor(this.maxLength / 2), this.maxLength - structure - 1);
    const kept = whole.length + structure < this.maxLength ? whole : whole.slice(-room);
    return {
      ids: [usr, ...kept, mark, ...labelIds, sys],
      question: kept,
      label: [...labelIds, sys],
      isCut: kept.length < whole.length,
    };
  }

  /** What the bot makes of a question under a label, or AUTO: everything that a reply goes on from.

      {question, meant, own, label, shares, isUnfamiliar, surprise, isCut, rows, room, strength}; `shares` are the
      probabilities of the labels that come into question, `rows` one sequence, or two where the label is strengthened. */
  read(asked, label = AUTO, strength = this.strength) {
    const checked = this.clean(asked);
    const match = this.matcher?.match(checked, label === AUTO ? null : label) ?? null;
    const question = match ? match.question : checked;
    const labels = label !== AUTO ? [label] : this.labels.filter((one) => !match || match.labels.includes(one));
    const choices = labels.map((one) => this.prompt(question, one));
    const without = this.prompt(question, null);
    // What all prompts begin with is read once.
    const shared = commonStart([...choices, without].map(({ ids }) => ids));
    const trunk = this.decoder.sequence(Math.max(...choices.map(({ ids }) => ids.length)) + SHORT_REPLY);
    const [known] = this.decoder.extend([trunk, choices[0].ids.slice(0, shared)]);
    const branches = choices.map(({ ids }) => [trunk.fork(), ids.slice(shared)]);
    const unlabelled = strength > 0 ? [[trunk, without.ids.slice(shared)]] : [];
    const likelihoods = this.decoder.extend(...branches, ...unlabelled).map((own) => [...known, ...own]);
    const scores = choices.map(({ label }, i) => sum(likelihoods[i].slice(-label.length)));
    const shares = softmax(scores.slice());
    const best = shares.indexOf(largestOf(shares));
    const ofQuestion = likelihoods[0].slice(1, 1 + choices[0].question.length);
    const surprise = -sum(ofQuestion) / (this.bytes(choices[0].question) + this.bytesForFree);
    const rows = [branches[best], ...unlabelled].map(([sequence]) => sequence);
    const longestRow = Math.max(...rows.map(({ length }) => length));
    return {
      question: checked,
      meant: match && match.question !== checked ? match.question : null,
      own: match && match.question,
      label: labels[best],
      shares: Object.fromEntries(labels.map((one, i) => [one, shares[i]])),
      isUnfamiliar: this.isUnfamiliar(match, labels[best], surprise),
      surprise,
      isCut: choices[best].isCut,
      rows,
      room: Math.min(this.maxReplyTokens, this.decoder.positions - longestRow),
      strength,
    };
  }

  bytes(ids) {
    return new TextEncoder().encode(this.tokenizer.decode(ids)).length;
  }

  isUnfamiliar(match, label, surprise) {
    if (match) return false;
    const isOwn = this.matcher?.ownLabels.includes(label) ?? false;
    return isOwn || (this.threshold !== null && surprise > this.threshold);
  }

  /** The tokens of the reply to what was read, its end included: {token, scores} one by one.

      `scores` are what the token has the largest of; -Infinity where a token is not plausible under the label. */
  *steps({ rows, room, strength }) {
    for (let said = 0; said < room; said++) {
      const scores = rows.length > 1 ? this.strengthened(rows, strength) : rows[0].logits;
      const token = scores.indexOf(largestOf(scores));
      yield { token, scores };
      if (token === this.tokenizer.end) return;
      if (said + 1 < room) this.decoder.pass(rows.map((row) => [row, token]));
    }
  }

  strengthened([labelled, unlabelled], strength) {
    const [given, without] = [labelled.logits, unlabelled.logits];
    const least = largestOf(given) + Math.log(this.plausible);
    const scores = new Float64Array(given.length).fill(-Infinity);
    for (let token = 0; token < given.length; token++) {
      if (given[token] >= least) scores[token] = given[token] + strength * (given[token] - without[token]);
    }
    return scores;
  }

  /** The text of the reply as it grows. */
  *stream(reading) {
    const ids = [];
    for (const { token } of this.steps(reading)) {
      if (token === this.tokenizer.end) return;
      ids.push(token);
      yield this.tokenizer.certain(ids);
    }
  }

  reply(question, label = AUTO, strength = this.strength) {
    return [...this.stream(this.read(question, label, strength))].at(-1) ?? "";
  }

  /** [{text, probability, others: [[text, probability], …]}, …]: each token of the reply and its runners-up. */
  explain(question, label, strength, runnersUp = 5) {
    const steps = [...this.steps(this.read(question, label, strength))].map(({ token, scores }) => {
      const shares = softmax(scores.slice());
      const others = [...shares.keys()].filter((id) => id !== token && shares[id] > 0);
      others.sort((a, b) => shares[b] - shares[a]);
      return { token, probability: shares[token], others: others.slice(0, runnersUp).map((id) => [id, shares[id]]) };
    });
    const texts = this.tokenizer.tokenTexts(steps.map(({ token }) => token));
    return steps.map(({ probability, others }, i) => ({
      text: texts[i],
      probability,
      others: others.map(([id, share]) => [this.tokenizer.tokenTexts([id])[0], share]),
    }));
  }
}

/** How many ids all lists begin with alike, one less than the shortest has: each goes on from there. */
function commonStart(lists) {
  const shortest = Math.min(...lists.map(({ length }) => length)) - 1;
  let same = 0;
  while (same < shortest && lists.every((ids) => ids[same] === lists[0][same])) same += 1;
  return same;
}
