"""The page in front of an engine on another server: the chat speaks to it, and what it cannot do is off and says so."""

import gradio as gr
import pytest
from listening import listening

from kochat.errors import ReplyError
from kochat.inference import chatbot
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.gpt2 import make_model
from kochat.sharing import serving
from kochat.ui import api, models, page, profile, text, widgets
from kochat.ui.chat import explain
from kochat.ui.chat import tab as chat
from kochat.ui.chat.messages import message, source_of, strength_of, text_of


@pytest.fixture(scope="module")
def bot(tmp_path_factory, tokenizer):
    """The Chatbot behind the engine; it can strengthen its labels, but not from there."""
    model = make_model(tokenizer, layers=2, width=8, heads=2, positions=96, seed=0)
    card = Card(["0", "1", "2"], max_length=64, config={"label_dropout": 0.1})
    return chatbot.load(checkpoint.save(tmp_path_factory.mktemp("engine") / "far", model, tokenizer, card))


@pytest.fixture(scope="module")
def url(bot):
    with listening(serving.server({"far": bot})) as address:
        yield f"{address}/v1"


@pytest.fixture
def engine(url, monkeypatch):
    """The page stands in front of it."""
    monkeypatch.setenv("KOCHAT_ENGINE", url)


def a_request(language="en"):
    made = gr.Request(session_hash="one")
    made.kwargs = {"cookies": {}, "headers": {"accept-language": language}}
    made.kwargs["client"] = type("Client", (), {"host": "127.0.0.1"})
    return made


def test_the_chat_opens_on_the_engine_and_has_the_checkpoints_too(engine):
    assert models.first_name() == models.ENGINE
    choices = [value for _, value in widgets.chat_choices()]
    assert choices == [models.ENGINE, "kochat-mini"]
    assert [value for _, value in widgets.checkpoint_choices()] == ["kochat-mini"]
    assert widgets.checkpoint_dropdown("gone").value == models.ENGINE
    assert models.card(models.ENGINE).labels == ["0", "1", "2"]
    assert "<b>far</b>" in profile.profile_html(models.ENGINE)
    assert profile.welcome(models.ENGINE)["examples"][0] == {"text": "안녕"}


def test_without_an_engine_there_is_no_word_of_it(monkeypatch):
    monkeypatch.delenv("KOCHAT_ENGINE", raising=False)
    assert models.engine() is None
    assert models.first_name() == "kochat-mini"
    assert widgets.chat_choices() == widgets.checkpoint_choices()


@pytest.mark.parametrize(("label", "note"), [("2", "Love, positive · far"), ("auto", "Automatic · far")])
def test_a_reply_of_the_engine_has_its_label_and_its_model(engine, bot, label, note):
    history = [message("user", "12시 땡!")]
    *_, last = chat.reply_to(history, label, 3.0, models.ENGINE, "en", unsure=True)
    reply = last[-1]
    assert text_of(reply) == bot.reply("12시 땡!", label)
    assert note in reply["content"][0]["text"]
    assert (source_of(reply), strength_of(reply)) == ((label, models.ENGINE), 0.0)
    # Another one in its place is drawn.
    *_, other = chat.reply_to(history, label, 0.0, models.ENGINE, "en", replaced=reply)
    assert text_of(other[-1]) not in ("", text_of(reply))


def test_what_it_cannot_do_is_off_and_says_so(engine):
    slider = chat.strength_slider(models.card(models.ENGINE), models.ENGINE)
    assert (slider["interactive"], slider["value"]) == (False, 0.0)
    assert str(slider["info"]) == str(text.t("k_engine_no_strength"))
    source = explain.Source("안녕", "네", "0", models.ENGINE)
    assert "does not tell its reasons" in explain.explained(source, (), a_request())
    assert "이유를 들여다볼 수 없어요" in explain.explained(source, (), a_request("ko"))
    for named in (api.predict_label, api.explain):
        with pytest.raises(gr.Error, match="cannot do this"):
            named("안녕", checkpoint=models.ENGINE, request=a_request())


def test_the_endpoint_replies_by_the_engine(engine, bot):
    assert api.reply("12시 땡!", "1", request=a_request()) == bot.reply("12시 땡!", "1", 0)
    with pytest.raises(gr.Error, match="cannot do this"):
        api.reply("12시 땡!", "1", strength=2, request=a_request())


def test_the_page_is_there_while_the_engine_is_away(monkeypatch):
    monkeypatch.setenv("KOCHAT_ENGINE", "http://127.0.0.1:9/v1")
    page.build()
    with pytest.raises(gr.Error, match="does not answer just now"):
        list(chat.asked("안녕", [], "auto", 0.0, models.ENGINE, False, 0.0, "generated", a_request()))
    monkeypatch.setenv("KOCHAT_ENGINE", "host")
    with pytest.raises(ReplyError, match="no address of a server"):
        page.build()
