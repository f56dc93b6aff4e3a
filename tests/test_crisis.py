"""Questions that speak of suicide: the page and an exported one name where to turn, in place of what could hurt."""

import unicodedata

import gradio as gr
import pytest
from browser_tools import open_offline
from playwright.sync_api import expect

from kochat.data.crisis import TURN_TO, is_withheld, speaks_of_suicide
from kochat.data.pairs import read_pairs
from kochat.inference import retrieval
from kochat.inference.chatbot import load
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.sharing.web import export_web
from kochat.ui.chat import explain, messages, tab, teach
from kochat.ui.text import TEXTS

ASKED = gr.Request(client={"host": "127.0.0.1"}, headers={"accept-language": "ko"}, cookies={})
SEEN = [
    "죽고 싶어",
    "죽고싶다ㅠㅠ",
    "더는 살고 싶지 않아",
    "그만 살고 싶어요",
    "살기 싫다",
    "자꾸 자살 생각이 나",
    "자해하고싶어",
    "친구가 죽고 싶대",
    "스스로 목숨을 끊을까 해",
    "삶이 너무 버거워서 끝내고 싶어",
    "내가 없어지면 다들 편할 텐데",
    "I want to die",
    "Sometimes I think about killing myself",
    "suicidal thoughts",
    "모든 걸 다 그만 끝내고 싶다",
    "이제 다 끝내고 싶어",
    "이 세상에서 살기 싫어",
    "빚때문에 살기싫어ㅠ",
    "죽고만 싶어",
    "나 그냥 죽을까",
    "죽어버릴래",
    "사라지고 싶어",
    "살 이유가 없어",
    "목매고 싶어",
    "이제 죽으려고",
    "난kill myself하고 싶어",
    unicodedata.normalize("NFD", "죽고 싶어"),
    "죽\u200b고 싶어",
]
OTHERS = [
    "배고파 죽겠어",
    "보고 싶어 죽겠다",
    "혼자살면 뭐가 힘들어?",
    "혼자 살기 싫어",
    "배우자와 더는 함께 살고 싶지 않아",
    "친구한테 문자해도 될까",
    "투자해 볼까?",
    "남자친구랑 끝내고 싶어",
    "강아지가 죽었어",
    "죽 먹고 싶어",
    "죽을 때까지 같이 있고 싶어요",
    "My phone died",
    "숙제 다 끝내고 싶어",
    "일을 다 끝내고 싶다",
    "시골 살기 싫어",
    "남편이랑 살기 싫어",
    "친구 집에서 살기 싫어",
    "부끄러워서 어디론가 사라지고 싶네",
    "강아지가 죽을까 봐 걱정돼",
    "화분이 죽으려고 해",
    "너 죽을래?",
    "자살골 넣었어",
    "I hurt myself playing soccer",
    "suicide squad 재밌어?",
]


@pytest.mark.parametrize("question", SEEN)
def test_it_is_seen(question):
    assert speaks_of_suicide(question)


@pytest.mark.parametrize("question", OTHERS)
def test_nothing_else_is_taken_for_it(question):
    assert not speaks_of_suicide(question)


HELP = [
    "지금 109에 전화해요.",
    "109번이에요.",
    "1577-0199로 전화해 주세요.",
    "15770199",
    "119를 불러요!",
    "112, 109 다 돼요",
]
NO_HELP = ["좋은 습관이네요.", "2109년에는 나아질 거예요.", "109,000원이에요", "109일 됐어요", "119층", "1.109", ""]


@pytest.mark.parametrize(
    ("question", "reply", "meant", "withheld"),
    [
        *(("죽고 싶어", reply, None, False) for reply in HELP),
        *(("죽고 싶어", reply, None, True) for reply in NO_HELP),
        ("죽고 싶어요", "상담실로 와요.", "죽고 싶어", False),
        ("죽고 싶어요", "전복죽이 좋겠어요.", "죽 먹고 싶어요", True),
        ("죽 먹고 싶어", "좋은 습관이네요.", None, False),
    ],
)
def test_a_reply_that_names_no_help_is_withheld(question, reply, meant, withheld):
    assert is_withheld(question, reply, meant) == withheld


OWN = [("죽고 싶어", "지금 109에 전화해요.", "0"), ("환불하고 싶어요", "영수증을 보내 주세요.", "0")]


@pytest.fixture
def kept(home, model, tokenizer):
    """Write the checkpoint "any", untrained, with OWN beside it and more in its card."""

    def keep(**more):
        card = Card(labels=["0"], max_length=64, **more)
        return checkpoint.save(home / "checkpoints" / "any", model, tokenizer, card, pairs=OWN)

    return keep


def reply_of(question: str, language: str = "ko", **more) -> tuple[list[dict], list[list[dict]]]:
    """The conversation with the reply, and what it looked like before."""
    *before, history = tab.reply_to([messages.message("user", question)], "0", 0.0, "any", language, **more)
    return history, before


def shown(question: str, language: str, **more) -> tuple[str, bool]:
    """What the page gives for a reply, and whether the line stands below it. It comes in one piece, if grave."""
    history, before = reply_of(question, language, **more)
    assert not (before and speaks_of_suicide(question))
    below = f'<strong class="turn-to">{TURN_TO[language]}</strong>'
    return messages.text_of(history[-1]), history[-1]["content"][0]["text"].endswith(below)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_line_stands_in_the_place_of_a_reply_that_names_no_help(kept, language, monkeypatch):
    kept()
    monkeypatch.setattr(tab, "BETWEEN_PIECES", -1)
    assert shown("죽고 싶어", language) == (TURN_TO[language], False)
    said, is_below = shown("죽 먹고 싶어", language)
    assert said not in TURN_TO.values()
    assert not is_below


@pytest.mark.parametrize("language", ["ko", "en"])
def test_it_stands_below_a_reply_that_does(kept, language, monkeypatch):
    kept()
    monkeypatch.setattr(retrieval, "WEIGHT", 100)  # it is untrained, and finds everything as likely
    assert shown("죽고 싶어", language, rerank=True) == ("지금 109에 전화해요.", True)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_it_stands_below_what_the_bot_was_taught_to_say(kept, language):
    kept(data={"newest_pairs": 2})
    assert shown("죽고 싶어", language) == (load("any").reply("죽고 싶어", "0"), True)
    # An own question of something else is none of it, however alike.
    assert load("any").matcher.match("자살하고 싶어요", "0").question == "환불하고 싶어요"
    assert shown("자살하고 싶어요", language) == (TURN_TO[language], False)


def test_another_reply_is_the_line_again_and_nothing_is_told_of_what_was_withheld(kept):
    kept()
    history, _ = reply_of("죽고 싶어")
    again, _ = reply_of("죽고 싶어", replaced=history[-1])
    assert again == history
    for start in ((), (1,)):
        told = explain.explained(explain.source_at(history, None), start, ASKED)
        assert told == f'<p class="quiet">{TEXTS["ko"]["k_why_withheld"]}</p>'


def test_whoever_corrects_the_line_begins_with_an_empty_box(kept):
    kept()
    for question, is_empty in (("죽고 싶어", True), ("죽 먹고 싶어", False)):
        history, _ = reply_of(question)
        pressed = gr.LikeData(None, {"index": 1, "value": "", "liked": "correct"})
        _, _, asked, begun, _ = teach.rated(history, None, ASKED, pressed)
        assert asked == question
        assert begun == ("" if is_empty else messages.text_of(history[1]))


@pytest.mark.parametrize("language", ["ko", "en"])
def test_it_stands_below_the_sentence_that_the_bot_is_not_sure(kept, language):
    kept(familiarity={"questions": 20, "threshold": 0.01})
    assert shown("죽고 싶어", language, unsure=True) == (TEXTS[language]["k_unsure_reply"], True)


@pytest.fixture
def exported(browser, kept, tmp_path):
    """Open the checkpoint of `kept` as an exported page."""
    pages = []

    def export(**more):
        pages.append(open_offline(browser, export_web(kept(**more), tmp_path / "any.html"), width=360))
        return pages[0]

    yield export
    assert pages[0].errors == []
    pages[0].context.close()


def ask(page, question: str) -> list[str]:
    """What its reply looked like while it grew."""
    page.evaluate("""() => {
        window.grown = [];
        const look = () => grown.push(document.querySelector(".growing .said")?.textContent);
        new MutationObserver(look).observe(at("conversation"), { childList: true, subtree: true, characterData: true });
    }""")
    page.locator("#question").fill(question)
    page.locator("#question").press("Enter")
    expect(page.locator("#send")).to_be_enabled()
    return [text for text in page.evaluate("grown") if text]


def test_an_exported_page_sees_the_same(exported):
    page, asked = exported(), [*SEEN, *OTHERS, *read_pairs("everyday")["Q"].unique()]
    assert page.evaluate("(asked) => asked.map(speaksOfSuicide)", asked) == list(map(speaks_of_suicide, asked))
    names = page.evaluate("(replies) => replies.map((reply) => NAMES_HELP.test(reply))", HELP + NO_HELP)
    assert names == [True] * len(HELP) + [False] * len(NO_HELP)


@pytest.mark.parametrize("unsure", [False, True])
def test_an_exported_page_has_the_line_in_the_place_of_a_reply_or_below(exported, unsure):
    page = exported(familiarity={"questions": 20, "threshold": 0.01}, unsure=unsure)
    assert bool(ask(page, "죽 먹고 싶어")) != unsure
    assert ask(page, "죽고 싶어") == []
    line = page.locator(".turn-to" if unsure else ".said").filter(has_text="109")
    expect(line).to_have_text(TURN_TO["ko"])
    expect(page.locator("#spoken")).to_contain_text(TURN_TO["ko"])
    page.get_by_role("button", name="English").click()
    expect(page.locator(".turn.bot").last).to_contain_text(TURN_TO["en"])
    expect(page.get_by_role("button", name="Why this reply?")).to_have_count(0 if unsure else 1)
    # One that an earlier page kept is not shown any more.
    page.evaluate("""() => {
        kept.turns = [{ question: "죽고 싶어", reply: "좋은 습관이네요.", label: "0", share: null, strength: 0 }];
        translate();
    }""")
    expect(page.locator(".said").last).to_have_text(TURN_TO["en"])


def test_an_exported_page_says_what_the_bot_was_taught(exported):
    page = exported(data={"newest_pairs": 2})
    ask(page, "죽고 싶어")
    expect(page.locator(".turn-to")).to_have_text(TURN_TO["ko"])
    expect(page.locator(".said").last).not_to_contain_text("109")
    ask(page, "자살하고 싶어요")
    expect(page.locator(".said").last).to_have_text(TURN_TO["ko"])
    expect(page.get_by_role("button", name="왜 이렇게 답했을까?")).to_have_count(0)
