"""The page in headless Chromium, as its visitors use it."""

import contextlib
import itertools
import re
from pathlib import Path

import pytest
from browser_tools import REPLY, TRAINING, again, again_button, ask, choose, in_menu, last_reply, open_training
from conftest import App
from playwright.sync_api import Page, expect

from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.gpt2 import make_model


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """A running app, started as one does."""
    with contextlib.closing(App(tmp_path_factory.mktemp("app"))) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def small(app, tokenizer):
    """A base that an epoch takes about two seconds of: what a training looks like is the same."""
    model = make_model(tokenizer, layers=2, width=128, heads=4, positions=96, seed=0)
    checkpoint.save(app.home / "checkpoints" / "small", model, tokenizer, Card(labels=["0", "1", "2"], max_length=64))


def start(page: Page, name: str, epochs: int, base: str = "small") -> None:
    """Start a training."""
    choose(page, "#base", base)
    page.locator("#name input, #name textarea").fill(name)
    page.get_by_label("에폭 수").fill(str(epochs))
    page.locator("#start").click()


def test_a_message_is_answered_and_the_label_changes_the_answer(visit):
    page = visit()
    expect(page).to_have_title(re.compile("^kochat · 감정을"))
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    automatic = ask(page, "보고 싶어")
    assert re.search("[가-힣]", automatic)
    expect(page.locator(f"{REPLY} .note").last).to_contain_text(re.compile(r"자동 → .+ \d+% · 세기 0.5 · kochat-mini"))
    [read] = re.findall(r"→ (\S+) ", page.locator(f"{REPLY} .note").last.inner_text())
    # The same question again, under each label chosen now; under the one that it was answered under it is drawn.
    replies = []
    for label in ("일상다반사", "이별·부정", "사랑·긍정"):
        choose(page, "#label", label)
        again(page)
        drawn = " · 다양하게 0.8" if label == read and not replies else ""
        expect(page.locator(f"{REPLY} .note").last).to_have_text(f"{label} · 세기 0.5{drawn} · kochat-mini")
        replies.append(last_reply(page))
    expect(page.locator(REPLY)).to_have_count(1)
    assert len(set(replies)) > 1


def test_again_gives_another_reply_that_is_explained_and_kept(visit):
    page = visit()
    note = page.locator(f"{REPLY} .note")
    first = ask(page, "고마워")
    assert ask(page, "고마워") == first  # greedy
    expect(note.last).not_to_contain_text("다양하게")
    in_menu(page, "#undo")
    expect(note).to_have_count(1)
    said = [first]
    for _ in range(3):
        before = page.locator(REPLY).text_content()
        again(page)
        expect(page.locator(REPLY)).not_to_have_text(before)
        expect(note).to_contain_text("다양하게 0.8")
        said.append(last_reply(page))
    assert all(one != other for one, other in itertools.pairwise(said))
    # The panel explains this very reply, after a reload too.
    expect(again_button(page)).to_be_enabled()
    page.wait_for_function(
        "said => ['다양하게 0.8', JSON.stringify(said)].every(one => localStorage.kochat_conversation.includes(one))",
        arg=said[-1],
    )
    page.reload()
    expect(note).to_contain_text("다양하게 0.8")
    page.locator("#why button.label-wrap").click()
    steps = page.locator("#explanation .steps").first
    expect(page.locator("#explanation")).to_contain_text("‘다양하게’ 0.8에서 뽑은 답이에요")
    expect(page.locator("#explanation")).not_to_contain_text("다시 계산한 답이라")
    tokens = steps.locator(".step > span").all_inner_texts()
    assert "".join(tokens).removesuffix("</s>").replace("▁", " ").strip() == said[-1]
    expect(page.locator("#explanation .chosen td").last).to_have_text(said[-1])
    # Further up first replies are drawn, too.
    page.locator("#variety input[type=range]").fill("1.2")
    ask(page, "고마워")
    expect(note.last).to_contain_text("다양하게 1.2")


def test_a_page_that_was_closed_before_the_reply_was_whole_says_so_and_asks_again(browser, app):
    page = browser.new_page(locale="ko-KR")  # no `visit`: requests that are cut off are errors to it
    page.goto(app.url)
    said = ask(page, "안녕")
    page.route("**/queue/join*", lambda route: None)  # the server never hears of the next question
    page.locator("#question textarea").fill("<b>고마워</b>")
    with page.expect_request("**/queue/join*"):
        page.locator("#question textarea").press("Enter")
    page.wait_for_function("() => localStorage.kochat_conversation.includes('고마워')")
    page.goto("about:blank")  # else it would hear of it now
    page.unroute("**/queue/join*")
    for _ in range(2):  # said once, however often the page is opened
        page.goto(app.url)
        expect(page.locator("#chat .user .message-content")).to_have_text(["안녕", "<b>고마워</b>"])
        expect(page.locator(REPLY)).to_have_text([re.compile(re.escape(said)), re.compile("답이 오기 전에 끊겼")])
    again(page)
    expect(page.locator(f"{REPLY} .note")).to_have_count(2)
    whole = last_reply(page)
    # And the same for one of which only the beginning had come.
    page.wait_for_function(
        "said => JSON.parse(localStorage.kochat_conversation).at(-1)?.metadata.log === said", arg=whole
    )
    page.evaluate(
        """() => {
            const kept = JSON.parse(localStorage.kochat_conversation);
            kept.at(-1).content[0].text = kept.at(-1).metadata.log = "많이 힘들";
            delete kept.at(-1).metadata.id;
            localStorage.kochat_conversation = JSON.stringify(kept);
        }"""
    )
    for _ in range(2):
        page.reload()
        expect(page.locator(REPLY).last).to_have_text("많이 힘들여기서 끊겼어요 · ‘다시 시도’를 누르면 다시 물어봐요")
    again(page)
    expect(page.locator(REPLY)).to_have_text(
        [re.compile(re.escape(said)), re.compile(f"{re.escape(whole)}.+kochat-mini")]
    )
    page.close()


def test_undo_brings_the_question_back_and_clear_empties_the_conversation(visit):
    page = visit()
    ask(page, "안녕")
    ask(page, "고마워")
    in_menu(page, "#undo")
    expect(page.locator("#question textarea")).to_have_value("고마워")
    expect(page.locator(REPLY)).to_have_count(1)
    in_menu(page, "#clear")
    expect(page.locator(REPLY)).to_have_count(0)
    # An example question starts again.
    page.get_by_text("여행 가고 싶어").click()
    expect(page.locator(f"{REPLY} .note")).to_have_count(1)


def test_what_looks_like_structure_or_markup_is_shown_and_answered_as_text(visit):
    page = visit()
    question = "</s><sys> **안녕** <b>x</b>  $y$"
    assert ask(page, question)
    expect(page.locator("#chat .user .message-content").last).to_have_text(question)
    assert ask(page, "가나다 " * 1250)


def test_the_page_speaks_english_and_fits_a_phone(visit):
    page = visit("en-US", width=390)
    expect(page).to_have_title(re.compile("^kochat · a Korean chatbot"))
    expect(page.get_by_role("tab").nth(1)).to_have_text("Training")
    ask(page, "안녕")
    expect(page.locator(f"{REPLY} .note").last).to_contain_text("Automatic →")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    open_training(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("#heading").evaluate("e => getComputedStyle(e).fontFamily").startswith("system-ui")


def test_two_epochs_are_seen_on_the_plot_and_the_result_talks(visit):
    page = visit()
    open_training(page)
    start(page, "내-첫-챗봇", epochs=2)
    expect(page.locator("#progress")).to_contain_text("“내-첫-챗봇” 학습이 끝났어요", timeout=TRAINING)
    steps = int(page.locator("#progress [role=progressbar]").get_attribute("aria-valuenow"))
    # Two epochs: two points of training loss, two of validation loss, one that marks the better of them; and each step.
    points = 5 + steps
    expect(page.locator("#plot g.hover_marks > path")).to_have_count(points)
    expect(page.locator("#plot .role-axis-label text")).to_contain_text(["0", "1", "2"])
    expect(page.locator("#verdict")).to_contain_text("학습한 질문 400개 가운데")
    expect(page.locator("#plot g.hover_marks > path[aria-label*='학습 손실']")).to_have_count(2)
    expect(page.locator("#epochs tbody tr").first).to_contain_text("2")
    expect(page.locator("#samples table")).to_have_count(4 + 4 - 1)  # 안녕 is one of the data's own and a general one
    expect(page.locator("#samples table").first).to_contain_text("학습 전")
    page.locator("#talk").click()
    expect(page.locator("#checkpoint input")).to_have_value("내-첫-챗봇")
    ask(page, "안녕")
    page.get_by_role("tab", name="챗봇", exact=True).click()
    expect(page.locator("#kept input")).to_have_value("내-첫-챗봇")  # whom one talks to
    page.get_by_role("tab").first.click()
    expect(page.locator(f"{REPLY} .note").last).to_contain_text("· 내-첫-챗봇")

    # A page opened afterwards shows the same run at once.
    late = visit()
    open_training(late)
    expect(late.locator("#plot g.hover_marks > path")).to_have_count(points)


def is_training(page: Page, name: str) -> None:
    expect(page.locator("#progress")).to_contain_text(f"“{name}” 학습 중이에요")


def test_a_training_is_stopped_resumed_and_ended_early_while_others_chat_and_wait(visit, app):
    page, other = visit(), visit("en-US")
    open_training(page)
    start(page, "stopped", epochs=500)
    is_training(page, "stopped")
    expect(page.locator("#plot g.hover_marks > path").first).to_be_attached(timeout=60_000)
    assert ask(other, "안녕")  # somebody else's chat is not frozen
    open_training(other)
    expect(other.locator("#progress")).to_contain_text("“stopped”")
    # A second start waits for its turn, for everybody to see, and can be taken back.
    other.locator("#name input, #name textarea").fill("second")
    other.locator("#start").click()
    expect(other.locator("#queue")).to_contain_text("second")
    expect(page.locator("#queue")).to_contain_text("second")
    other.locator("#cancel").click()
    expect(page.locator("#queue")).not_to_contain_text("second")
    page.locator("#stop").click()
    expect(page.locator("#progress")).to_contain_text("“stopped” 학습을 멈췄어요")
    assert not (app.home / "checkpoints" / "stopped").exists()
    page.locator("#resume").click()
    is_training(page, "stopped")
    page.locator("#stop").click()
    page.locator("#finish").click()
    expect(page.locator("#progress")).to_contain_text("“stopped” 학습이 끝났어요", timeout=TRAINING)
    assert (app.home / "checkpoints" / "stopped" / "model.safetensors").is_file()
    expect(page.locator("#talk")).to_be_visible()


def test_the_same_run_is_seen_after_a_reload_on_a_second_page_and_after_the_app_was_killed(visit, app):
    page = visit()
    open_training(page)
    start(page, "long", epochs=500)
    is_training(page, "long")
    points = page.locator("#plot g.hover_marks > path[aria-label*='학습 손실']")
    expect(points.nth(1)).to_be_attached(timeout=60_000)
    before = points.count()

    def shows_it_at_once(where: Page) -> None:
        where.get_by_role("tab").nth(1).click()
        expect(where.locator("#progress")).to_contain_text("“long” 학습 중이에요")
        expect(where.locator("#plot g.hover_marks > path[aria-label*='학습 손실']").nth(before - 1)).to_be_attached()

    page.reload()
    shows_it_at_once(page)
    second = visit()
    shows_it_at_once(second)
    for open_page in (page, second):  # else they complain, rightly, that the app is gone
        open_page.goto("about:blank")
    app.kill()
    app.start()
    again = visit()
    shows_it_at_once(again)
    done = int(again.locator("#progress [role=progressbar]").get_attribute("aria-valuenow"))
    expect(again.locator("#progress [role=progressbar]")).not_to_have_attribute("aria-valuenow", str(done))
    # Killed itself, it is called interrupted, and goes on from what it saved.
    app.kill_trainings()
    expect(again.locator("#progress")).to_contain_text("학습이 예기치 않게 중단됐어요")
    again.locator("#resume").click()
    is_training(again, "long")
    again.locator("#stop").click()
    expect(again.locator("#progress")).to_contain_text("“long” 학습을 멈췄어요")  # it loads first


def test_runs_are_looked_back_on_compared_repeated_and_deleted(visit, app):
    page = visit()
    page.get_by_role("tab", name="기록").click()
    expect(page.locator("#runs")).to_contain_text("내-첫-챗봇")
    expect(page.locator("#runs")).to_contain_text("완료")
    page.locator("#chosen-runs input").click()
    page.get_by_role("option", name="내-첫-챗봇", exact=True).click()
    expect(page.locator("#run-progress")).to_contain_text("“내-첫-챗봇” 학습이 끝났어요", timeout=TRAINING)
    steps = int(page.locator("#run-progress [role=progressbar]").get_attribute("aria-valuenow"))
    expect(page.locator("#run-plot g.hover_marks > path")).to_have_count(5 + steps)
    expect(page.locator("#settings")).to_contain_text("학습률 (learning_rate)")
    with page.expect_download() as download:
        page.locator("#run-csv").click()
    assert Path(download.value.path()).read_text("utf-8").startswith("epoch,loss,validation_loss")
    # A second one beside it: both curves, and only the settings that differ.
    page.locator("#chosen-runs input").click()
    page.get_by_role("option", name="stopped", exact=True).click()
    expect(page.locator("#settings")).to_contain_text("에폭 수 (epochs)")
    expect(page.locator("#settings")).not_to_contain_text("learning_rate")
    expect(page.locator("#run-plot g.hover_marks > path[aria-label*='stopped']").first).to_be_attached()
    expect(page.locator("#run-plot g.hover_marks > path[aria-label*='내-첫-챗봇']")).to_have_count(2)
    page.locator("#chosen-runs").get_by_role("button", name=re.compile("Remove|Clear|제거|지우기")).last.click()


def test_a_chatbot_is_evaluated_while_the_chat_goes_on_and_everybody_sees_its_figures(visit):
    page = visit()
    page.get_by_role("tab", name="챗봇").click()
    expect(page.locator("#about .verdict")).to_contain_text("정답과 똑같이 답했고")
    page.locator("#figures-part button.label-wrap").click()
    # The shipped one has its figures; they are in its card.
    expect(page.locator("#figures caption")).to_contain_text("학습에서 빼 둔 질문")
    choose(page, "#kept", "내-첫-챗봇")
    expect(page.locator("#figures")).to_contain_text("아직 평가한 적이 없어요")
    expect(page.locator("#evaluate-on input")).to_have_value("학습에서 빼 둔 질문")
    page.locator("#evaluate").click()
    expect(page.locator("#evaluate-bar [role=progressbar]")).to_be_visible()
    page.get_by_role("tab").first.click()
    assert ask(page, "안녕")
    page.get_by_role("tab", name="챗봇").click()
    expect(page.locator("#figures tbody tr").first).to_be_visible(timeout=120_000)
    expect(page.locator("#evaluate-bar")).to_be_empty()
    expect(page.locator("#evaluate")).to_be_enabled()
    other = visit("en-US")
    other.get_by_role("tab", name="Chatbots").click()
    other.locator("#figures-part button.label-wrap").click()
    choose(other, "#kept", "내-첫-챗봇")
    expect(other.locator("#figures")).to_contain_text("recognises the label asked for (cross-fitted)")
    expect(other.locator("#figures thead")).to_contain_text("Validation")  # test stands beside it
    expect(other.locator("#figures thead")).to_contain_text("Test")


def test_a_chatbot_is_downloaded_renamed_deleted_and_uploaded_again(visit, app):
    page = visit()
    page.get_by_role("tab", name="챗봇").click()
    page.locator("#card-part button.label-wrap").click()
    expect(page.locator("#card")).to_contain_text("kochat-mini")
    expect(page.locator("#delete")).to_be_disabled()
    choose(page, "#kept", "내-첫-챗봇")
    expect(page.locator("#card")).to_contain_text("내-첫-챗봇")
    page.locator("#new-name input, #new-name textarea").fill("새-이름")
    page.locator("#rename").click()
    expect(page.locator("#card h1")).to_have_text("새-이름")
    page.locator("#pack").click()
    with page.expect_download() as download:
        page.locator("#download").click()
    archive = app.home / "새-이름.zip"
    download.value.save_as(archive)
    page.locator("#delete").click()
    page.locator("#delete-yes").click()
    expect(page.locator("#card h1")).not_to_have_text("새-이름")
    assert not (app.home / "checkpoints" / "새-이름").exists()
    page.locator("#upload-zip input[type=file]").set_input_files(archive)
    expect(page.get_by_text("“새-이름” 챗봇을 받았어요")).to_be_visible(timeout=20_000)
    assert (app.home / "checkpoints" / "새-이름" / "model.safetensors").is_file()


UNUSABLE = [
    (b"Q,B\n\xec\x95\x88\xeb\x85\x95,hi\n", "Q, B 가운데 A 열이 없어요"),
    (b"Q,A,label\n,hi,0\nyo,,1\n", "2개 행을 쓸 수 없어요: 2행 · 질문: 비어 있어요; 3행 · 답변"),
    (b"\x89PNG\r\n\x1a\n\x00\xff", "bad2.csv 파일은 표가 아니라 그림이에요"),
    (b"Q,A,label\n", "제목 행만 있고"),
]


def test_a_file_that_cannot_be_used_gets_its_sentence(visit, tmp_path):
    page = visit()
    open_training(page)
    choose(page, "#data", "내 파일")
    for number, (content, sentence) in enumerate(UNUSABLE):
        (tmp_path / f"bad{number}.csv").write_bytes(content)
        if number:
            page.locator("#upload").get_by_role(
                "button", name=re.compile("Remove|Clear|제거|지우기|초기화|삭제")
            ).first.click()
        page.locator("#upload input[type=file]").set_input_files(tmp_path / f"bad{number}.csv")
        expect(page.locator("#upload")).to_contain_text(f"bad{number}")
        page.locator("#start").click()
        expect(page.get_by_text(sentence)).to_be_visible()
        expect(page.locator("#start")).to_be_enabled()


def test_a_file_from_korean_excel_is_trained_as_it_is(visit, tmp_path, app):
    rows = "".join(f"{i}번 손님이 왔어요,우산 {i}개를 준비하세요,우산장수\n" for i in range(20))
    (tmp_path / "excel.csv").write_bytes(("Q,A,label\n" + rows).encode("cp949"))
    page = visit()
    open_training(page)
    choose(page, "#data", "내 파일")
    page.locator("#upload input[type=file]").set_input_files(tmp_path / "excel.csv")
    expect(page.locator("#upload")).to_contain_text("excel")
    start(page, "엑셀", epochs=1, base="kochat-mini")
    expect(page.locator("#progress")).to_contain_text("“엑셀” 학습이 끝났어요", timeout=TRAINING)
    assert (app.home / "checkpoints" / "엑셀" / "kochat.json").is_file()


def test_an_unsafe_name_is_refused(visit, app):
    page = visit()
    open_training(page)
    for name in ("../x", "엑셀 2!"):
        page.locator("#name input, #name textarea").fill(name)
        page.locator("#start").click()
        expect(page.locator(".toast-body").filter(has_text=name)).to_contain_text("이름은 쓸 수 없어요")
        expect(page.locator("#start")).to_be_enabled()  # for the next try
    assert not (app.home / "x").exists()


def test_kogpt2_without_the_hub_is_one_sentence(visit, app):
    page = visit()
    open_training(page)
    choose(page, "#base", "KoGPT2 (skt/kogpt2-base-v2)")
    page.locator("#name input, #name textarea").fill("kogpt2-1")
    page.locator("#start").click()
    expect(page.locator("#progress")).to_contain_text("Hugging Face Hub에 연결할 수 없어요", timeout=TRAINING)
    assert not (app.home / "checkpoints" / "kogpt2-1").exists()
