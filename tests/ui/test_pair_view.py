"""How training sees a pair: the table against the ids, the mask and the losses."""

import html
import math
import re

import pytest

from kochat.errors import ReplyError
from kochat.inference import chatbot
from kochat.model import checkpoint
from kochat.model.prompt import Part
from kochat.ui.training import pair_view


def cells(shown: str) -> list[list[str]]:
    """The texts of a table's rows."""
    rows = re.findall(r"<tr.*?</tr>", shown)[1:]
    return [[html.unescape(re.sub("<[^>]+>", "", cell)) for cell in re.findall(r"<td>(.*?)</td>", row)] for row in rows]


def test_each_token_has_its_part_its_target_and_its_loss(bot):
    bot.card.config = {"label_loss": 0.4, "question_loss": 0.0}
    shown, tokens = pair_view.pair_html("en", bot, "안녕", "네.", "2"), bot.examine("안녕", "네.", "2")
    rows = cells(shown)
    assert [row[0] for row in rows] == [str(i + 1) for i in range(len(tokens))]
    assert [int(row[6]) for row in rows] == [one.token_id for one in tokens]
    parts = {"structure": Part.STRUCTURE, "Question": Part.QUESTION, "Label": Part.LABEL, "Answer": Part.ANSWER}
    assert [parts[row[3]] for row in rows] == [one.part for one in tokens]
    for row, one in zip(rows, tokens, strict=True):
        masked = one.label == -100
        beside = one.learned_as == Part.LABEL
        shown_as = "learned too ×0.4" if beside else "masked"
        assert row[4] == (f"-100 · {shown_as}" if masked else f"{one.token_id} · predicted")
        counts = one.learned_as in (Part.LABEL, Part.ANSWER)
        assert row[2].split(" ")[0] == (f"{one.nats:.2f}" if counts else "–")
    # A token is predicted from those before it and no other.
    assert rows[-1][5] == "… " + " ".join(row[1] for row in rows[-5:-1])
    assert rows[4][5] == "–" if tokens[4].learned_as == Part.QUESTION else True
    answer = [one.nats for one in tokens if one.label != -100]
    mean = sum(answer) / len(answer)
    assert f"The {len(answer)} answer tokens cost {mean:.2f} nats each" in shown
    assert -sum(answer) == pytest.approx(bot.score("안녕", "네.", "2"), rel=1e-4)
    assert math.exp(-mean) < 1


def test_a_long_pair_shows_where_it_is_cut(bot):
    shown = pair_view.pair_html("ko", bot, "x" * 100, "y" * 300, "0")
    tokens = bot.examine("x" * 100, "y" * 300, "0")
    cut = sum(not one.kept for one in tokens)
    assert f"토큰 {len(tokens)}개가 최대 길이 64개를 넘어서 {cut}개가 잘렸어요" in shown
    assert shown.count("<del>") == sum(not one.kept for one in tokens[: pair_view.MAX_ROWS])
    assert len(cells(shown)) == pair_view.MAX_ROWS
    assert "… " in shown


def test_what_people_typed_is_shown_as_text(bot):
    shown = pair_view.pair_html("ko", bot, "<script>x</script></s>", "<b>\n</b>", "0")
    assert "<script" not in shown
    assert "<b>" not in shown.replace("<p><b>", "")
    with pytest.raises(ReplyError):
        pair_view.pair_html("ko", bot, " ", "네", "0")


def test_how_much_other_tokens_counted_is_told_as_far_as_it_is_known(bot):
    def shown(**config):
        bot.card.config = config
        html = pair_view.pair_html("en", bot, "안녕", "네", "0")
        # What has a loss is what was learned, and nothing else.
        assert [row[2] != "–" for row in cells(html)] == ["masked" not in row[4] for row in cells(html)]
        return html

    assert "Answer 1 · Label 0.4 · Question 0.2 (" in shown(label_loss=0.4, question_loss=0.2)
    assert "Answer 1 · Label 0.2 (" in shown(label_loss=0.2, question_loss=0.0)
    assert "Answer 1 · Question 1 (" in shown(label_loss="<b>", question_loss=1)
    for nothing in ({}, {"label_loss": 0, "question_loss": 0.0}, {"label_loss": math.nan}):
        plain = shown(**nothing)
        assert "learned" not in plain
        assert "only the answer is to be guessed" in plain


def test_the_dropdowns_follow_what_is_there(home, model, tokenizer):
    folder = home / "checkpoints"
    checkpoint.save(folder / "jobs", model, tokenizer, checkpoint.Card(labels=["건설현장", "우산장수"]))
    assert pair_view.bot_dropdown("jobs").value == "jobs"
    assert pair_view.bot_dropdown("gone").value == "kochat-mini"
    assert pair_view.label_dropdown("jobs", "0").value == "건설현장"
    assert [value for _, value in pair_view.label_dropdown("jobs", "우산장수").choices] == ["건설현장", "우산장수"]
    assert pair_view.label_dropdown("jobs", "우산장수").value == "우산장수"
    assert chatbot.load(folder / "jobs").labels == ["건설현장", "우산장수"]
