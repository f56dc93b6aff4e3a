"""The training tab where a machine of Hugging Face trains: what it costs, who may, and that it is one more run."""

import gradio as gr
import pytest
from test_auth import request

from kochat.data import pairs
from kochat.runs import queue, registry
from kochat.ui.training import form
from kochat.ui.training import tab as training

FORM = ["emotions", None, "kochat-mini", "mine", 1, 8, 1e-3, 0, 0, "auto", 0, "auto", ""]


@pytest.fixture(autouse=True)
def prices(server):
    """Asked for anew in each test."""
    form._offered.cache_clear()
    return server


def plan(by, where="t4-small"):
    return form.plan("emotions", None, "kochat-mini", 0, 0, where, by)


def test_its_price_is_said_before_it_starts_and_it_is_a_run_as_any_other(server, monkeypatch):
    assert plan(request()) == (
        "Nvidia T4 small: $0.40 an hour while it runs, 6 hours at most. Your Hugging Face account pays."
    )
    assert "시간당 0.40달러" in plan(request(headers={"accept-language": "ko"}))
    assert sum("/api/jobs/hardware" in one for one in server.requests) == 1
    launched = []
    monkeypatch.setattr(queue, "_launch", launched.append)
    form.start(*FORM, "t4-small", request())
    [run] = registry.list_runs()
    assert (launched, run.is_elsewhere(), run.config.data) == ([run], True, "emotions")
    run.write("preparing", what="waiting_for_job")
    queue.mark_launched(run, 1)
    assert len(pairs.read_pairs("emotions")) == run.record().pairs


def test_only_the_owner_spends_their_money_whatever_visitors_may_do(server, monkeypatch, home):
    monkeypatch.setenv("KOCHAT_VISITORS", "all")
    monkeypatch.setattr(queue, "_launch", lambda run: None)
    visitor = request("8.8.8.8")
    with pytest.raises(gr.Error, match="Only the owner"):
        form.start(*FORM, "t4-small", visitor)
    assert "$" not in plan(visitor)
    form.start(*FORM, "t4-small", request())
    [run] = registry.list_runs()
    with pytest.raises(gr.Error, match="Only the owner"):
        training.act(queue.delete)((run.state(), run.name), visitor)


def test_what_is_in_the_way_is_said_in_one_sentence_and_nothing_is_queued(server, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert plan(request()).startswith("There is no token of the Hugging Face Hub.")
    with pytest.raises(gr.Error, match="There is no token"):
        form.start(*FORM, "t4-small", request())
    assert registry.list_runs() == []
