"""Teaching in the chat: thumbs and corrections under each reply, what was taught, one button that learns it."""

from __future__ import annotations

import html

import gradio as gr

from kochat.data import review, taught
from kochat.data.checks import clean
from kochat.errors import DataError
from kochat.labels import label_name
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.runs import queue
from kochat.ui import auth, lessons, models
from kochat.ui.chat.learning import (
    asked,
    learn,
    learn_button,
    lesson,
    put_away,
    rows_of,
    summary_of,
    waiting_for,
)
from kochat.ui.chat.messages import INSTEAD, Reply, reply_at
from kochat.ui.progress import empty_plot
from kochat.ui.text import TEXTS, language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE, ChatTab, label_choices, label_title, label_word

COLUMNS = ("k_question", "k_answer", "k_label", "k_instead_of", "k_checkpoint", "k_how")
# The page's own sentences are no answers to learn.
OURS = INSTEAD | {texts["k_silent"] for texts in TEXTS.values()}


@shows_errors
def thumbs(history: list[dict], editing: Reply | None, request: gr.Request):
    """What stands under the replies of a conversation: the thumb given, or that this one is being corrected."""
    shown = {"liked": "Like", "disliked": "Dislike"}
    given = {(row.Q, row.label): shown.get(taught.how(row)) for row in rows_of(request)}
    replies = [reply_at(history, i) for i, one in enumerate(history) if one["role"] == "assistant"]
    word = say(language_of(request), "k_correct")
    return gr.Chatbot(
        feedback_value=[
            word if one and one == editing else given.get((clean(one[0]), one[2])) if one else None for one in replies
        ]
    )


def ready_for_next(history: list[dict], editing: Reply | None, is_over: bool, request: gr.Request) -> tuple:
    """After a reply: its thumbs, and the room that a training which is over takes."""
    return thumbs(history, editing, request), *put_away(is_over)


@shows_errors
def overview(name: str | None, history: list[dict], editing: Reply | None, request: gr.Request) -> list:
    """What shows how much was taught: summary, button, list, thumbs; nothing is chosen in the list any more.

    Where the checkpoint has to be asked first, `counted` says how much there is to learn.
    """
    language, rows, table = language_of(request), rows_of(request), lesson(name, request)
    waiting, to_ask = waiting_for(name, table)
    pending = bool(to_ask) and auth.is_owner(request)
    return [
        summary_of(name, len(table), None if pending else len(waiting), request),
        gr.skip() if pending else learn_button(len(waiting), request),
        gr.Accordion(visible=bool(rows)),
        listed(language, rows, name, None if auth.is_owner(request) else review.decided(auth.folder_of(request), rows)),
        thumbs(history, editing, request),
        None,
        gr.Button(interactive=False),
    ]


@shows_errors
def counted(name: str | None, request: gr.Request) -> tuple:
    """Summary and button, once the checkpoint was asked which of the taught answers it gives already."""
    if not auth.is_owner(request):
        return gr.skip(), gr.skip()  # `overview` has said it
    asked(name, lesson(name, request))
    # Read anew, for what was taught or undone meanwhile; and said even where nothing was asked, since an answer from
    # before that may only just have come.
    table = lesson(name, request)
    waiting = len(waiting_for(name, table)[0])
    return summary_of(name, len(table), waiting, request), learn_button(waiting, request)


def listed(language: str, rows: list, name: str | None, decided: dict | None = None) -> dict:
    """The value of the list of taught rows, labels as checkpoint `name` calls them.

    `decided`, of a visitor: what the owner has decided on each row so far, by its number.
    """
    folder = checkpoint.list_checkpoints().get(name or "")
    card = checkpoint.read_card(folder) if folder else Card()
    data = []
    for row in rows:
        label = label_name(row.label, language, card.labels, card.label_names)
        origin = row.origin or {}  # a row of the data tab has none
        replaced = origin.get("reply", row.A)
        how = say(language, f"k_how_{taught.how(row) or 'added'}")
        if decided is not None and not row.is_bad:
            how += " · " + say(language, f"k_review_is_{decided.get(row.id, 'waiting')}")
        shown = "–" if replaced == row.A else replaced
        data.append([row.Q, row.A or "–", label, shown, origin.get("checkpoint", "–"), how])
    headers = [label_word(language, card) if key == "k_label" else say(language, key) for key in COLUMNS]
    return {"headers": headers, "data": data}


@shows_errors
@auth.teacher_only
def rated(history: list[dict], editing: Reply | None, request: gr.Request, event: gr.LikeData):
    """Keep a thumb; for a thumb down, and where somebody asks to, open the form to correct the reply.

    `event.liked` is empty where what was pressed before is pressed again: then it is taken back, or the form closed.
    """
    reply = reply_at(history, event.index)
    if not reply:
        return closed()
    question, said, label, name = reply
    if auth.is_owner(request):
        queue.warm_up()  # while the better answer is being written
    if event.liked is True and said in OURS:
        return closed()
    if event.liked is True or event.liked is False:
        how, answer = ("liked", said) if event.liked else ("disliked", "")
        keep(question, answer, label, taught.Origin(how, said, label, name), request)
    elif not event.liked and reply != editing and (rows := lessons.opened(request)):
        taught.forget(rows, question, label)
    if event.liked is True:
        gr.Info(html.escape(say(language_of(request), "k_liked")), duration=4)
    if event.liked is True or (not event.liked and event.liked is not False):
        return closed()
    if reply == editing:  # what is being written stays; gradio sends the press on “correct” twice, too
        return (gr.skip(),) * 5
    card = models.card(name)
    labels = gr.Dropdown(choices=label_choices(card)[1:], value=label, label=label_title(card))
    return gr.Column(visible=True), reply, question, "" if said in OURS else said, labels


def keep(question: str, answer: str, label: str, origin: taught.Origin, request: gr.Request) -> None:
    """Keep what somebody taught, within a visitor's limits. Raises DataError and LimitError."""
    lessons.check_label(label, models.card(origin.checkpoint), request)
    rows = lessons.open_to_teach(request, models.bot(origin.checkpoint).prompt.too_long)
    taught.teach(rows, question, answer, label, origin, lessons.max_rows(request))


def unfilled(history: list[dict]) -> gr.Chatbot:
    """No thumb is filled. The browser fills one at once; where it could not be kept, it must not stay so."""
    # Not None, which `thumbs` gives: what does not change, the browser does not draw anew.
    return gr.Chatbot(feedback_value=[" " for one in history if one["role"] == "assistant"])


def closed() -> tuple:
    """The form to correct a reply, put away."""
    return gr.Column(visible=False), None, "", "", gr.skip()


@shows_errors
@auth.teacher_only
def correct(reply: Reply | None, answer: str, label: str, request: gr.Request):
    """Keep the answer that somebody wrote instead of a reply."""
    if not reply:
        return closed()
    question, said, under, name = reply
    if not answer.strip():
        raise DataError("empty_correction")
    keep(question, answer, label or under, taught.Origin("corrected", said, under, name), request)
    gr.Info(html.escape(say(language_of(request), "k_corrected")), duration=4)
    return closed()


def pick(request: gr.Request, event: gr.SelectData) -> tuple:
    """The row that somebody clicked on, by its number in the dataset, and the button that deletes it."""
    rows = rows_of(request)
    row = rows[event.index[0]] if event.index[0] < len(rows) else None
    return row and row.id, gr.Button(interactive=row is not None)


@shows_errors
@auth.teacher_only
def remove(picked: int | None, request: gr.Request):
    """Delete the row that was clicked on."""
    if picked is not None and (rows := lessons.opened(request)):
        rows.delete([picked])


@shows_errors
@auth.teacher_only
def take_back(request: gr.Request):
    """Undo the last change."""
    if rows := lessons.opened(request):
        taught.undo(rows)


def build_form(chat: ChatTab) -> tuple[gr.Column, gr.Textbox, gr.Textbox, gr.Dropdown, gr.Button, gr.Button]:
    """The form that corrects a reply: itself, question, answer, label, and the buttons to teach and to leave it."""
    with chat.below, gr.Column(visible=False, elem_id="teach-form") as editing:
        gr.Markdown(t("k_correct_heading"))
        with gr.Row():
            question = gr.Textbox(
                label=t("k_question"), interactive=False, lines=1, min_width=150, elem_id="teach-question"
            )
            label = gr.Dropdown(
                [],
                label=t("k_label"),
                info=t("k_better_label"),
                allow_custom_value=True,
                interactive=True,
                min_width=150,
                elem_id="better-label",
            )
        answer = gr.Textbox(label=t("k_better"), lines=1, max_length=1000, elem_id="better")
        with gr.Row():
            save = gr.Button(t("k_teach"), variant="primary", min_width=120, elem_id="teach")
            leave = gr.Button(t("k_no"), min_width=120)
    return editing, question, answer, label, save, leave


def build(page: gr.Blocks, chat: ChatTab, tab: gr.Tab) -> None:
    """The components and events below the conversation, in `tab`."""
    editing, question, answer, label, save, leave = build_form(chat)
    with chat.below:  # in sight where one teaches
        with gr.Row(elem_id="taught"):
            summary = gr.Markdown(elem_classes="quiet", elem_id="taught-summary")
            start = gr.Button(variant="primary", size="sm", scale=0, min_width=140, visible=False, elem_id="learn")
        bar = gr.HTML(visible=False, elem_id="learning")
        plot = empty_plot(height=180, elem_id="learning-plot")
    with chat.drawer, gr.Accordion(t("k_taught_list"), open=False, visible=False, elem_id="taught-list") as list_part:
        table = gr.Dataframe(
            interactive=False,
            show_label=False,
            buttons=[],
            wrap=True,
            max_height=320,
            column_widths=["100px", "130px", "80px", "120px", "100px", "110px"],  # in the drawer one scrolls
        )
        with gr.Row():
            forget = gr.Button(t("k_forget"), size="sm", min_width=120, interactive=False, elem_id="forget")
            undo = gr.Button(t("k_undo_last"), size="sm", min_width=120, elem_id="undo-taught")

    reply, picked, is_over = gr.State(None), gr.State(None), gr.State(True)
    quick = {"queue": False, **PRIVATE}
    shown = [summary, start, list_part, table, chat.conversation, picked, forget]
    newest = {"trigger_mode": "always_last"}  # who teaches again meanwhile must not be left with an old number
    see = {"fn": overview, "inputs": [chat.checkpoint, chat.conversation, reply], "outputs": shown, **quick, **newest}
    count = {"fn": counted, "inputs": chat.checkpoint, "outputs": [summary, start], "concurrency_limit": 1}
    count |= {**PRIVATE, **newest}

    def see_after(event) -> list:
        """Show what was taught when an event has ended, well or not; the two events that do, of which one happens."""
        return [done(**see).then(**count) for done in (event.then, event.failure)]

    def own_words(request: gr.Request):
        words = ("Like", "Dislike", say(language_of(request), "k_correct"))
        return gr.Chatbot(feedback_options=words if auth.may_teach(request) else ())

    page.load(own_words, None, chat.conversation, **quick)
    for event in chat.settled:
        event.then(ready_for_next, [chat.conversation, reply, is_over], [chat.conversation, bar, plot], **quick)
    chat.restored.then(**see).then(**count)
    tab.select(**see).then(**count)  # rows were mended or accepted under “Data”
    chat.checkpoint.change(**see).then(**count)
    form_parts = [editing, reply, question, answer, label]
    # Once: gradio sends a press on “correct” twice.
    rating = chat.conversation.like(rated, [chat.conversation, reply], form_parts, concurrency_limit=1, **PRIVATE)
    # A press on a button counts also while what follows the one before is on its way.
    each = {"trigger_mode": "multiple", "concurrency_limit": 1, **PRIVATE}
    saving = save.click(correct, [reply, answer, label], form_parts, **each)
    rating.success(None, answer, None, js="kochat.showCorrected", **quick)
    rating.failure(unfilled, chat.conversation, chat.conversation, **quick)
    see_after(leave.click(closed, None, form_parts, **quick))
    for event in (*see_after(rating), *see_after(saving)):
        event.then(None, None, None, js="kochat.showTeaching", **quick)
    table.select(pick, None, [picked, forget], **quick)
    see_after(forget.click(remove, picked, None, **each))
    see_after(undo.click(take_back, None, None, **each))
    start.click(None, None, None, js="kochat.showLearning", **quick)
    outputs = [bar, plot, chat.checkpoint, start, is_over]
    see_after(start.click(learn, chat.checkpoint, outputs, concurrency_limit=4, **PRIVATE))
