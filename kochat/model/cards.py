"""The card of a checkpoint: what kochat.json holds, and its README.md made from that.

Knows names, licences and figures; no file and no model.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kochat import validate
from kochat.config import TrainingConfig
from kochat.data import hub_datasets
from kochat.data.hub_client import split_revision
from kochat.labels import NAMES, are_emotions, has_names, in_order, is_plain_column
from kochat.model.architectures import GPT2
from kochat.model.card_figures import FIGURE_NAMES as FIGURE_NAMES
from kochat.model.card_figures import STRENGTH_NAMES as STRENGTH_NAMES
from kochat.model.card_figures import figures_text
from kochat.model.commands import command

FORMAT_VERSION = 1
MIN_MAX_LENGTH = 8  # tokens, as TrainingConfig has it

# What is known of public data and models: by the first part of a file's name, or by Hub id.
PUBLIC_SOURCES = {
    "ChatbotData": "[songys/Chatbot_data](https://github.com/songys/Chatbot_data) (MIT, Youngsook Song 2018)",
    "nsmc_reviews": (
        "[e9t/nsmc](https://github.com/e9t/nsmc) (CC0): the texts of the reviews in its folder `raw`, one a line"
    ),
    "emotions": "kochat's sample `emotions` (MIT)",
    "jobs": "kochat's sample `jobs` (MIT)",
    "everyday": "kochat's corpus `everyday` (MIT)",
    "skt/kogpt2-base-v2": "[skt/kogpt2-base-v2](https://huggingface.co/skt/kogpt2-base-v2) (CC BY-NC-SA 4.0)",
}
IN_KOREAN = {
    "nsmc_reviews": "[e9t/nsmc](https://github.com/e9t/nsmc) (CC0): `raw` 폴더에 있는 영화 리뷰의 글",
    "emotions": "kochat의 견본 `emotions` (MIT)",
    "jobs": "kochat의 견본 `jobs` (MIT)",
    "everyday": "kochat의 말뭉치 `everyday` (MIT)",
}
COLOURS = ("blue", "teal", "green", "amber", "red", "pink", "violet", "grey")  # of a profile
PROFILE_TEXTS = {"title": 40, "greeting": 200, "colour": 10}  # characters, at most
MAX_PROFILE_EXAMPLES = 8
OWN_SAMPLES = {"emotions", "jobs", "everyday"}  # somebody's emotions.csv is not ours
HUB_DATASET = "datasets/"  # what the name of one that was read by its id begins with, as its address does
FREE = {"ChatbotData", "nsmc_reviews", *OWN_SAMPLES}


@dataclass
class Card:
    """How to talk to a checkpoint, and where it comes from."""

    labels: list[str] = field(default_factory=list)  # none: a base that was not trained to answer
    label_names: dict[str, str] = field(default_factory=dict)  # for display, of some labels or none
    max_length: int = 40
    strip_punctuation: bool = False
    strength: float = 0.0  # of the label at decoding, unless asked otherwise
    unsure: bool = False  # says that it is not sure where a question is unfamiliar, unless asked otherwise
    profile: dict[str, Any] = field(default_factory=dict)  # what its owner chose, see PROFILE_TEXTS
    base: str | None = None
    architecture: str = GPT2  # its model_type
    data: dict[str, Any] = field(default_factory=dict)  # source, rows, sha256, own_labels, newest_pairs (examples.py)
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    familiarity: dict[str, Any] = field(default_factory=dict)  # of validation questions, see familiarity.py; or none
    defaults: dict[str, Any] = field(default_factory=dict)  # settings for whoever fine-tunes it further
    sources: list[str] = field(default_factory=list)  # all data and models that it was made of, first to last
    recipe: list[str] = field(default_factory=list)  # the commands that made it, first to last
    weights_sha256: str = ""  # of model.safetensors, checked when loaded
    format_version: int = FORMAT_VERSION
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def can_strengthen(self) -> bool:
        """Whether it was trained without the label too, which a strength above 0 compares with."""
        return bool(self.config.get("label_dropout"))

    @property
    def hidden_labels(self) -> list[str]:
        """Labels that the owner chose not to offer; none where that would leave none."""
        hidden = [label for label in self.labels if label in self.profile.get("hidden_labels", ())]
        return hidden if len(hidden) < len(self.labels) else []

    @property
    def offered_labels(self) -> list[str]:
        """What is offered to whoever gets the chatbot: what its owner left, else its own labels without its base's."""
        own = [label for label in self.labels if label in self.data.get("own_labels", self.labels)]
        return [label for label in self.labels if label not in self.hidden_labels] if self.hidden_labels else own

    @property
    def chat_labels(self) -> list[str]:
        """The labels of the chat: those that are offered, then those of its base, unless its owner hid these."""
        rest = [] if self.hidden_labels else [label for label in self.labels if label not in self.offered_labels]
        return [*self.offered_labels, *rest]

    @property
    def split(self) -> tuple[int, float, float, int]:
        """How its training divided the data: split version, shares of validation and of test, seed; see splits.py."""
        shares = (self.config.get(f"{part}_share") or 0.0 for part in ("validation", "test"))
        return self.data.get("split", 1), *shares, self.config.get("seed", 0)

    @property
    def label_column(self) -> str:
        """What the column of the labels is called in the data, where that says more than "label"."""
        name = self.data.get("label_column") or ""
        return "" if is_plain_column(name) or are_emotions(self.labels) else name

    def __post_init__(self):
        """Raise TypeError for what no training wrote: a kochat.json may come from anywhere."""
        kinds = {"data": dict, "config": dict, "metrics": dict, "defaults": dict, "weights_sha256": str}
        wrong = [name for name, kind in kinds.items() if not isinstance(getattr(self, name), kind)]
        names = self.label_names
        if not (isinstance(names, dict) and all(isinstance(one, str) for one in names.values())):
            wrong.append("label_names")
        wrong += [name for name in ("labels", "sources", "recipe") if not _are_texts(getattr(self, name))]
        if "data" not in wrong and not _are_texts(self.data.get("own_labels", [])):
            wrong.append("data")
        if "data" not in wrong and not _is_number_of_pairs(self.data.get("newest_pairs", 0)):
            wrong.append("data")
        if "data" not in wrong and type(self.data.get("label_column") or "") is not str:
            wrong.append("data")
        if "data" not in wrong and not _is_number_of_pairs(self.data.get("rows", 0)):
            wrong.append("data")
        wrong += [name for name in ("base", "created") if type(getattr(self, name) or "") is not str]
        if not (isinstance(self.architecture, str) and re.fullmatch(r"[\w.-]{1,40}", self.architecture)):
            wrong.append("architecture")
        if not _is_profile(self.profile):
            wrong.append("profile")
        if type(self.unsure) is not bool:
            wrong.append("unsure")
        if type(self.max_length) is not int or self.max_length < MIN_MAX_LENGTH:
            wrong.append("max_length")
        if type(self.strength) not in (int, float) or not 0 <= self.strength < math.inf:
            wrong.append("strength")
        if not _is_calibration(self.familiarity):
            wrong.append("familiarity")
        version, *shares, seed = self.split
        if type(version) is not int or type(seed) is not int or not all(type(one) in (int, float) for one in shares):
            wrong.append("split")
        if wrong:
            raise TypeError(f"a card cannot have such {', '.join(wrong)}")


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_profile(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() <= {*PROFILE_TEXTS, "examples", "hidden_labels"}:
        return False
    if not _are_texts(value.get("hidden_labels", [])):
        return False
    texts = [(value[name], most) for name, most in PROFILE_TEXTS.items() if name in value]
    examples = value.get("examples", [])
    if not isinstance(examples, list) or len(examples) > MAX_PROFILE_EXAMPLES:
        return False
    texts += [(one, PROFILE_TEXTS["greeting"]) for one in examples]
    is_text = all(isinstance(text, str) and len(text) <= most for text, most in texts)
    return is_text and value.get("colour", COLOURS[0]) in COLOURS


def _is_calibration(value: object) -> bool:
    if value == {}:
        return True
    if not isinstance(value, dict) or not isinstance(value.get("of", ""), str):
        return False
    found = [value.get(name) for name in ("questions", "threshold")]
    return all(type(one) in (int, float) and 0 < one < math.inf for one in found)


def _is_number_of_pairs(value: Any) -> bool:
    return type(value) is int and value >= 0


def card_of_training(
    config: TrainingConfig, base: str, before: Card, labels: Sequence[str], rows: int, sha256: str
) -> Card:
    """The card of what `config` makes of the base called `base`, whose card is `before`.

    `labels` are those of the data, of `rows` rows. Raises SettingsError where a name is for no label.
    """
    own_labels = _own_labels(config, before, labels)
    labels, label_names = labels_of_training(config, before, labels)
    goes_on = config.keep_labels and "title" in before.profile  # still the one that its owner gave a name
    hidden = {"hidden_labels": before.hidden_labels} if config.keep_labels and before.hidden_labels else {}
    source = source_name(config.data)
    return Card(
        labels=labels,
        label_names=label_names,
        max_length=config.max_length,
        strip_punctuation=config.strip_punctuation,
        strength=before.strength if config.label_dropout else 0.0,
        profile=before.profile if goes_on else hidden,
        base=base,
        data={"source": source, "rows": rows, "sha256": sha256, "own_labels": own_labels},
        config={**config.to_dict(), "data": source, "base": base, "output": Path(config.output).name},
        defaults=before.defaults,
        sources=[*(before.sources or [base]), source],
        recipe=[*before.recipe, command("train", config)],
    )


def _own_labels(config: TrainingConfig, before: Card, labels: Sequence[str]) -> list[str]:
    """Labels that are the chatbot's own, not only kept for its base.

    They are those of its data where all are new. Data under a label of the base, and what was taught in the chat
    (recipe "base"), go on with what the base is.
    """
    labels, before_own = in_order(labels), before.data.get("own_labels", before.labels)
    goes_on = config.keep_labels and (config.recipe == "base" or set(labels) & set(before.labels))
    return list(dict.fromkeys([*before_own, *labels])) if goes_on else labels


def labels_of_training(config: TrainingConfig, before: Card, labels: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The labels of what `config` makes, and the names of those that have one; as `card_of_training`."""
    kept = before.labels if config.keep_labels else []
    labels = [*kept, *(label for label in in_order(labels) if label not in kept)]
    # With a number of somebody's own beside them, ChatbotData's labels would lose their names.
    lost = NAMES["ko"] if has_names(kept) and not has_names(labels) else {}
    names = {label: name for label, name in {**lost, **before.label_names}.items() if label in kept}
    return labels, names | _names_of(config.label_names, labels)


def _names_of(texts: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Names by label, out of texts like "label=name"; a label may have a = in it."""
    names = {}
    for text in texts:
        found = [label for label in labels if text.startswith(f"{label}=")]
        if not found:
            known = ", ".join(labels)
            validate.refuse(
                "label_names", text, f"label=name with one of the labels {known}", f"라벨=이름 꼴(라벨: {known})인"
            )
        label = max(found, key=len)
        names[label] = text[len(label) + 1 :].strip()
    return names


def source_name(source: str) -> str:
    """What a card calls a file, a URL or a Hub id: never where it lay on somebody's disk."""
    if source in PUBLIC_SOURCES:
        return source
    if hub_datasets.is_id(source):
        return HUB_DATASET + split_revision(source)[0]
    # Without what follows the path of a URL: it may be a key.
    name = Path(urlsplit(source).path if "://" in source else source).name
    bare = re.sub(r"(\.(csv|txt|xz|gz))+$", "", name, flags=re.IGNORECASE)
    return name if bare in OWN_SAMPLES else bare


def source_title(source: str, language: str = "en") -> str:
    """What a source is called for people: its name, with its licence and author where it is a public one."""
    known = _public(language).get(source)
    return re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", known).replace("`", "") if known else source


def model_card(name: str, card: Card) -> str:
    """The README.md of a checkpoint, as the Hub shows it."""
    parts = [_front_matter(card), f"# {name}", _about(card)]
    if card.labels:
        parts.append(_how_to_talk(name, card))
    if card.metrics or card.familiarity:
        parts.append(figures_text(card.metrics, card.familiarity, card.strength, card.data, card.split))
    parts += [_recipe(card), _sources(card)]
    return "\n\n".join(parts) + "\n"


def licence_of(card: Card) -> str:
    """The licence of a checkpoint, called as the Hub calls it; "other" where a source's is not known."""
    if set(card.sources) <= FREE:
        return "mit"
    return "cc-by-nc-sa-4.0" if "skt/kogpt2-base-v2" in card.sources else "other"


def _front_matter(card: Card) -> str:
    return (
        f"---\nlanguage: ko\nlicense: {licence_of(card)}\nlibrary_name: transformers\npipeline_tag: text-generation\n"
        f"tags: [kochat, {card.architecture}, korean, chatbot]\n---"
    )


def _about(card: Card) -> str:
    if not card.labels:
        return "A small Korean GPT-2, trained on plain text by kochat. It does not answer yet: fine-tune it on pairs."
    return (
        f"A Korean chatbot ({'GPT-2' if card.architecture == GPT2 else card.architecture}) made with kochat: "
        "it answers one question at a time, conditioned on a label. "
        f"Its labels are {', '.join(_named(label, card) for label in card.labels)}."
        + (" 0 is everyday, 1 breakup and negative, 2 love and positive." if has_names(card.labels) else "")
        + " It remembers no earlier turn, and what it says is not advice."
    )


def _named(label: str, card: Card) -> str:
    name = card.label_names.get(label)
    return f"`{label}` ({name})" if name else f"`{label}`"


def _how_to_talk(name: str, card: Card) -> str:
    return (
        "```python\nimport kochat\n\n"
        f'bot = kochat.load("{name}")\n'
        f'bot.reply("12시 땡!", label={json.dumps(card.labels[0], ensure_ascii=False)})\n```\n\n'
        "Plain `transformers` works too: the tokenizer's chat template takes the label as `label=`.\n\n"
        "A `pairs.csv.xz` beside the weights holds the pairs that it was trained on: kochat takes drafts of replies "
        "from their answers, which makes replies quicker and changes none, and can go over them again in a further "
        "training, so that it does not forget. A `validation.csv.xz` holds pairs that it was not trained on: a further "
        "training measures on them what it forgets. Remove the files if the pairs are nobody's business, and mind "
        "that a model can say by heart what it was trained on."
    )


def _recipe(card: Card) -> str:
    return "## Made by\n\n```\n" + "\n".join(card.recipe) + "\n```"


def _public(language: str) -> dict[str, str]:
    return PUBLIC_SOURCES | (IN_KOREAN if language == "ko" else {})


def sources_of(card: Card, language: str = "en") -> list[str]:
    """What a checkpoint is made of, with the licences, each in one line of Markdown."""
    ask = {"ko": "(라이선스는 만든 사람에게 물어보세요)", "en": "(ask its owner for the licence)"}[language]
    named = [_public(language).get(source, f"`{source}` {ask}") for source in card.sources]
    return list(dict.fromkeys(named))


def _sources(card: Card) -> str:
    return "## Made of\n\n" + "\n".join(f"- {source}" for source in sources_of(card))
