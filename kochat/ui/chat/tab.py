"""The chat tab: a question, a streamed reply, under the label and the checkpoint chosen now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import gradio as gr

from kochat.data.crisis import is_withheld, where_to_turn
from kochat.labels import AUTO, AUTO_NAMES, are_emotions, label_name
from kochat.model.cards import Card
from kochat.ui.chat.messages import (
    INSTEAD,
    is_reranked,
    message,
    sampling_of,
    source_of,
    strength_of,
    text_of,
    until_last_question,
)
from kochat.ui.chat.variety import (
    RERANKED,
    choosing,
    choosing_radio,
    grown,
    prepare_lookup,
    samplings,
    variety_slider,
)
from kochat.ui.models import ENGINE, bot, card, first_name
from kochat.ui.monitor import replies
from kochat.ui.profile import label_dropdown, looks, profile_html, welcome
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import (
    PRIVATE,
    ChatTab,
    chat_choices,
    checkpoint_dropdown,
    following,
    label_choices,
    label_title,
)

MAX_MESSAGE_LENGTH = 10_000  # characters
MAX_STRENGTH, STRENGTH_STEP = 6.0, 0.5
BETWEEN_PIECES = 0.05  # seconds: faster than anybody reads, and slow enough for many visitors


def strength_slider(known: Card, name: str | None = None) -> dict:
    """How the slider stands for a checkpoint: at the checkpoint's own strength, and fixed where it learned none."""
    can = known.can_strengthen
    info = t("k_strength_info") if can else t("k_engine_no_strength") if name == ENGINE else t("k_no_strength")
    title = t("k_strength") if are_emotions(known.labels) else t("k_strength_of_label")
    return {"value": min(known.strength, MAX_STRENGTH), "interactive": can, "info": info, "label": title}


def _strength_since(start: Card) -> Callable[[str], gr.Slider]:
    """How the slider stands when the page opens, where the checkpoint's strength was chosen anew since the start.

    Where it was not, the slider is left alone: the visitor may be quicker than the answer.
    """

    def opened(name: str):
        now = strength_slider(card(name), name)
        return gr.skip() if now["value"] == strength_slider(start)["value"] else gr.Slider(**now)

    return opened


def note_for(
    language: str,
    chosen: str,
    read: dict[str, float] | None,
    label: str,
    known: Card,
    name: str,
    strength: float = 0,
    temperature: float = 0,
    reranked: bool = False,
) -> str:
    """What stands small under a reply: its label, how sure 자동 was, strength, temperature, choice, its checkpoint."""
    shown = label_name(label, language, known.labels, known.label_names)
    if label == AUTO:  # an engine elsewhere does not say what it reads
        shown = AUTO_NAMES[language]
    elif chosen == AUTO:
        shown = f"{AUTO_NAMES[language]} → {shown} {read[label]:.0%}"
    strong = say(language, "k_strength_note", strength=f"{strength:g}") if strength else ""
    drawn = say(language, "k_variety_note", temperature=f"{temperature:g}") if temperature else ""
    chosen_among = say(language, "k_choosing_note") if reranked else ""
    return " · ".join(filter(None, (shown, strong, drawn, chosen_among, name)))


def reply_to(
    history: list[dict],
    label: str,
    strength: float,
    name: str,
    language: str,
    unsure: bool = False,
    temperature: float = 0,
    replaced: dict | None = None,
    rerank: bool = False,
) -> Iterator[list[dict]]:
    """The conversation with the reply to its last question, as it grows. Raises as `bot` and `Chatbot.stream`.

    With `unsure` an unfamiliar question is not answered: the bot says that it is not sure. A reply in the place of
    `replaced` is another one, where the bot has anything else to say. With `rerank` a reply is chosen among candidates,
    where the checkpoint keeps pairs, and one in the place of such a reply is drawn. A reply to a question that speaks
    of suicide is shown when it is whole, with where to turn below it or, where it names no help, in its place.
    """
    # What is whole by then is drawn once.
    question, chatbot, shown_at = text_of(history[-1])[-MAX_MESSAGE_LENGTH:], bot(name), time.monotonic()
    reading = chatbot.read(question, label)
    read = reading.labels if label == AUTO else None
    used = max(read, key=read.get) if read else label
    is_strange = bool(reading.unfamiliar)
    if not chatbot.card.can_strengthen:  # the slider may still stand where another checkpoint had it
        strength = chatbot.card.strength
    about = language, label, read, used, chatbot.card, chatbot.name, strength
    place = chatbot.labels.index(used) if used in chatbot.labels else 0
    more = " · " + say(language, "k_meant", question=reading.meant) if reading.meant not in (None, question) else ""
    more += " · " + say(language, "k_question_cut") if chatbot.cuts_question(question, used) else ""
    turn_to = where_to_turn(question, language)
    if is_strange and unsure:
        whole = say(language, "k_unsure_reply"), note_for(*about) + more, used, name, strength
        yield [*history, message("assistant", *whole, place=place, turn_to=turn_to)]
        return
    before, silent = text_of(replaced) if replaced else "", say(language, "k_silent")
    rerank = rerank and chatbot.retriever is not None
    is_same = bool(replaced) and _is_from(replaced, used, name, strength) and before not in INSTEAD
    is_same = is_same and (is_reranked(replaced) == rerank or (rerank and sampling_of(replaced).temperature > 0))
    tried = samplings(temperature, bool(replaced), is_same)
    reranked = tried[0] if rerank and not is_same else None
    for so_far in grown(chatbot, question, used, strength, tried, "" if before == silent else before, reranked):
        if not turn_to and time.monotonic() - shown_at > BETWEEN_PIECES:
            yield [*history, message("assistant", so_far[0])]
            shown_at = time.monotonic()
    said, sampling = so_far
    if is_withheld(question, said, reading.meant):
        yield [*history, message("assistant", turn_to, note_for(*about), used, name, strength, place=place)]
        return
    more += " · " + say(language, "k_unfamiliar") if is_strange else ""
    is_chosen = sampling is reranked
    whole = said or silent, note_for(*about, sampling.temperature, is_chosen) + more, used, name, strength, sampling
    yield [*history, message("assistant", *whole, place, is_chosen, turn_to)]


def _is_from(reply: dict, label: str, name: str, strength: float) -> bool:
    """Whether a reply comes from a checkpoint under a label and a strength."""
    return (*source_of(reply), strength_of(reply)) == (label, name, strength)


@shows_errors
def asked(
    text: str,
    history: list[dict],
    label: str,
    strength: float,
    name: str,
    unsure: bool,
    temperature: float,
    choice: str,
    request: gr.Request,
):
    """Put the question into the conversation and stream the reply; nothing happens for an empty one."""
    if not text.strip():
        yield gr.skip(), gr.skip()
        return
    history = [*history, message("user", text[-MAX_MESSAGE_LENGTH:])]
    yield busy(value=""), history
    settings = label, strength, name, language_of(request), unsure, temperature
    yield from _until_whole(reply_to(history, *settings, rerank=choice == RERANKED))


@shows_errors
def again(
    history: list[dict],
    label: str,
    strength: float,
    name: str,
    unsure: bool,
    temperature: float,
    choice: str,
    request: gr.Request,
):
    """Take the last reply back and put another one in its place."""
    kept = until_last_question(history)
    if not kept:
        yield gr.skip(), gr.skip()
        return
    yield busy(), kept
    replaced = history[-1] if len(history) > len(kept) else None
    settings = label, strength, name, language_of(request), unsure, temperature
    yield from _until_whole(reply_to(kept, *settings, replaced, choice == RERANKED))


def _until_whole(steps: Iterator[list[dict]]) -> Iterator[tuple]:
    """The text box and the conversation as a reply grows; with its last words one may ask on."""
    for history in replies.timed(steps):
        is_whole = source_of(history[-1]) != ("", "")
        yield idle() if is_whole else gr.skip(), history


def busy(**box) -> gr.Textbox:
    """The text box while a reply is on its way: a second question would mix with the first."""
    return gr.Textbox(interactive=False, submit_btn=False, stop_btn=True, **box)


def idle() -> gr.Textbox:
    """The text box when the reply is there, or was stopped."""
    return gr.Textbox(interactive=True, submit_btn=True, stop_btn=False)


def marked(history: list[dict], request: gr.Request):
    """The conversation that the browser kept; where the page was closed before a reply was whole, that is said."""
    if not history or source_of(history[-1]) != ("", ""):
        return gr.skip()
    last, language = history[-1], language_of(request)
    sentence, note = say(language, "k_no_reply_yet"), say(language, "k_broken_off")
    if last["role"] == "user":
        return [*history, message("assistant", sentence)]
    return gr.skip() if text_of(last) == sentence else [*history[:-1], message("assistant", text_of(last), note)]


def undone(history: list[dict]):
    """Take the last question back into the text box, and its reply away."""
    kept = until_last_question(history)
    return (text_of(kept[-1]), kept[:-1]) if kept else (gr.skip(), gr.skip())


def build_unsure(page: gr.Blocks, chosen: gr.Dropdown) -> gr.Checkbox:
    """The choice that unfamiliar questions are not answered, for checkpoints that can tell.

    It stands as the checkpoint has it, until the visitor decides otherwise: that is kept in the browser.
    """
    unsure = gr.Checkbox(False, label=t("k_unsure"), container=False, visible=False, elem_id="unsure")
    at_once, of = {"queue": False, **PRIVATE}, gr.State(None)

    def as_the_bot_has_it(name: str, of: str | None):
        if name == of:  # gradio reports a change more than once, and the visitor may have decided in between
            return gr.skip(), gr.skip()
        known = card(name)
        return gr.Checkbox(known.unsure, visible=known.unsure or bool(known.familiarity)), name

    chosen.change(as_the_bot_has_it, [chosen, of], [unsure, of], **at_once)
    page.load(as_the_bot_has_it, [chosen, of], [unsure, of], **at_once).then(
        None, unsure, unsure, js="kochat.restoreUnsure", **at_once
    )
    unsure.input(None, unsure, None, js="kochat.keepUnsure", **at_once)
    return unsure


def build_label(first: str | None) -> gr.Dropdown:
    """The label of the next reply, beside the box for the question."""
    return gr.Dropdown(
        label_choices(card(first)),
        value=AUTO,
        label=label_title(card(first)),
        show_label=False,
        container=False,
        interactive=True,
        filterable=False,
        scale=0,
        min_width=150,
        elem_id="label",
    )


def build_settings(first: str | None) -> tuple[gr.Dropdown, gr.Slider, gr.Slider, gr.Radio]:
    """The checkpoint, the strength of the label, the variety and how replies are chosen, one below the other."""
    chosen = gr.Dropdown(
        chat_choices(),
        value=first,
        label=t("k_checkpoint"),
        info=t("k_checkpoint_info"),
        interactive=True,
        filterable=False,
        elem_id="checkpoint",
    )
    strength = gr.Slider(
        0, MAX_STRENGTH, step=STRENGTH_STEP, buttons=[], elem_id="strength", **strength_slider(card(first), first)
    )
    variety, choice = variety_slider(), choosing_radio(first)
    chosen.change(lambda name: gr.Radio(**choosing(name)), chosen, choice, queue=False, **PRIVATE)
    choice.input(prepare_lookup, [choice, chosen], None, queue=False, **PRIVATE)
    return chosen, strength, variety, choice


def build_conversation(first: str | None) -> gr.Chatbot:
    """The conversation, which fills the window."""
    return gr.Chatbot(
        elem_id="chat",
        show_label=False,
        container=False,
        height="100%",
        layout="bubble",
        **welcome(first),
        render_markdown=False,
        sanitize_html=True,
        latex_delimiters=[],
        buttons=["copy"],
        feedback_options=("Like", "Dislike", say("ko", "k_correct")),
        group_consecutive_messages=False,
    )


def build_box() -> gr.Textbox:
    """The box for the next question."""
    return gr.Textbox(
        placeholder=t("k_ask"),
        label=t("k_ask"),
        show_label=False,
        container=False,
        submit_btn=True,
        stop_btn=False,
        autofocus=True,
        max_lines=4,
        max_length=MAX_MESSAGE_LENGTH,
        scale=1,
        min_width=200,
        elem_id="question",
    )


def toggles(button: gr.Button, part: str) -> None:
    """A button that opens and closes a part of the page, which the browser does by itself."""
    button.click(None, None, None, js=f"() => kochat.toggle('{part}')", queue=False, **PRIVATE)


def build_head(first: str | None) -> tuple[gr.HTML, gr.Button, gr.Button, gr.Button, gr.Button]:
    """Who one talks to, and the menu: to undo, to save as JSON or CSV, to clear."""
    with gr.Row(elem_id="talk-head"):
        profile = gr.HTML(profile_html(first), elem_id="profile")
        toggles(gr.Button(t("k_menu"), size="sm", scale=0, min_width=0, elem_id="menu-button"), "menu")
        toggles(gr.Button(t("k_settings"), size="sm", scale=0, min_width=0, elem_id="drawer-button"), "drawer")
    with gr.Column(elem_id="menu"):
        undo = gr.Button(t("k_undo"), size="sm", elem_id="undo")
        save_json = gr.Button(t("k_save_json"), size="sm", elem_id="save-json")
        save_csv = gr.Button(t("k_save_csv"), size="sm", elem_id="save-csv")
        clear = gr.Button(t("k_clear"), size="sm", elem_id="clear")
    return profile, undo, save_json, save_csv, clear


def build_drawer(
    page: gr.Blocks, first: str | None
) -> tuple[gr.Column, gr.Dropdown, gr.Slider, gr.Slider, gr.Radio, gr.Checkbox]:
    """What stands beside the conversation, on a small screen over it: the settings of the next reply."""
    with gr.Column(elem_id="drawer", min_width=0) as drawer:
        toggles(gr.Button(t("k_close"), size="sm", elem_id="drawer-close"), "drawer")
        chosen, strength, variety, choice = build_settings(first)
        unsure = build_unsure(page, chosen)
        gr.Markdown(t("k_no_memory"), elem_classes="quiet")
    return drawer, chosen, strength, variety, choice, unsure


def build(page: gr.Blocks) -> ChatTab:
    """The components and events of the tab."""
    first = first_name()
    with gr.Row(elem_id="room"):
        with gr.Column(elem_id="conversation", min_width=0):
            profile, undo, save_json, save_csv, clear = build_head(first)
            conversation = build_conversation(first)
            below = gr.Column(elem_id="below")
            with gr.Row(elem_id="composer"):
                label = build_label(first)
                box = build_box()
        drawer, chosen, strength, variety, choice, unsure = build_drawer(page, first)

    at_once = {"queue": False, **PRIVATE}
    asking = {"outputs": [box, conversation], "concurrency_id": "reply", "concurrency_limit": 32, **PRIVATE}
    asking["show_progress_on"] = conversation  # which shows that a reply is on its way
    under = [conversation, label, strength, chosen, unsure, variety, choice]

    def example(
        history: list[dict],
        label: str,
        strength: float,
        name: str,
        unsure: bool,
        temperature: float,
        choice: str,
        request: gr.Request,
        event: gr.SelectData,
    ):
        yield from asked(event.value["text"], history, label, strength, name, unsure, temperature, choice, request)

    # Before the next, which the browser waits for.
    box.submit(None, [box, conversation], None, js="kochat.keepQuestion", **at_once)
    asked_for = [
        # Who asks on at once, as the last words come, need not ask twice.
        box.submit(asked, [box, *under], trigger_mode="always_last", **asking),
        conversation.retry(again, under, **asking),
        conversation.example_select(example, under, **asking),
    ]
    ready = {"fn": idle, "inputs": None, "outputs": box, **at_once}
    settled = [*asked_for, box.stop(cancels=asked_for, **ready)]
    # A question without its reply can be asked again, too.
    for one in (*(one.failure(**ready) for one in asked_for), settled[-1]):
        one.then(marked, conversation, conversation, **at_once)
    taken = undo.click(undone, conversation, [box, conversation], cancels=asked_for, **at_once)
    emptied = clear.click(lambda: [], None, conversation, cancels=asked_for, **at_once)
    settled += [taken.then(**ready), emptied.then(**ready)]
    # The conversation stays in the browser: page.js keeps it there and gives it back.
    conversation.change(None, conversation, None, js="kochat.keep", **at_once)
    restored = page.load(None, None, conversation, js="kochat.restore", **at_once)
    restored = restored.then(marked, conversation, conversation, **at_once)
    save_json.click(None, conversation, None, js="kochat.saveJson", **at_once)
    save_csv.click(None, conversation, None, js="kochat.saveCsv", **at_once)
    chosen.change(label_dropdown, [chosen, label], label, **at_once)
    for event in (chosen.change, page.load):  # its owner may have given it another profile since the start
        event(looks, chosen, [profile, conversation], **at_once)
    chosen.change(lambda name: gr.Slider(**strength_slider(card(name), name)), chosen, strength, **at_once)
    # One that somebody has just trained is there to talk to.
    following("checkpoints").change(checkpoint_dropdown, chosen, chosen, trigger_mode="always_last", **at_once)
    page.load(_strength_since(card(chosen.value)), chosen, strength, **at_once)
    return ChatTab(label, chosen, strength, profile, conversation, below, drawer, settled, restored)
