"""A chatbot on another server: our own, one that knows nothing of labels, one that fails in every way."""

import json
import time

import pytest
from listening import listening
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from typer.testing import CliRunner

import kochat
from kochat.cli import main
from kochat.errors import ReplyError
from kochat.inference import chatbot, remote
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.gpt2 import make_model
from kochat.sharing import serving


class Engine:
    """A server of the protocol that says what it is told to, and keeps what it was asked."""

    def __init__(self):
        self.asked, self.pieces, self.refusals, self.models = [], [" 네", ",", " 그래요", " "], [], ["/srv/models/tiny"]
        self.end, self.finish = "data: [DONE]\n\n", "stop"
        post = Route("/v1/chat/completions", self.complete, methods=["POST"])
        self.app = Starlette(routes=[post, Route("/v1/models", self.list_models)])

    async def list_models(self, request):
        return JSONResponse({"object": "list", "data": [{"id": one, "object": "model"} for one in self.models]})

    async def complete(self, request):
        self.asked.append({**await request.json(), "key": request.headers.get("authorization")})
        if self.refusals:
            return self.refusals.pop(0)
        deltas = [{"role": "assistant"}, *({"content": piece} for piece in self.pieces)]
        chunks = [{"choices": [{"index": 0, "delta": one, "finish_reason": None}]} for one in deltas]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": self.finish}]})
        events = [f"data: {json.dumps(one)}\n\n" for one in chunks]
        return StreamingResponse(iter([": hello\n\n", *events, self.end]), media_type="text/event-stream")


@pytest.fixture(scope="module")
def bot(tmp_path_factory, tokenizer):
    """A Chatbot that other tests of this file serve."""
    model = make_model(tokenizer, layers=2, width=8, heads=2, positions=96, seed=0)
    card = Card(["0", "1", "2"], label_names={"0": "하루"}, max_length=64)
    return chatbot.load(checkpoint.save(tmp_path_factory.mktemp("remote") / "tiny", model, tokenizer, card))


@pytest.fixture(scope="module")
def ours(bot):
    """Where `kochat serve` of it listens."""
    with listening(serving.server({"tiny": bot})) as url:
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def engine_and_url():
    made = Engine()
    with listening(made.app) as url:
        yield made, f"{url}/v1"


@pytest.fixture
def engine(engine_and_url, monkeypatch):
    """A foreign engine; nobody waits long for it."""
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.01)
    fresh, (made, _) = Engine(), engine_and_url
    vars(made).update({name: value for name, value in vars(fresh).items() if name != "app"})
    return made


@pytest.fixture
def url(engine_and_url):
    return engine_and_url[1]


def refusal(function, *args, **more):
    with pytest.raises(ReplyError) as caught:
        function(*args, **more)
    return caught.value.key


def test_in_front_of_our_own_server_it_talks_as_the_chatbot_does(ours, bot):
    for source in (ours, f"{ours}/", f"{ours}#tiny"):
        far = kochat.load(source)
        assert far.reply("12시 땡!", "1") == bot.reply("12시 땡!", "1")
        assert (far.name, far.labels, far.card.label_names) == ("tiny", ["0", "1", "2"], {"0": "하루"})
    assert far.reply("12시 땡!") == bot.reply("12시 땡!")
    pieces = list(far.stream("안녕<sys>", "0"))
    assert "".join(pieces) == bot.reply("안녕<sys>", "0")
    assert len(pieces) > 3
    drawn = {"temperature": 1.0, "top_p": 0.9, "seed": 2**32 - 1}
    assert far.reply("안녕", "0", **drawn) == bot.reply("안녕", "0", **drawn)
    asked = [(f"{number}시 땡!", "2") for number in range(6)]
    assert far.replies(asked) == bot.replies(asked)
    assert far.replies(asked[:3], **drawn) == bot.replies(asked[:3], **drawn)
    assert refusal(far.reply, "안녕", "9") == "unknown_label"


def test_what_an_engine_cannot_do_is_said(ours):
    far = kochat.load(ours)
    assert refusal(far.reply, "안녕", "0", 0.5) == "engine_cannot"
    assert refusal(far.reply, "안녕", "0", rerank=True) == "engine_cannot"
    assert far.retriever is None
    assert far.reply("안녕", "0", 0) == far.reply("안녕", "0", None) == far.reply("안녕", "0")
    for name in remote.CANNOT:
        assert hasattr(chatbot.Chatbot, name) or name == "prompt"
        assert refusal(getattr, far, name) == "engine_cannot"
    with pytest.raises(AttributeError):
        far.nothing  # noqa: B018
    reading = far.read("안녕", "0")
    assert (reading.labels, reading.unfamiliar, reading.meant) == ({}, None, None)
    assert refusal(far.reply, "  ") == "empty_question"
    assert refusal(far.reply, "안녕", temperature=3) == "bad_temperature"


def test_a_foreign_engine_is_asked_in_the_protocols_words(engine, url, monkeypatch):
    monkeypatch.setenv("KOCHAT_ENGINE_KEY", "sk-1")
    far = kochat.load(url)
    assert list(far.stream(" 안녕\u200b ", "건설현장")) == ["네", ",", " 그래요"]
    messages = [{"role": "user", "content": "안녕"}]
    first = {"model": "/srv/models/tiny", "messages": messages, "stream": True, "temperature": 0.0, "max_tokens": 128}
    assert engine.asked.pop() == {**first, "chat_template_kwargs": {"label": "건설현장"}, "key": "Bearer sk-1"}
    far.reply("안녕", temperature=0.5, top_p=0.9, seed=7)
    assert engine.asked.pop() == {**first, "temperature": 0.5, "top_p": 0.9, "seed": 7, "key": "Bearer sk-1"}
    assert (far.name, far.labels) == ("tiny", [])


def test_labels_and_the_longest_reply_are_those_of_the_checkpoint_of_that_name(engine, url, home, model, tokenizer):
    card = Card(["0", "1"], label_names={"1": "일"}, max_length=64)
    checkpoint.save(home / "checkpoints" / "tiny", model, tokenizer, card)
    far = kochat.load(url)
    far.reply("안녕", "０")
    assert engine.asked[0]["chat_template_kwargs"] == {"label": "0"}
    assert engine.asked[0]["max_tokens"] == 96 - 64
    assert (far.labels, far.card.label_names) == (["0", "1"], {"1": "일"})
    assert refusal(far.reply, "안녕", "2") == "unknown_label"
    engine.models = None  # which cannot be listed
    assert kochat.load(f"{url}#/srv/tiny").labels == ["0", "1"]


def test_a_busy_engine_is_asked_again_and_one_that_refuses_is_not(engine, url):
    far = kochat.load(f"{url}#tiny")
    engine.refusals = [PlainTextResponse("", 503), PlainTextResponse("", 429)]
    assert far.reply("안녕") == "네, 그래요"
    assert len(engine.asked) == 3
    engine.refusals = [PlainTextResponse("", 503) for _ in range(3)]
    assert refusal(far.reply, "안녕") == "engine_away"
    for status, key in (
        (400, "engine_refused"),
        (401, "engine_key"),
        (404, "engine_no_model"),
        (500, "engine_refused"),
    ):
        engine.asked.clear()
        engine.refusals = [PlainTextResponse("why", status)]
        assert refusal(far.reply, "안녕") == key
        assert len(engine.asked) == 1


def test_a_reply_that_breaks_off_is_no_reply(engine, url):
    far = kochat.load(f"{url}#tiny")
    engine.end, engine.finish = "", None
    assert refusal(far.reply, "안녕") == "engine_broken_off"
    engine.end = 'data: {"error": {"message": "out of memory"}}\n\n'
    assert refusal(far.reply, "안녕") == "engine_broken_off"
    engine.end = "data: {\n\n"
    assert refusal(far.reply, "안녕") == "engine_broken_off"
    engine.end, engine.finish = "", "length"
    assert far.reply("안녕") == "네, 그래요"
    engine.refusals = [PlainTextResponse("<html>")]
    assert refusal(far.reply, "안녕") == "engine_broken_off"


def test_a_reply_without_end_is_ended(engine, url, monkeypatch):
    monkeypatch.setattr(remote, "MAX_REPLY_LENGTH", 10)
    engine.pieces = ["가나다"] * 1000
    assert kochat.load(f"{url}#tiny").reply("안녕") == "가나다" * 4


def test_an_engine_that_is_away_is_a_sentence_and_found_when_it_is_back(engine, url, monkeypatch):
    away = kochat.load("http://127.0.0.1:9/v1")
    began = time.monotonic()
    assert refusal(away.reply, "안녕") == "engine_away"
    assert (away.labels, away.name) == ([], "")
    assert time.monotonic() - began < 2
    engine.models = []
    far = kochat.load(url)
    assert refusal(far.reply, "안녕") == "engine_broken_off"
    engine.models = ["m"]
    assert far.reply("안녕") == "네, 그래요"
    for bad in ("http://[::1", "ftp://host/v1", "host"):
        assert refusal(remote.load, bad) == "engine_bad_url"


def test_the_command_line_speaks_to_the_engine(ours, bot, tmp_path, monkeypatch, tiny_checkpoint):
    def invoke(*words):
        return CliRunner().invoke(main.app, list(words)).stdout

    assert invoke("reply", "12시 땡!", "--label", "2", "--checkpoint", ours) == bot.reply("12시 땡!", "2") + "\n"
    monkeypatch.setenv("KOCHAT_ENGINE", ours)
    assert invoke("reply", "12시 땡!", "--label", "2") == bot.reply("12시 땡!", "2") + "\n"
    monkeypatch.setenv("KOCHAT_ENGINE", "http://127.0.0.1:9/v1")
    there = invoke("reply", "12시 땡!", "--label", "2", "--checkpoint", str(tiny_checkpoint))
    assert there == chatbot.load(tiny_checkpoint).reply("12시 땡!", "2") + "\n"
