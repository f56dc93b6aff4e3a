"""The learning tab: one of seven steps at a time, which of them are done, and the way from one to the next.

Knows the steps and what the browser keeps; what happens in a step is in its own file.
"""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from kochat.ui.learn import errors, label, mask, more_labels, overfitting, own_data, tokens
from kochat.ui.learn.frame import NUM_STEPS, Progress, Step
from kochat.ui.text import language_of, say, t
from kochat.ui.widgets import PRIVATE

QUICK = {"queue": False, **PRIVATE}
# Nobody else reads it; a secret of its own would be another one after each start, and what is kept lost.
SECRET = "kochat_learn"
CLICK = """
element.addEventListener("click", event => {
  const button = event.target.closest("[data-step]");
  if (button) trigger("click", {step: Number(button.dataset.step)});
});
"""


def state() -> list[gr.BrowserState]:
    """What the browser keeps: the step, the steps that are done, the predictions.

    Each in a state of its own, which one handler alone writes: two answers that cross must not undo each other. Made
    outside the tabs, where they are there before anybody opens one.
    """
    firsts = {"step": 1, "done": [], "predictions": {}}
    return [gr.BrowserState(first, storage_key=f"kochat_learn_{name}", secret=SECRET) for name, first in firsts.items()]


def known(step: Any, done: Any, predictions: Any) -> Progress:
    """What the browser kept, as far as it can be true: it may be of another version, or made up."""
    numbers = range(1, NUM_STEPS + 1)
    return {
        "step": step if step in numbers else 1,
        "done": [one for one in numbers if isinstance(done, list) and one in done],
        "predictions": {
            str(one): predictions[str(one)]
            for one in numbers
            if isinstance(predictions, dict) and isinstance(predictions.get(str(one)), str)
        },
    }


def nav_html(language: str, progress: Progress) -> str:
    """A button for each step, with a mark where it is done."""
    buttons = ""
    for number in range(1, NUM_STEPS + 1):
        done = number in progress["done"]
        mark = f'<i aria-hidden="true">✓</i><span class="heard">{say(language, "k_learn_done")}</span>' if done else ""
        here = ' aria-current="step"' if number == progress["step"] else ""
        name = html.escape(say(language, f"k_learn_{number}_name"))
        inside = f"<b>{number}</b>{mark}<span>{name}</span>"
        buttons += f'<li><button type="button" data-step="{number}"{here}>{inside}</button></li>'
    counted = say(language, "k_learn_count", done=len(progress["done"]), all=NUM_STEPS)
    title = html.escape(say(language, "k_learn_nav"))
    return (
        f'<nav aria-label="{title}"><ol>{buttons}</ol></nav><p class="quiet" role="status">{html.escape(counted)}</p>'
    )


def view(language: str, progress: Progress) -> list:
    """What the navigation and the steps look like: the bar, the two buttons, each step there or not."""
    here = progress["step"]
    return [
        nav_html(language, progress),
        gr.Button(interactive=here > 1),
        gr.Button(interactive=here < NUM_STEPS),
        *(gr.Column(visible=number == here) for number in range(1, NUM_STEPS + 1)),
    ]


def build(tab: gr.Tab, tabs: gr.Tabs, progress: list[gr.BrowserState]) -> None:
    """The components and events of the tab."""
    gr.Markdown(t("k_learn_intro"), elem_classes="quiet")
    nav = gr.HTML(js_on_load=CLICK, elem_id="learn-nav")
    steps = [one.build() for one in (tokens, mask, label, errors, more_labels, overfitting)]
    steps.append(own_data.build(tabs))
    with gr.Row():
        back = gr.Button(t("k_learn_back"), interactive=False, min_width=120, elem_id="learn-back")
        forward = gr.Button(t("k_learn_forward"), min_width=120, elem_id="learn-forward")
    shown = [nav, back, forward, *(one.column for one in steps)]

    def moved(by: int, *kept, to: int | None = None, request: gr.Request) -> list:
        before = known(*kept)
        after = known(to or before["step"] + by, before["done"], before["predictions"])
        return [after["step"], *view(language_of(request), after)]

    def picked(step, done, predictions, request: gr.Request, event: gr.EventData):
        return moved(0, step, done, predictions, to=event.step, request=request)

    def backwards(step, done, predictions, request: gr.Request):
        return moved(-1, step, done, predictions, request=request)

    def forwards(step, done, predictions, request: gr.Request):
        return moved(1, step, done, predictions, request=request)

    def restored(is_restored: bool, step, done, predictions, request: gr.Request):
        if is_restored:  # since then only what one does changes it
            return gr.skip()
        progress = known(step, done, predictions)
        chosen = [_prediction(one, progress) for one in steps]
        buttons = [gr.Button(interactive=value is not None) for value in chosen]
        return [True, *view(language_of(request), progress), *chosen, *buttons]

    to_step = {"inputs": progress, "outputs": [progress[0], *shown], **QUICK}
    moves = [nav.click(picked, **to_step), back.click(backwards, **to_step), forward.click(forwards, **to_step)]
    choices, actions = [one.prediction for one in steps], [button for one in steps for button in one.buttons]
    is_restored = gr.State(False)
    moves.append(tab.select(restored, [is_restored, *progress], [is_restored, *shown, *choices, *actions], **QUICK))
    for one in steps:
        _watch(one, progress, nav, moves)


def _prediction(step: Step, progress: Progress) -> str | None:
    """What was predicted, where it can be chosen still."""
    value = progress["predictions"].get(str(step.number))
    return value if value in [one for _, one in step.prediction.choices] else None


def _watch(step: Step, progress: list[gr.BrowserState], nav: gr.HTML, moves: list) -> None:
    """The events of a step that the tab looks after: it was predicted, it was finished, one came to it."""
    number, (_, kept_done, kept_predictions) = str(step.number), progress

    def predicted(value: str, at, done, predictions) -> tuple:
        return {**known(at, done, predictions)["predictions"], number: value}, gr.Button(interactive=True)

    def finished(is_finished: bool, at, done, predictions, request: gr.Request) -> tuple:
        kept = known(at, done, predictions)
        if not is_finished or step.number in kept["done"]:
            return gr.skip(), gr.skip()
        kept["done"] = sorted([*kept["done"], step.number])
        return kept["done"], nav_html(language_of(request), kept)

    step.prediction.input(predicted, [step.prediction, *progress], [kept_predictions, *step.buttons], **QUICK)
    step.finished.change(finished, [step.finished, *progress], [kept_done, nav], **QUICK)
    if step.opened:
        prepare, inputs, outputs = step.opened

        def opened(at, done, predictions, request: gr.Request, *values: str):
            is_here = known(at, done, predictions)["step"] == step.number
            return prepare(*values, request) if is_here else gr.skip()

        for move in moves:
            move.then(opened, [*progress, *inputs], outputs, **QUICK)
