"""Step 5: the same pairs under two labels and under five: what more labels help, and what they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kochat.ui.learn import trainings
from kochat.ui.learn.frame import Step, paragraph, step, table_html, verdict_html, why_html
from kochat.ui.text import say

if TYPE_CHECKING:
    from kochat.evaluation.experiments import Granularity

NUMBER = 5
OPTIONS = {"better": "k_learn_5_better", "same": "k_learn_5_same", "worse": "k_learn_5_worse"}
CLOSE = 0.05  # shares that differ by less are called the same


def actual(few: float, many: float) -> str:
    """Which prediction was right, of the label accuracy under few and under many labels."""
    return "same" if abs(many - few) < CLOSE else "better" if many > few else "worse"


def labels_html(language: str, predicted: str | None, found: tuple[Granularity, Granularity]) -> str:
    """Both trainings side by side: own answers, and labels read in new questions beside chance."""
    rows = []
    for one in found:
        name = say(language, "k_learn_5_labels", n=len(one.labels), labels=", ".join(one.labels))
        counts = ((one.own_right, one.own_asked), (one.label_right, one.label_asked))
        cells = [say(language, "k_learn_share", n=n, all=all_, share=n / all_) for n, all_ in counts]
        rows.append((name, *cells, f"{1 / len(one.labels):.0%}"))
    heads = ("k_learn_training", "k_learn_5_own", "k_learn_5_read", "k_learn_5_chance")
    few, many = (one.label_accuracy for one in found)
    return (
        table_html([say(language, key) for key in heads], rows)
        + verdict_html(language, OPTIONS, predicted, actual(few, many))
        + paragraph(say(language, "k_learn_5_limits", most=found[1].label_possible / found[1].label_asked), "quiet")
        + why_html(language, NUMBER)
    )


def build() -> Step:
    """The components and events of the step."""

    def experiment(base):
        from kochat.evaluation import experiments  # torch takes seconds; the page is there before

        return experiments.more_labels(base)

    with step(NUMBER, OPTIONS) as made:
        trainings.build(made, "k_learn_train_two", experiment, labels_html)
    return made
