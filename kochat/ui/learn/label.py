"""Step 3: the label in the prompt, with it in training and without, as in the notebook."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from kochat.ui.learn import trainings
from kochat.ui.learn.frame import Step, paragraph, step, table_html, verdict_html, why_html
from kochat.ui.text import say

if TYPE_CHECKING:
    from kochat.evaluation.experiments import LabelEffect

NUMBER = 3
OPTIONS = {
    "most": "k_learn_3_most",
    "half": "k_learn_3_half",
    "third": "k_learn_3_third",
    "none": "k_learn_3_none",
}
EXAMPLES = 3


def actual(share: float) -> str:
    """Which prediction was right, so many replies being those of their label."""
    return "most" if share > 0.8 else "half" if share > 0.45 else "third" if share > 0.15 else "none"


def effect_html(language: str, predicted: str | None, found: tuple[LabelEffect, LabelEffect]) -> str:
    """Both trainings side by side: how often the label changes the reply, how often it is the label's own; examples."""
    names = [say(language, key) for key in ("k_learn_3_with", "k_learn_3_without")]
    rows = [
        (
            name,
            say(
                language,
                "k_learn_share",
                n=one.changed,
                all=len(one.questions),
                share=one.changed / len(one.questions),
            ),
            say(language, "k_learn_share", n=one.right, all=one.asked, share=one.right / one.asked),
        )
        for name, one in zip(names, found, strict=True)
    ]
    heads = [say(language, key) for key in ("k_learn_training", "k_learn_3_changes", "k_learn_3_right")]
    title = html.escape(say(language, "k_learn_3_examples"))
    examples = "".join(_example_html(language, i, names, found) for i in range(EXAMPLES))
    without = found[1]
    return (
        table_html(heads, rows)
        + verdict_html(language, OPTIONS, predicted, actual(without.right / without.asked))
        + f"<h4>{title}</h4>{examples}"
        + paragraph(say(language, "k_learn_3_fresh"), "quiet")
        + why_html(language, NUMBER)
    )


def _example_html(language: str, i: int, names: list[str], found: tuple[LabelEffect, LabelEffect]) -> str:
    """A question under each label, a column a training."""
    labels = found[0].labels
    rows = [(label, *(one.replies[i][place] for one in found)) for place, label in enumerate(labels)]
    return paragraph(f"“{found[0].questions[i]}”") + table_html([say(language, "k_row_label"), *names], rows)


def build() -> Step:
    """The components and events of the step."""

    def experiment(base):
        from kochat.evaluation import experiments  # torch takes seconds; the page is there before

        return experiments.label_in_prompt(base)

    with step(NUMBER, OPTIONS) as made:
        trainings.build(made, "k_learn_train_two", experiment, effect_html)
    return made
