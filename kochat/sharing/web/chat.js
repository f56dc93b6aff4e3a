/* The page: a conversation with the bot. Whatever comes from people or from the bot is set as text, never as HTML. */

const description = JSON.parse(document.getElementById("bot").textContent);
const TEXTS = description.texts;
const STORE = `kochat ${description.id}`;
const LANGUAGE_STORE = "kochat language";
const LICENCES = { mit: "MIT", "cc-by-nc-sa-4.0": "CC BY-NC-SA 4.0" };
const SPEAKS_OF_SUICIDE = new RegExp(description.speaksOfSuicide, "iu");
const NAMES_HELP = new RegExp(description.namesHelp, "u");
const UNSEEN_INSIDE = new RegExp(description.unseenInside, "gu");
const WITHOUT_PAUSE = 12; // milliseconds, less than a frame
const at = (id) => document.getElementById(id);

/** What is kept in this browser: the turns, and how label and strength stand. */
const kept = { turns: [], label: AUTO, strength: description.strength, ...stored(STORE) };
if (!Array.isArray(kept.turns)) kept.turns = [];
let language = stored(LANGUAGE_STORE) ?? (navigator.language.toLowerCase().startsWith("ko") ? "ko" : "en");
let isBusy = false;

/** The bot, as soon as its weights are there. */
const ready = open();

async function open() {
  if (document.readyState === "loading") {
    await new Promise((resume) => document.addEventListener("DOMContentLoaded", resume));
  }
  const bot = new Chatbot(description);
  if (description.files) await load(description.files, bot.decoder.bytes);
  else fromBase64(at("weights").textContent, bot.decoder.bytes);
  at("weights").remove();
  return bot;
}

/** Load the weights of a larger bot and show how far that is; where it fails, again when the visitor wants it. */
async function load(files, bytes) {
  const megabytes = (bytes) => Math.ceil(bytes / 1e6);
  const tell = (read) => {
    at("progress").value = read / bytes.length;
    at("loaded").textContent = `${megabytes(read)} / ${megabytes(bytes.length)} MB`;
  };
  const isFile = location.protocol === "file:"; // from which nothing can be loaded
  for (;;) {
    at("loading").hidden = false;
    try {
      await fromFiles(files, bytes, tell);
      break;
    } catch (error) {
      console.warn(error);
      at(isFile ? "no-address" : "not-loaded").hidden = false;
      await new Promise((resume) => at("again").addEventListener("click", resume, { once: true }));
      at("not-loaded").hidden = true;
    }
  }
  at("loading").hidden = true;
}

function stored(name) {
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null; // this browser keeps nothing for this page
  }
}

function store(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** A text of the page in the visitor's language, filled in. */
function say(key, values = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** An element with properties, attributes where a name has a hyphen, and children, of which strings are texts. */
function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

const percent = (share) => new Intl.NumberFormat(language, { style: "percent", maximumSignificantDigits: 2 }).format(share);
const labelName = (label) => description.labelNames[language][label] ?? label;

/** Write every text of the page anew, in the language chosen now. */
function translate() {
  document.documentElement.lang = language;
  for (const one of document.querySelectorAll("[data-text]")) one.textContent = say(one.dataset.text);
  for (const one of document.querySelectorAll("[data-label]")) one.setAttribute("aria-label", say(one.dataset.label));
  for (const one of document.querySelectorAll("[data-placeholder]")) one.placeholder = say(one.dataset.placeholder);
  at("title").textContent = description.title;
  at("label-title").textContent = description.labelTitle || (description.hasEmotions ? say("emotion") : say("label"));
  at("language").textContent = say("other_language");
  at("language").lang = language === "ko" ? "en" : "ko";
  const labels = [AUTO, ...description.labels];
  at("label").replaceChildren(...labels.map((label) => make("option", { value: label }, labelName(label))));
  at("label").value = kept.label;
  at("label").parentElement.hidden = description.labels.length < 2;
  at("licence").textContent = `${LICENCES[description.licence] ?? say("licence_other")} · ${say("made_with")}`;
  at("sources").replaceChildren(...description.sources[language].map((line) => make("li", {}, ...withLinks(line))));
  showConversation();
}

function showConversation() {
  const hello = bubble("bot", description.greeting || say("hello"));
  const turns = kept.turns.flatMap((turn) => [bubble("user", turn.question), shownReply(turn)]);
  at("conversation").replaceChildren(hello, ...(turns.length ? turns : [suggestions()]));
  scrollDown();
}

function bubble(who, text) {
  const name = who === "user" ? say("user") : description.title;
  const said = make("p", { className: "said" }, text);
  return make("div", { className: `turn ${who}` }, make("span", { className: "unseen" }, `${name}: `), said);
}

function suggestions() {
  const buttons = description.suggestions.map((text) => {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", () => ask(text));
    return button;
  });
  return make("div", { className: "suggestions" }, ...buttons);
}

const speaksOfSuicide = (text) => SPEAKS_OF_SUICIDE.test(text.normalize("NFC").replace(UNSEEN_INSIDE, ""));

/** Whether the line that names where to turn stands in the place of a reply: one to such a question that names no
    number to call. What the bot was taught to say to a question of its own that speaks of it, too, is said. */
function isWithheld({ question, reply, own, isDeclined }) {
  return speaksOfSuicide(question) && !isDeclined && !speaksOfSuicide(own ?? "") && !NAMES_HELP.test(reply);
}

/** A whole reply: what was said, whether to trust it, where to turn, under which label, and the way to why. */
function shownReply(turn) {
  const isGrave = speaksOfSuicide(turn.question);
  const turnTo = description.turnTo[language];
  const isSaid = !turn.isDeclined && !isWithheld(turn);
  const instead = turn.isDeclined ? say("unsure_reply") : turnTo;
  const shown = bubble("bot", isSaid ? turn.reply || say("silent") : instead);
  if (turn.isUnfamiliar && isSaid) shown.append(make("p", { className: "warning" }, say("unfamiliar")));
  if (isGrave && (isSaid || turn.isDeclined)) shown.append(make("p", { className: "turn-to" }, turnTo));
  shown.append(make("p", { className: "note" }, noteOf(turn)));
  if (isSaid && !isGrave) shown.append(...whyOf(turn)); // which would show replies that are withheld
  return shown;
}

function noteOf({ label, share, strength, meant, isCut }) {
  const name = share === null ? labelName(label) : `${labelName(AUTO)} → ${labelName(label)} ${percent(share)}`;
  const notes = [name, strength ? say("strength_note", { strength }) : "", isCut ? say("question_cut") : ""];
  if (meant) notes.push(say("meant", { question: meant }));
  return notes.filter(Boolean).join(" · ");
}

/** A button, and what it opens: the tokens of a reply, computed when somebody wants to see them. */
function whyOf(turn) {
  const panel = make("div", { className: "why", hidden: true });
  const button = make("button", { type: "button", className: "quiet", "aria-expanded": "false" }, say("why"));
  button.addEventListener("click", async () => {
    const isOpen = panel.hidden;
    if (isOpen && !panel.hasChildNodes()) {
      const bot = await ready;
      panel.append(...tokens(bot.explain(turn.question, turn.label, turn.strength), turn.strength));
    }
    panel.hidden = !isOpen;
    button.setAttribute("aria-expanded", isOpen);
    if (isOpen) panel.scrollIntoView({ block: "nearest" });
  });
  return [button, panel];
}

function tokens(steps, strength) {
  const others = make("div", { className: "others", "aria-live": "polite" });
  const visible = (text) => text.replaceAll(" ", "▁");
  const buttons = steps.map((step) => {
    const [token, probability] = [visible(step.text), percent(step.probability)];
    const button = make(
      "button",
      { type: "button", "aria-pressed": "false", "aria-label": say("token", { token, probability }) },
      make("b", {}, token),
      make("small", {}, probability),
    );
    button.style.setProperty("--share", step.probability);
    button.addEventListener("click", () => {
      for (const one of buttons) one.setAttribute("aria-pressed", one === button);
      others.replaceChildren(...runnersUp(token, step.others.map(([text, share]) => [visible(text), share])));
      others.scrollIntoView({ block: "nearest" });
    });
    return button;
  });
  const intro = say("why_intro") + (strength ? " " + say("why_strength", { strength }) : "");
  return [make("p", { className: "note" }, intro), make("div", { className: "tokens" }, ...buttons), others];
}

function runnersUp(token, others) {
  if (!others.length) return [make("p", {}, say("no_others", { token }))];
  const rows = others.map(([text, share]) => {
    const row = make("li", {}, make("span", {}, text), make("small", {}, percent(share)));
    row.style.setProperty("--share", share);
    return row;
  });
  return [make("p", {}, say("others", { token })), make("ol", {}, ...rows)];
}

function scrollDown() {
  at("conversation").scrollTop = at("conversation").scrollHeight;
}

/** Put a question to the bot and show its reply as it grows. */
async function ask(question) {
  if (isBusy || !question.trim()) return;
  isBusy = true;
  at("send").disabled = true;
  at("conversation").querySelector(".suggestions")?.remove();
  const growing = bubble("bot", "");
  growing.classList.add("growing");
  at("conversation").append(bubble("user", question), growing);
  scrollDown();
  try {
    const turn = await reply(question, growing.lastChild);
    if (turn) finish(turn, growing);
  } catch (error) {
    console.error(error);
    growing.lastChild.textContent = say("failed");
    growing.classList.remove("growing");
  }
  isBusy = false;
  at("send").disabled = false;
}

/** The turn of a question; its reply is written into `place` meanwhile. */
async function reply(question, place) {
  const bot = await ready;
  const [chosen, strength] = [kept.label, description.canStrengthen ? kept.strength : description.strength];
  const reading = bot.read(question, chosen, strength);
  const { label, shares, meant, own, isCut, isUnfamiliar } = reading;
  const isDeclined = isUnfamiliar && description.unsure;
  const isGrave = speaksOfSuicide(question); // the reply is looked at before it is shown
  let [text, paused] = ["", performance.now()];
  for (text of isDeclined ? [] : bot.stream(reading)) {
    if (!isGrave) place.textContent = text;
    scrollDown();
    if (performance.now() - paused > WITHOUT_PAUSE) {
      await new Promise((resume) => setTimeout(resume));
      paused = performance.now();
    }
  }
  const share = chosen === AUTO ? shares[label] : null;
  const turn = { question, reply: text, label, share, strength, meant, own, isCut, isUnfamiliar, isDeclined };
  return isWithheld(turn) ? { ...turn, reply: "", meant: null } : turn;
}

function finish(turn, growing) {
  if (!growing.isConnected) return; // the conversation was deleted meanwhile
  kept.turns.push(turn);
  const isKept = store(STORE, kept);
  const whole = shownReply(turn);
  growing.replaceWith(whole);
  scrollDown();
  const heard = whole.querySelectorAll(".said, .warning, .turn-to");
  at("spoken").textContent = Array.from(heard, (one) => one.textContent).join(" ");
  if (!isKept) whole.append(make("p", { className: "note" }, say("not_kept")));
}

function deleteConversation() {
  kept.turns = [];
  try {
    localStorage.removeItem(STORE);
  } catch {
    // nothing was kept
  }
  showConversation();
  at("spoken").textContent = say("deleted");
  at("question").focus();
}

function showStrength() {
  at("strength").value = kept.strength;
  at("strength-value").textContent = at("strength").value;
}

/** A line of Markdown whose links to https lead there and are texts otherwise. */
function withLinks(line) {
  const pieces = line.replaceAll("`", "").split(/\[([^\]]*)\]\((https:\/\/[^)\s]+)\)/);
  const link = (i) => make("a", { href: pieces[i + 1], target: "_blank", rel: "noopener noreferrer" }, pieces[i]);
  return pieces.flatMap((piece, i) => (i % 3 === 0 ? [piece] : i % 3 === 1 ? [link(i)] : []));
}

function start() {
  if (location.hash === "#embed") document.documentElement.classList.add("embedded");
  if (![AUTO, ...description.labels].includes(kept.label)) kept.label = AUTO;
  document.documentElement.dataset.colour = description.colour ?? "";
  at("about-matching").hidden = !description.matching;
  at("strength-field").hidden = !description.canStrengthen;
  translate();
  showStrength();
  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    if (isBusy) return;
    ask(at("question").value);
    at("question").value = "";
    at("question").focus();
  });
  at("question").addEventListener("keydown", (event) => {
    // While a syllable is being put together, Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    at("ask").requestSubmit();
  });
  at("label").addEventListener("change", () => {
    kept.label = at("label").value;
    store(STORE, kept);
  });
  at("strength").addEventListener("input", () => {
    kept.strength = Number(at("strength").value);
    showStrength();
    store(STORE, kept);
  });
  at("language").addEventListener("click", () => {
    if (isBusy) return;
    language = language === "ko" ? "en" : "ko";
    store(LANGUAGE_STORE, language);
    translate();
  });
  for (const one of document.querySelectorAll("button.about")) {
    one.addEventListener("click", () => at("about").showModal());
  }
  at("delete").addEventListener("click", () => at("confirm").showModal());
  at("confirm").addEventListener("close", () => at("confirm").returnValue === "delete" && deleteConversation());
  if (matchMedia("(pointer: fine)").matches && location.hash !== "#embed") at("question").focus();
  ready.catch((error) => {
    console.error(error);
    at("conversation").append(bubble("bot", say("failed")));
  });
}

start();
