"""The exported page in headless Chromium, opened from its file without a network: what a visitor does on it."""

import random
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from browser_tools import open_offline
from conftest import MINI
from playwright.sync_api import expect

from kochat.config import TrainingConfig
from kochat.inference.chatbot import Chatbot
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.gpt2 import make_model
from kochat.sharing import web
from kochat.sharing.int8 import dequantised
from kochat.sharing.web import export_web
from kochat.training.fine_tuning import fine_tune

HOSTILE = "</script><img src=x onerror=\"document.title='hacked'\">'"
REPLIES = (
    "(asked) => ready.then((bot) => asked.map(([question, label, strength]) => bot.reply(question, label, strength)))"
)


@pytest.fixture(scope="module")
def mini_page(tmp_path_factory):
    """kochat-mini as a page."""
    return export_web(MINI, tmp_path_factory.mktemp("web") / "bot.html", "우리 반 챗봇", "어서 오세요!")


def chatbot_in_int8(folder) -> Chatbot:
    """What Python makes of the same 8-bit weights."""
    loaded = checkpoint.load(folder)
    loaded.weights = dequantised(loaded.weights)
    return Chatbot(loaded)


def ask(page, question: str) -> str:
    """Send a question and return the whole reply."""
    notes = page.locator(".turn.bot > .note")
    before = notes.count()
    page.locator("#question").fill(question)
    page.locator("#question").press("Enter")
    expect(notes).to_have_count(before + 1)
    return page.locator(".turn.bot .said").last.inner_text()


def reload(page) -> None:
    """Open the page anew; Chromium takes what is to be kept over to another process, a moment after it was written."""
    page.wait_for_timeout(300)
    page.reload()


def closed(page) -> None:
    """Nothing went wrong, nothing was asked of any host, and a phone does not scroll sideways."""
    assert page.errors == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.context.close()


def test_a_visitor_talks_chooses_and_sees_why(browser, mini_page):
    page, bot = open_offline(browser, mini_page, width=360), chatbot_in_int8(MINI)
    expect(page.locator(".turn .said")).to_have_text("어서 오세요!")
    expect(page.get_by_role("heading", level=1)).to_have_text("우리 반 챗봇")
    assert ask(page, "헤어졌어") == bot.reply("헤어졌어")
    expect(page.locator("#spoken")).to_have_text(bot.reply("헤어졌어"))
    expect(page.locator(".note").last).to_contain_text("자동 → 이별·부정")
    page.get_by_label("감정", exact=True).select_option("2")
    page.get_by_label("세기", exact=True).fill("4")
    assert ask(page, "12시 땡!") == bot.reply("12시 땡!", "2", 4)
    expect(page.locator(".note").last).to_have_text("사랑·긍정 · 세기 4")
    page.get_by_role("button", name="왜 이렇게 답했을까?").last.click()
    steps = bot.explain("12시 땡!", "2", 4)
    shown = page.locator(".tokens button b").all_inner_texts()
    assert shown == [step.token.replace(" ", "▁") for step in steps]
    page.locator(".tokens button").first.press("Enter")
    others = [token.replace(" ", "▁") for token, _ in steps[0].runners_up]
    assert page.locator(".others li span").all_inner_texts() == others
    assert bot.read("민법 제750조의 불법행위 책임을 설명해").unfamiliar
    ask(page, "민법 제750조의 불법행위 책임을 설명해")
    expect(page.locator(".warning").last).to_be_visible()
    closed(page)


def test_the_conversation_stays_in_the_browser_until_it_is_deleted(browser, mini_page):
    page = open_offline(browser, mini_page, locale="en-US", color_scheme="dark")
    said = ask(page, "안녕")
    page.locator("#label").select_option("1")
    reload(page)
    expect(page.locator(".turn.user .said")).to_have_text("안녕")
    expect(page.locator(".turn.bot .said").last).to_have_text(said)
    expect(page.locator("#label")).to_have_value("1")
    page.get_by_role("button", name="한국어").click()
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    page.get_by_role("button", name="대화 지우기").click()
    page.get_by_role("button", name="취소").click()
    expect(page.locator(".turn.user")).to_have_count(1)
    page.get_by_role("button", name="대화 지우기").click()
    page.locator("#confirm").get_by_role("button", name="대화 지우기").click()
    expect(page.locator(".turn.user")).to_have_count(0)
    reload(page)
    expect(page.locator(".suggestions")).to_be_visible()
    expect(page.locator(".turn.user")).to_have_count(0)
    closed(page)


def test_in_a_frame_there_is_the_chat_alone(browser, mini_page):
    page = open_offline(browser, mini_page, hash="#embed")
    expect(page.locator("header")).to_be_hidden()
    assert ask(page, "안녕")
    page.get_by_role("button", name="정보").click()
    expect(page.locator("#licence")).to_contain_text("MIT")
    expect(page.locator("#sources")).to_contain_text("Youngsook Song 2018")
    closed(page)


def test_whatever_a_bot_or_a_visitor_is_called_is_text(browser, tmp_path, model, tokenizer):
    sources = [HOSTILE, "[x](javascript:alert(1))"]
    card = Card(labels=[HOSTILE[:40], "1"], label_names={"1": HOSTILE}, sources=sources, max_length=96)
    folder = checkpoint.save(tmp_path / "tiny", model, tokenizer, card)
    page = open_offline(browser, export_web(folder, tmp_path / "bot.html", HOSTILE, HOSTILE), width=360)
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    ask(page, HOSTILE)
    page.locator("#label").select_option(HOSTILE[:40])
    ask(page, "</s><sys>")
    reload(page)
    expect(page.locator(".turn.user .said").first).to_have_text(HOSTILE)
    assert page.title() == HOSTILE
    assert page.locator("img, #sources a").count() == 0
    assert page.locator("#strength").is_hidden()  # it has learned none
    closed(page)


def test_the_page_replies_as_python_with_the_same_weights(browser, mini_page):
    bot, rng = chatbot_in_int8(MINI), random.Random(0)
    questions = rng.sample([question for question, _, _ in checkpoint.load(MINI).validation], 10)
    questions += ["", " \u3164", "ㅋ" * 60, "한글", "🦜🦜?", "</s><sys>답<unused1>"]
    asked = [(q, label) for q in questions if q.strip(" \u3164") for label in ("auto", "2")]
    page = open_offline(browser, mini_page)
    for strength in (0, 0.5):
        found = page.evaluate(REPLIES, [[*one, strength] for one in asked])
        assert found == bot.replies(asked, strength)
    closed(page)


def test_without_simd_it_replies_the_same(browser, mini_page):
    page = open_offline(browser, mini_page)
    plain = """async (asked) => {
      const bot = await ready;
      const other = new Chatbot(description, true);
      other.decoder.bytes.set(bot.decoder.bytes);
      return asked.map((q) => [bot.reply(q), other.reply(q), other.decoder.kernel.constructor.name]);
    }"""
    for quick, slow, kernel in page.evaluate(plain, ["12시 땡!", "고백할까?"]):
        assert quick == slow != ""
        assert kernel == "PlainKernel"
    closed(page)


def test_a_bot_of_own_questions_answers_them_in_other_words(browser, tmp_path):
    mini = checkpoint.load(MINI)
    own = [
        ("배달 되나요?", "네, 배달돼요.", "가게"),
        ("주차 되나요?", "뒤에 대세요.", "가게"),
        ("안녕", "어서 오세요.", "0"),
    ]
    card = Card(labels=["0", "1", "2", "가게"], data={"newest_pairs": 3}, unsure=True, max_length=96)
    folder = checkpoint.save(tmp_path / "shop", mini.model, mini.tokenizer, card, pairs=[*own, *mini.pairs[:500]])
    page, bot = open_offline(browser, export_web(folder, tmp_path / "bot.html")), chatbot_in_int8(folder)
    asked = [
        ("집까지 배달해 주실 수 있어요?", "auto"),
        ("차 댈 데 있어요?", "auto"),
        ("안녕!", "0"),
        (mini.pairs[0][0], "auto"),
    ]
    assert page.evaluate(REPLIES, [[*one, 0] for one in asked]) == bot.replies(asked, 0)
    assert ask(page, "집까지 배달해 주실 수 있어요?")
    expect(page.locator(".note").last).to_contain_text("“배달 되나요?” 질문으로 이해했어요")
    page.get_by_label("라벨", exact=True).select_option("가게")
    assert bot.read("오늘 무슨 요일이야", "가게").unfamiliar
    assert "잘 모르겠어요" in ask(page, "오늘 무슨 요일이야")
    closed(page)


@pytest.fixture
def host(tmp_path):
    """A web host on this machine for the folder `site`: its address, what was asked of it, and files it breaks off."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            host.asked.append(self.path)
            super().do_GET()

        def copyfile(self, source, outputfile):
            content = source.read()
            outputfile.write(content[: len(content) // 2] if host.breaks_off(self.path) else content)

        def log_message(self, *_):
            pass

    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    host = SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", folder=folder, asked=[])
    host.breaks_off = lambda path: False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield host
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_larger_bot_loads_from_files_beside_the_page_once(browser, host, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(web, "MANY_BYTES", 10_000)
    monkeypatch.setattr(web, "PART_BYTES", 4_000)
    folder = export_web(tiny_checkpoint, host.folder / "bot.html")
    weights = [path for path in folder.iterdir() if path.suffix == ".bin"]
    context = browser.new_context(locale="ko-KR")
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    host.breaks_off = lambda path: path.endswith(weights[-1].name)
    page.goto(f"{host.url}/bot/")
    expect(page.locator("#not-loaded")).to_contain_text("챗봇을 끝까지 불러오지 못했어요.")
    damaged = bytearray(weights[-1].read_bytes())
    weights[-1].write_bytes(damaged[::-1])  # whole, but not what was exported
    host.breaks_off = lambda path: False
    page.get_by_role("button", name="다시 시도").click()
    expect(page.locator("#not-loaded")).to_be_visible()
    weights[-1].write_bytes(damaged)
    page.get_by_role("button", name="다시 시도").click()
    expect(page.locator("#loading")).to_be_hidden()
    assert ask(page, "안녕") == chatbot_in_int8(tiny_checkpoint).reply("안녕")
    # What was whole was loaded once; a second visit loads the page alone.
    assert all(host.asked.count(f"/bot/{path.name}") == (3 if path == weights[-1] else 1) for path in weights)
    host.asked.clear()
    page.goto(f"{host.url}/bot/index.html")
    assert page.evaluate("ready.then((bot) => bot.decoder.bytes.length)") == web.weights_size(tiny_checkpoint)
    assert [path for path in host.asked if path.endswith(".bin")] == []
    assert errors == []
    context.close()


def test_a_bot_trained_on_thirty_own_rows_answers_them_word_for_word(browser, tmp_path, tokenizer):
    things = ["빵", "우유", "커피", "쿠키", "케이크", "샌드위치", "주스", "잼", "치즈", "샐러드"]
    rows = [(f"{thing} 있어요?", f"네, {thing}는 {i + 2}천 원이에요.", "가게") for i, thing in enumerate(things)]
    rows += [(f"{thing} 배달 되나요?", f"{thing}는 {i + 1}개부터 배달해요.", "가게") for i, thing in enumerate(things)]
    rows += [(f"{thing} 언제 나와요?", f"{thing}는 {i + 7}시에 나와요.", "가게") for i, thing in enumerate(things)]
    data = tmp_path / "own.csv"
    data.write_text(
        "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in (("Q", "A", "label"), *rows)), "utf-8"
    )
    made = make_model(tokenizer, layers=2, width=64, heads=4, positions=96, seed=0)
    base = checkpoint.save(tmp_path / "base", made, tokenizer, Card(max_length=64))
    settings = {"epochs": 80, "batch_size": 8, "learning_rate": 5e-3, "validation_share": 0.0, "keep": "last"}
    settings |= {
        "max_length": 64,
        "sample_questions": (),
        "dropout": 0.0,
        "question_dropout": 0.0,
        "subword_dropout": 0.0,
    }
    folder = tmp_path / "shop"
    for _ in fine_tune(TrainingConfig(data=str(data), base=str(base), output=str(folder), **settings)):
        pass
    strength = checkpoint.read_card(folder).strength
    # Each page is opened in a profile of its own.
    page = open_offline(browser, export_web(folder, tmp_path / "bot.html"))
    for label in ("auto", "가게"):
        found = page.evaluate(REPLIES, [[question, label, strength] for question, _, _ in rows])
        assert found == [answer for _, answer, _ in rows]
    assert ask(page, rows[0][0]) == rows[0][1]
    closed(page)
