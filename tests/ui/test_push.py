"""Pushing from the chatbots tab: the handler against a stand-in for the Hub's server."""

import gradio as gr
import pytest

from kochat.model import checkpoint
from kochat.ui.checkpoints.publish import push
from kochat.ui.sessions import COOKIE, sessions


def asked_by(host="127.0.0.1", language="en", token=""):
    return gr.Request(
        client={"host": host},
        cookies={COOKIE: token},
        headers={"accept-language": language, "host": "127.0.0.1:7860"},
        session_hash="s",
    )


@pytest.fixture
def name(home, model, tokenizer, monkeypatch):
    for variable in ("KOCHAT_PASSWORD", "SPACE_ID"):
        monkeypatch.delenv(variable, raising=False)
    pairs = [("안녕", "반가워요.", "0")]
    return checkpoint.save(
        checkpoint.folder_of("mine"), model, tokenizer, checkpoint.Card(labels=["0"]), pairs=pairs
    ).name


def test_it_is_private_and_without_pairs_unless_one_says_otherwise(server, name):
    said = push(name, " somebody/bot ", False, False, asked_by())
    assert said == f"[somebody/bot]({server.url}/somebody/bot) is ready (private)."
    repo = server.pushed["models", "somebody/bot"]
    assert (repo.private, "pairs.csv.xz" in repo.files) == (True, False)
    assert "최신" in push(name, "somebody/bot", False, False, asked_by(language="ko"))
    assert "everybody" in push(name, "somebody/open", True, True, asked_by())
    repo = server.pushed["models", "somebody/open"]
    assert (repo.private, "pairs.csv.xz" in repo.files) == (False, True)


def test_on_a_space_it_is_the_token_of_who_has_signed_in(server, name, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(gr.Error, match="no token"):
        push(name, "somebody/bot", False, False, asked_by())
    token = sessions.begin("", "8.8.8.8", "hf_write")
    push(name, "somebody/bot", False, False, asked_by("8.8.8.8", token=token))
    assert ("models", "somebody/bot") in server.pushed


@pytest.mark.parametrize("visitors", ["teach", "all"])
def test_visitors_push_nothing_and_nobody_another_folder(server, name, visitors, monkeypatch):
    monkeypatch.setenv("KOCHAT_VISITORS", visitors)
    with pytest.raises(gr.Error):
        push(name, "somebody/bot", False, False, asked_by("8.8.8.8"))
    with pytest.raises(gr.Error):
        push("../mine", "somebody/bot", False, False, asked_by())
    with pytest.raises(gr.Error, match="owner/name"):
        push(name, "", False, False, asked_by())
    assert server.pushed == {}
