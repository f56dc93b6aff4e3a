"""The learning tab's handlers: the numbers of each step, what counts as right, what is kept, who may train."""

import html
import math
import random
import re

import gradio as gr
import numpy as np
import pytest
import torch
from accelerate.utils import set_seed
from conftest import MINI

from kochat.evaluation.experiments import Granularity, LabelEffect, Overfit, Tick
from kochat.inference import chatbot
from kochat.training.events import Epoch, Step
from kochat.training.trainer import with_own_random_numbers
from kochat.ui import models
from kochat.ui.learn import errors, frame, label, mask, more_labels, overfitting, own_data, tab, tokens, trainings
from kochat.ui.text import TEXTS
from kochat.ui.widgets import percent

QUESTION = "12시 땡!"


def visitor(host="127.0.0.1", language="ko-KR"):
    """A request as gradio hands it to a handler."""
    return gr.Request(client={"host": host}, cookies={}, headers={"accept-language": language})


def text(shown: str) -> str:
    """What a person reads of HTML."""
    return re.sub(r"\s+", " ", html.unescape(re.sub("<[^>]+>", " ", shown)))


@pytest.fixture(scope="module")
def mini():
    return chatbot.load(MINI)


@pytest.fixture(autouse=True)
def _one_bot(mini):
    """The shipped chatbot is loaded once for all of these tests."""
    models._bots.clear()
    models._keep(models.version("kochat-mini"), mini)


def test_each_press_adds_a_token_and_the_product_is_that_of_the_whole_reply(mini):
    steps, reply = mini.explain(QUESTION, strength=0), None
    for number, step in enumerate(steps, 1):
        reply, shown, finished, again = tokens.press(reply, QUESTION, "half", visitor())
        assert shown.count('<li class="step') == number
        assert shown.count("<tr>") == 5
        assert percent(step.probability) in text(shown)
        assert finished == (number == len(steps))
        assert again.visible == finished
    whole = math.prod(step.probability for step in steps)
    assert math.log(whole) == pytest.approx(mini.score(QUESTION, mini.reply(QUESTION, strength=0)), abs=0.05)
    assert f"모두 곱한 {percent(whole)}가 답 전체의 확률" in text(shown)
    assert ("맞혔어요!" in shown) == (whole >= 0.5)
    # It stays there, and begins anew where somebody asks for that or another question stands there.
    assert tokens.press(reply, QUESTION, None, visitor())[0] == reply
    assert tokens.begin_again()[:2] == (None, "")
    assert tokens.press(reply, "안녕", None, visitor())[0].num_shown == 1
    with pytest.raises(gr.Error, match="질문이 비어"):
        tokens.press(None, " ", None, visitor())


@pytest.mark.parametrize(
    ("rule", "values", "told"),
    [
        (tokens.actual, [(0.5,), (0.1,), (0.01,), (0.0099,)], ["half", "tenth", "hundredth", "less"]),
        (mask.actual, [(0.5,), (1,), (2,), (3,)], ["less", "same", "some", "many"]),
        (label.actual, [(1,), (0.5,), (1 / 3,), (0.1,)], ["most", "half", "third", "none"]),
        (errors.actual, [(0.9, 0.5), (0.9, 0.9), (0.5, 0.9)], ["less", "same", "more"]),
        (more_labels.actual, [(0.5, 0.6), (0.5, 0.52), (0.8, 0.4)], ["better", "same", "worse"]),
        (overfitting.actual, [(9, 9), (3, 9), (1, 9)], ["falls", "turns", "rises"]),
    ],
)
def test_what_was_right_to_predict(rule, values, told):
    assert [rule(*one) for one in values] == told


def test_both_losses_of_a_pair_are_shown_with_what_makes_them_differ(mini):
    shown, finished = mask.press(*mask.PAIR, "many", visitor())
    _, found = mask.losses_of(*mask.PAIR)
    told = text(shown)
    assert finished
    assert found.ours == pytest.approx(-mini.score(*mask.PAIR, "0") / found.answer_tokens, rel=1e-3)
    assert f"답 {found.answer:.2f} ÷ {found.answer_tokens} {found.ours:.2f}" in told
    assert f"÷ {found.counted} {found.notebook:.2f}" in told
    assert "ln(어휘 크기) = 8.76" in told  # of 6,400 tokens
    assert "기울기: 0." in told
    assert "코사인: 1.000" in told
    assert "맞혔어요!" in told
    assert shown.count('class="piece answer"') == found.answer_tokens


def test_a_forced_token_is_marked_and_both_replies_have_their_probabilities(mini):
    offered, question = errors.offer(QUESTION, "", visitor())
    assert errors.offer(QUESTION, question, visitor()) == (gr.skip(), gr.skip())
    assert len(offered.choices) == 5
    greedy = mini.explain(QUESTION, strength=0)
    for told, start in offered.choices:
        ids = tuple(map(int, start.split()))
        steps = mini.explain(QUESTION, strength=0, start=ids)
        shown, finished = errors.press(QUESTION, start, "less", visitor())
        rest = math.prod(step.probability for step in steps[len(ids) :]) ** (1 / (len(steps) - len(ids)))
        whole = math.prod(step.probability for step in steps)
        row = f"끼워 넣은 답 {mini.text_of([step.token_id for step in steps])} {percent(whole)} {percent(rest)}"
        assert finished
        assert row in text(shown)
        assert percent(math.prod(step.probability for step in greedy)) in text(shown)
        assert shown.count(" forced") == 1
        assert f"‘{steps[len(ids) - 1].token.strip()}’" in told
    assert "남자친구" in offered.choices[-1][0]
    assert offered.value == offered.choices[-1][1]
    with pytest.raises(gr.Error):
        errors.press(QUESTION, "999999", "less", visitor())


def test_the_rows_of_a_file_are_checked_as_any_file_is():
    shown, finished = own_data.press("3", visitor())
    assert finished
    for told in ("쓸 수 있는 행 3 + 고칠 행 3", "4행 · 답변: 비어 있어요", "6행: 2행과 똑같아요", "맞혔어요! ‘3행’"):
        assert told in text(shown)
    assert "쉬는 날은 언제예요?" in own_data.file_html("en")


def event(kind, **values):
    """An Epoch or a Step of which only some values matter."""
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def going(result):
    """An experiment that is done at once."""

    def experiment(base):
        assert base == MINI
        yield Tick(1, 2, 0.25, event(Step, step=1, steps=4, loss=3.5))
        epoch = {"epoch": 1, "epochs": 2, "loss": 2.5, "validation_loss": 3.0, "own_right": 1, "own_asked": 9}
        yield Tick(2, 2, 0.75, event(Epoch, **epoch))
        yield result

    return experiment


def test_a_training_tells_how_far_it_is_and_in_the_end_what_came_out():
    told, drawn = (lambda language, predicted, found: f"{predicted} {found}"), (lambda language, epochs: len(epochs))
    first, second, last = trainings.run(going("fertig"), told, drawn, "most", visitor())
    assert 'aria-valuenow="25"' in first[0]
    assert "학습 1/2 · 손실 3.50" in first[0]
    assert "학습 2/2 · 손실 2.50 · 에폭 1 / 2" in second[0]
    assert second[2] == 1
    assert last[:2] == ("most fertig", True)


def test_a_training_leaves_the_random_numbers_of_others_alone():
    def draw():
        return torch.rand(1).item(), random.random(), np.random.rand()

    def training():
        set_seed(7)
        while True:
            yield draw()

    set_seed(1)
    alone = [draw() for _ in range(3)]
    set_seed(1)
    going = with_own_random_numbers(training())
    both = [(next(going), draw()) for _ in range(3)]
    assert [others for _, others in both] == alone
    expected = training()
    assert [own for own, _ in both] == [next(expected) for _ in range(3)]


def test_only_the_owner_trains_and_everybody_does_the_rest():
    stranger = visitor("8.8.8.8", "en-US")
    with pytest.raises(Exception, match="Only the owner"):
        next(trainings.run(going(None), None, None, "most", stranger))
    assert mask.press(*mask.PAIR, "many", stranger)[1]
    assert errors.press(QUESTION, None, "less", stranger)[1]


def test_what_came_out_of_the_trainings_is_told_in_numbers():
    with_label = LabelEffect(["가", "나", "다"], ["일상", "이별"], [["1", "2"]] * 3, 6, 6)
    without = LabelEffect(["가", "나", "다"], ["일상", "이별"], [["1", "2"], ["1", "1"], ["<i>", "2"]], 2, 6)
    shown = label.effect_html("ko", "third", (with_label, without))
    assert "라벨을 넣고 학습 3개 중 3개 (100%) 6개 중 6개 (100%)" in text(shown)
    assert "라벨을 빼고 학습 (노트북처럼) 3개 중 2개 (67%) 6개 중 2개 (33%)" in text(shown)
    assert "맞혔어요! ‘셋 중 하나쯤’" in text(shown)
    assert "&lt;i&gt;" in shown
    few, many = Granularity(["대화", "일터"], 9, 25, 22, 25, 25), Granularity(list("abcde"), 22, 25, 7, 25, 10)
    shown = text(more_labels.labels_html("en", "same", (few, many)))
    assert "9 of 25 (36%) 22 of 25 (88%) 50%" in shown
    assert "22 of 25 (88%) 7 of 25 (28%) 20%" in shown
    assert "more than 40% right" in shown
    assert "it was “less often”" in shown
    shown = text(overfitting.overfit_html("ko", "turns", Overfit([6.0, 2.5, 0.1], [5.8, 5.4, 5.6], 17, 18, 0, 12)))
    assert "1번째 6.00 5.80 2번째 2.50 5.40 3번째 0.10 5.60" in shown
    assert "배운 답은 18개 중 17개를 그대로 말했고, 새 질문의 답은 12개 중 0개를" in shown
    assert "맞혔어요! ‘내려가다가 다시 올라간다’" in shown


@pytest.mark.parametrize("kept", [(None, None, None), ([], [], []), (9, "1", 3), (1, [0, 8, "x"], {"1": 2})])
def test_what_the_browser_kept_may_be_anything(kept):
    assert tab.known(*kept) == {"step": 1, "done": [], "predictions": {}}


def test_the_navigation_marks_what_is_done_and_where_one_is():
    progress = tab.known(3, [2, 1, 2], {"1": "half"})
    shown = tab.nav_html("ko", progress)
    assert re.findall(r'data-step="(\d)" aria-current', shown) == ["3"]
    assert shown.count("✓") == 2
    assert "7단계 가운데 2단계를" in shown
    assert [one.visible for one in tab.view("ko", progress)[3:]] == [n == 3 for n in range(1, frame.NUM_STEPS + 1)]


def test_every_step_is_asked_and_explained_in_both_languages():
    for texts in TEXTS.values():
        for number in range(1, frame.NUM_STEPS + 1):
            assert 3 <= len(re.findall(r"[.?](?=\s|$)", texts[f"k_learn_{number}_why"])) <= 6
