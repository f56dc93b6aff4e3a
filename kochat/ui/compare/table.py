"""A comparison as a table of the page, differences marked, and the words of its CSV in the visitor's language."""

from __future__ import annotations

import html

from kochat.evaluation import comparison
from kochat.evaluation.comparison import NO_REPLY, Column, Comparison, Words
from kochat.labels import AUTO, AUTO_NAMES, label_name
from kochat.model.cards import Card
from kochat.ui.text import TEXTS, say
from kochat.ui.widgets import label_class

MAX_SHOWN = 60  # characters of a question in the table


def table_html(language: str, made: Comparison, cards: dict[str, Card]) -> str:
    """The table, what stands out said by signs and lines too, not by colour alone."""
    head = "".join(_head(language, column, cards[column.checkpoint]) for column in made.columns)
    body = "".join(_row(language, made, row, cards) for row in range(len(made.questions)))
    parted = sum(any(made.differs(row)) for row in range(len(made.questions)))
    told = say(language, "k_compare_parted", questions=len(made.questions), parted=parted)
    first = html.escape(say(language, "k_question"))
    return (
        f'<p class="counts" role="status">{html.escape(told)}</p>'
        f'<p class="quiet">{html.escape(say(language, "k_compare_legend"))}</p>'
        f'<div class="rows" tabindex="0"><table><thead><tr><th scope="col">{first}</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _named(language: str, label: str, card: Card) -> str:
    return AUTO_NAMES[language] if label == AUTO else label_name(label, language, card.labels, card.label_names)


def _head(language: str, column: Column, card: Card) -> str:
    how = _named(language, column.label, card)
    if column.strength:
        how += " · " + say(language, "k_strength_note", strength=f"{column.strength:g}")
    timed = say(language, "k_compare_time", seconds=column.seconds, ms=column.ms) if column.replies else ""
    how = html.escape(how)
    if column.label in card.labels:
        how = f'<span class="mark {label_class(card.labels.index(column.label))}">{how}</span>'
    return (
        f'<th scope="col">{html.escape(column.checkpoint)}<br>{how}'
        f'<small class="note">{html.escape(timed)}</small></th>'
    )


def _row(language: str, made: Comparison, row: int, cards: dict[str, Card]) -> str:
    replies, differs = made.replies(row), made.differs(row)
    first = next((reply for reply in replies if reply is not None), None)
    cells = []
    for column, reply, other in zip(made.columns, replies, differs, strict=True):
        if reply is None:
            cells.append(f"<td>{'' if column.possible else NO_REPLY}</td>")
            continue
        shown = _marked(language, first, reply) if other else html.escape(reply or say(language, "k_silent"))
        if column.label == AUTO:
            read = _named(language, column.labels[row], cards[column.checkpoint])
            shown += f'<small class="note">→ {html.escape(read)}</small>'
        cells.append(f"<td>{shown}</td>")
    question = made.questions[row]
    asked = html.escape(question[:MAX_SHOWN]) + ("…" if len(question) > MAX_SHOWN else "")
    return f'<tr><th scope="row">{asked}</th>{"".join(cells)}</tr>'


def _marked(language: str, first: str, reply: str) -> str:
    words = [
        f"<mark>{html.escape(words)}</mark>" if differs else html.escape(words)
        for words, differs in comparison.differing_words(first, reply)
    ]
    hint = html.escape(say(language, "k_compare_differs"), quote=True)
    return f'<b class="differs" role="img" aria-label="{hint}" title="{hint}">≠</b> {" ".join(words)}'


def words_of(language: str, cards: dict[str, Card]) -> Words:
    """What the table says on the page; a checkpoint that is gone names no labels any more."""
    return Words(
        *(TEXTS[language][key] for key in ("k_question", "k_row_label", "k_strength_note", "k_seconds")),
        lambda name, label: _named(language, label, cards.get(name, Card())),
    )
