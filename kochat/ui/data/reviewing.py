"""What visitors taught, for the owner to accept, better or refuse; the chat's button learns what was accepted."""

from __future__ import annotations

import html
from dataclasses import dataclass

import gradio as gr

from kochat.data import review, taught
from kochat.data.checks import clean
from kochat.data.review import Lesson
from kochat.errors import DataError
from kochat.labels import label_name
from kochat.ui import auth, models
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE, ChatTab

HEADS = ("k_number", "k_review_chosen", "k_question", "k_review_now", "k_review_new", "k_label", "k_review_who")
NUMBER, CHOSEN, ANSWER = map(HEADS.index, ("k_number", "k_review_chosen", "k_review_new"))
MAX_SHOWN = 100  # at a time, the newest


@dataclass
class Reviewing:
    """The components."""

    part: gr.Accordion
    table: gr.Dataframe
    lessons: gr.State  # as they are shown, so that nothing is accepted that nobody has seen
    take: gr.Button
    leave: gr.Button

    @property
    def shown(self) -> list:
        """What `view` fills."""
        return [self.part, self.table, self.lessons]


def found(request: gr.Request) -> list[Lesson]:
    """What waits; nothing for anybody but the owner."""
    if not auth.is_owner_themselves(request):
        return []
    return review.waiting(auth.datasets(), auth.visitors())[:MAX_SHOWN]


def row_of(language: str, number: int, lesson: Lesson) -> list:
    """A row of the table. What the bot says now: what the owner has taught, else the reply that was corrected."""
    origin = lesson.row.origin or {}
    card = models.card(origin.get("checkpoint"))
    now = lesson.owners or ("" if lesson.replaces == lesson.row.A else lesson.replaces) or "–"
    if lesson.owners:
        now = say(language, "k_review_owners", answer=now)
    label = label_name(lesson.row.label, language, card.labels, card.label_names)
    when = lesson.time[5:16].replace("T", " ").replace("-", "\u2011")  # a hyphen that does not break the line
    who = f"{lesson.visitor[:4]}… {when}"
    return [str(number), False, lesson.row.Q, now, lesson.row.A, label, who]


def view(chatbot: str | None, request: gr.Request) -> list:
    """What waits, as it is now."""
    language, lessons = language_of(request), found(request)
    rows = [row_of(language, number, lesson) for number, lesson in enumerate(lessons, 1)]
    title = say(language, "k_review", n=len(lessons))
    heads = [say(language, key) for key in HEADS]
    return [gr.Accordion(label=title, visible=bool(lessons)), {"headers": heads, "data": rows}, lessons]


def picked(rows: list[list], lessons: list[Lesson]) -> list[tuple[Lesson, str]]:
    """The rows that were chosen, with their answers as they stand in the table now. Raises DataError for none."""
    # By its number: who looks at the table may sort it.
    pairs = [(lessons[int(row[NUMBER]) - 1], clean(str(row[ANSWER]))) for row in rows if row[CHOSEN] is True]
    if not pairs:
        raise DataError("nothing_chosen")
    return pairs


@shows_errors
@auth.owner_themselves_only
def accept(rows: list[list], lessons: list[Lesson], request: gr.Request) -> None:
    """Take what was chosen among the owner's taught rows."""
    language, owner = language_of(request), taught.open_taught(auth.datasets())
    chosen = picked(rows, lessons)
    left = [lesson for lesson, answer in chosen if not review.accept(lesson, answer, owner, auth.visitors())]
    if len(chosen) > len(left):
        gr.Info(say(language, "k_review_accepted", n=len(chosen) - len(left)))
    if left:
        questions = ", ".join(f"“{lesson.row.Q}”" for lesson in left[:3])
        gr.Warning(html.escape(say(language, "k_review_left", n=len(left), questions=questions)))


@shows_errors
@auth.owner_themselves_only
def refuse(rows: list[list], lessons: list[Lesson], request: gr.Request) -> None:
    """Leave out what was chosen."""
    chosen = picked(rows, lessons)
    for lesson, _ in chosen:
        review.refuse(lesson, auth.visitors())
    gr.Info(say(language_of(request), "k_review_refused", n=len(chosen)))


def build() -> Reviewing:
    """The components."""
    with gr.Accordion(visible=False, open=True, elem_id="review") as part:
        gr.Markdown(t("k_review_info"), elem_classes="quiet")
        table = gr.Dataframe(
            headers=[t(key) for key in HEADS],
            datatype=["bool" if place == CHOSEN else "str" for place in range(len(HEADS))],
            type="array",
            interactive=True,
            static_columns=[place for place in range(len(HEADS)) if place not in (CHOSEN, ANSWER)],
            column_count=len(HEADS),
            show_label=False,
            buttons=[],
            wrap=True,
            max_height=420,
            column_widths=["64px", "82px", "150px", "205px", "205px", "100px", "108px"],  # on a phone one scrolls
            elem_id="review-table",
        )
        with gr.Row():
            look = {"size": "sm", "min_width": 120}
            take = gr.Button(t("k_review_accept"), elem_id="accept-lessons", **look)
            leave = gr.Button(t("k_review_refuse"), elem_id="refuse-lessons", **look)
    return Reviewing(part, table, gr.State([]), take, leave)


def watch(tab: gr.Tab, chat: ChatTab, made: Reviewing, again: dict) -> None:
    """The events; after a decision `again` is done, since the owner's datasets have changed."""
    see = {"fn": view, "inputs": chat.checkpoint, "outputs": made.shown, "queue": False, **PRIVATE}
    tab.select(**see)
    for button, handler in ((made.take, accept), (made.leave, refuse)):
        event = button.click(handler, [made.table, made.lessons], None, concurrency_limit=1, **PRIVATE)
        event.success(**see)  # after an error what was chosen stays
        event.success(**again)
