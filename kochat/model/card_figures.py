"""The figures of a card as its README says them: the split, losses, the evaluation, strengths, the threshold.

Knows what a card keeps, as plain values; no file and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

FIGURE_NAMES = {
    "questions": "questions",
    "nll_per_char": "negative log-likelihood per character of the answer",
    "perplexity_per_token": "perplexity per token of the answer",
    "exact": "exact match: replies that are the true answer word for word, under its true label",
    "nearest_exact": "baseline: the answer to the nearest question is",
    "frequent_exact": "baseline: the most frequent answer is",
    "exact_auto": "the same under the label that the model reads itself",
    "label_accuracy": "label accuracy: predicted label is the true one",
    "linear_label_accuracy": "baseline: that of a linear classifier of the question is",
    "nearest_label_accuracy": "baseline: that of the nearest question is",
    "true_label_gain": "gain of the true label over the others, nats per character",
    "label_changes_reply": "questions whose reply changes with the label",
    "recognised": (
        "label recognised (cross-fitted): replies under every label that a classifier of answers takes for that label"
    ),
    "recogniser_accuracy": "answers by people whose label that classifier tells (cross-fitted)",
    "distinct": "replies under one label that differ from each other",
    "verbatim": "replies that are an answer trained on, word for word",
}
STRENGTH_NAMES = {
    "strength": "strength",
    "recognised": "label recognised (cross-fitted)",
    "label_changes_reply": "reply changes with the label",
    "exact": "exact match",
    "distinct": "distinct",
    "likelihood_per_char": "likelihood of the replies, nats per character",
}
NO_TEST_PART = (
    "There is no test part: these questions were also used to choose the checkpoint, so the figures flatter it."
)
TEST_KNOWN_TO_BASE = "Its base had been trained on {known} of the test questions, so the test figures flatter it."
PARTS = ("validation", "test", "given")


def evaluations(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures that a card keeps by part: "validation", "test", or "given" for pairs that were given.

    Cards of before, and those of pairs that were given, keep one part without its name.
    """
    recorded = metrics.get("evaluation") or {}
    if "questions" in recorded:
        return {"validation" if recorded.get("held_out") else "given": recorded}
    return {part: recorded[part] for part in PARTS if part in recorded}


def is_cross_fitted(measured: dict[str, Any]) -> bool:
    """Whether the labels of replies were told by classifiers that had not learned these very replies."""
    return bool(measured.get("cross_fitted"))


def caveats(data: dict[str, Any], measured: dict[str, dict[str, Any]]) -> list[str]:
    """What is to be kept in mind of the figures of `evaluations`; `data` is the card's."""
    if "validation" in measured and "test" not in measured:
        return [NO_TEST_PART]
    known = data.get("test_known_to_base") if "test" in measured else 0
    return [TEST_KNOWN_TO_BASE.format(known=known)] if known else []


def figures_text(
    metrics: dict[str, Any],
    familiarity: dict[str, Any],
    strength: float,
    data: dict[str, Any],
    split: tuple[int, float, float, int],
) -> str:
    """The section of a card's README with its figures; `strength` and `split` are the card's."""
    blocks = ["## Figures", _about_split(data, split), _about_losses(metrics)]
    if measured := evaluations(metrics):
        blocks += [f"On {_where(measured)}:", _figures_table(measured), *caveats(data, measured)]
    if strengths := metrics.get("strengths"):
        blocks += [_about_strengths(strengths, strength), _strengths_table(strengths)]
    if familiarity:
        limit, questions = familiarity["threshold"], f"{familiarity['questions']} validation questions"
        if "of" in familiarity:
            questions += f" of `{familiarity['of']}`, whose pairs it went over again"
        blocks.append(f"A question is called unfamiliar above {limit:.2f} nats a byte ({questions}).")
    return "\n\n".join(filter(None, blocks))


def _about_split(data: dict[str, Any], split: tuple[int, float, float, int]) -> str:
    parts = data.get("parts")
    if not parts:
        return "Its data were split into training and validation; there is no test part." if split[1] else ""
    if not (parts["validation"] or parts["test"]):
        return f"All {parts['training']:,} pairs were learned, none was withheld."
    return (
        f"Of its pairs {parts['training']:,} were learned; withheld by question were {parts['validation']:,} to choose "
        f"by (validation) and {parts['test']:,} to report on (test)"
        + (f"; {moved} questions went where a near-duplicate is" if (moved := data.get("near_duplicates")) else "")
        + (". `data.withheld` in kochat.json names these questions." if "withheld" in data else ".")
    )


def _about_losses(metrics: dict[str, Any]) -> str:
    history = metrics.get("history") or []
    kept = next((one for one in history if one["epoch"] == metrics.get("epoch")), None)
    lines = []
    if kept:
        held_out = "" if kept["validation_loss"] is None else f", validation {kept['validation_loss']:.3f}"
        lines.append(f"Loss after {kept['epoch']} epochs: training {kept['loss']:.3f}{held_out} (nats per token).")
    if (own := metrics.get("own_answers")) and own["asked"]:
        lines.append(f"Of {own['asked']} answers that it was trained on it gives {own['right']} word for word.")
    if base := metrics.get("base_nll"):
        change = "{before:.3f} before and {after:.3f} after its training (nats per character)".format(**base)
        lines.append(f"On {base['pairs']} validation pairs of its base: {change}.")
    return "\n".join(lines)


def _where(measured: dict[str, dict[str, Any]]) -> str:
    given, strengths = "given" in measured, [one["strength"] for one in measured.values() if "strength" in one]
    where = "the pairs given" if given else "the questions that its training kept out"
    return where + (f", at strength {strengths[0]:g}" if strengths else "")


def _figures_table(measured: dict[str, dict[str, Any]]) -> str:
    """One row a figure that was measured, a column a part: earlier versions measured fewer, and no intervals."""
    head, around = ["figure"], any(one.get("intervals") for one in measured.values())
    for part in measured:
        head += [part if len(measured) > 1 else "value", *(["95 % interval"] if around else [])]
    rows = []
    for key in FIGURE_NAMES:
        if any(key in one for one in measured.values()):
            rows.append([figure_name(key, *measured.values())])
            for one in measured.values():
                interval = " to ".join(f"{end:.4g}" for end in (one.get("intervals") or {}).get(key, ()))
                rows[-1] += [f"{one[key]:.4g}" if key in one else "", *([interval] if around else [])]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([cells[0], "|---" * len(head) + "|", *cells[1:]])


def figure_name(key: str, *measured: dict[str, Any]) -> str:
    """What a figure is called; earlier versions judged replies by a classifier that had learned them."""
    name = FIGURE_NAMES[key]
    return name if all(map(is_cross_fitted, measured)) else name.replace("cross-fitted", "in-sample")


def _about_strengths(measured: Sequence[dict[str, float]], strength: float) -> str:
    people = measured[0].get("recogniser_accuracy")
    if people is None:
        return f"How strong the label is, chosen on the same questions: {strength:g}"
    return (
        f"How strong the label is, chosen on the validation questions: {strength:g}. The classifier tells the label of "
        f"{people:.1%} of the answers by people to them."
    )


def _strengths_table(measured: Sequence[dict[str, float]]) -> str:
    names = [
        name if "recogniser_accuracy" in measured[0] else name.replace("cross-fitted", "in-sample")
        for name in STRENGTH_NAMES.values()
    ]
    return _table(names, [[f"{one[name]:.4g}" for name in STRENGTH_NAMES] for one in measured])
