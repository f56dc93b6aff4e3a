"""Teaching in the chat: thumbs and corrections under each reply, what was taught, one button that learns it."""

from __future__ import annotations

import functools
import html
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr

from .. import checkpoint, launcher, pairs, taught, teaching
from ..cards import Card
from ..checks import clean
from ..config import SAMPLE_QUESTIONS, TrainingConfig, home
from ..datasets import Dataset
from ..errors import DataError
from ..labels import label_name
from ..pairs import Pair
from ..runs import Run
from . import bots, form, progress, visitors
from .chat import PRIVATE, ChatTab, afterwards, checkpoint_dropdown, label_choices
from .messages import Reply, reply_at
from .text import TEXTS, language_of, say, shows_errors, t
from .training import empty_plot, loss_plot

COLUMNS = ("k_question", "k_answer", "k_label", "k_instead_of", "k_checkpoint", "k_how")
BETWEEN_LOOKS = 1.0  # seconds
# The page's own sentences are no answers to learn.
OURS = {texts[key] for texts in TEXTS.values() for key in ("k_unsure_reply", "k_silent")}


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
    )  # fmt: skip


def rows_of(request: gr.Request) -> list:
    """What a visitor taught, the newest first."""
    dataset = opened(request)
    if not dataset:
        return []
    total = dataset.counts().rows
    rows, _ = dataset.page(max(0, total - taught.MOST_SHOWN), taught.MOST_SHOWN)
    return rows[::-1]


def opened(request: gr.Request) -> Dataset | None:
    """What a visitor taught, as a dataset; None where there is nothing."""
    path = taught.path_of(visitors.folder_of(request))
    return Dataset(path) if path.is_file() else None


@functools.lru_cache(maxsize=4)
def _pairs_of(folder: Path, changed: float) -> frozenset[Pair]:
    return frozenset(checkpoint.read_pairs(folder, folder.name))


def known_to(name: str | None) -> frozenset[Pair]:
    """The pairs that a checkpoint was trained on, as far as it kept them."""
    folder = checkpoint.list_checkpoints().get(name or "")
    return _pairs_of(folder, (folder / checkpoint.CARD_FILE).stat().st_mtime) if folder else frozenset()


def lesson(request: gr.Request):
    """All that can be learned by the button: a visitor's own rows, for the owner those of everybody."""
    everybody = visitors.visitors().glob("*") if visitors.is_owner(request) else ()
    return taught.everything([*sorted(everybody), visitors.folder_of(request)])


@shows_errors
def overview(name: str | None, history: list[dict], editing: Reply | None, request: gr.Request) -> list:
    """What shows how much was taught: summary, button, list, thumbs; nothing is chosen in the list any more."""
    language, rows, pairs_taught = language_of(request), rows_of(request), lesson(request)
    waiting = taught.not_learned(pairs_taught, known_to(name))
    key = "k_taught_none" if not rows and pairs_taught.empty else "k_taught_some"
    key = "k_taught_by_visitor" if rows and not visitors.is_owner(request) else key
    summary = say(language, key, n=len(pairs_taught), waiting=waiting, open=sum(row.is_bad for row in rows))
    return [
        summary,
        gr.Button(visible=waiting > 0 and visitors.is_owner(request)),
        gr.Accordion(visible=bool(rows)),
        listed(language, rows, name),
        thumbs(history, editing, request),
        None,
        gr.Button(interactive=False),
    ]


def listed(language: str, rows: list, name: str | None) -> dict:
    """The value of the list of taught rows, labels as checkpoint `name` calls them."""
    folder = checkpoint.list_checkpoints().get(name or "")
    card = checkpoint.read_card(folder) if folder else Card()
    data = []
    for row in rows:
        label = label_name(row.label, language, card.labels, card.label_names)
        origin = row.origin or {}  # a row of the data tab has none
        replaced = origin.get("reply", row.A)
        how = say(language, f"k_how_{taught.how(row) or 'added'}")
        shown = "–" if replaced == row.A else replaced
        data.append([row.Q, row.A or "–", label, shown, origin.get("checkpoint", "–"), how])
    return {"headers": [say(language, key) for key in COLUMNS], "data": data}


@shows_errors
def rated(history: list[dict], editing: Reply | None, request: gr.Request, event: gr.LikeData):
    """Keep a thumb; for a thumb down, and where somebody asks to, open the form to correct the reply.

    `event.liked` is empty where what was pressed before is pressed again: then it is taken back, or the form closed.
    """
    reply = reply_at(history, event.index)
    if not reply:
        return closed()
    question, said, label, name = reply
    if event.liked is True and said in OURS:
        return closed()
    if event.liked is True or event.liked is False:
        how, answer = ("liked", said) if event.liked else ("disliked", "")
        rows = taught.open_taught(visitors.folder_of(request), bots.bot(name).prompt.too_long)
        taught.teach(rows, question, answer, label, taught.Origin(how, said, label, name))
    elif not event.liked and reply != editing and (rows := opened(request)):
        taught.forget(rows, question, label)
    if event.liked is True:
        gr.Info(html.escape(say(language_of(request), "k_liked")), duration=4)
    if event.liked is True or (not event.liked and event.liked is not False):
        return closed()
    known = label_choices(bots.card(name))[1:]
    return gr.Column(visible=True), reply, question, said, gr.Dropdown(choices=known, value=label)


def closed() -> tuple:
    """The form to correct a reply, put away."""
    return gr.Column(visible=False), None, "", "", gr.skip()


@shows_errors
def correct(reply: Reply | None, answer: str, label: str, request: gr.Request):
    """Keep the answer that somebody wrote instead of a reply."""
    if not reply:
        return closed()
    question, said, under, name = reply
    if not answer.strip():
        raise DataError("empty_correction")
    rows = taught.open_taught(visitors.folder_of(request), bots.bot(name).prompt.too_long)
    taught.teach(rows, question, answer, label or under, taught.Origin("corrected", said, under, name))
    gr.Info(html.escape(say(language_of(request), "k_corrected")), duration=4)
    return closed()


def pick(request: gr.Request, event: gr.SelectData) -> tuple:
    """The row that somebody clicked on, by its number in the dataset, and the button that deletes it."""
    rows = rows_of(request)
    row = rows[event.index[0]] if event.index[0] < len(rows) else None
    return row and row.id, gr.Button(interactive=row is not None)


@shows_errors
def remove(picked: int | None, request: gr.Request):
    """Delete the row that was clicked on."""
    if picked is not None and (rows := opened(request)):
        rows.delete([picked])


@shows_errors
def take_back(request: gr.Request):
    """Undo the last change."""
    if rows := opened(request):
        taught.undo(rows)


def config_of(name: str, request: gr.Request) -> TrainingConfig:
    """The settings of a training of checkpoint `name` on all that was taught. Raises KochatError."""
    table = lesson(request)
    if table.empty:
        raise DataError("nothing_taught")
    data = pairs.keep(pairs.as_csv(table), f"{taught.NAME}.csv", home() / "uploads")
    output = checkpoint.folder_of(form.free_name(language_of(request), "k_taught_stem"))
    config = teaching.config_for(str(data), len(table), form.base_source(name), str(output))
    # Everybody sees the samples of a run, so no visitor's words are among them.
    asked = dict.fromkeys([*(row.Q for row in rows_of(request) if not row.is_bad), *SAMPLE_QUESTIONS])
    return replace(config, sample_questions=tuple(asked)[:4])


@shows_errors
def learn(name: str, request: gr.Request) -> Iterator[tuple]:
    """Train the checkpoint of the chat on what was taught, show how, and go on with the result."""
    visitors.require_owner(request)
    language, run, drawn = language_of(request), launcher.start(config_of(name, request)), -1
    while run.state() in ("queued", "running"):
        # Drawing takes the browser longer than anything else here, so it draws what is new.
        epochs = len(run.record().epochs)
        yield bar_of(language, run), curve_of(language, run, epochs != drawn), gr.skip(), gr.Button(interactive=False)
        drawn = epochs
        time.sleep(BETWEEN_LOOKS)
    chosen = checkpoint_dropdown(name, run.checkpoint_name)
    yield bar_of(language, run), curve_of(language, run), chosen, gr.Button(interactive=True)
    if run.state() == "finished":
        gr.Info(html.escape(say(language, "k_learned", name=run.checkpoint_name)))


def bar_of(language: str, run: Run) -> gr.HTML:
    """How far a run is."""
    return gr.HTML(progress.progress_html(language, run), visible=True)


def curve_of(language: str, run: Run, is_new: bool = True):
    """The loss of a run, epoch by epoch; nothing where nothing is new."""
    record = run.record()
    curve, last = progress.curve(language, record), progress.last_epoch(record)
    return loss_plot(language, curve, progress.series(language), last) if is_new else gr.skip()


def build(page: gr.Blocks, chat: ChatTab) -> None:
    """The components and events below the conversation."""
    with chat.below, gr.Column(visible=False, elem_id="teach-form") as editing:
        gr.Markdown(t("k_correct_heading"))
        question = gr.Textbox(label=t("k_question"), interactive=False, lines=1)
        answer = gr.Textbox(label=t("k_better"), lines=2, max_length=1000, elem_id="better")
        label = gr.Dropdown(
            [], label=t("k_label"), info=t("k_better_label"), allow_custom_value=True, interactive=True,
            elem_id="better-label",
        )  # fmt: skip
        with gr.Row():
            save = gr.Button(t("k_teach"), variant="primary", min_width=120, elem_id="teach")
            leave = gr.Button(t("k_no"), min_width=120)
    with gr.Row(elem_id="taught"):
        summary = gr.Markdown(elem_classes="quiet", elem_id="taught-summary")
        start = gr.Button(t("k_learn"), variant="primary", size="sm", visible=False, elem_id="learn")
    bar = gr.HTML(visible=False, elem_id="learning")
    plot = empty_plot(elem_id="learning-plot")
    with gr.Accordion(t("k_taught_list"), open=False, visible=False, elem_id="taught-list") as list_part:
        table = gr.Dataframe(
            interactive=False, show_label=False, buttons=[], wrap=True, max_height=320,
            column_widths=["20%", "30%", "12%", "20%", "10%", "8%"],
        )  # fmt: skip
        with gr.Row():
            forget = gr.Button(t("k_forget"), size="sm", min_width=120, interactive=False, elem_id="forget")
            undo = gr.Button(t("k_undo_last"), size="sm", min_width=120, elem_id="undo-taught")

    reply, picked = gr.State(None), gr.State(None)
    quick = {"queue": False, **PRIVATE}
    shown = [summary, start, list_part, table, chat.conversation, picked, forget]
    see = {"fn": overview, "inputs": [chat.checkpoint, chat.conversation, reply], "outputs": shown, **quick}

    def own_words(request: gr.Request):
        return gr.Chatbot(feedback_options=("Like", "Dislike", say(language_of(request), "k_correct")))

    page.load(own_words, None, chat.conversation, **quick)
    for event in chat.settled:
        event.then(thumbs, [chat.conversation, reply], chat.conversation, **quick)
    chat.restored.then(**see)
    chat.checkpoint.change(**see)
    form_parts = [editing, reply, question, answer, label]
    rating = chat.conversation.like(rated, [chat.conversation, reply], form_parts, concurrency_limit=1, **PRIVATE)
    saving = save.click(correct, [reply, answer, label], form_parts, **PRIVATE)
    for event in (rating, saving, leave.click(closed, None, form_parts, **quick)):
        afterwards(event, **see)
    table.select(pick, None, [picked, forget], **quick)
    afterwards(forget.click(remove, picked, None, **PRIVATE), **see)
    afterwards(undo.click(take_back, None, None, **PRIVATE), **see)
    learning = start.click(learn, chat.checkpoint, [bar, plot, chat.checkpoint, start], concurrency_limit=4, **PRIVATE)
    afterwards(learning, **see)
