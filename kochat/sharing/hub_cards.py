"""The README.md of a checkpoint, of pairs and of a Space on the Hugging Face Hub: front matter and text.

Knows what the Hub reads of a card; no request.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from huggingface_hub import CardData, DatasetCardData, EvalResult, ModelCard, ModelCardData, SpaceCardData, constants

from kochat.config import KOGPT2
from kochat.model.card_figures import FIGURE_NAMES, evaluations
from kochat.model.cards import HUB_DATASET, Card, licence_of, model_card, source_title, sources_of
from kochat.model.hub import looks_like_hub_id

TAG = "kochat"  # by it an own repository is told from another one of its owner's
HUB_METRICS = {"exact": "exact_match", "label_accuracy": "accuracy", "perplexity_per_token": "perplexity"}
HUB_DATASETS = {"nsmc_reviews": "e9t/nsmc"}  # sources that are on the Hub, too
# The Hub knows eight colours of a Space, the profile has eight others.
HUB_COLOURS = {"teal": "green", "amber": "yellow", "violet": "purple", "grey": "gray"}
SHORT_DESCRIPTION = "Talk to a Korean chatbot, pick its emotion, retrain it"  # 60 characters at most
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (math.inf, "1M<n<10M"),
)
MAX_LABELS = 30  # named in the card of a dataset


def model_readme(repo: str, card: Card, with_pairs: bool, examples: Sequence[tuple[str, str]] = ()) -> str:
    """The README.md of a checkpoint that is called `repo` on the Hub; its text is that of the card.

    `examples` are questions with their replies, which the Hub's page offers.
    """
    results = eval_results(card)
    data = ModelCardData(
        language="ko",
        **_licence(repo, card),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=[TAG, card.architecture, "korean", "chatbot"],
        base_model=base_model(card),
        base_model_relation="finetune" if base_model(card) else None,
        datasets=hub_datasets(card) or None,
        metrics=[one.metric_type for one in results] or None,
        model_name=repo.split("/")[1] if results else None,
        eval_results=results or None,
        widget=[{"text": question, "output": {"text": reply}} for question, reply in examples] or None,
    )
    text = ModelCard(model_card(repo, card)).text.strip()
    return _readme(data, text, _with_transformers(repo, card), _use_and_limits(card, with_pairs))


def space_readme(title: str, card: Card) -> str:
    """The README.md of a static Space with the web page of a checkpoint."""
    data = SpaceCardData(**_face(title, card), sdk="static", models=[base_model(card)] if base_model(card) else None)
    about = (
        "A Korean chatbot in one page, made with kochat. It runs in the visitor's browser and sends nothing anywhere."
    )
    return _readme(data, about, _made_of(card))


def app_readme(title: str, card: Card, hardware: str, gradio_version: str, python_version: str) -> str:
    """The README.md of a Gradio Space with the whole page of kochat, opened on a checkpoint.

    Front matter: https://huggingface.co/docs/hub/spaces-config-reference
    """
    data = SpaceCardData(
        **_face(title, card),
        sdk="gradio",
        sdk_version=gradio_version,
        python_version=python_version,
        app_file="app.py",
        short_description=SHORT_DESCRIPTION,
        models=list(dict.fromkeys(filter(None, (base_model(card), KOGPT2)))),
        datasets=hub_datasets(card) or None,
        suggested_hardware=hardware,
        startup_duration_timeout="1h",  # until the weights of KoGPT2 are there
        preload_from_hub=[KOGPT2],
        hf_oauth=True,
        hf_oauth_scopes=["contribute-repos"],  # to push what one trained: only to what the Space itself has made
    )
    about = "Talk to a Korean chatbot, correct it, and retrain it in the browser: a page of kochat."
    return _readme(data, about, _made_of(card))


def dataset_readme(repo: str, pairs: pd.DataFrame, licence: str | None) -> str:
    """The README.md of pairs (columns Q, A, label) that are called `repo` on the Hub."""
    data = DatasetCardData(
        language="ko",
        license=licence,
        task_categories=["text-generation", "question-answering"],
        size_categories=next(name for most, name in SIZES if len(pairs) < most),
        tags=[TAG, "korean", "chatbot"],
        configs=[{"config_name": "default", "data_files": "data.csv"}],
    )
    counts = pairs["label"].value_counts()
    labels = "\n".join(f"- {_as_code(label)}: {number:,}" for label, number in counts[:MAX_LABELS].items())
    more = f"\n- and {len(counts) - MAX_LABELS:,} more" if len(counts) > MAX_LABELS else ""
    about = (
        f"# {repo}\n\n{len(pairs):,} questions and answers in Korean, put together with kochat: `Q` is the question, "
        "`A` the answer, `label` what the answer is conditioned on."
    )
    use = (
        f"## To train on them\n\n```\nkochat train --data {repo} --output checkpoints/mine\n```\n\n"
        "## Limits\n\nNobody but their owner has looked at the answers. They are not advice, and may name people."
    )
    return _readme(data, about, f"## Labels\n\n{labels}{more}", use)


def _face(title: str, card: Card) -> dict[str, Any]:
    """How a Space looks in a list."""
    colour = card.profile.get("colour", "blue")
    return {
        "title": title,
        "emoji": "💬",
        "colorFrom": HUB_COLOURS.get(colour, colour),
        "colorTo": "pink" if colour != "pink" else "purple",
        "license": licence_of(card),
        "tags": [TAG, "korean", "chatbot"],
    }


def _made_of(card: Card) -> str:
    return "## Made of\n\n" + "\n".join(f"- {source}" for source in sources_of(card))


def _as_code(text: str) -> str:
    return f"`{text.replace('`', ' ')}`"


def hub_datasets(card: Card) -> list[str]:
    """The Hub ids of the data that it was trained on, as far as they are on the Hub."""
    named = {source: source.removeprefix(HUB_DATASET) for source in card.sources if source.startswith(HUB_DATASET)}
    known = HUB_DATASETS | named
    return list(dict.fromkeys(known[source] for source in card.sources if source in known))


def base_model(card: Card) -> str | None:
    """The Hub id of the model that it was fine-tuned from, at once or by way of others."""
    # Data are never called like a Hub id in a card, see `source_name`.
    return next((name for name in (card.base or "", *card.sources) if looks_like_hub_id(name)), None)


def eval_results(card: Card) -> list[EvalResult]:
    """The figures on the test part, else on the validation part, by the Hub's names of metrics."""
    measured, source = evaluations(card.metrics), card.data.get("source") or "pairs"
    part = next((one for one in ("test", "validation") if one in measured), None)
    figures = {key: measured[part].get(key) for key in HUB_METRICS} if part else {}
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=HUB_DATASETS.get(source, source.removeprefix(HUB_DATASET)),
            dataset_name=source_title(source),
            dataset_split=part,
            metric_type=HUB_METRICS[key],
            metric_value=round(value, 6),
            metric_name=FIGURE_NAMES[key],
        )
        for key, value in figures.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]


def _licence(repo: str, card: Card) -> dict[str, str]:
    if licence_of(card) != "other":
        return {"license": licence_of(card)}
    link = f"{constants.ENDPOINT}/{repo}#made-of"
    return {"license": "other", "license_name": "licences-of-its-sources", "license_link": link}


def _readme(data: CardData, *parts: str) -> str:
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(filter(None, parts)) + "\n"


def _with_transformers(repo: str, card: Card) -> str:
    if not card.labels:
        return ""
    label = json.dumps(card.labels[0], ensure_ascii=False)
    return (
        "## With transformers alone\n\n```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{repo}")\n'
        f'model = AutoModelForCausalLM.from_pretrained("{repo}")\n'
        'question = [{"role": "user", "content": "12시 땡!"}]\n'
        f"prompt = tokenizer.apply_chat_template(question, label={label}, return_dict=True, "
        'return_tensors="pt")\n'
        f"tokens = model.generate(**prompt, max_new_tokens={card.max_length}, do_sample=False)\n"
        'reply = tokenizer.decode(tokens[0, prompt["input_ids"].shape[1]:], skip_special_tokens=True)\n```\n\n'
        "So there is no strength of the label, and special tokens typed into a question are parted by a space."
    )


def _use_and_limits(card: Card, with_pairs: bool) -> str:
    pairs = "" if with_pairs else " The pairs that it was trained on are not in this repository."
    return (
        "## Intended use and limits\n\n"
        "For short conversations in Korean, for learning how fine-tuning works, and as a base to train further. It "
        "knows no earlier turn and nothing beyond its pairs, says wrong things fluently, and may repeat what it was "
        "trained on word for word. Do not use it for advice, on health or law above all, or where somebody may take it "
        f"for a person.{pairs}"
    )
