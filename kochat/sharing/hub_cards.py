"""The README.md of a checkpoint on the Hugging Face Hub, and that of a Space with its web page: front matter and text.

Knows what the Hub reads of a card; no request.
"""

from __future__ import annotations

import json
import math

from huggingface_hub import EvalResult, ModelCard, ModelCardData, SpaceCardData, constants

from kochat.model.card_figures import FIGURE_NAMES, evaluations
from kochat.model.cards import Card, licence_of, model_card, source_title, sources_of
from kochat.model.hub import looks_like_hub_id

TAG = "kochat"  # by it an own repository is told from another one of its owner's
HUB_METRICS = {"exact": "exact_match", "label_accuracy": "accuracy", "perplexity_per_token": "perplexity"}
HUB_DATASETS = {"nsmc_reviews": "e9t/nsmc"}  # sources that are on the Hub, too
# The Hub knows eight colours of a Space, the profile has eight others.
HUB_COLOURS = {"teal": "green", "amber": "yellow", "violet": "purple", "grey": "gray"}


def model_readme(repo: str, card: Card, with_pairs: bool) -> str:
    """The README.md of a checkpoint that is called `repo` on the Hub; its text is that of the card."""
    results = eval_results(card)
    data = ModelCardData(
        language="ko",
        **_licence(repo, card),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=[TAG, "gpt2", "korean", "chatbot"],
        base_model=base_model(card),
        base_model_relation="finetune" if base_model(card) else None,
        datasets=[HUB_DATASETS[source] for source in card.sources if source in HUB_DATASETS] or None,
        metrics=[one.metric_type for one in results] or None,
        model_name=repo.split("/")[1] if results else None,
        eval_results=results or None,
    )
    text = ModelCard(model_card(repo, card)).text.strip()
    return _readme(data, text, _with_transformers(repo, card), _use_and_limits(card, with_pairs))


def space_readme(title: str, card: Card) -> str:
    """The README.md of a static Space with the web page of a checkpoint."""
    colour = card.profile.get("colour", "blue")
    data = SpaceCardData(
        title=title,
        emoji="💬",
        colorFrom=HUB_COLOURS.get(colour, colour),
        colorTo="pink" if colour != "pink" else "purple",
        sdk="static",
        license=licence_of(card),
        models=[base_model(card)] if base_model(card) else None,
        tags=[TAG, "korean", "chatbot"],
    )
    about = (
        "A Korean chatbot in one page, made with kochat. It runs in the visitor's browser and sends nothing anywhere."
    )
    return _readme(data, about, "## Made of\n\n" + "\n".join(f"- {source}" for source in sources_of(card)))


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
            dataset_type=HUB_DATASETS.get(source, source),
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


def _readme(data: ModelCardData | SpaceCardData, *parts: str) -> str:
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
        "So there is no strength of the label, and special tokens that somebody types into a question are not text."
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
