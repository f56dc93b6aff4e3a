"""Data, visitors and the conversation in headless Chromium, as people use them."""

import contextlib
import csv
import io
import json
import re
from pathlib import Path

import pytest
from browser_tools import TRAINING, ask, box, choose, in_menu, open_training, upload, visits
from conftest import ForkedApp
from gradio_client import Client
from gradio_client.exceptions import AppError
from odd_files import FILES
from playwright.sync_api import Page, expect

from kochat.errors import SENTENCES

LONG = "아주 긴 답이에요. " * 40
# What a shop keeps, in columns of its own names: 80 rows, and what is wrong with some.
SHOP = {number: (f"{number}번 손님이 왔어요", f"{number}번 우산을 준비하세요.") for number in range(2, 82)}
SHOP |= {
    5: ("", "어서 오세요."),
    9: ("우산 있나요?", ""),
    12: ("가\x07나", "네"),
    20: SHOP[3],
    21: (SHOP[4][0], "다른 답"),
    30: ("", ""),
}
PROBLEMS = [
    "5행 · 질문: 비어 있어요",
    "9행 · 답변: 비어 있어요",
    "12행 · 질문: 제어 문자나 깨진 글자가 있어요",
    "20행: 3행과 똑같아요",
    "21행: 4행과 같은 질문인데 답이 달라요",
]


@pytest.fixture
def shop(tmp_path) -> Path:
    """The shop's file as Korean Excel saves it."""
    lines = [f'{number},"{question}",{answer},\r\n' for number, (question, answer) in SHOP.items()]
    path = tmp_path / "우산 가게.csv"
    path.write_bytes(("번호,손님 말,우리 답,메모\r\n" + "".join(lines)).encode("cp949"))
    return path


def open_data(page: Page) -> None:
    page.get_by_role("tab", name=re.compile("^(데이터|Data)$")).click()


def open_part(page: Page, element: str) -> None:
    """Open an accordion, where it is not open yet."""
    button = page.locator(f"{element} > button")
    if "open" not in (button.get_attribute("class") or "").split():
        button.click()


def look_at(page: Page, path: Path) -> None:
    """Give a file to the import, and wait until it says what it is."""
    open_data(page)
    open_part(page, "#import")
    upload(page, "#import-file", path)
    expect(page.locator("#import-told")).not_to_be_empty()


def bring_in(page: Page, path: Path, name: str) -> None:
    """Import a file whose columns are told by their names."""
    look_at(page, path)
    box(page, "#dataset-name").fill(name)
    page.locator("#bring-in").click()
    expect(page.locator("#dataset input")).to_have_value(name)


def rows(page: Page):
    return page.locator("#rows tr[data-row]:not(.why)")


def test_a_file_of_korean_excel_is_looked_at_mapped_and_brought_in(visit, shop):
    page = visit()
    open_data(page)
    expect(page.locator("#data-note")).to_contain_text("엑셀이나 CSV")
    look_at(page, shop)
    told = page.locator("#import-told")
    expect(told).to_contain_text("우산 가게.csv: CSV · CP949 · 쉼표로 구분 · 열 4개")
    expect(told).to_contain_text("어느 열이 질문이고 어느 열이 답변인지 골라 주세요.")
    expect(told.locator("tbody tr")).to_have_count(5)
    # Not chosen yet: a sentence, and nothing is made.
    page.locator("#bring-in").click()
    expect(page.get_by_text("가운데 Q, A 열이 없어요")).to_be_visible()
    expect(page.locator(".toast-title")).to_have_text("오류")
    expect(box(page, "#dataset-name")).to_have_value("우산-가게")
    choose(page, "#map-question", "손님 말")
    choose(page, "#map-answer", "우리 답")
    # A column for the label can be chosen too; without one all rows have one label.
    choose(page, "#map-label", "메모")
    expect(page.locator("#one-label")).to_be_hidden()
    choose(page, "#map-label", "없음 (모두 같은 라벨)")
    box(page, "#one-label").fill("우산장수")
    page.locator("#bring-in").click()
    expect(page.locator("#dataset input")).to_have_value("우산-가게")
    expect(page.locator("#data-note")).to_be_hidden()
    # Row 30 is a number and nothing else: without question and answer it is no row at all.
    expect(page.locator("#counts .counts")).to_have_text(
        "전체 79행 = 쓸 수 있는 행 75 + 고칠 행 4 (같은 질문에 다른 답 1)"
    )
    expect(page.locator("#counts .reasons li")).to_have_count(5)
    page.locator("#counts summary").click()
    expect(page.locator("#counts .problems li")).to_have_text(PROBLEMS)
    expect(page.locator("#label-plot")).to_contain_text("우산장수")


def test_bad_rows_are_left_out_and_come_back(visit):
    page = visit()
    open_data(page)
    counts = page.locator("#counts .counts")
    expect(counts).to_contain_text("고칠 행 4")
    page.locator("#leave-out").click()
    expect(page.get_by_text("4행을 뺐어요.")).to_be_visible()
    expect(page.locator(".toast-title")).to_have_text("알림")
    expect(counts).to_have_text("전체 75행 = 쓸 수 있는 행 75 + 고칠 행 0 (같은 질문에 다른 답 1)")
    expect(page.locator("#leave-out")).to_be_hidden()
    open_part(page, "#changes")
    expect(page.locator("#change input")).to_have_value(re.compile(r"파일에서 가져온 뒤 · 79행$"))
    page.locator("#go-back").click()
    expect(counts).to_have_text("전체 79행 = 쓸 수 있는 행 75 + 고칠 행 4 (같은 질문에 다른 답 1)")
    # Going back is a change like any other, and can be taken back.
    expect(page.locator("#change input")).to_have_value(re.compile(r"문제 있는 행을 뺀 뒤 · 4행$"))
    page.locator("#go-back").click()
    expect(counts).to_contain_text("전체 75행")
    page.locator("#go-back").click()
    expect(counts).to_contain_text("전체 79행")


def test_a_row_is_mended_and_the_tokens_show_what_is_cut(visit):
    page = visit()
    open_data(page)
    page.locator("#mend").click()
    expect(rows(page)).to_have_count(4)
    expect(page.locator("#rows tr.why").first).to_have_text("질문: 비어 있어요")
    rows(page).nth(1).click()
    expect(page.locator("#row")).to_contain_text("9번 행")
    expect(box(page, "#row-question")).to_have_value("우산 있나요?")
    expect(page.locator("#tokens p")).to_have_text(re.compile(r"토큰 \d+개 \(최대 96개\)$"))
    # What is typed becomes tokens at once, and what is too long is struck out.
    box(page, "#row-answer").fill(LONG)
    expect(page.locator("#tokens")).to_contain_text("길어서 잘려요")
    cut = int(re.search(r"(\d+)개는 길어서", page.locator("#tokens").inner_text())[1])
    expect(page.locator("#tokens del")).to_have_count(cut)
    box(page, "#row-answer").fill("네, <b>여기</b> 있어요.")
    expect(page.locator("#tokens del")).to_have_count(0)
    expect(page.locator("#tokens .piece.answer").first).to_be_visible()
    page.locator("#row-save").click()
    expect(page.get_by_text("9번 행을 저장했어요.")).to_be_visible()
    expect(page.locator("#row")).to_be_hidden()
    expect(rows(page)).to_have_count(3)
    expect(page.locator("#counts .counts")).to_have_text(
        "전체 79행 = 쓸 수 있는 행 76 + 고칠 행 3 (같은 질문에 다른 답 1)"
    )


def test_rows_are_searched_filtered_and_paged_through(visit):
    page = visit()
    open_data(page)
    expect(page.locator("#page-count")).to_have_text("/ 4")
    expect(rows(page)).to_have_count(25)
    page.locator("#next-page").click()
    expect(rows(page).first).to_contain_text("27번 손님")
    page.locator("#last-page").click()
    expect(rows(page)).to_have_count(4)
    expect(page.locator("#next-page")).to_be_disabled()
    box(page, "#page-number").fill("2")
    box(page, "#page-number").press("Enter")
    expect(rows(page).first).to_contain_text("27번 손님")
    box(page, "#page-number").fill("99")
    box(page, "#page-number").press("Enter")
    expect(box(page, "#page-number")).to_have_value("4")
    box(page, "#search").fill("<b>여기</b>")
    expect(rows(page)).to_have_count(1)
    expect(rows(page).locator("td").nth(2)).to_have_text("네, <b>여기</b> 있어요.")
    box(page, "#search").fill("없는 말")
    expect(page.locator("#rows")).to_contain_text("여기에 맞는 행이 없어요.")
    box(page, "#search").fill("")
    page.get_by_label("같은 질문에 다른 답").check()
    expect(page.locator("#only [data-testid=block-info]")).to_have_text("어떤 행을 볼까요?")
    expect(rows(page)).to_have_count(1)
    expect(page.locator("#rows tr.why")).to_have_text("4행과 같은 질문인데 답이 달라요")


def test_a_row_is_added_under_a_new_label_found_by_it_and_deleted(visit):
    page = visit("en-US")
    open_data(page)
    page.locator("#add-row").click()
    box(page, "#row-question").fill("새 질문")
    page.locator("#row-save").click()  # without an answer it is a row to mend
    expect(page.get_by_text("Row 82 is saved.")).to_be_visible()
    expect(page.locator("#counts .counts")).to_contain_text("80 rows")  # it is in the table
    page.get_by_label("to mend").check()
    expect(rows(page)).to_have_count(4)
    rows(page).last.click()
    box(page, "#row-answer").fill("새 답")
    box(page, "#row-label").fill("건설현장")
    box(page, "#row-label").press("Enter")
    page.locator("#row-save").click()
    expect(rows(page)).to_have_count(3)
    page.get_by_label("all rows").check()
    choose(page, "#by-label", "건설현장 (1)")
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("새 답")
    expect(page.locator("#label-plot")).to_contain_text("건설현장")
    rows(page).click()
    page.locator("#row-delete").click()
    expect(page.get_by_text("Row 82 is deleted.")).to_be_visible()
    expect(page.locator("#by-label input")).to_have_value("all")  # the label is gone
    expect(page.locator("#counts .counts")).to_have_text(
        "79 rows = 76 to use + 3 to mend (1 with the same question, another answer)"
    )


def test_a_csv_for_excel_is_downloaded(visit):
    page = visit()
    open_data(page)
    expect(rows(page)).to_have_count(25)
    with page.expect_download() as download:
        page.locator("#to-csv").click()
    assert download.value.suggested_filename == "우산-가게.csv"
    data = Path(download.value.path()).read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    expected = {**SHOP, 9: ("우산 있나요?", "네, <b>여기</b> 있어요.")}
    del expected[30]
    assert lines == [["Q", "A", "label"], *([question, answer, "우산장수"] for question, answer in expected.values())]


def test_a_dataset_is_renamed_trained_on_and_deleted(visit, app):
    page = visit()
    open_data(page)
    open_part(page, "#manage")
    box(page, "#dataset-new-name").fill("../x")
    page.locator("#dataset-rename").click()
    expect(page.get_by_text("이름은 쓸 수 없어요")).to_be_visible()
    box(page, "#dataset-new-name").fill("가게")
    page.locator("#dataset-rename").click()
    expect(page.locator("#dataset input")).to_have_value("가게")
    assert [path.name for path in (app.home / "datasets").iterdir()] == ["가게.pairs"]
    page.locator("#train-on").click()
    expect(page.locator("#data input")).to_have_value("가게")
    expect(box(page, "#name")).not_to_have_value("")
    box(page, "#name").fill("가게-챗봇")
    page.get_by_label("에폭 수").fill("1")
    page.locator("#start").click()
    expect(page.locator("#progress")).to_contain_text("“가게-챗봇” 학습이 끝났어요", timeout=TRAINING)
    expect(page.locator("#progress")).to_contain_text("학습 76쌍 · 검증 0쌍")
    open_data(page)
    page.locator("#dataset-delete").click()
    page.locator("#dataset-delete-yes").click()
    expect(page.locator("#dataset")).to_be_hidden()
    assert list((app.home / "datasets").iterdir()) == []


def test_a_row_that_is_open_is_saved_nowhere_else_when_its_dataset_goes(visit, app, tmp_path):
    page, datasets = visit(), app.home / "datasets"
    for name, answer in (("나", "둘째"), ("가", "첫째")):
        path = tmp_path / f"{name}.csv"
        path.write_text(f"Q,A\n안녕,{answer}\n", "utf-8")
        bring_in(page, path, name)
    rows(page).first.click()
    expect(box(page, "#row-answer")).to_have_value("첫째")
    (datasets / "가.pairs").unlink()  # as from another page
    box(page, "#row-answer").fill("다른 답")
    page.locator("#row-save").click()
    expect(page.get_by_text("가 데이터셋이 없어요")).to_be_visible()
    expect(page.locator("#dataset input")).to_have_value("나")
    expect(page.locator("#row")).to_be_hidden()
    expect(rows(page)).to_contain_text("둘째")
    (datasets / "나.pairs").unlink()


def test_kept_labels_and_their_names_are_offered_in_the_chat(visit):
    page = visit()
    open_training(page)
    choose(page, "#data", "건설현장과 우산장수 (기본 제공)")
    box(page, "#name").fill("직업도")
    page.get_by_label("에폭 수").fill("1")
    open_part(page, "#more")
    choose(page, "#keep-labels", "그대로 두기")
    box(page, "#label-names").fill("우산장수=비 <b>좋아</b>\n3=없는 라벨")
    page.locator("#start").click()
    expect(page.get_by_text("라벨 이름 값이 3=없는 라벨인데")).to_be_visible()
    box(page, "#label-names").fill("우산장수=비 <b>좋아</b>, 1=헤어짐")
    page.locator("#start").click()
    expect(page.locator("#progress")).to_contain_text("“직업도” 학습이 끝났어요", timeout=TRAINING)
    page.locator("#talk").click()
    expect(page.locator("#checkpoint input")).to_have_value("직업도")
    page.locator("#label input").click()
    offered = page.locator("#label [role=option]")
    names = ["자동", "건설현장", "비 <b>좋아</b>", "일상다반사", "헤어짐", "사랑·긍정"]  # its own before its base's
    expect(offered).to_have_count(len(names))
    assert [offered.nth(i).get_attribute("aria-label") for i in range(len(names))] == names
    offered.nth(2).click()
    ask(page, "오늘 날씨는 어때?")
    expect(page.locator("#chat .note").last).to_have_text("비 <b>좋아</b> · 세기 0.5 · 직업도")


ODD_IN_THE_BROWSER = [
    "cp949",
    "Excel's unicode text",
    "sep=;",
    "workbook with a formula",
    "json lines with newlines in cells",
    "json lines with half a character",
    "unknown names",
    "a huge cell",
    "latin-1",
    "a row with more cells",
    "a quote that never ends",
    "workbook cut off",
    "json lines with a broken line",
    "png",
    "old Excel",
    "empty",
    "header only",
]


def test_odd_files_are_brought_in_or_refused_with_their_sentence(visit, app, tmp_path):
    page, datasets = visit("en-US"), []
    open_data(page)
    for number, name in enumerate(ODD_IN_THE_BROWSER):
        odd, path = FILES[name], tmp_path / f"odd{number}.csv"
        path.write_bytes(odd.data)
        open_part(page, "#import")
        upload(page, "#import-file", path)
        if odd.error and odd.error != "no_column":
            pattern = ".+".join(map(re.escape, re.split(r"\{\w+\}", SENTENCES["en"][odd.error])))
            toast = page.locator(".toast-body").filter(has_text=re.compile(pattern))
            expect(toast).to_be_visible()
            expect(page.locator("#bring-in")).to_be_hidden()
            toast.get_by_test_id("toast-close").click()
            continue
        expect(page.locator("#import-told")).to_contain_text(f"odd{number}.csv: ")
        if odd.error:  # nobody's names: the owner chooses
            choose(page, "#map-question", "하나")
            choose(page, "#map-answer", "둘")
        page.locator("#bring-in").click()
        expect(page.locator("#dataset input")).to_have_value(f"odd{number}")
        good, bad = len(odd.pairs) or 1, len({row for row, *_ in odd.problems})
        told = re.compile(rf"{good + bad} rows = {good} to use \+ {bad} to mend")
        if name != "a huge cell":  # read, but longer than a chatbot can take
            expect(page.locator("#counts .counts")).to_contain_text(told)
        expect(page.locator("#import-told")).to_be_hidden()  # the part is closed again
        datasets.append(f"odd{number}")
    assert sorted(path.stem for path in (app.home / "datasets").iterdir()) == sorted(datasets)
    assert "Traceback" not in app.log.read_text()


PASSWORD = "열려라 참깨"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A running app whose owner is whoever knows the password."""
    with contextlib.closing(ForkedApp(tmp_path_factory.mktemp("guarded"), KOCHAT_PASSWORD=PASSWORD)) as running:
        yield running


@pytest.fixture
def visit_guarded(browser, guarded):
    """Open the page of that app."""
    with visits(browser, guarded.url) as open_page:
        yield open_page


def log_in(page: Page, password: str) -> None:
    page.get_by_role("tab").nth(4).click()
    page.get_by_label("주인 비밀번호").fill(password)
    page.get_by_label("주인 비밀번호").press("Enter")


def test_visitors_do_not_see_each_other_and_the_owner_accepts_what_they_teach(visit_guarded, guarded, shop):
    one, other = visit_guarded(), visit_guarded()
    ask(one, "나만 아는 비밀")
    one.locator("#chat").get_by_role("button", name="좋아요", exact=True).click()
    expect(one.locator("#taught-summary")).to_contain_text("가르친 답이 1개 있어요")
    open_data(one)
    expect(one.locator("#dataset input")).to_have_value("가르친-답")
    expect(rows(one)).to_contain_text("나만 아는 비밀")
    expect(one.locator("#data-note")).to_contain_text("서버의 주인만")
    for hidden in ("#import", "#train-on", "#dataset-rename"):
        expect(one.locator(hidden)).to_be_hidden()
    open_data(other)
    expect(other.locator("#data-note")).to_be_visible()
    expect(other.locator("#dataset")).to_be_hidden()
    for page in (other, one):
        page.reload()
    expect(other.locator("#chat .message")).to_have_count(0)
    expect(one.locator("#chat .user .message-content")).to_have_text("나만 아는 비밀")

    owner = visit_guarded()
    log_in(owner, "wrong")
    expect(owner.get_by_text("비밀번호가 맞지 않아요")).to_be_visible()
    log_in(owner, PASSWORD)
    expect(owner.get_by_label("주인 비밀번호")).to_be_hidden()  # after the page has opened anew
    expect(owner.locator("#taught-summary")).to_contain_text("방문자가 가르친 답 1개가 기다려요")
    open_data(owner)
    expect(owner.locator("#dataset")).to_be_hidden()
    waiting = owner.locator("#review-table").get_by_role("row").filter(has_text="나만 아는 비밀")
    waiting.get_by_role("checkbox").check()
    owner.locator("#accept-lessons").click()
    expect(owner.locator("#review")).to_be_hidden()
    expect(owner.locator("#dataset input")).to_have_value("가르친-답")
    expect(rows(owner)).to_contain_text("나만 아는 비밀")
    owner.get_by_role("tab").first.click()
    expect(owner.locator("#taught-summary")).to_have_text("이 챗봇은 가르친 답을 모두 알아요.")
    expect(one.locator("#taught-summary")).to_contain_text("가르친 답이 1개 있어요")
    open_data(owner)
    look_at(owner, shop)
    choose(owner, "#map-question", "손님 말")
    choose(owner, "#map-answer", "우리 답")
    owner.locator("#bring-in").click()
    expect(owner.locator("#dataset input")).to_have_value("우산-가게")
    open_data(one)
    expect(one.locator("#dataset input")).to_have_value("가르친-답")
    one.locator("#dataset input").click()
    expect(one.locator("#dataset [role=option]")).to_have_count(1)


def test_only_the_owner_trains_renames_and_deletes(visit_guarded, guarded):
    stranger = visit_guarded()
    open_training(stranger)
    stranger.locator("#start").click()
    expect(stranger.get_by_text("이 서버의 주인만 할 수 있어요").first).to_be_visible()
    assert list(guarded.home.glob("runs/*/config.json")) == []
    with pytest.raises(AppError, match="Only the owner"):
        Client(guarded.url, verbose=False).predict("jobs", "theirs", api_name="/train")
    owner = visit_guarded()
    log_in(owner, PASSWORD)
    expect(owner.get_by_label("주인 비밀번호")).to_be_hidden()
    open_training(owner)
    choose(owner, "#data", "우산-가게")
    box(owner, "#name").fill("mine")
    owner.get_by_label("에폭 수").fill("1")
    owner.locator("#start").click()
    expect(owner.locator("#progress")).to_contain_text("“mine” 학습이 끝났어요", timeout=TRAINING)
    stranger.get_by_role("tab").nth(4).click()
    choose(stranger, "#kept", "mine")
    box(stranger, "#new-name").fill("theirs")
    stranger.locator("#rename").click()
    refusal = stranger.locator(".toast-body").filter(has_text="이 서버의 주인만 할 수 있어요")
    expect(refusal).to_be_visible()
    refusal.get_by_test_id("toast-close").click()
    expect(refusal).to_be_hidden()
    stranger.locator("#delete").click()
    stranger.locator("#delete-yes").click()
    expect(refusal).to_be_visible()
    assert (guarded.home / "checkpoints" / "mine" / "kochat.json").is_file()


def test_a_browser_that_blocks_cookies_is_told_why_the_password_does_not_help(visit_guarded, guarded):
    page = visit_guarded()
    page.route("**/owner", lambda route: route.fulfill(json={"owner": False}))  # as the server says to such a one
    log_in(page, PASSWORD)
    expect(page.locator("#owner-note")).to_contain_text("비밀번호는 맞지만, 브라우저가 쿠키를 막고 있어서")
    expect(page.locator("#owner-note a")).to_have_attribute("href", re.compile(re.escape(guarded.url)))


def test_the_owner_is_signed_in_until_they_go_out(visit_guarded):
    page = visit_guarded()
    log_in(page, PASSWORD)
    expect(page.get_by_label("주인 비밀번호")).to_be_hidden()
    assert page.evaluate("document.cookie").count("kochat_owner") == 0
    page.get_by_role("tab").nth(4).click()
    expect(page.locator("#sessions")).to_contain_text("지금 이 브라우저")
    page.locator("#log-out").click()
    expect(page.locator("#sessions")).to_be_hidden()
    page.get_by_role("tab").nth(4).click()
    expect(page.get_by_label("주인 비밀번호")).to_be_visible()


def test_a_conversation_stays_in_the_browser_and_is_exported_and_cleared(visit_guarded, guarded):
    page, other = visit_guarded(), visit_guarded("en-US")
    questions = ['그는 "네", <b>라고</b> 했다', "=1+1\n안녕"]
    choose(page, "#label", "사랑·긍정")
    replies = [ask(page, question) for question in questions]
    page.reload()
    expect(page.locator("#chat .user .message-content")).to_have_text(questions)
    expect(page.locator("#chat .bot .message-content")).to_have_count(2)
    label, name = "2", "kochat-mini"
    expected = []
    for question, reply in zip(questions, replies, strict=True):
        expected.append({"role": "user", "text": question, "label": None, "checkpoint": None})
        expected.append({"role": "assistant", "text": reply, "label": label, "checkpoint": name})
    with page.expect_download() as download:
        in_menu(page, "#save-json")
    assert download.value.suggested_filename == "kochat.json"
    assert json.loads(Path(download.value.path()).read_text("utf-8")) == expected
    with page.expect_download() as download:
        in_menu(page, "#save-csv")
    data = Path(download.value.path()).read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert lines[0] == ["role", "text", "label", "checkpoint"]
    assert [line[0] for line in lines[1:]] == [one["role"] for one in expected]
    assert [line[1].lstrip("\u200b") for line in lines[1:]] == [one["text"] for one in expected]
    assert not any(line[1].startswith("=") for line in lines)  # Excel would compute it
    expect(other.locator("#chat .message")).to_have_count(0)
    kept = [
        path
        for path in guarded.home.rglob("*")
        if path.is_file() and "<b>라고</b> 했다" in path.read_bytes().decode("utf-8", "ignore")
    ]
    assert kept == []
    in_menu(page, "#clear")
    expect(page.locator("#chat .message")).to_have_count(0)
    page.reload()
    page.locator("#question textarea").wait_for()
    expect(page.locator("#chat .message")).to_have_count(0)
    assert page.evaluate("localStorage.getItem('kochat_conversation')") in (None, "[]")
