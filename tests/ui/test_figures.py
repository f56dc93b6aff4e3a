"""The figures on the page: the table in both languages, what a checkpoint can be measured on, who may measure."""

import re

import gradio as gr
import pandas as pd
import pytest

from kochat.config import SHIPPED_CHECKPOINTS
from kochat.data import pairs
from kochat.errors import DataError
from kochat.model import checkpoint
from kochat.model.cards import FIGURE_NAMES
from kochat.runs import evaluation_job
from kochat.runs.evaluation_job import Job
from kochat.ui import sources
from kochat.ui.checkpoints import figures

OLD = {"questions": 1554, "nll_per_char": 1.2094, "exact": 0.1336, "held_out": True}
NEW = {
    **OLD,
    "strength": 1.5,
    "nearest_exact": 0.2166,
    "held_out": False,
    "intervals": {"nll_per_char": [1.129, 1.3], "exact": [0.1055, 0.1634], "nearest_exact": [0.18, 0.25]},
}


def a_request(host="127.0.0.1", language="ko-KR"):
    """As much of a request as is looked at."""
    made = gr.Request(session_hash="one")
    made.kwargs = {"cookies": {}, "headers": {"accept-language": language}}
    made.kwargs["client"] = type("Client", (), {"host": host})
    return made


@pytest.fixture
def own(home, model, tokenizer):
    """A checkpoint in the list, made of three questions of a file that was uploaded."""
    table = pd.DataFrame([(f"질문 {i}", "답", "0") for i in range(20)], columns=["Q", "A", "label"], dtype="str")
    kept = pairs.keep(table.to_csv(index=False).encode(), "상담.csv", home / "uploads")
    data = {"source": "상담", "rows": 20, "sha256": pairs.fingerprint(table)}
    config = {"validation_share": 0.2, "seed": 0}
    card = checkpoint.Card(labels=["0", "1"], data=data, config=config)
    return checkpoint.save(home / "checkpoints" / "own", model, tokenizer, card), kept


def cells(shown):
    return [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall(r"<tr.*?</tr>", shown)]


def test_a_row_is_a_figure_with_its_interval_and_baselines_stand_below():
    shown = figures.table_html("en", NEW, {})
    assert "The pairs that were given · 1,554 questions · strength 1.5" in shown
    assert cells(shown) == [
        ["Figure", "Value", "95% interval", "Questions"],
        ["Negative log-likelihood per character of the answer (lower is better)", "1.209", "1.129 – 1.300", "1554"],
        ["Exact match: replies that are the true answer word for word", "13.4%", "10.5% – 16.3%", "1554"],
        ["Baseline: the answer to the nearest question", "21.7%", "18.0% – 25.0%", "1554"],
    ]
    assert "test" not in shown
    assert shown.count('<tr class="baseline">') == 1


def test_an_old_card_shows_what_it_has():
    shown = figures.table_html("ko", OLD, {})
    assert "학습에서 빼 둔 질문 · 질문 1,554개</caption>" in shown
    assert cells(shown)[0] == ["지표", "값", "질문 수"]
    assert [len(row) for row in cells(shown)] == [3, 3, 3]
    assert "따로 남겨 둔 테스트 질문이 없어요" in shown
    for name in FIGURE_NAMES:
        assert figures.say("ko", f"k_figure_{name}")


def test_test_stands_beside_validation_and_what_flatters_it_below():
    new = {**NEW, "recognised": 0.6378, "cross_fitted": True}
    both = {"validation": new, "test": {**new, "questions": 557, "exact": 0.125}, "held_out": True}
    shown = figures.table_html("en", both, {"test_known_to_base": 0})
    assert (
        "Questions kept out of its training · Validation 1,554 questions · Test 557 questions · strength 1.5" in shown
    )
    assert cells(shown)[0] == ["Figure", "Validation", "95% interval", "Questions", "Test", "95% interval", "Questions"]
    assert cells(shown)[2][1:] == ["13.4%", "10.5% – 16.3%", "1554", "12.5%", "10.5% – 16.3%", "557"]
    assert "recognises the label asked for (cross-fitted)" in cells(shown)[4][0]
    assert "flatter" not in shown
    assert "기반 모델이 이미 배운 질문" in figures.table_html("ko", both, {"test_known_to_base": 7})
    old = figures.table_html("en", {**OLD, "recognised": 0.7178}, {})
    assert "(in-sample, so too high)" in old
    assert "There is no test part" in old


def test_what_is_not_in_the_card_is_shown_too_and_said_to_be_so(own, monkeypatch):
    path, _ = own
    assert "아직 평가한 적이 없어요" in figures.figures_html("ko", "own")
    assert figures.figures_html("ko", "gone") == figures.figures_html("ko", None) == ""
    checkpoint.record(path, {"evaluation": OLD})
    assert figures.figures_html("ko", "own").count("<table>") == 1
    monkeypatch.setattr(evaluation_job, "_newest", {path: Job(path, recorded=False, figures=NEW)})
    shown = figures.figures_html("ko", "own")
    assert shown.count("<table>") == 2
    assert shown.count("카드에 저장하지 않았어요") == 1
    # About the same questions the newer table is enough.
    monkeypatch.setattr(evaluation_job, "_newest", {path: Job(path, recorded=False, figures={**NEW, "held_out": True})})
    assert figures.figures_html("ko", "own").count("<table>") == 1


def test_what_was_kept_out_comes_first_where_it_can_be_had(own, home):
    path, kept = own
    dropdown, upload = figures.source_choices("own", a_request())
    assert [value for _, value in dropdown.choices][:2] == [figures.HELD_OUT, "emotions"]
    assert (dropdown.value, upload.visible) == (figures.HELD_OUT, False)
    card = checkpoint.read_card(path)
    assert figures.data_for(card, figures.HELD_OUT, None, a_request()) == (str(kept), True)
    # The same file uploaded again: only what was kept out of it tells anything.
    copy = home / "copy.csv"
    copy.write_bytes(kept.read_bytes())
    assert figures.data_for(card, sources.OWN_FILE, str(copy), a_request()) == (str(copy), True)
    assert figures.data_for(card, "emotions", None, a_request()) == ("emotions", False)
    kept.unlink()
    dropdown, upload = figures.source_choices("own", a_request())
    assert (dropdown.value, upload.visible) == (sources.OWN_FILE, True)
    for source, upload, key in (
        (figures.HELD_OUT, None, "data_gone"),
        (sources.OWN_FILE, None, "no_upload"),
        ("/etc/passwd", None, "no_file"),
        ("dataset:../x", None, "no_dataset"),
    ):
        with pytest.raises(DataError) as refused:
            figures.data_for(card, source, upload, a_request())
        assert refused.value.key == key


def test_the_card_keeps_what_tells_most_and_the_shipped_one_stays_as_it_is(own, monkeypatch):
    path, _ = own
    started = []
    monkeypatch.setattr(evaluation_job, "start", lambda *given, record: started.append((*given, record)))
    figures.start("own", "emotions", None, a_request())
    checkpoint.record(path, {"evaluation": OLD})
    figures.start("own", "emotions", None, a_request())
    figures.start("own", figures.HELD_OUT, None, a_request())
    figures.start("kochat-mini", "emotions", None, a_request())
    assert [(given[0], *given[2:]) for given in started] == [
        (path, False, True),
        (path, False, False),
        (path, True, True),
        (SHIPPED_CHECKPOINTS / "kochat-mini", False, False),
    ]


def test_only_the_owner_measures_and_only_what_is_in_the_list(own):
    for name, request, sentence in (
        ("own", a_request("203.0.113.9"), "주인만"),
        ("../own", a_request(), "체크포인트가 없어요"),
        (None, a_request(), "체크포인트가 없어요"),
    ):
        with pytest.raises(gr.Error, match=sentence):
            figures.start(name, "emotions", None, request)


def test_whoever_opens_the_tab_follows_what_is_on_and_hears_how_it_ended(own, monkeypatch):
    path, _ = own
    job = Job(path, recorded=True, done=0.25)
    monkeypatch.setattr(evaluation_job, "_newest", {path: job})
    monkeypatch.setattr(figures, "BETWEEN_LOOKS", 0)
    bars = figures.follow(a_request(language="en"))
    assert 'aria-valuenow="25"' in next(bars)
    job.done = 0.5
    assert "Evaluating “own” · 50%" in next(bars)
    job.failure = DataError("nothing_to_evaluate")
    assert next(bars) == ""
    with pytest.raises(gr.Error, match="no pair to evaluate"):
        next(bars)
    assert list(figures.follow(a_request())) == [""]
