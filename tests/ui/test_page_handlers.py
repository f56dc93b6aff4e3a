"""The page's own small functions: texts in both languages, messages to the letter, a journal made visible."""

import os
import re
import subprocess
import sys
from dataclasses import replace

import gradio as gr
import pytest

from kochat.config import TrainingConfig
from kochat.data import checks
from kochat.data.splits import MAX_WITHHELD_NAMED
from kochat.errors import CheckpointError, DataError
from kochat.inference import retrieval
from kochat.inference.sampling import Sampling
from kochat.model import checkpoint
from kochat.model.cards import COLOURS, FIGURE_NAMES, Card
from kochat.runs import queue, registry
from kochat.training.events import PREPARING
from kochat.ui import models, progress, sources, text, widgets
from kochat.ui.chat import learning, messages, variety
from kochat.ui.chat import tab as chat
from kochat.ui.checkpoints import figures
from kochat.ui.checkpoints import tab as shelf
from kochat.ui.runs import tab as history
from kochat.ui.training import form
from kochat.ui.training import tab as training

STARTED = {
    "type": "started",
    "pairs": 54,
    "validation_pairs": 6,
    "cut": 0,
    "steps": 20,
    "epochs": 2,
    "at_step": 0,
    "data_sha256": "0" * 64,
}


def step(number, seconds):
    return {"type": "step", "step": number, "steps": 20, "loss": 1.0, "seconds": seconds}


def epoch(number, loss, validation_loss):
    samples = [{"question": "안녕 <b>", "label": label, "reply": f"답 {number} <i>"} for label in ("0", "건설현장")]
    return {
        "type": "epoch",
        "epoch": number,
        "epochs": 2,
        "loss": loss,
        "validation_loss": validation_loss,
        "perplexity": 12.25,
        "tokens_per_second": 801.0,
        "seconds": 61.0,
        "samples": samples,
    }


@pytest.fixture
def run(home):
    """A run called mine, as if this process trained it."""
    made = queue.create(TrainingConfig(data="emotions", output=str(home / "checkpoints" / "mine")))
    queue.mark_launched(made, os.getpid())
    return made


def write(run, *events):
    for event in events:
        run.write(event["type"], **{name: value for name, value in event.items() if name != "type"})


def test_every_text_is_there_in_both_languages_with_the_same_blanks():
    korean, english = text.TEXTS["ko"], text.TEXTS["en"]
    assert korean.keys() == english.keys()
    for key in korean:
        assert key.startswith("k_")
        assert sorted(re.findall(r"{\w+}", korean[key])) == sorted(re.findall(r"{\w+}", english[key])), key
        assert re.search("[가-힣]|^…$", korean[key]), key
        assert not re.search("[가-힣]", english[key]), key


def test_the_settings_of_a_run_are_called_as_the_form_calls_them(run):
    from kochat.ui.runs import tab as history

    rows = {row[0]: row[1] for row in history.settings_table("ko", [run])["data"]}
    assert rows["검증 비율 (validation_share)"] == "–"  # what the number of pairs says
    assert rows["사용할 행 수 (rows)"] == "–"
    assert rows["bad_rows"] == "refuse"  # which the form does not ask for
    assert "Early stopping (patience)" in [row[0] for row in history.settings_table("en", [run])["data"]]


def test_every_text_is_used_and_every_used_text_is_there():
    import kochat.ui
    from kochat.ui.learn import mask

    folder = kochat.ui.__path__[0]
    from pathlib import Path

    code = "".join(path.read_text("utf-8") for path in Path(folder).rglob("*.py"))
    used = set(re.findall(r'"(k_\w+)"', code))
    made = {f"k_label_{name}" for name in ("auto", "0", "1", "2")}
    made |= {f"k_state_{name}" for name in ("running", "stopped", "cancelled")}
    made |= {f"k_is_{name}" for name in (*registry.RESUMABLE, "queued", "running", "finished")}
    made |= {f"k_keep_{name}" for name in ("auto", "best", "last")}
    made |= {f"k_keep_labels_{name}" for name in form.KEEP_LABELS}
    made |= {f"k_data_{name}" for name in ("emotions", "jobs", "everyday", "ChatbotData", "own")}
    made |= {f"k_reason_{name}" for name in (*checks.BAD, *checks.NOTES)}
    made |= {f"k_only_{name}" for name in ("all", "bad", "notes")}
    made |= {f"k_how_{name}" for name in ("liked", "disliked", "corrected", "added")}
    made |= {f"k_review_is_{name}" for name in ("waiting", "accepted", "refused")}
    made |= {f"k_change_{name}" for name in ("none", "import", "edit", "add", "delete", "leave_out", "go_back", "undo")}
    made |= {f"k_figure_{name}" for name in FIGURE_NAMES} | {"k_part_validation", "k_part_test"}
    made |= {f"k_preparing_{name}" for name in PREPARING}
    made |= {f"k_verdict_{name}" for name in ("all", "partly", "none")}
    made |= {
        f"k_{kind}_{name}" for kind in ("advice", "try") for name in ("rehearsal", "epochs", "learning_rate", "keep")
    }
    made |= {f"k_colour_{name}" for name in COLOURS}
    made |= {f"k_{kind}_{name}" for kind in ("word", "means") for name in (*figures.GLOSSARY, *mask.GLOSSARY)}
    made |= {f"k_learn_{step}_{part}" for step in range(1, 8) for part in ("name", "title", "ask", "predict", "why")}
    assert used | made | {"k_title"} == set(text.TEXTS["ko"])


@pytest.mark.parametrize("typed", ["</s><sys>", "  두  칸 ", "a\n\nb", "<script>x</script>", "&lt;", "**x**"])
def test_a_message_comes_back_as_it_was_typed(typed):
    made = messages.message("user", typed, "note")
    assert messages.text_of(made) == typed
    assert "<script" not in made["content"][0]["text"]
    bare = {**messages.message("user", typed), "metadata": None}
    assert messages.text_of(bare) == typed


def test_again_and_undo_cut_at_the_last_question():
    history = [messages.message(role, words) for role, words in [("user", "하나"), ("assistant", "1"), ("user", "둘")]]
    assert messages.until_last_question([*history, messages.message("assistant", "2")]) == history
    assert chat.undone([*history, messages.message("assistant", "2")]) == ("둘", history[:2])
    assert messages.until_last_question([]) == []


def test_the_note_says_the_label_how_sure_and_who():
    read = {"0": 0.1, "1": 0.88, "2": 0.02}
    assert (
        chat.note_for("ko", "auto", read, "1", Card(["0", "1", "2"]), "kochat-mini")
        == "자동 → 이별·부정 88% · kochat-mini"
    )
    jobs = Card(["건설현장", "우산장수"], label_names={"우산장수": "umbrellas"})
    assert chat.note_for("en", "건설현장", None, "건설현장", jobs, "jobs") == "건설현장 · jobs"
    assert chat.note_for("en", "우산장수", None, "우산장수", jobs, "jobs") == "umbrellas · jobs"


def replies(history, name, unsure=False, label="0"):
    return list(chat.reply_to(history, label, 0.0, name, "ko", unsure))[-1][-1]


def test_a_strange_question_is_marked_and_where_asked_for_not_answered(home, model, tokenizer):
    card = Card(labels=["0", "1", "2"], max_length=64, familiarity={"questions": 20, "threshold": 0.01})
    checkpoint.save(home / "checkpoints" / "knows", model, tokenizer, card)
    checkpoint.save(home / "checkpoints" / "tells-nothing", model, tokenizer, replace(card, familiarity={}))
    history = [messages.message("user", "안녕")]
    for label in ("0", "auto"):
        marked = replies(history, "knows", label=label)
        assert text.TEXTS["ko"]["k_unfamiliar"] in marked["content"][0]["text"]
        refused = replies(history, "knows", unsure=True, label=label)
        assert messages.text_of(refused) == text.TEXTS["ko"]["k_unsure_reply"]
        assert text.TEXTS["ko"]["k_unfamiliar"] not in refused["content"][0]["text"]
        assert messages.source_of(refused)[1] == "knows"
        # Without a calibration nothing is said, and everything answered.
        plain = replies(history, "tells-nothing", unsure=True, label=label)
        assert messages.text_of(plain) == messages.text_of(marked)
        assert text.TEXTS["ko"]["k_unfamiliar"] not in plain["content"][0]["text"]
    checkpoint.write_card(
        home / "checkpoints" / "knows", "knows", replace(card, familiarity={"questions": 20, "threshold": 1000})
    )
    # A card that was calibrated anew is read anew.
    os.utime(home / "checkpoints" / "knows" / "kochat.json", (1, 1))
    assert text.TEXTS["ko"]["k_unfamiliar"] not in replies(history, "knows", unsure=True)["content"][0]["text"]


def test_the_note_says_so_where_only_the_end_of_a_question_was_read(home, model, tokenizer):
    checkpoint.save(home / "checkpoints" / "short", model, tokenizer, Card(labels=["0", "1", "2"], max_length=32))
    for question, is_cut in (("안녕", False), ("가나다 " * 1250, True)):
        shown = replies([messages.message("user", question)], "short")["content"][0]["text"]
        assert (text.TEXTS["ko"]["k_question_cut"] in shown) == is_cut


def test_the_note_tells_the_strength_where_there_is_one():
    known = Card(["0", "1", "2"])
    assert chat.note_for("ko", "2", None, "2", known, "mini", 2.5) == "사랑·긍정 · 세기 2.5 · mini"
    assert chat.note_for("en", "auto", {"2": 0.5}, "2", known, "mini", 3.0) == (
        "Automatic → Love, positive 50% · strength 3 · mini"
    )
    assert chat.note_for("ko", "2", None, "2", known, "mini", 0.0) == "사랑·긍정 · mini"


def test_the_slider_stands_at_the_checkpoints_own_strength_and_is_fixed_where_it_learned_none():
    able, plain = Card(["0"], strength=2.5, config={"label_dropout": 0.1}), Card(["0"], config={"label_dropout": 0})
    shown = {"value": "2.5", "interactive": "True", "info": str(text.t("k_strength_info"))}
    shown["label"] = str(text.t("k_strength_of_label"))
    assert {name: str(value) for name, value in chat.strength_slider(able).items()} == shown
    shown |= {"value": "0.0", "interactive": "False", "info": str(text.t("k_no_strength"))}
    assert {name: str(value) for name, value in chat.strength_slider(plain).items()} == shown
    assert chat.strength_slider(Card(["0"]))["interactive"] is False
    assert str(chat.strength_slider(Card(["0", "1", "2"]))["label"]) == str(text.t("k_strength"))
    able.strength = 50.0  # more than the slider has
    assert chat.strength_slider(able)["value"] == 6.0


@pytest.mark.parametrize(("label_dropout", "used"), [(0.1, 4.0), (0, 0.0)])
def test_a_reply_takes_the_strength_of_the_slider_where_the_checkpoint_can(bot, monkeypatch, label_dropout, used):
    bot.card.config["label_dropout"] = label_dropout
    monkeypatch.setattr(chat, "bot", lambda name: bot)
    *_, history = chat.reply_to([messages.message("user", "안녕")], "1", 4.0, "tiny", "ko")
    assert messages.text_of(history[-1]) == bot.reply("안녕", "1", used)
    assert ("세기 4" in history[-1]["content"][0]["text"]) == bool(used)


def test_the_note_tells_the_temperature_where_there_is_one():
    known = Card(["0", "1", "2"])
    assert chat.note_for("ko", "2", None, "2", known, "mini", 0.5, 0.8) == "사랑·긍정 · 세기 0.5 · 다양하게 0.8 · mini"
    assert chat.note_for("en", "2", None, "2", known, "mini", 0, 1.0) == "Love, positive · variety 1 · mini"


class Says:
    """A chatbot that has a reply to each of its seeds, and notes how it was asked."""

    def __init__(self, *texts, greedy="좋은 아침"):
        self.texts, self.greedy, self.asked = list(texts), greedy, []

    def stream(self, question, label, strength, *, temperature, top_p, seed):
        self.asked.append((temperature, top_p))
        yield from re.findall(r" ?\S+", self.texts.pop(0) if temperature else self.greedy)


def grown(bot, *args, before):
    return list(variety.grown(bot, "안녕", "0", 0.5, variety.samplings(*args), before))


def test_another_reply_is_drawn_until_it_differs_and_nothing_shows_what_may_be_the_old_one():
    bot = Says("좋은 아침", "좋은 아침", "좋은 저녁 되세요", "안녕")
    shown = grown(bot, 0, True, True, before="좋은 아침")
    assert [said for said, _ in shown] == ["좋은 저녁", "좋은 저녁 되세요", "좋은 저녁 되세요"]
    assert bot.asked == [(0.8, 0.9)] * 3  # the slider stands at 0
    assert len({sampling.seed for sampling in variety.samplings(0, True, True)}) == 5
    # A beginning of the old one is another reply; where there is nothing else to say it is said again.
    assert [said for said, _ in grown(Says("좋은"), 0, True, True, before="좋은 아침")] == ["좋은"]
    bot = Says(*["좋은 아침"] * 9)
    assert [said for said, _ in grown(bot, 1.2, True, True, before="좋은 아침")] == ["좋은 아침"]
    assert bot.asked == [(1.2, 0.9)] * 5


def test_a_first_reply_is_greedy_unless_the_slider_says_otherwise():
    assert grown(Says(), 0, False, False, before="")[-1] == ("좋은 아침", Sampling())
    bot = Says("안녕 하세요")
    assert [said for said, _ in grown(bot, 0.3, False, False, before="")] == ["안녕", "안녕 하세요", "안녕 하세요"]
    assert bot.asked == [(0.3, 0.9)]
    # So is the reply under another label, which is drawn only where that changes nothing.
    assert grown(Says(), 0, True, False, before="좋아요")[-1] == ("좋은 아침", Sampling())
    assert grown(Says("어서 와요"), 0, True, False, before="좋은 아침")[-1][0] == "어서 와요"


def test_again_takes_the_last_reply_back_and_gives_another_that_can_be_had_again(bot, monkeypatch):
    monkeypatch.setattr(chat, "bot", lambda name: bot)
    history = [messages.message("user", "안녕")]
    *_, first = chat.reply_to(history, "1", 0.0, "tiny", "ko")
    assert messages.text_of(first[-1]) == bot.reply("안녕", "1")
    assert messages.sampling_of(first[-1]) == Sampling()
    seeds, last = set(), first
    for _ in range(3):
        *_, (_, new) = chat.again(last, "1", 0.0, "tiny", False, 0, "generated", None)
        assert len(new) == 2
        assert messages.text_of(new[-1]) != messages.text_of(last[-1])
        sampling = messages.sampling_of(new[-1])
        assert sampling[:2] == (0.8, 0.9)
        assert messages.text_of(new[-1]) == bot.reply("안녕", "1", 0.0, **sampling._asdict())
        assert "variety 0.8" in new[-1]["content"][0]["text"]
        seeds.add(sampling.seed)
        last = new
    assert len(seeds) == 3
    # Under another label it is that label's own reply, and what was declined or stopped gets its first one.
    for before in (
        last,
        [*history, messages.message("assistant", "안")],
        history,
        [*history, messages.message("assistant", text.TEXTS["en"]["k_unsure_reply"], "", "2", "tiny", 0.0)],
    ):
        *_, (_, new) = chat.again(before, "2", 0.0, "tiny", False, 0, "generated", None)
        assert messages.text_of(new[-1]) == bot.reply("안녕", "2")
        assert messages.sampling_of(new[-1]) == Sampling()


@pytest.fixture
def keeper(home, model, tokenizer, monkeypatch):
    """A tiny chatbot in the list that keeps a pair."""
    card, rows = Card(labels=["0", "1", "2"], max_length=64), [("안녕", "반가워요.", "1")]
    models._bots.clear()
    monkeypatch.setattr(retrieval, "WEIGHT", 100)  # it is untrained, and finds everything as likely
    checkpoint.save(home / "checkpoints" / "keeper", model, tokenizer, card, pairs=rows)
    checkpoint.save(home / "checkpoints" / "forgets", model, tokenizer, card)
    return models.bot("keeper")


def test_the_choice_is_for_who_keeps_pairs_and_says_why_where_it_is_not(keeper):
    settings = variety.choosing("keeper")
    assert settings.keys() == {"interactive", "info"}  # from one that keeps pairs to another the choice stays
    assert settings["interactive"]
    assert str(settings["info"]) == str(text.t("k_choosing_info"))
    for name, why in (("forgets", "k_no_choosing"), (None, "k_no_choosing"), (models.ENGINE, "k_engine_no_choosing")):
        settings = variety.choosing(name)
        assert not settings["interactive"]
        assert settings["value"] == "generated"
        assert str(settings["info"]) == str(text.t(why))


def test_a_reply_is_looked_up_and_chosen_where_that_is_chosen(keeper):
    history = [messages.message("user", "안녕")]
    *_, reranked = chat.reply_to(history, "1", 0.0, "keeper", "ko", rerank=True)
    assert messages.text_of(reranked[-1]) == "반가워요."
    assert messages.is_reranked(reranked[-1])
    assert "찾아서 고름 · keeper" in reranked[-1]["content"][0]["text"]
    for name, choice in (("keeper", "generated"), ("forgets", "reranked")):
        *_, (_, plain) = chat.asked("안녕", [], "1", 0.0, name, False, 0, choice, None)
        assert messages.text_of(plain[-1]) == keeper.reply("안녕", "1")
        assert not messages.is_reranked(plain[-1])
    # Another choice, another reply; after that, and once more, it is drawn.
    last = plain
    for temperature in (0, 0.8, 0.8):
        *_, (_, new) = chat.again(last, "1", 0.0, "keeper", False, 0, "reranked", None)
        assert messages.sampling_of(new[-1]).temperature == temperature
        assert messages.is_reranked(new[-1]) == (not temperature)
        assert messages.text_of(new[-1]) != messages.text_of(last[-1])
        last = new


def test_a_checkpoint_is_borrowed_without_taking_the_place_of_others(home, tiny_checkpoint):
    (home / "checkpoints").mkdir()
    tiny_checkpoint.rename(home / "checkpoints" / "tiny")
    models._bots.clear()
    borrowed = models.borrow("tiny")
    assert not models._bots
    assert models.borrow("tiny") is not borrowed
    shared = models.bot("tiny")
    assert models.borrow("tiny") is shared
    with pytest.raises(CheckpointError, match="no checkpoint gone"):
        models.borrow("gone")


def test_the_dropdown_names_labels_as_their_owner_did():
    shown, values = zip(
        *widgets.label_choices(Card(["0", "1", "2", "우산장수"], label_names={"1": "헤어짐"})), strict=True
    )
    assert values == ("auto", "0", "1", "2", "우산장수")
    assert list(map(str, shown[1:])) == [str(text.t("k_label_0")), "헤어짐", str(text.t("k_label_2")), "우산장수"]
    shown, _ = zip(*widgets.label_choices(Card(["0", "1"])), strict=True)
    assert shown[1:] == ("0", "1")


def test_progress_tells_the_parts_and_the_log_names_the_withheld_questions(run):
    write(run, STARTED)
    assert "학습 54쌍 · 검증 6쌍</p>" in progress.progress_html("ko", run)  # a run of before had no test part
    assert progress.withheld_html("ko", run.record()) == ""
    withheld = {"validation": ["안녕 <b>"], "test": ["뭐해", "잘 자"]}
    started = {**STARTED, "test_pairs": 5, "near_duplicates": 2, "withheld": withheld, "test_known_to_base": 1}
    write(run, started)
    shown = progress.progress_html("ko", run)
    assert "학습 54쌍 · 검증 6쌍 · 테스트 5쌍 · 거의 같은 질문이 있어서 옮긴 질문 2개</p>" in shown
    assert "54 pairs to learn · 6 for validation · 5 for test · 2 questions" in progress.progress_html("en", run)
    named = progress.withheld_html("en", run.record())
    assert "<h4>Validation</h4><ul><li>안녕 &lt;b&gt;</li></ul>" in named
    assert "<h4>Test</h4><ul><li>뭐해</li><li>잘 자</li></ul>" in named
    assert "trained on 1 of the test questions" in named
    write(run, {**started, "withheld": {"validation": [], "test": ["뭐해"] * MAX_WITHHELD_NAMED}})
    named = progress.withheld_html("en", run.record())
    assert "Validation" not in named
    assert "</ul> …" in named


def test_progress_tells_steps_epochs_and_the_time_left(run):
    assert "Getting ready" in progress.progress_html("en", run)
    write(run, STARTED, step(1, 2.0), step(2, 4.0), step(3, 6.0))
    shown = progress.progress_html("en", run)
    assert 'aria-valuenow="3"' in shown
    assert 'aria-valuemax="20"' in shown
    # 34 s for the steps, of 108 pairs; and what is asked four times, 84 replies that take as long as 1.5 pairs each.
    assert "step 3 of 20 · epoch 0 of 2 · about 3 min left" in shown
    write(run, {"type": "finished", "epoch": 2, "seconds": 125.0, "checkpoint": "x"})
    assert "“mine” 학습이 끝났어요. 2번째 에폭의 상태로" in progress.progress_html("ko", run)
    assert "2분" in progress.progress_html("ko", run)


def test_making_a_chatbot_of_a_stopped_run_is_called_so_and_its_end_says_what_was_kept(run):
    write(run, STARTED, *(step(n, 2.0 * n) for n in range(1, 16)), epoch(1, 2.0, 2.5))
    write(run, {"type": "stopped", "step": 15, "seconds": 30.0})
    write(run, {"type": "queued", "at": 9.0, "pairs": 54, "finish": True})
    waiting = progress.progress_html("ko", run)
    queue.mark_launched(run, os.getpid())
    for shown in (waiting, progress.progress_html("ko", run)):
        assert "지금까지 배운 내용으로 “mine” 챗봇을 만들고 있어요" in shown
        assert "학습 중" not in shown
        assert "남음" not in shown
    stop, run_stop = training.view("ko", None)[4], history.details("ko", ["mine"])[7]
    assert not stop.visible
    assert not run_stop.visible
    assert history.table("ko")["data"][0][1] == "만드는 중"
    write(run, {"type": "finished", "epoch": None, "seconds": 31.0, "checkpoint": "x"})
    assert "학습이 끝났어요. 2번째 에폭 도중의 상태로 저장했어요." in progress.progress_html("ko", run)
    assert history.table("en")["data"][0][5:8] == ["1 / 1", "2.500", "within 2"]


def test_the_list_of_runs_says_which_epoch_was_kept_and_when_a_run_was_first_started(run):
    first = history.table("ko")["data"][0][-1]
    write(run, STARTED, epoch(1, 2.0, 2.5), epoch(2, 1.0, 2.75), {"type": "stopped", "step": 20, "seconds": 30.0})
    assert history.table("ko")["data"][0][5:8] == ["1 / 2", "2.500", "–"]
    write(run, {"type": "queued", "at": 2e9, "pairs": 54, "finish": False})
    write(run, {"type": "finished", "epoch": 2, "seconds": 31.0, "checkpoint": "x"})
    row = history.table("ko")["data"][0]
    assert (row[5:8], row[-1]) == (["1 / 2", "2.500", "2"], first)
    assert [row[0] for row in progress.epochs_table("ko", run.record())["data"]] == ["2 ✔", "1 ★"]


def test_the_axis_of_the_curve_stays_what_it_was_while_a_run_goes_on(run):
    # gradio keeps the axis of a plot that it has drawn: epochs that became numbers on the way were lost.
    write(run, *({**epoch(number, 1.0, None), "epochs": 40} for number in (1, 2)))
    record = run.record()
    assert progress.curve("ko", record)["epoch"].tolist() == [1, 2]
    assert progress.loss_plot("ko", *history.compared("ko", [run])).x_lim == [0, 40]
    assert progress.loss_plot("ko", None, [], 0).x_lim is None


def test_a_failed_or_killed_run_shows_its_sentence(run):
    write(run, STARTED, {"type": "launched", "pid": os.getpid(), "created": 1.0, "at": 1.0})
    assert "ended from outside" in progress.progress_html("en", run)
    write(run, {"type": "failed", "key": "hub_unreachable", "values": {"name": "<skt>"}})
    assert "&lt;skt&gt; 모델을 받지 못했어요" in progress.progress_html("ko", run)


def test_the_queue_shows_places_and_when_each_starts():
    assert progress.queue_html("ko", []) == ""
    shown = progress.queue_html("ko", [("<둘>", 90.0), ("셋", None)])
    assert shown.index("&lt;둘&gt;") < shown.index("약 2분 뒤 시작") < shown.index("셋")


def test_the_curve_has_a_point_an_epoch_and_series_and_marks_the_best_epoch(run):
    assert progress.curve("ko", run.record()) is None
    write(run, epoch(1, 2.0, 2.5), epoch(2, 1.0, 2.75))
    training, validation, best = "학습 손실", "검증 손실", "가장 좋은 에폭"
    points = [
        (1, 2.0, training),
        (1, 2.5, validation),
        (1, 2.5, best),
        (2, 1.0, training),
        (2, 2.75, validation),
    ]
    assert [tuple(row) for row in progress.curve("ko", run.record()).values] == points
    write(run, *(epoch(number, 1.0, None) for number in range(1, 32)))
    assert progress.curve("en", run.record())["epoch"].tolist()[-1] == 31


def test_table_and_samples_show_the_newest_epoch_first_and_escape_what_people_wrote(run):
    write(run, epoch(1, 2.0, 2.5), epoch(2, 1.0, None))
    assert progress.epochs_table("en", run.record())["data"] == [
        ["2", "1.000", "–", "12.2", "801", "1 min"],
        ["1 ★", "2.000", "2.500", "12.2", "801", "1 min"],
    ]
    shown = progress.samples_html("ko", run.record())
    assert shown.index("답 2") < shown.index("답 1")
    assert "안녕 &lt;b&gt;" in shown
    assert "<i>" not in shown
    assert "건설현장" in shown


def test_while_it_gets_ready_it_says_what_it_does(run):
    assert "준비하고 있어요… 프로그램을 켜고 있어요." in progress.progress_html("ko", run)
    write(run, {"type": "preparing", "what": "reading_data"})
    assert "데이터를 읽고 있어요." in progress.progress_html("ko", run)
    write(run, {"type": "preparing", "what": "asking_base"})
    assert "Asking it before it learns." in progress.progress_html("en", run)
    write(run, STARTED)
    assert "학습 중이에요" in progress.progress_html("ko", run)
    # A run that is resumed gets ready too.
    write(run, {"type": "preparing", "what": "loading_model"})
    assert "모델을 불러오고 있어요." in progress.progress_html("ko", run)


def test_the_curve_of_one_long_epoch_is_the_running_loss_of_its_steps(run):
    write(run, STARTED, *({**step(n, n), "loss": 3.0 if n < 3 else 1.0} for n in range(1, 6)))
    assert progress.last_epoch(run.record()) == 2
    frame = progress.curve("ko", run.record())
    assert set(frame["kind"]) == {"스텝 손실"}
    # 20 steps are two epochs.
    assert frame["epoch"].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5]
    losses = frame["loss"].tolist()
    assert losses[:2] == [3.0, 3.0]
    assert 1.0 < losses[4] < losses[3] < losses[2] < 3.0
    plot = progress.loss_plot("ko", frame, progress.series("ko"), 2)
    assert (plot.x_lim, progress.empty_plot().x_axis_format) == ([0, 2], "d")


BASE = {"own_right": 1, "own_asked": 39, "base_nll": 1.1, "learning_rate": 1.5e-3, "rehearsal": 0, "rehearsed": 0}
OWN = {"question": "안녕 <b>", "label": "0", "answer": "반가워요 <i>"}


def test_what_it_answered_before_stands_first_and_answers_as_taught_are_marked(run):
    before, after = ({**OWN, "reply": reply} for reply in ("네?", "반가워요 <i>"))
    write(run, {**STARTED, **BASE, "labels": ["0", "1", "2"], "samples": [before]})
    write(run, {**epoch(1, 2.0, None), "samples": []}, {**epoch(2, 1.0, None), "samples": [after]})
    shown = progress.samples_html("ko", run.record())
    assert re.findall("<tr><th>([^<]*)</th>", shown) == ["에폭", "학습 전", "2"]
    assert re.findall("<td[^>]*>([^<]*)</td>", shown) == ["네?", "✔ 반가워요 &lt;i&gt;"]
    assert "<th>일상다반사" in shown
    assert "정답: 반가워요 &lt;i&gt;" in shown


def test_own_answers_and_what_the_base_knew_stand_beside_the_loss(run):
    write(run, {**STARTED, **BASE}, step(1, 1.0))
    write(run, {**epoch(1, 2.0, None), "own_right": 12, "own_asked": 39, "base_nll": 1.25}, epoch(2, 1.0, None))
    table = progress.epochs_table("ko", run.record())
    # Nothing was withheld: no validation loss and no perplexity, which would stand there empty.
    assert table["headers"] == ["에폭", "학습 손실", "배운 답 그대로", "원래 알던 답의 손실", "토큰/초", "누적 시간"]
    assert [[row[0], *row[2:4]] for row in table["data"]] == [
        ["2", "–", "–"],
        ["1", "12 / 39", "1.250"],
        ["학습 전", "1 / 39", "1.100"],
    ]
    assert "배운 답 그대로 12 / 39" in progress.progress_html("ko", run)


def ended(run, right, base):
    write(run, {**STARTED, **BASE}, epoch(1, 2.0, None), epoch(2, 1.0, None))
    end = {"own_right": right, "own_asked": 39, "base_nll": base}
    write(run, {"type": "finished", "epoch": 2, "seconds": 9.0, "checkpoint": "x", **end})
    *_, told, repeat, _ = training.view("ko", None)
    return told, repeat


def test_a_training_that_worked_says_so(run):
    told, repeat = ended(run, 39, 1.1)
    assert "잘 배웠어요. 학습한 질문 39개 가운데 39개에 배운 답을 그대로 말해요 (학습 전 1개)." in told
    assert "원래 알던 것도 잊지 않았어요 (글자당 손실 1.10 → 1.10)." in told
    assert not repeat.visible


def test_one_that_made_things_worse_says_so_and_is_started_again_with_better_settings(run, monkeypatch):
    told, repeat = ended(run, 12, 1.36)
    assert "일부만 배웠어요. 학습한 질문 39개 가운데 12개" in told
    assert "원래 알던 것은 일부 잊었어요 (글자당 손실 1.10 → 1.36)." in told
    assert (repeat.visible, repeat.value) == (True, "이 설정으로 다시 학습 (복습 3배 · 4에폭)")
    monkeypatch.setattr(queue, "dispatch", lambda: None)
    training.train_again(run)
    [waiting] = registry.queued()
    assert waiting.config == replace(run.config, output=waiting.config.output, rehearsal=3, epochs=4)
    assert waiting.checkpoint_name == "mine-2"


def test_while_a_run_is_on_the_next_one_waits_and_its_button_says_so(run):
    assert training.view("ko", None)[-1].variant == "secondary"
    assert "next" in text.say("en", "k_start_next")
    write(run, {"type": "stopped", "step": 1, "seconds": 1.0})
    assert training.view("ko", None)[-1].variant == "primary"


def test_a_checkpoint_learns_what_it_and_its_bases_were_taught(home, model, tokenizer):
    for name, base in (("shop", "kochat-mini"), ("taught", "shop"), ("other", "kochat-mini")):
        checkpoint.save(home / "checkpoints" / name, model, tokenizer, Card(labels=["0"], base=base, max_length=64))
    assert learning.others("taught") == {"other"}
    assert learning.others("other") == {"shop", "taught"}
    assert learning.others("kochat-mini") == {"shop", "taught", "other"}
    assert learning.others("gone") == set(checkpoint.list_checkpoints())


def test_an_error_of_ours_comes_up_as_its_sentence_and_any_other_as_it_is():
    @text.shows_errors
    def fails(error, request=None):
        raise error

    @text.shows_errors
    def fails_later(error):
        yield 1
        raise error

    with pytest.raises(gr.Error, match="There is no file &lt;x&gt;"):
        fails(DataError("no_file", path="<x>"))
    later = fails_later(DataError("no_file", path="x"))
    assert next(later) == 1
    with pytest.raises(gr.Error):
        next(later)
    with pytest.raises(ZeroDivisionError):
        fails(ZeroDivisionError())


def test_a_name_is_offered_that_is_free(home):
    assert sources.free_name("ko") == "내-챗봇-1"
    (home / "checkpoints" / "my-bot-1").mkdir(parents=True)
    assert sources.free_name("en") == "my-bot-2"


@pytest.mark.slow
def test_the_page_is_imported_without_gradio_writing_stubs_or_torch():
    # Each would cost the visitor seconds at the start.
    watch = """
import sys
stubs = []
sys.addaudithook(lambda event, args: stubs.append(args[0]) if event == "open" and ".pyi" in str(args[0]) else None)
import kochat.ui.page
import gradio
assert not stubs and "torch" not in sys.modules, stubs[:1]
assert "transformers" in sys.modules  # two threads that import it together leave one of them with half of it
assert callable(gradio.Button.click) and gradio.Button is sys.modules["gradio.components.button"].Button
"""
    subprocess.run([sys.executable, "-c", watch], check=True)


@pytest.mark.parametrize("tab", [training, history])
def test_what_happens_while_a_page_is_drawn_is_drawn_the_next_time(run, monkeypatch, tab):
    name = "view" if tab is training else "details"
    drawn = getattr(tab, name)

    def slow(*args):
        shown = drawn(*args)
        run.write("failed", key="hub_unreachable", values={"name": "x"})
        return shown

    monkeypatch.setattr(tab, name, slow)
    request = gr.Request(session_hash="one")
    request.kwargs = {"headers": {}, "cookies": {}, "client": {"host": "127.0.0.1"}}
    if tab is training:
        seen, now = training.refresh("ko", "kochat-mini", "", None, False)[-1], training.version
    else:
        seen, now = history.refresh([run.name], request)[-1], lambda: history.version([run.name])
    assert seen != now()


def test_the_question_whether_to_delete_goes_only_when_another_one_is_chosen(tiny_checkpoint, home):
    (home / "checkpoints").mkdir()
    tiny_checkpoint.rename(home / "checkpoints" / "tiny")
    for asked in (None, "tiny"):  # nothing is asked; a change of before that is told late
        _, question, *buttons = shelf.show("tiny", asked)
        assert question == gr.skip()
        assert all(button.interactive for button in buttons)
    _, question, *buttons = shelf.show("kochat-mini", "tiny")
    assert question.visible is False
    assert not any(button.interactive for button in buttons)
