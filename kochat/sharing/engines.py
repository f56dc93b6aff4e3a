"""What the exports for other engines share: the package that writes them, the prompt as a chat template, the card.

Other engines know tokens and a GPT-2. What kochat does around these cannot travel, and the card says so.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from kochat.errors import CheckpointError
from kochat.inference.chatbot import Chatbot
from kochat.model.cards import licence_of, model_card
from kochat.model.checkpoint import Checkpoint
from kochat.sharing.description import ACTIVATIONS


def package(name: str) -> ModuleType:
    """A package of the extra `export`. Raises CheckpointError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CheckpointError("needs_package", package=name.split(".")[0]) from error


def chatbot_for_engines(loaded: Checkpoint) -> Chatbot:
    """The Chatbot of a checkpoint.

    Raises CheckpointError where it is no GPT-2 or computes as no engine does, and ReplyError for a base that does not
    answer.
    """
    config, bot = loaded.weights.config, Chatbot(loaded)
    is_plain = config["scale_attn_weights"] and not config["scale_attn_by_inverse_layer_idx"]
    if config["activation_function"] not in ACTIVATIONS or not is_plain:
        raise CheckpointError("engine_unknown", name=bot.name)
    return bot


def chat_template(bot: Chatbot, space: str = "") -> str:
    """The prompt of the last turn in Jinja, under the template variable `label`, by default the first label.

    `space` is put before each text, for an engine whose tokenizer does not do that.
    """
    first = bot.labels[0].replace("\\", "\\\\").replace("'", "\\'")
    return (
        "{%- set question = messages[-1]['content'] -%}"
        f"{{%- set label = label if label is defined else '{first}' -%}}"
        f"{{{{- '<usr>{space}' + question + '<unused1>' + ('{space}' + label if label else '') + '<sys>' -}}}}"
    )


def card_for_engines(bot: Chatbot, library: str, usage: str, *more: str) -> str:
    """The README.md of an export: the checkpoint's card, how to use it with `library`, and what is not in it."""
    front = (
        f"---\nlanguage: ko\nlicense: {licence_of(bot.card)}\nlibrary_name: {library}\n"
        "pipeline_tag: text-generation\ntags: [kochat, gpt2, korean, chatbot]\n---\n\n"
    )
    about = model_card(bot.name, bot.card).split("---\n", 2)[2].strip()
    labels = ", ".join(f"`{label}`" for label in bot.labels)
    missing = [
        f"The label is not predicted: it is part of the prompt, one of {labels}.",
        "The label cannot be strengthened (guidance): a reply is that of kochat with strength 0.",
        f"A long question is not cut. kochat keeps its last {bot.prompt.max_length // 2} tokens where prompt and reply "
        f"would not fit into {bot.prompt.max_length}.",
        "Whoever types `</s>` or `<sys>` into a question types a token of the prompt, not text.",
        "There is no sign for unfamiliar questions.",
        "It knows no earlier turn: only the last message is in the prompt.",
    ]
    if bot.prompt.strip_punctuation:
        missing.append("The characters ? . ! , of a question are not replaced by spaces.")
    if bot.matcher:
        missing.append("A question in other words is not recognised as one of its own.")
    limits = "\n".join(f"- {line}" for line in (*missing, *more))
    return f"{front}{about}\n\n## With {library}\n\n{usage.strip()}\n\n## What is not in this export\n\n{limits}\n"
