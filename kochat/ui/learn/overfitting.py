"""Step 6: a few pairs for many epochs: both losses, own answers against those to new questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from kochat.ui.learn import trainings
from kochat.ui.learn.frame import Step, paragraph, step, table_html, verdict_html, why_html
from kochat.ui.progress import as_frame, empty_plot, loss_plot, series
from kochat.ui.text import say

if TYPE_CHECKING:
    from kochat.evaluation.experiments import Overfit
    from kochat.training.events import Epoch

NUMBER = 6
OPTIONS = {"falls": "k_learn_6_falls", "turns": "k_learn_6_turns", "rises": "k_learn_6_rises"}


def actual(best: int, epochs: int) -> str:
    """Which prediction was right, the validation loss being lowest after the epoch `best`."""
    return "falls" if best == epochs else "rises" if best == 1 else "turns"


def overfit_html(language: str, predicted: str | None, found: Overfit) -> str:
    """The losses in the beginning, at their best and in the end; own answers and new ones."""
    best, last = found.best_epoch, len(found.validation)
    rows = [
        (say(language, "k_learn_6_epoch", epoch=epoch), *(f"{losses[epoch - 1]:.2f}" for losses in both))
        for both in [(found.training, found.validation)]
        for epoch in dict.fromkeys((1, best, last))
    ]
    own = say(
        language,
        "k_learn_6_answers",
        right=found.own_right,
        asked=found.own_asked,
        new_right=found.new_right,
        new_asked=found.new_asked,
    )
    heads = [say(language, key) for key in ("k_epoch", "k_training_loss", "k_validation_loss")]
    return (
        table_html(heads, rows)
        + paragraph(own)
        + verdict_html(language, OPTIONS, predicted, actual(best, last))
        + why_html(language, NUMBER)
    )


def curve(language: str, epochs: list[Epoch]) -> gr.LinePlot:
    """Both losses of the epochs so far."""
    names = series(language)[:2]
    rows = [(one.epoch, one.loss, names[0]) for one in epochs]
    rows += [(one.epoch, one.validation_loss, names[1]) for one in epochs]
    return loss_plot(language, as_frame(rows), names, epochs[-1].epochs)


def build() -> Step:
    """The components and events of the step."""

    def experiment(base):
        from kochat.evaluation import experiments  # torch takes seconds; the page is there before

        return experiments.overfitting(base)

    with step(NUMBER, OPTIONS) as made:
        trainings.build(
            made, "k_learn_train_one", experiment, overfit_html, curve, lambda: empty_plot(elem_id="overfit-plot")
        )
    return made
