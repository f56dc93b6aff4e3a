"""Why this reply: its tokens and what else they could have been, the other labels, and what if.

Knows a Chatbot and HTML. It computes when somebody opens the panel or clicks in it, never with a reply. From the
page come only which reply is meant and the token ids that it is to begin with, which the core checks.
"""

from __future__ import annotations

import html
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr

from kochat.data.crisis import speaks_of_suicide
from kochat.inference.retrieval import WEIGHT
from kochat.inference.sampling import GREEDY, Sampling
from kochat.labels import label_name
from kochat.ui.chat.messages import is_reranked, reply_at, sampling_of, strength_of
from kochat.ui.chat.variety import drawn_told
from kochat.ui.models import ENGINE, bot
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE, ChatTab, label_class, label_word, level, percent, shown

if TYPE_CHECKING:
    from kochat.inference.chatbot import Chatbot, ExplainedStep
    from kochat.inference.retrieval import Candidate

MAX_LABELS = 12  # side by side; of more the likeliest
# A token opens its runners-up here in the browser; a runner-up asks the server how the reply would go on. Nothing is
# asked after a reply while the panel is closed.
CLICK = """
document.addEventListener("kochat-reply", () => {
  if (element.closest("#why")?.querySelector(".label-wrap.open")) trigger("input");
});
element.addEventListener("click", event => {
  const step = event.target.closest("[data-step]"), other = event.target.closest("[data-start]");
  if (other) trigger("click", {start: other.dataset.start.split(" ").map(Number)});
  if (!step) return;
  const opens = step.getAttribute("aria-expanded") === "false", block = step.closest(".steps");
  for (const one of block.querySelectorAll("[data-step]")) one.setAttribute("aria-expanded", "false");
  for (const one of block.querySelectorAll("[data-others]")) one.hidden = true;
  step.setAttribute("aria-expanded", String(opens));
  block.querySelector(`[data-others="${step.dataset.step}"]`).hidden = !opens;
});
"""


@dataclass(frozen=True)
class Source:
    """The reply that is explained: what was asked, what was said, and under what."""

    question: str
    said: str
    label: str
    checkpoint: str
    strength: float | None = None
    sampling: Sampling = GREEDY
    reranked: bool = False


def source_at(history: list[dict], picked: int | None) -> Source | None:
    """The reply at a place of the conversation, or to the question there, else the last; None where none is whole."""
    places = [i for i, one in enumerate(history) if one["role"] == "assistant"]
    wanted = [] if picked is None else [i for i in (picked, picked + 1) if i in places][:1]
    for place in wanted + places[::-1]:
        if reply := reply_at(history, place):
            one = history[place]
            return Source(*reply, strength_of(one), sampling_of(one), is_reranked(one))
    return None


def explanation_html(language: str, chatbot: Chatbot, source: Source, start: Sequence[int] = ()) -> str:
    """All that the panel shows of a reply; with `start` beside it how it goes on from there. Raises ReplyError."""
    card, question = chatbot.card, source.question
    strength = card.strength if source.strength is None else source.strength
    sampling = source.sampling._asdict()
    candidates = chatbot.candidates(question, source.label, strength, **sampling) if source.reranked else []
    looked_up = None if not candidates or candidates[0].is_generated else candidates[0].answer
    if looked_up is None:
        steps = chatbot.explain(question, source.label, strength, **sampling)
    else:  # of whose tokens guidance would not have let every one come into question
        steps = chatbot.explain(question, source.label, 0, start=chatbot.ids_of(looked_up))
    named = label_name(source.label, language, card.labels, card.label_names)
    about = [f"“{question[:200]}{'…' if len(question) > 200 else ''}”", named, chatbot.name]
    told = [say(language, "k_why_intro")]
    if looked_up is not None:
        told.append(say(language, "k_why_was_looked_up"))
    elif strength > 0:
        told.append(say(language, "k_why_strength", strength=f"{strength:g}"))
    told += drawn_told(language, source.sampling, sum(step.drawn for step in steps))
    if any(re.search(r" \d/\d$", step.token) for step in steps):
        told.append(say(language, "k_why_bytes"))
    now = looked_up or reply_of(chatbot, steps) or say(language, "k_silent")
    if now != source.said:
        told.append(say(language, "k_why_differs"))
    start, ids = list(start), [step.token_id for step in steps]
    is_own = bool(start) and ids[: len(start) - 1] == start[:-1]  # chosen among the runners-up of this very reply
    blocks = [_steps_html(language, say(language, "k_why_reply"), steps, start if is_own else [])]
    if start:
        other = chatbot.explain(question, source.label, strength, start=start, **sampling)
        missed = not (source.sampling.temperature or looked_up) and _nats(other) < _nats(steps)
        greedy = missed and say(language, "k_why_greedy")
        title = say(language, "k_what_if")
        blocks.append(_steps_html(language, title, other, [] if is_own else start, len(start) - 1, greedy or ""))
    return (
        f'<p><b dir="auto">{html.escape(" · ".join(about))}</b></p>'
        + candidates_html(language, candidates)
        + "".join(f'<p class="quiet">{html.escape(one)}</p>' for one in told)
        + f'<div class="both">{"".join(blocks)}</div>'
        + labels_html(language, chatbot, source, strength)
    )


def candidates_html(language: str, candidates: Sequence[Candidate]) -> str:
    """What a reply was chosen among, the best first: where each comes from, and what speaks for it."""
    if not candidates:
        return ""
    rows = "".join(
        f"<tr{' class=chosen' if i == 0 else ''}><td>{html.escape(one.answer) or '…'}</td>"
        f"<td>{html.escape(_origin(language, one))}</td><td>{one.log_likelihood:.2f}</td>"
        f"<td>{one.similarity:.2f}</td><td>{one.score:.2f}</td></tr>"
        for i, one in enumerate(candidates)
    )
    keys = ("k_why_candidate", "k_why_origin", "k_why_nats", "k_why_similarity", "k_why_score")
    heads = "".join(f"<th>{html.escape(say(language, key))}</th>" for key in keys)
    title, told = say(language, "k_why_candidates"), say(language, "k_why_candidates_info", weight=f"{WEIGHT:g}")
    return (
        f'<h4>{html.escape(title)}</h4><p class="quiet">{html.escape(told)}</p>'
        f'<div class="rows candidates"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _origin(language: str, candidate: Candidate) -> str:
    """Whether a candidate was generated, and to which question that was trained on it was the answer."""
    known = candidate.question and say(language, "k_why_looked_up", question=candidate.question)
    return " · ".join(filter(None, [candidate.is_generated and say(language, "k_why_generated"), known]))


def _nats(steps: Sequence[ExplainedStep]) -> float:
    """The negative log-likelihood of all steps."""
    # Of sure tokens the sum is 0, which must not be shown as -0.00.
    return max(0.0, -sum(math.log(max(step.probability, 1e-30)) for step in steps))


def reply_of(chatbot: Chatbot, steps: Sequence[ExplainedStep]) -> str:
    """The text that steps make."""
    return chatbot.text_of([step.token_id for step in steps])


def _steps_html(
    language: str, title: str, steps: Sequence[ExplainedStep], start: list[int], forced: int = -1, more: str = ""
) -> str:
    """The steps of one reply, and a word `more` about it.

    At the last place of `start` the runners-up are open, the one that was chosen there marked. The token at the
    place `forced` was not the bot's own choice.
    """
    if not steps:
        return ""
    running = list(itertools.accumulate((step.probability for step in steps), lambda a, b: a * b))
    ids, chips, others = [], [], []
    for i, (step, so_far) in enumerate(zip(steps, running, strict=True)):
        is_open = i == len(start) - 1
        chips.append(_chip(language, i, step, so_far, is_open, i == forced))
        others.append(_others_html(language, i, step, ids, start if is_open else []))
        ids = [*ids, step.token_id]
    a_token = f"{_nats(steps) / len(steps):.2f}"
    whole = say(language, "k_why_whole", tokens=len(steps), p=percent(running[-1]), nats=a_token)
    told = html.escape(f"{whole} {more}".strip())
    return (
        f'<section class="steps"><h4>{html.escape(title)}</h4><div class="chips">{"".join(chips)}</div>'
        f"{''.join(others)}{_line(language, running)}<p>{told}</p></section>"
    )


def _chip(language: str, i: int, step: ExplainedStep, so_far: float, is_open: bool, is_forced: bool) -> str:
    told = say(language, "k_why_token", token=step.token.strip(), p=percent(step.probability), whole=percent(so_far))
    is_drawn = step.drawn and not is_forced
    told += ", " + say(language, "k_why_drawn_token") if is_drawn else ""
    kind = f"step p{level(step.probability)}" + " forced" * is_forced + " drawn" * is_drawn
    return (
        f'<button type="button" class="{kind}" data-step="{i}" aria-expanded="{str(is_open).lower()}" '
        f'title="{html.escape(told)}" aria-label="{html.escape(told)}">'
        f"<span>{shown(step.token)}</span><b>{percent(step.probability)}</b>"
        f"<small>{percent(so_far)}</small></button>"
    )


def _others_html(language: str, i: int, step: ExplainedStep, before: list[int], start: list[int]) -> str:
    """What else could have stood after `before`; open where one of them was chosen, which makes `start`."""
    taken = ' aria-current="true"'
    buttons = "".join(
        f'<button type="button" class="other" data-start="{" ".join(map(str, [*before, token_id]))}"'
        f"{taken if [*before, token_id] == start else ''}>"
        f"{shown(token)} <b>{percent(p)}</b></button>"
        for (token, p), token_id in zip(step.runners_up, step.runner_up_ids, strict=True)
    )
    told = say(language, "k_why_others" if buttons else "k_why_no_others", token=step.token.strip())
    hidden = "" if start else " hidden"
    return f'<div class="others" data-others="{i}"{hidden}><span>{html.escape(told)}</span> {buttons}</div>'


def _line(language: str, running: Sequence[float]) -> str:
    """The probability of the reply so far, from 1 before its first token: a line that falls, and what it is."""
    values = [1.0, *running]
    points = " ".join(f"{100 * i / (len(values) - 1):.1f},{40 * (1 - p):.1f}" for i, p in enumerate(values))
    return (
        f'<figure class="falling"><figcaption>{html.escape(say(language, "k_why_falling"))}</figcaption>'
        '<svg viewBox="0 -1 100 42" preserveAspectRatio="none" aria-hidden="true">'
        f'<polyline points="{points}" vector-effect="non-scaling-stroke"/></svg>'
        f"<p><span>100%</span><span>{percent(running[-1])}</span></p></figure>"
    )


def labels_html(language: str, chatbot: Chatbot, source: Source, strength: float) -> str:
    """How likely each label is, read in the question, and the reply under each; and how strange the question is."""
    card, reading = chatbot.card, chatbot.read(source.question)
    likeliest = set(sorted(reading.labels, key=reading.labels.get, reverse=True)[:MAX_LABELS]) | {source.label}
    labels = [label for label in chatbot.labels if label in likeliest]
    # The first of several is drawn with the seed itself: that is the reply in question.
    asked = sorted(labels, key=lambda label: label != source.label)
    how = source.sampling._asdict()
    if source.reranked:
        said = [chatbot.reply(source.question, label, strength, **how, rerank=True) for label in asked]
    else:
        said = chatbot.replies([(source.question, label) for label in asked], strength, **how)
    replies = dict(zip(asked, said, strict=True))
    rows = "".join(
        f"<tr{' class=chosen' if label == source.label else ''}>"
        f'<th class="mark {label_class(chatbot.labels.index(label))}">'
        f"{html.escape(label_name(label, language, card.labels, card.label_names))}</th>"
        f'<td><div class="share"><div style="width:{reading.labels.get(label, 0):.1%}"></div></div>'
        f"{percent(reading.labels.get(label, 0))}</td><td>{html.escape(replies[label]) or '…'}</td></tr>"
        for label in labels
    )
    names = [label_word(language, card), say(language, "k_why_read"), say(language, "k_why_says")]
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    key = {None: "", True: "k_why_unfamiliar", False: "k_why_familiar"}[reading.unfamiliar]
    strange = key and say(
        language, key, surprise=f"{reading.surprise:.2f}", limit=f"{card.familiarity['threshold']:.2f}"
    )
    title = say(language, "k_why_labels")
    return (
        f"<h4>{html.escape(title)}</h4>"
        f'<div class="rows labels"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
        + (f'<p class="quiet">{html.escape(strange)}</p>' if strange else "")
    )


@shows_errors
def explained(source: Source | None, start: Sequence[int], request: gr.Request) -> str:
    """The panel's content; a hint where there is no reply yet."""
    language = language_of(request)
    if source is None:
        return f'<p class="quiet">{html.escape(say(language, "k_why_none"))}</p>'
    if source.checkpoint == ENGINE:
        return f'<p class="quiet">{html.escape(say(language, "k_why_engine"))}</p>'
    if speaks_of_suicide(source.question):  # it would show what the page withholds, and replies under other labels
        return f'<p class="quiet">{html.escape(say(language, "k_why_withheld"))}</p>'
    return explanation_html(language, bot(source.checkpoint), source, start)


def working(request: gr.Request) -> str:
    """What the panel shows until there is something to see."""
    return f'<p class="quiet" role="status">{html.escape(say(language_of(request), "k_why_busy"))}</p>'


def build(chat: ChatTab) -> None:
    """The panel below the conversation and its events."""
    with chat.below:  # the drawer is out of sight on a small screen
        button = gr.Button(t("k_why"), size="sm", elem_id="why-button")
    button.click(None, None, None, js="kochat.openWhy", queue=False, **PRIVATE)
    with chat.drawer, gr.Accordion(t("k_why"), open=False, elem_id="why") as panel:
        gr.Markdown(t("k_why_pick"), elem_classes="quiet")
        content = gr.HTML(js_on_load=CLICK, elem_id="explanation")
    is_open, source, newest = gr.State(False), gr.State(None), gr.State(None)

    def open_last(history: list[dict], request: gr.Request):
        found = source_at(history, None)
        yield found, found, working(request)
        yield found, found, explained(found, (), request)

    def open_picked(history: list[dict], opened: bool, request: gr.Request, event: gr.SelectData):
        if not opened or not isinstance(event.index, int):
            yield gr.skip(), gr.skip()
            return
        found = source_at(history, event.index)
        yield found, working(request)
        yield found, explained(found, (), request)

    def go_on(known: Source | None, history: list[dict], request: gr.Request, event: gr.EventData):
        # A page that outlives the server has lost what it looked at.
        found = known or source_at(history, None)
        return found, explained(found, event.start, request)

    def follow(history: list[dict], known: Source | None, request: gr.Request):
        found = source_at(history, None)
        return (found, found, explained(found, (), request)) if found != known else (gr.skip(),) * 3

    busy = {**PRIVATE, "show_progress": "minimal", "show_progress_on": content, "concurrency_limit": 4}
    panel.expand(lambda: True, None, is_open, queue=False, **PRIVATE)
    panel.expand(open_last, chat.conversation, [source, newest, content], **busy)
    panel.collapse(lambda: False, None, is_open, queue=False, **PRIVATE)
    chat.conversation.select(open_picked, [chat.conversation, is_open], [source, content], **busy)
    content.click(go_on, [source, chat.conversation], [source, content], **busy)
    tell = "() => { document.dispatchEvent(new Event('kochat-reply')); }"
    for event in chat.settled:
        event.then(None, None, None, js=tell, queue=False, **PRIVATE)
    content.input(follow, [chat.conversation, newest], [source, newest, content], trigger_mode="always_last", **busy)
