"""How the page's replies are chosen: how freely they are drawn, whether among answers that are looked up, and another
reply in the place of one that is taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import gradio as gr

from kochat.inference.sampling import GREEDY, Sampling, checked
from kochat.model import checkpoint
from kochat.model.kept_pairs import PAIRS_FILE
from kochat.ui.models import ENGINE, bot
from kochat.ui.text import say, shows_errors, t

if TYPE_CHECKING:
    from kochat.inference.chatbot import Chatbot

MAX_VARIETY, VARIETY_STEP = 1.5, 0.1  # temperatures
TOP_P = 0.9
AGAIN = 0.8  # the temperature of another reply where the slider stands at 0
MAX_TRIES = 5
GENERATED, RERANKED = "generated", "reranked"  # the values of the choice between the two


def variety_slider() -> gr.Slider:
    """The slider for the temperature; at 0, where it stands at first, replies are greedy."""
    return gr.Slider(
        0,
        MAX_VARIETY,
        value=0,
        step=VARIETY_STEP,
        label=t("k_variety"),
        info=t("k_variety_info"),
        min_width=150,
        buttons=[],
        elem_id="variety",
    )


def choosing(name: str | None) -> dict:
    """How the choice between generated and looked up replies stands: the latter only for who keeps pairs to look in."""
    path = checkpoint.list_checkpoints().get(name or "")
    can = path is not None and (path / PAIRS_FILE).is_file()
    info = t("k_choosing_info") if can else t("k_engine_no_choosing") if name == ENGINE else t("k_no_choosing")
    return {"interactive": can, "info": info, **({} if can else {"value": GENERATED})}


def choosing_radio(name: str | None) -> gr.Radio:
    """The choice between generated and looked up replies; generated at first."""
    choices = [(t("k_choosing_generated"), GENERATED), (t("k_choosing_reranked"), RERANKED)]
    settings = {"value": GENERATED, **choosing(name)}
    return gr.Radio(choices, label=t("k_choosing"), min_width=150, elem_id="choosing", **settings)


@shows_errors
def prepare_lookup(choice: str, name: str) -> None:
    """Make the index while the visitor still types: the first reply that is looked up would wait seconds for it."""
    if choice == RERANKED:
        _ = bot(name).retriever


def sampling_at(temperature: float) -> Sampling:
    """The sampling of a reply at a temperature, with a seed of its own. Raises ReplyError."""
    return checked(temperature, TOP_P, None) if temperature else GREEDY


def samplings(temperature: float, is_again: bool, is_same: bool) -> list[Sampling]:
    """The samplings to try for a reply, one after the other until its text is another one than before.

    A first reply has one, and so has at first one that is asked for again under another label, strength or
    checkpoint (not `is_same`): what these change is to be seen without chance.
    """
    first = [] if is_again and is_same else [sampling_at(temperature)]
    return first + [sampling_at(temperature or AGAIN) for _ in range(MAX_TRIES if is_again else 0)]


def grown(
    chatbot: Chatbot,
    question: str,
    label: str,
    strength: float,
    tried: list[Sampling],
    before: str = "",
    reranked: Sampling | None = None,
) -> Iterator[tuple[str, Sampling]]:
    """The text of a reply so far, piece by piece, and its sampling; the last one is the whole reply.

    That with the sampling `reranked` is chosen among candidates. What may still become the text `before` is held back,
    and drawn anew where it does. Raises as `Chatbot.stream`.
    """
    for sampling in tried:
        said = ""
        more = {"rerank": True} if sampling is reranked else {}
        for piece in chatbot.stream(question, label, strength, **sampling._asdict(), **more):
            said += piece
            if not before.startswith(said):
                yield said, sampling
        if said != before:
            break
    yield said, sampling


def drawn_told(language: str, sampling: Sampling, num_drawn: int) -> list[str]:
    """What is said of a reply that was drawn, `num_drawn` of its tokens though others were likelier."""
    if not sampling.temperature:
        return []
    values = {"temperature": f"{sampling.temperature:g}", "share": f"{sampling.top_p:.0%}"}
    told = [say(language, "k_why_drawn", **values)]
    return [*told, say(language, "k_why_drawn_tokens", n=num_drawn)] if num_drawn else told
