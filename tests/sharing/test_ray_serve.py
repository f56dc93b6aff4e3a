"""Ray Serve: the deployment of the manual, with two replicas, answers as one chatbot does."""

import re
import signal
from concurrent.futures import ThreadPoolExecutor

import on_ray
import openai
import pytest
from conftest import _free_port

import kochat

pytest.importorskip("ray", reason='Ray is not installed: pip install "ray[train,serve]==2.60.0"')
QUESTIONS = ["헤어졌어", "12시 땡!", "안녕", "고마워", "오늘 날씨는 어때?", "배고파", "심심해", "졸려"]


@pytest.mark.slow
def test_two_replicas_answer_as_one_chatbot(tmp_path, monkeypatch):
    monkeypatch.setenv("KOCHAT_API_KEY", "a key")
    port = _free_port()
    code = on_ray.script("docs/serving.md", "serve_on_ray.py", {"8000": str(port)})
    with on_ray.running(code, tmp_path) as process:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="a key", max_retries=0)
        on_ray.wait_until(lambda: is_there(client), process, tmp_path)
        with ThreadPoolExecutor(8) as threads:
            replies = list(threads.map(lambda question: ask(client, question), QUESTIONS * 4))
        pieces = [chunk.choices[0].delta.content or "" for chunk in ask(client, QUESTIONS[0], stream=True)]
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="another").models.list()
        process.send_signal(signal.SIGINT)
        process.wait()
    printed = on_ray.printed(tmp_path)
    bot = kochat.load("kochat-mini")
    expected = [bot.reply(question, label="1") for question in QUESTIONS]
    assert [reply.choices[0].message.content for reply in replies] == expected * 4
    assert "".join(pieces) == expected[0]
    assert len(set(re.findall(r"pid=(\d+).*POST /v1/chat/completions 200", printed))) == 2, printed


def ask(client, question, **more):
    messages = [{"role": "user", "content": question}]
    return client.chat.completions.create(model="kochat-mini", messages=messages, extra_body={"label": "1"}, **more)


def is_there(client):
    try:
        return client.models.list()
    except (openai.APIConnectionError, openai.NotFoundError, openai.InternalServerError):  # not yet
        return False
