// What the page does by itself: it tells visitors apart, and it keeps the conversation, which no server does.
const kochat = (() => {
  const CONVERSATION = "kochat_conversation", VISITOR = "kochat_visitor", UNSURE = "kochat_unsure";

  const BETWEEN_QUESTIONS = 1000, BETWEEN_GLANCES = 300, SPREAD = 500; // ms

  // Where cookies are blocked, looking at them may be an error of its own.
  function hasCookie(start) {
    try {
      return document.cookie.includes(start);
    } catch {
      return false;
    }
  }

  function setCookie(name, value) {
    // A Space is shown in a frame of another site, which gets cookies of its own only when they say so.
    const site = location.protocol === "https:" ? "SameSite=None; Secure; Partitioned" : "SameSite=Lax";
    try {
      document.cookie = `${name}=${value}; Path=/; Max-Age=31536000; ${site}`;
    } catch (error) {
      console.warn("cookies are blocked:", error);
    }
  }

  if (!hasCookie(`${VISITOR}=`)) {
    const random = crypto.getRandomValues(new Uint8Array(16));
    setCookie(VISITOR, Array.from(random, byte => byte.toString(16).padStart(2, "0")).join(""));
  }

  // What gradio does not translate: the title of the browser's tab, and those of the messages that come up, whose
  // `title` it takes and does not show.
  function open(titles) {
    const own = navigator.language.startsWith("ko") ? titles.ko : titles.en;
    document.title = own.page;
    copyPlainly();
    for (const id of ["menu", "drawer"]) {
      const button = document.getElementById(`${id}-button`);
      button.setAttribute("aria-expanded", false);
      button.setAttribute("aria-controls", id);
    }
    new MutationObserver(() => {
      for (const title of document.querySelectorAll(".toast-title")) {
        const name = title.classList.contains("error") ? own.error : own.note;
        if (title.firstChild.data.trim() !== name) title.firstChild.data = `${name} `;
      }
      // The buttons of the box for a question are icons without a name.
      for (const [part, name] of [["submit", own.send], ["stop", own.stop]]) {
        document.querySelector(`#question .${part}-button:not([aria-label])`)?.setAttribute("aria-label", name);
      }
      // Those of the places for files are called in English, other than what stands on them.
      for (const button of document.querySelectorAll(".upload-container[aria-label]")) {
        if (button.textContent.trim()) button.removeAttribute("aria-label");
      }
    }).observe(document.body, { childList: true, subtree: true });
  }

  // A route of the server beside the page. Of what the server takes for its address only the path is true everywhere:
  // behind a proxy it may know neither the protocol nor the port.
  function beside(route) {
    const root = new URL(window.gradio_config?.root ?? "", location.href).pathname.replace(/\/$/, "");
    return `${root}/${route}`;
  }

  // To such a route; what it answers, as JSON.
  async function send(route, body) {
    const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(beside(route), options);
    return { ok: answer.ok, ...(await answer.json()) };
  }

  // Gives, for the box of the password and for the note below it, what they show then.
  async function logIn(password) {
    const note = document.createElement("p"), answer = await send("owner/login", { password });
    if (answer.ok && (await send("owner")).owner) location.reload();
    else note.textContent = answer.text ?? answer.detail;
    if (answer.ok && note.textContent) { // the server's cookie was not kept, as in a frame of another site
      const link = note.appendChild(document.createElement("a"));
      Object.assign(link, { href: location.href, target: "_blank", textContent: ` ${location.host}` });
    }
    return ["", note.outerHTML];
  }

  async function logOut() {
    await send("owner/logout", {});
    location.reload();
  }

  // The menu, and on a small screen the drawer, are there while they are open.
  function toggle(id) {
    const button = document.getElementById(`${id}-button`), part = document.getElementById(id);
    const isLeft = part.contains(document.activeElement);
    const isOpen = part.classList.toggle("open");
    button.setAttribute("aria-expanded", isOpen);
    if (!isOpen && isLeft) button.focus();
  }

  function closeOpen(event) {
    const part = document.querySelector("#menu.open, #drawer.open");
    if (!part) return;
    const isButton = event.target.closest(`#${part.id}-button, #${part.id}-close`); // which toggles it itself
    const isInside = event.target.closest(`#${part.id}, .options`) && part.id !== "menu";
    if (event.key === "Escape" || (event.type === "click" && !isButton && !isInside)) toggle(part.id);
  }
  document.addEventListener("click", closeOpen);
  document.addEventListener("keydown", closeOpen);

  // gradio copies a message as it was given: what stands small under a reply is none of its words.
  function copyPlainly() {
    if (!navigator.clipboard) return;
    const write = navigator.clipboard.writeText.bind(navigator.clipboard);
    navigator.clipboard.writeText = text => {
      const message = new DOMParser().parseFromString(text, "text/html");
      const note = message.querySelector("small.note");
      note?.remove();
      return write(note ? message.body.textContent : text);
    };
  }

  let restored = false; // the page first reports the empty conversation that it begins with

  function keep(conversation) {
    if (!restored) return;
    try {
      localStorage.setItem(CONVERSATION, JSON.stringify(conversation));
    } catch (error) {
      console.warn("the conversation is not kept:", error); // no room, or storage is switched off
    }
  }

  // At once: the page may be gone before the server has said that it has the question.
  function keepQuestion(question, conversation) {
    if (!question.trim()) return;
    const text = question.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
    keep([...conversation, { role: "user", content: [{ type: "text", text }], metadata: { log: question } }]);
  }

  // In a list, since gradio takes a list for the values of several outputs.
  function restore() {
    restored = true;
    try {
      return [JSON.parse(localStorage.getItem(CONVERSATION)) || []];
    } catch (error) {
      console.warn("there is no conversation to restore:", error);
      return [[]];
    }
  }

  // Calls `changed` whenever `subject` has changed on the server, which answers when it has, or after a while when it has
  // not. It is asked only while `element`, and so the tab that it is in, can be seen.
  async function follow(element, subject, changed) {
    const pause = ms => new Promise(resolve => setTimeout(resolve, ms));
    let seen = "", between = BETWEEN_QUESTIONS;
    while (element.isConnected) {
      if (document.hidden || !element.offsetParent) {
        await pause(BETWEEN_GLANCES);
        continue;
      }
      try {
        const answer = await fetch(`${beside(`changes/${subject}`)}?since=${seen}`);
        if (!answer.ok) throw new Error(answer.statusText);
        const now = await answer.text();
        if (now !== seen) {
          if (seen) await pause(Math.random() * SPREAD); // all pages are told at once, and should not ask at once
          changed();
        }
        seen = now;
        between = BETWEEN_QUESTIONS;
      } catch (error) {
        console.debug("the server does not answer:", error); // it may be starting anew
        between = Math.min(2 * between, 30_000);
      }
      await pause(between);
    }
  }

  function keepUnsure(isOn) {
    try {
      localStorage.setItem(UNSURE, isOn ? "on" : "off");
    } catch (error) {
      console.warn("the choice is not kept:", error);
    }
  }

  function restoreUnsure(isOn) {
    try {
      const kept = localStorage.getItem(UNSURE);
      return [kept ? kept === "on" : isOn];
    } catch (error) {
      console.warn("there is no choice to restore:", error);
      return [isOn];
    }
  }

  // As plain rows: who said what, under which label, from which checkpoint.
  function rows(conversation) {
    return conversation.map(one => {
      const [label, checkpoint] = one.metadata?.id ? JSON.parse(one.metadata.id) : [null, null];
      return { role: one.role, text: one.metadata?.log ?? "", label, checkpoint };
    });
  }

  function save(name, type, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function saveJson(conversation) {
    save("kochat.json", "application/json", JSON.stringify(rows(conversation), null, 2));
  }

  function saveCsv(conversation) {
    // What begins like a formula gets a mark that is not seen, as in every CSV of ours: Excel would run it.
    const safe = text => (/^[=+\-@＝＋－＠]/.test(text) ? "\u200b" + text : text);
    const cell = value => `"${safe(String(value ?? "")).replaceAll('"', '""')}"`;
    const columns = ["role", "text", "label", "checkpoint"];
    const lines = [columns, ...rows(conversation).map(row => columns.map(column => row[column]))];
    // With the mark in front Excel reads it as UTF-8.
    save("kochat.csv", "text/csv", "\ufeff" + lines.map(line => line.map(cell).join(",") + "\r\n").join(""));
  }

  // The panel of the newest reply is in the drawer, closed at first.
  function openWhy() {
    const drawer = document.getElementById("drawer"), head = document.querySelector("#why button");
    if (!drawer.classList.contains("open")) setTimeout(() => toggle("drawer")); // after the click, which closes it
    if (!document.querySelector("#explanation")?.offsetHeight) head.click();
    const started = Date.now();
    const timer = setInterval(() => {
      const isThere = Boolean(document.querySelector("#explanation .steps"));
      if (!isThere && Date.now() - started < 60_000) return;
      clearInterval(timer);
      head.scrollIntoView({ block: "start" });
    }, 200);
  }

  // What is being corrected stays above the form: the last reply that begins with these words.
  function showCorrected(said) {
    if (!said?.trim()) return;
    const rows = [...document.querySelectorAll("#chat .bot-row")].filter(row => row.innerText.trim().startsWith(said.trim()));
    setTimeout(() => rows.at(-1)?.scrollIntoView({ block: "nearest" }), 100);
  }

  // The form of a row comes below a long table.
  function showRow() {
    requestAnimationFrame(() => document.querySelector("#row")?.scrollIntoView({ block: "nearest", behavior: "smooth" }));
  }

  // The button that learns what was taught, and what comes up below it, may lie below the edge of a small window.
  function showTeaching() {
    setTimeout(() => document.querySelector("#taught")?.scrollIntoView({ block: "nearest", behavior: "smooth" }), 100);
  }

  function showLearning() {
    const show = id => document.querySelector(id)?.scrollIntoView({ block: "nearest", behavior: "smooth" });
    const started = Date.now(); // the curve comes up with the first epoch
    const timer = setInterval(() => {
      const isDrawn = Boolean(document.querySelector("#learning-plot")?.offsetHeight);
      if (!isDrawn && Date.now() - started < 60_000) return;
      clearInterval(timer);
      if (isDrawn) show("#learning-plot");
    }, 200);
    setTimeout(() => show("#learning"), 500);
  }

  // The page gets the link to the new file a moment after it was made.
  function saveLink(id) {
    setTimeout(() => document.querySelector(`a#${id}, #${id} a, button#${id}, #${id} button`)?.click(), 100);
  }

  function saveFile() {
    saveLink("csv-file");
  }

  function saveComparison() {
    saveLink("compare-link");
  }

  return { toggle, openWhy, showCorrected, showRow, showTeaching, showLearning, saveFile, saveComparison, open, logIn, logOut, keep, keepQuestion, restore, follow, keepUnsure, restoreUnsure, saveJson, saveCsv };
})();
