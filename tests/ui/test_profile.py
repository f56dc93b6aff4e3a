"""The profile of a chatbot, and what the chatbots tab says of it."""

from dataclasses import replace

import gradio as gr
import pytest

from kochat.errors import CheckpointError, SettingsError
from kochat.model import checkpoint
from kochat.model.cards import COLOURS, Card
from kochat.model.kept_pairs import write_pairs
from kochat.runs import library
from kochat.ui import profile, widgets
from kochat.ui.chat import messages
from kochat.ui.checkpoints import about
from kochat.ui.checkpoints import tab as shelf


def a_request():
    """As much of a request as is looked at."""
    made = gr.Request(session_hash="one")
    made.kwargs = {"cookies": {}, "headers": {"accept-language": "ko-KR"}}
    made.kwargs["client"] = type("Client", (), {"host": "127.0.0.1"})
    return made


@pytest.fixture
def shop(home, model, tokenizer):
    """A chatbot of a flower shop, with a column of labels of its own."""
    folder = home / "checkpoints" / "꽃집"
    data = {"source": "flower.xlsx", "rows": 12, "label_column": "구분", "newest_pairs": 12}
    card = Card(["손님", "단골"], data=data, sources=["kochat-mini", "flower.xlsx"], max_length=64)
    checkpoint.save(folder, model, tokenizer, card)
    write_pairs(folder, [(f"{i}번 꽃 있어요?", "네.", "손님") for i in range(12)] + [("안녕", "네", "0")] * 20)
    return folder


def test_a_profile_comes_from_the_checkpoint_where_its_owner_chose_none(shop):
    assert profile.title_of("꽃집", checkpoint.read_card(shop)) == "꽃집"
    assert profile.colour_of("꽃집", Card()) == profile.colour_of("꽃집", Card())
    assert {profile.colour_of(f"bot-{i}", Card()) for i in range(60)} == set(COLOURS)
    shown = profile.welcome("꽃집")
    assert [one["text"] for one in shown["examples"]] == [f"{i}번 꽃 있어요?" for i in range(0, 12, 2)]
    assert profile.welcome("kochat-mini")["examples"][5] == {"text": "고백할까?"}
    # One that was taught a few pairs shows these first; one with labels of its own beside ChatbotData's only its own.
    card = checkpoint.read_card(shop)
    further = replace(card, labels=["0", "1", "2", "손님"])
    checkpoint.write_card(shop, "꽃집", replace(further, data={**card.data, "newest_pairs": 2}))
    taught = ("0번 꽃 있어요?", "1번 꽃 있어요?")
    assert profile.examples_of("꽃집") == (*taught, "안녕", "12시 땡!", "잠이 안 와", "심심해")
    checkpoint.write_card(shop, "꽃집", further)
    assert profile.examples_of("꽃집") == tuple(f"{i}번 꽃 있어요?" for i in range(0, 12, 2))
    checkpoint.write_card(shop, "꽃집", card)
    assert '--letter: "\\af43 "' in profile.profile_html("꽃집")


def test_the_owner_changes_the_profile_and_nothing_else_of_the_card(shop):
    before = checkpoint.read_card(shop)
    about.save_profile("꽃집", " 장미 <b> ", "", "green", "장미 있어요?\n\n얼마예요?", [], a_request())
    after = checkpoint.read_card(shop)
    assert after.profile == {"title": "장미 <b>", "colour": "green", "examples": ["장미 있어요?", "얼마예요?"]}
    assert replace(after, profile={}) == before
    assert "<b>장미 &lt;b&gt;</b>" in profile.profile_html("꽃집")
    assert "tone-green" in profile.profile_html("꽃집")
    assert profile.welcome("꽃집")["examples"] == [{"text": "장미 있어요?"}, {"text": "얼마예요?"}]
    with pytest.raises(gr.Error, match="8개까지"):
        about.save_profile("꽃집", "", "", None, "\n".join(map(str, range(9))), [], a_request())
    with pytest.raises(SettingsError):
        library.set_profile("꽃집", {"examples": ["a" * 201]})
    with pytest.raises(CheckpointError, match="kochat-mini"):
        library.set_profile("kochat-mini", {"title": "나"})


def test_the_owner_chooses_which_labels_are_offered_and_the_title_is_in_every_list(shop):
    card = checkpoint.read_card(shop)
    labels = {"labels": ["0", "1", "2", "손님", "단골"], "data": {**card.data, "own_labels": ["손님", "단골"]}}
    checkpoint.write_card(shop, "꽃집", replace(card, **labels))

    def in_chat():
        return [label for _, label in widgets.label_choices(checkpoint.read_card(shop))]

    # By itself: its own labels first, those of its base last, and none of these for its visitors.
    assert in_chat() == ["auto", "손님", "단골", "0", "1", "2"]
    assert checkpoint.read_card(shop).offered_labels == ["손님", "단골"]
    assert about.profile_form("꽃집")[-1].value == ["손님", "단골"]
    about.save_profile("꽃집", "", "", "", "", ["단골", "손님"], a_request())
    assert checkpoint.read_card(shop).profile == {}  # that is what it was
    about.save_profile("꽃집", "꽃집 장미/점", "", "", "", ["손님", "0"], a_request())
    assert checkpoint.read_card(shop).profile["hidden_labels"] == ["1", "2", "단골"]
    assert in_chat() == ["auto", "0", "손님"]
    assert profile.label_dropdown("꽃집", "단골").value == "auto"
    assert [value for _, value in about.profile_form("꽃집")[-1].choices] == ["손님", "단골", "0", "1", "2"]
    assert ("꽃집 장미/점 · 꽃집", "꽃집") in widgets.checkpoint_choices()
    assert shelf.file_name("꽃집") == "꽃집 장미 점"
    assert shelf.file_name("kochat-mini") == "kochat-mini"


@pytest.mark.parametrize(
    "bad",
    [
        {"title": 1},
        {"title": "a" * 41},
        {"colour": "javascript"},
        {"other": ""},
        [],
        {"examples": "a"},
        {"hidden_labels": "0"},
    ],
)
def test_a_profile_that_no_owner_wrote_is_refused(bad):
    with pytest.raises(TypeError, match="profile"):
        Card(profile=bad)


def test_labels_are_called_as_the_data_call_them(shop):
    card = checkpoint.read_card(shop)
    assert (widgets.label_title(card), widgets.label_word("ko", card)) == ("구분", "구분")
    assert widgets.label_word("ko", Card(["0", "1", "2"])) == "감정"
    assert widgets.label_word("ko", Card(["0", "1", "2", "손님"])) == "라벨"
    assert widgets.label_word("en", Card(["a"], data={"label_column": "Label"})) == "Label"
    assert widgets.label_word("ko", Card(["a"], data={"label_column": None})) == "라벨"


def test_what_it_learned_and_how_good_it_is_in_words(shop):
    shown = about.about_html("ko", "꽃집")
    for fact in ("flower.xlsx", "질문과 답 12쌍", "<dt>구분</dt><dd>손님 / 단골</dd>", "아직 시험해 본 적이 없어요"):
        assert fact in shown
    own = {
        "own_answers": {"asked": 39, "right": 38, "before": 0},
        "base_nll": {"before": 1.0, "after": 1.2, "pairs": 9},
    }
    figures = {"questions": 557, "exact": 0.17, "label_accuracy": 0.851}
    measured = Card(["0"], metrics={**own, "evaluation": {"held_out": True, "validation": figures}})
    assert about.verdict_of("en", measured)[:2] == [
        "It gives 38 of the 39 answers that it was trained on word for word.",
        "Asked 557 new questions, it gave the very answer in 17% of them and told the label of the question in 85%.",
    ]
    assert "일부 잊었어요 (글자당 손실 1.00 → 1.20)" in about.verdict_of("ko", measured)[2]
    assert "songys/Chatbot_data (MIT, Youngsook Song 2018)" in about.about_html("en", "kochat-mini")
    assert about.about_html("ko", "gone") == ""


def test_a_replys_edge_has_the_colour_of_its_label():
    shown = messages.message("assistant", "네", "이별", "1", "mini", 0.5, place=9)["content"][0]["text"]
    assert shown == '네<small class="note label-1">이별</small>'
    assert 'class="note"' in messages.message("assistant", "네", "끊겼어요")["content"][0]["text"]
