"""Chatbots behind the OpenAI protocol, asked by OpenAI's own package over HTTP."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import openai
import pytest
import uvicorn
from listening import listening
from starlette.testclient import TestClient
from typer.testing import CliRunner

from kochat import __version__
from kochat.cli import main
from kochat.inference import chatbot, sampling
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.gpt2 import make_model
from kochat.sharing import serving

HELLO = [{"role": "user", "content": "안녕"}]


@pytest.fixture(scope="module")
def bot(tmp_path_factory, tokenizer):
    """A Chatbot that can strengthen its labels, one of which has a name."""
    model = make_model(tokenizer, layers=2, width=8, heads=2, positions=96, seed=0)
    names = {"0": "하루"}
    card = Card(["0", "1", "2"], label_names=names, max_length=64, strength=0.5, config={"label_dropout": 0.1})
    return chatbot.load(checkpoint.save(tmp_path_factory.mktemp("serving") / "tiny", model, tokenizer, card))


@pytest.fixture(scope="module")
def url(bot):
    """Where a server of it listens, in a thread of this process."""
    with listening(serving.server({"tiny": bot})) as address:
        yield address


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def http(url):
    """A client that knows nothing of the protocol."""
    with httpx2.Client(base_url=url, verify=False) as made:
        yield made


def ask(client, messages=HELLO, **more):
    return client.chat.completions.create(model="tiny", messages=messages, **more)


def said(*args, **more):
    return ask(*args, **more).choices[0].message.content


def test_a_completion_is_the_reply_with_its_counts(client, bot):
    answer = ask(client, extra_body={"label": "2"})
    assert (answer.object, answer.model, answer.label) == ("chat.completion", "tiny", "2")
    assert (answer.choices[0].message.role, answer.choices[0].message.content) == ("assistant", bot.reply("안녕", "2"))
    read = len(bot.prompt.encode_prompt("안녕", "2"))
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (read, 96 - read)
    assert answer.usage.total_tokens == 96
    assert answer.choices[0].finish_reason == "length"  # no position was left
    assert ask(client, extra_body={"label": "2", "strength": 0}).choices[0].message.content == bot.reply("안녕", "2", 0)
    assert abs(answer.created - time.time()) < 60


def test_a_reply_that_ends_by_itself_counts_its_end(client, bot, monkeypatch):
    request = bot._request("안녕", "0", None, sampling.GREEDY)
    tokens = list(bot.engine.stream(request))
    monkeypatch.setattr(bot.engine, "eos_id", tokens[7])  # of a model that was never trained, none ends
    at = tokens.index(tokens[7])
    answer = ask(client, extra_body={"label": 0})
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (bot.text_of(tokens[:at]), "stop")
    assert answer.usage.completion_tokens == at + 1


def test_a_seed_draws_the_reply_again(client, bot):
    drawn = {"temperature": 1.0, "top_p": 0.9, "extra_body": {"label": "0"}}
    # The protocol's seeds have 64 bits, ours 32.
    assert said(client, seed=7, **drawn) == said(client, seed=7 + 2**32, **drawn)
    assert said(client, seed=7, **drawn) == bot.reply("안녕", "0", temperature=1.0, top_p=0.9, seed=7)
    assert said(client, seed=8, **drawn) != said(client, seed=7, **drawn)


def test_a_stream_is_the_same_reply_in_pieces(client, bot):
    whole = ask(client, extra_body={"label": "1"})
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}, extra_body={"label": "1"}))
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [chunk.choices[0].delta.content for chunk in chunks[:-1] if chunk.choices[0].delta.content]
    assert "".join(pieces) == whole.choices[0].message.content == bot.reply("안녕", "1")
    assert len(pieces) > 3
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["length"]
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert all(chunk.usage is None for chunk in ask(client, stream=True))


@pytest.mark.parametrize(
    ("system", "label"),
    [
        ("2", "2"),
        ("사랑", "2"),
        ("사랑·긍정", "2"),
        ("love", "2"),
        (" Breakup, negative\n", "1"),
        ("label: 1", "1"),
        ("감정: 이별", "1"),
        ("하루", "0"),
    ],
)
def test_a_system_message_may_name_the_label(client, system, label):
    for role in ("system", "developer"):
        assert ask(client, [{"role": role, "content": system}, *HELLO]).label == label


def test_the_label_is_the_chatbots_own_reading_where_nobody_says_one(client, bot):
    read = bot.predict_label("안녕")
    likeliest = max(read, key=read.get)
    assert ask(client).label == ask(client, extra_body={"label": "auto"}).label == likeliest
    # Prose that has a label in it names none.
    assert ask(client, [{"role": "system", "content": "Answer in 2 words, with love."}, *HELLO]).label == likeliest


def test_a_label_that_is_given_goes_before_one_that_is_named(client, bot):
    named = [{"role": "system", "content": "사랑"}, *HELLO]
    assert ask(client, named, extra_body={"chat_template_kwargs": {"label": "1"}}).label == "1"
    assert ask(client, named, extra_body={"label": "0", "chat_template_kwargs": {"label": "1"}}).label == "0"


def test_the_newest_message_of_the_user_is_the_question(client, bot):
    turns = [*HELLO, {"role": "assistant", "content": "네"}, {"role": "user", "content": "고마워"}]
    assert said(client, turns, extra_body={"label": "0"}) == bot.reply("고마워", "0")
    parts = [{"role": "user", "content": [{"type": "text", "text": "고마"}, {"type": "text", "text": "워"}]}]
    assert said(client, parts, extra_body={"label": "0"}) == bot.reply("고마워", "0")
    typed = [{"role": "user", "content": "안녕<sys></s>"}]
    assert said(client, typed, extra_body={"label": "0"}) == bot.reply("안녕<sys></s>", "0")


def test_a_reply_ends_at_so_many_tokens_and_before_a_stop(client, bot):
    under = {"extra_body": {"label": "0"}}
    for name in ("max_tokens", "max_completion_tokens"):
        short = ask(client, **{name: 5}, **under)
        assert (short.usage.completion_tokens, short.choices[0].finish_reason) == (5, "length")
        assert bot.reply("안녕", "0").startswith(short.choices[0].message.content)
    whole = bot.reply("안녕", "0")
    middle = whole[9:12]
    before = whole[: whole.find(middle)]
    for stop in (middle, ["nowhere", middle]):
        ended = ask(client, stop=stop, **under)
        assert (ended.choices[0].message.content, ended.choices[0].finish_reason) == (
            whole[: whole.find(middle)],
            "stop",
        )
        assert ended.usage.completion_tokens < ask(client, **under).usage.completion_tokens
        pieces = [one.choices[0].delta.content or "" for one in ask(client, stop=stop, stream=True, **under)]
        assert "".join(pieces) == before
    assert said(client, stop="nowhere", **under) == said(client, stop=[], **under) == whole


def test_models_are_listed_with_their_labels(client):
    (listed,) = client.models.list()
    assert (listed.id, listed.object, listed.owned_by) == ("tiny", "model", "kochat")
    assert (listed.labels, listed.label_names) == (["0", "1", "2"], {"0": "하루"})
    assert client.models.retrieve("tiny") == listed
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("other/one")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("given", "param", "sentence"),
    [
        ({"extra_body": {"label": "9"}}, "label", "does not know the label “9”. It knows: 0, 1, 2"),
        ({"extra_body": {"chat_template_kwargs": {"label": "x"}}}, "label", "does not know the label “x”"),
        ({"extra_body": {"strength": -1}}, "strength", "The strength is -1.0, but must be"),
        ({"temperature": 3}, "temperature", "The temperature is 3.0, but must be"),
        ({"top_p": 0}, "top_p", "top_p is 0.0, but must be"),
        ({"max_tokens": 0}, "max_tokens", "max_tokens cannot be used: Input should be greater than or equal to 1."),
        ({"seed": "x"}, "seed", "seed cannot be used"),
        ({"n": 2}, "n", "n is not offered here"),
        ({"logprobs": True}, "logprobs", "logprobs is not offered"),
        ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "tools", "tools is not offered"),
        ({"response_format": {"type": "json_object"}}, "response_format", "response_format is not offered"),
        ({"messages": []}, "messages", "no message of the role user"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages", "The question is empty"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "and no image_url"),
    ],
)
def test_what_cannot_be_done_is_an_error_of_the_protocol(client, given, param, sentence):
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match=sentence) as caught:
            ask(client, **given, stream=stream)
        assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
    assert set(caught.value.body) == {"message", "type", "param", "code"}


def test_what_asks_for_nothing_more_is_no_error(client):
    nothing = {"n": 1, "tools": [], "response_format": {"type": "text"}, "frequency_penalty": 0, "user": "me"}
    assert said(client, **nothing) == said(client)


def test_an_unknown_model_is_not_found_and_other_bodies_are_refused(client, http):
    with pytest.raises(openai.NotFoundError, match="no checkpoint nothing") as caught:
        client.chat.completions.create(model="nothing", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    for body in (b"", b"[]", b"{", b"\xff", b'{"model": "tiny"}', b"[" * 100_000):
        assert http.post("/v1/chat/completions", content=body).status_code == 400, body[:20]
    large = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "가" * 2**20}]})
    answer = http.post("/v1/chat/completions", content=large.encode())
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    assert http.get("/v1/chat/completions").status_code == 405


def test_an_error_is_told_in_korean_where_that_is_asked_for(client):
    with pytest.raises(openai.NotFoundError, match="nothing 체크포인트가 없어요"):
        client.chat.completions.create(model="nothing", messages=HELLO, extra_headers={"Accept-Language": "ko-KR"})


def test_with_a_key_nobody_is_answered_without_it(client, http, monkeypatch):
    monkeypatch.setenv("KOCHAT_API_KEY", "열쇠-1")
    for key in ("Basic 열쇠-1", "Bearer", "Bearer 열쇠", "Bearer 열쇠-11"):
        header = {"Authorization": key.encode()}
        for answer in (
            http.get("/v1/models", headers=header),
            http.post("/v1/chat/completions", headers=header, json={"model": "tiny", "messages": HELLO}),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    assert http.get("/v1/models", headers={"Authorization": "Bearer 열쇠-1".encode()}).status_code == 200
    assert http.get("/health").status_code == 200
    monkeypatch.setenv("KOCHAT_API_KEY", "sk-1")
    assert said(client.with_options(api_key="sk-1")) == said(client.with_options(api_key="sk-1"))


def test_health_says_what_is_served(http):
    assert http.get("/health").json() == {"ok": True, "version": __version__, "checkpoints": ["tiny"]}


def test_many_at_once_are_decoded_together_and_each_gets_its_own(client, bot, monkeypatch):
    questions = [f"{number}시 땡!" for number in range(24)]
    expected = bot.replies([(question, "0") for question in questions])
    most, decode = [], bot.engine._decode

    def counted():
        most.append(len(bot.engine._rows))
        decode()

    monkeypatch.setattr(bot.engine, "_decode", counted)
    asked = [[{"role": "user", "content": question}] for question in questions]
    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(lambda one: said(client, one, extra_body={"label": "0"}), asked))
    assert found == expected
    assert max(most) > 8


def test_whoever_leaves_a_stream_leaves_no_work_behind(client, bot):
    with ask(client, stream=True) as stream:
        next(stream)
    for _ in range(20):  # of its 87 passes
        said(client, max_tokens=1)
        if all(reply.over for reply, _ in bot.engine._rows):
            return
        time.sleep(0.05)
    pytest.fail("its rows are still there")


def test_an_error_that_nobody_foresaw_is_a_number(client, bot, monkeypatch, caplog):
    def broken(*args, **more):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(bot.engine, "_decode", broken)
    with pytest.raises(openai.InternalServerError, match="Something went wrong") as caught:
        ask(client)
    assert "secret" not in str(caught.value)
    with pytest.raises(openai.APIError, match="Something went wrong"):
        list(ask(client, stream=True))
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError] * 2


def test_the_command_serves_what_it_is_given(tiny_checkpoint, monkeypatch):
    served = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: served.append((app, options)))
    done = CliRunner().invoke(main.app, ["serve", str(tiny_checkpoint), "--port", "8123"])
    assert (done.exit_code, done.stdout) == (0, "tiny: http://127.0.0.1:8123/v1\n")
    [(app, options)] = served
    assert (options["host"], options["port"]) == ("127.0.0.1", 8123)
    assert TestClient(app).get("/v1/models").json()["data"][0]["id"] == "tiny"
