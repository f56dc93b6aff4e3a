"""The prompt as a chat template, so that other engines use a checkpoint as it is.

The text is chat_template.jinja; what differs between checkpoints stands before it. `Prompt` makes the same token ids,
but for what a template cannot do: it cuts no question that is too long, and the strings of special tokens are parted by
a space, which `Prompt` takes as they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from kochat.labels import labels_by_name
from kochat.model.cards import Card
from kochat.model.prompt import MARKUP, STRIPPED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEMPLATE = Path(__file__).with_suffix(".jinja").read_text("utf-8")


def chat_template(tokenizer: PreTrainedTokenizerFast, card: Card) -> str:
    """The chat template of a checkpoint: `label` is a variable of it, and a system message may name one.

    Where neither is there, the prompt has no label if the checkpoint was trained without it too, else its first one.
    """
    added = [token for token in tokenizer.get_added_vocab() if MARKUP.fullmatch(token)]
    values = {
        "specials": sorted(added),
        "punctuation": list(STRIPPED) if card.strip_punctuation else [],
        "label_of": labels_by_name(card.labels, card.label_names),
        "default_label": "" if card.can_strengthen or not card.labels else card.chat_labels[0],
    }
    lines = [f"{{%- set {name} = {json.dumps(value, ensure_ascii=False)} -%}}\n" for name, value in values.items()]
    return "".join(lines) + TEMPLATE.rstrip("\n")
