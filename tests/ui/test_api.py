"""The app through gradio_client, as another program uses it."""

import asyncio
import html
import inspect
import json
import re
import time
import urllib.request

import gradio as gr
import pytest
from conftest import MINI
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from odd_files import FILES, xlsx

from benchmarks.visitors import crowd, question_box
from kochat.data import pairs
from kochat.errors import SENTENCES, SettingsError
from kochat.inference import chatbot
from kochat.model import checkpoint
from kochat.ui import api


@pytest.fixture(scope="module")
def client(app):
    return Client(app.url, verbose=False, ssl_verify=False)  # else each call reads all certificates


def test_only_the_named_endpoints_are_public(client):
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    asked = {"/reply", "/predict_label", "/explain"}
    assert set(named) == {*asked, "/train", "/runs", "/checkpoints", "/check"}


def test_labels_and_reasons_are_those_of_the_package(client):
    bot = chatbot.load(MINI)
    assert client.predict("헤어졌어", api_name="/predict_label") == pytest.approx(bot.predict_label("헤어졌어"))
    found = client.predict("12시 땡!", "0", runners_up=2, api_name="/explain")
    steps = bot.explain("12시 땡!", "0", runners_up=2)
    assert [one["token"] for one in found] == [one.token for one in steps]
    assert [one["probability"] for one in found] == pytest.approx([one.probability for one in steps])
    assert max(len(one["runners_up"]) for one in found) <= 2


def test_as_an_mcp_server_it_offers_three_tools_with_their_arguments_explained(monkeypatch):
    monkeypatch.setenv("KOCHAT_MCP", "1")
    monkeypatch.setattr(api.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError) as raised:
        api.is_mcp()
    assert raised.value.key == "no_mcp"
    monkeypatch.setattr(api.importlib.util, "find_spec", lambda name: name)
    with gr.Blocks() as page:
        api.build()
    assert set(page.get_api_info()["named_endpoints"]) == {"/reply", "/predict_label", "/explain"}
    for tool in (api.reply, api.predict_label, api.explain):
        names = set(inspect.signature(tool).parameters) - {"request"}
        assert names == set(re.findall(r"^    (\w+):", inspect.getdoc(tool), re.MULTILINE))
    monkeypatch.setenv("KOCHAT_MCP", "0")
    assert not api.is_mcp()


def test_reply_is_the_reply_of_the_package(client):
    bot = chatbot.load(MINI)
    assert client.predict("12시 땡!", "0", api_name="/reply") == bot.reply("12시 땡!", "0")
    assert client.predict("헤어졌어", api_name="/reply") == bot.reply("헤어졌어")
    strong = client.predict("안녕", "2", strength=4, api_name="/reply")
    assert strong == bot.reply("안녕", "2", 4) != bot.reply("안녕", "2", 0)
    drawing = {"temperature": 1.2, "top_p": 0.95, "seed": 7}
    drawn = client.predict("안녕", "2", **drawing, api_name="/reply")
    assert drawn == client.predict("안녕", "2", **drawing, api_name="/reply") == bot.reply("안녕", "2", **drawing)
    assert len({client.predict("심심해", "0", temperature=1.2, api_name="/reply") for _ in range(12)}) > 1


def test_checkpoints_are_listed_with_their_labels(client):
    assert client.predict(api_name="/checkpoints")[0] == {"checkpoint": "kochat-mini", "labels": ["0", "1", "2"]}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("",), "The question is empty"),
        (("안녕", "9"), "does not know the label “9”"),
        (("안녕", "0", "../secret"), "no checkpoint ../secret"),
        (("안녕", "0", "/etc"), "no checkpoint /etc"),
        (("안녕", "0", "kochat-mini", -1), "The strength is -1, but must be"),
        (("안녕", "0", "kochat-mini", 0, 3), "The temperature is 3, but must be"),
        (("안녕", "0", "kochat-mini", 0, 1, 0), "top_p is 0, but must be"),
        (("안녕", "0", "kochat-mini", 0, 1, 1, -1), "The seed is -1, but must be"),
        (("안녕", "0", "kochat-mini", 0, 1, 1, 1.5), "The seed is 1.5, but must be"),
    ],
)
def test_a_request_that_cannot_be_answered_gets_its_sentence(client, arguments, sentence):
    with pytest.raises(AppError, match=sentence):
        client.predict(*arguments, api_name="/reply")


def test_every_odd_file_is_reported_on_or_refused_with_its_own_sentence(client, app, tmp_path):
    # One after the other: asked all at once, gradio_client now and then loses an answer on a busy machine.
    for number, (name, odd) in enumerate(FILES.items()):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(odd.data)
        if odd.error:
            with pytest.raises(AppError) as caught:
                client.predict(handle_file(path), api_name="/check")
            assert re.fullmatch(pattern_of(odd.error), str(caught.value)), name
            continue
        told = client.predict(handle_file(path), api_name="/check")
        if name == "a huge cell":  # read, but longer than a chatbot can take
            assert [tuple(problem.values()) for problem in told["problems"]] == [(2, "", "too_long", None)]
            continue
        assert (told["good"], told["rows"] - told["bad"]) == (len(odd.pairs), len(odd.pairs)), name
        assert [tuple(problem.values()) for problem in told["problems"]] == odd.problems, name
    assert "Traceback" not in app.log.read_text()


def test_lengths_are_checked_for_a_checkpoint(client):
    with pytest.raises(AppError, match="no checkpoint nothing"):
        client.predict(handle_file(pairs.DATASETS["jobs"]), "nothing", api_name="/check")
    assert client.predict(handle_file(pairs.DATASETS["jobs"]), "kochat-mini", api_name="/check")["bad"] == 0


def test_a_sheet_and_columns_are_chosen(client, tmp_path):
    path = tmp_path / "book.xlsx"
    path.write_bytes(xlsx([["Q", "A"], ["가", "나"]], [["다", "라"], ["마", "바"]], names=["하나", "둘"]))
    told = client.predict(handle_file(path), api_name="/check")
    assert (told["sheets"], told["rows"], told["remarks"][0]["key"]) == (["하나"], 1, "said_sheets_left")
    told = client.predict(handle_file(path), "kochat-mini", "2", "1", sheet="둘", header="0", api_name="/check")
    assert (told["mapping"]["question"], told["rows"], told["good"]) == ("#2", 2, 2)
    with pytest.raises(AppError, match="must be a row"):
        client.predict(handle_file(path), header="x", api_name="/check")


def pattern_of(key: str) -> str:
    """What a sentence looks like, as the page escapes it, whatever fills it in."""
    return re.sub(r"\\{\w+\\}", ".+", re.escape(html.escape(SENTENCES["en"][key])))


def test_no_file_and_a_file_of_the_server_are_refused(client):
    with pytest.raises(AppError, match="No file was chosen"):
        client.predict(None, api_name="/check")
    # Past the client, which would upload its own file of that name.
    url = f"{client.src}gradio_api/call/check"
    theirs = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    data = json.dumps({"data": [theirs, "kochat-mini", *[""] * 5]}).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    event = json.load(urllib.request.urlopen(asked))["event_id"]
    assert urllib.request.urlopen(f"{url}/{event}").read() == b'event: error\ndata: {"error": null}\n\n'


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"data": "/etc/passwd", "name": "x"}, "There is no file"),
        ({"data": "jobs", "name": "../x"}, "cannot be a name"),
        ({"data": "jobs", "name": "kochat-mini", "base": "nothing"}, "no checkpoint nothing"),
        ({"data": "jobs", "name": "x", "epochs": 0}, "epochs is 0"),
        ({"data": "jobs", "name": "x", "rehearsal": -1}, "rehearsal is -1"),
        ({"data": "jobs", "name": "x", "keep_labels": True, "label_names": ["9=x"]}, "label_names is 9=x"),
    ],
)
def test_a_training_that_cannot_start_gets_its_sentence(client, app, settings, sentence):
    with pytest.raises(AppError, match=sentence):
        client.predict(**settings, api_name="/train")
    assert client.predict(api_name="/runs") == []


def test_a_training_is_followed_to_its_end_and_talked_to(client, app, model, tokenizer, sample):
    knows = checkpoint.Card(labels=["0", "1", "2"], max_length=64)
    learned = list(sample.itertuples(index=False, name=None))
    checkpoint.save(app.home / "checkpoints" / "tiny", model, tokenizer, knows, pairs=learned)
    settings = {"rehearsal": 0, "base": "tiny", "api_name": "/train"}
    assert client.predict("jobs", "직업", epochs=2, keep_labels=False, **settings) == {"run": "직업"}
    # Another one waits for its turn, then is trained too.
    assert client.predict("jobs", "other", epochs=1, **settings) == {"run": "other"}
    assert [one["state"] for one in client.predict(api_name="/runs")] == ["queued", "running"]
    with pytest.raises(AppError, match="“직업” is kept for the run"):
        client.predict("jobs", "직업", api_name="/train")
    end = time.monotonic() + 120
    while any(one["state"] != "finished" for one in client.predict(api_name="/runs")):
        assert time.monotonic() < end
        time.sleep(0.3)
    run = client.predict(api_name="/runs")[1]
    assert (run["run"], run["state"], run["progress"]) == ("직업", "finished", "100%")
    assert [epoch["epoch"] for epoch in run["epochs"]] == [1, 2]
    assert run["epochs"][1]["loss"] < run["epochs"][0]["loss"]
    listed = client.predict(api_name="/checkpoints")
    assert {"checkpoint": "직업", "labels": ["건설현장", "우산장수"]} in listed
    assert {"checkpoint": "other", "labels": ["0", "1", "2", "건설현장", "우산장수"]} in listed
    assert client.predict("오늘 날씨는 어때?", "우산장수", "직업", api_name="/reply")


def test_the_benchmarks_crowd_gets_its_replies(app, client):
    seconds = asyncio.run(crowd(question_box(app.url), visitors=3, every=0.5, duration=1.0))
    assert len(seconds) >= 3
